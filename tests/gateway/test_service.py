"""The gateway as a program: it outlives what hangs, what is rude and what is stalled, and ends with its parent."""

import asyncio
import json
import os
import pickle
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from tests.adapters_mt5.bench import EURUSD, SECRET, accelerated, described, running
from tests.gateway.broken_terminals import hanging, missing

from dtms.adapters.remote_link import RemoteLink
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown
from dtms.terminal.launch import TerminalOptions, load_metatrader5, loader_of, run_terminal
from dtms.terminal.protocol import REQUEST_BYTES_MAX, decode, encode
from dtms.terminal.service import CannotLoad, ServiceOptions

HOST = "127.0.0.1"
SNAPSHOT = {"call": "snapshot", "symbols": [EURUSD]}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(accelerated(), handshake_s_max=1.0, clients_max=8) as (at, _):
        yield at


def connected(port: int) -> "Connection[Any, Any]":
    return Client((HOST, port), authkey=SECRET.encode())


def ask(connection: "Connection[Any, Any]", request: dict[str, Any]) -> dict[str, Any]:
    connection.send_bytes(encode(request))
    assert connection.poll(10), "no answer"
    return decode(connection.recv_bytes())


class TestClients:
    def test_a_wrong_secret_is_turned_away(self, port: int) -> None:
        with pytest.raises(AuthenticationError):
            Client((HOST, port), authkey=b"guess")
        link = RemoteLink(HOST, port, "guess")
        with pytest.raises(BrokerUnavailable, match="secret"):
            asyncio.run(link.call(SNAPSHOT))
        link.close()

    def test_an_object_that_is_pickled_is_never_loaded(self, port: int, tmp_path: Path) -> None:
        class Touch:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "loaded",))

        with connected(port) as connection:
            connection.send_bytes(pickle.dumps(Touch()))
            answer = decode(connection.recv_bytes())
            assert answer["refused"] == "bad_request"
            assert "value" in ask(connection, SNAPSHOT)
        assert not (tmp_path / "loaded").exists()

    def test_several_clients_are_served_at_once(self, port: int) -> None:
        answered: list[str] = []

        def client() -> None:
            with connected(port) as connection:
                for _ in range(50):
                    assert "value" in ask(connection, SNAPSHOT)
            answered.append("all")

        threads = [threading.Thread(target=client) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(answered) == 5

    def test_silent_stalled_and_shouting_clients_disturb_nobody(self, port: int) -> None:
        silent = socket.create_connection((HOST, port))
        half = connected(port)
        os.write(half.fileno(), b"\x00\x00\x01\x00{")  # the head of a message that does not come
        unread = connected(port)
        unread.send_bytes(encode({"call": "rates", "requests": [[EURUSD, 5, 20_000]]}))  # and never reads the answer
        shouting = connected(port)
        shouting.send_bytes(b" " * (REQUEST_BYTES_MAX + 1))
        with connected(port) as connection:
            assert "value" in ask(connection, SNAPSHOT)
            slowest_s = max(_seconds(lambda: ask(connection, SNAPSHOT)) for _ in range(20))
        assert slowest_s < 2
        with pytest.raises((EOFError, OSError)):
            shouting.recv_bytes()
        silent.settimeout(5)
        assert silent.recv(1000)  # the challenge
        assert silent.recv(1000) == b""  # and the door, after the time for an answer
        for connection_ in (half, unread, shouting):
            connection_.close()
        silent.close()

    def test_more_clients_than_places_are_turned_away_and_places_come_back(self, port: int) -> None:
        held = [connected(port) for _ in range(8)]
        with pytest.raises((EOFError, OSError)):
            connected(port)
        for connection in held:
            connection.close()
        assert _eventually(lambda: _can_connect(port))

    def test_a_round_trip_is_quick(self, port: int, record_property: Any) -> None:
        """A snapshot crosses two processes well below the time that anything in a market takes."""
        with connected(port) as connection:
            times = [_seconds(lambda: ask(connection, SNAPSHOT)) for _ in range(300)]
        median_ms = statistics.median(times) * 1000
        record_property("snapshot_ms", median_ms)
        assert median_ms < 20


class TestHanging:
    def test_a_call_that_hangs_ends_the_child_and_a_new_one_asks_for_the_tokens_again(self, tmp_path: Path) -> None:
        with running(partial(hanging, tmp_path), call_s_max=1.0) as (port, instances):
            link = RemoteLink(HOST, port, SECRET, timeout_s=20)

            async def story() -> None:
                fence = {"call": "fence", "key": "1", "token": 5}
                first = (await link.call(fence))["value"]["instance"]
                (tmp_path / "hang").touch()
                with pytest.raises(OutcomeUnknown):
                    await link.call({"call": "positions_total"})
                (tmp_path / "hang").unlink()
                await _until_ready(link, instances, 2)
                send = {"call": "send", "request": {"action": 1}, "key": "1", "token": 5}
                assert (await link.call({**send, "instance": first}))["refused"] == "other_instance"
                assert (await link.call({**send, "instance": instances[1]}))["refused"] == "fenced"
                second = (await link.call({**fence, "token": 4}))["value"]["instance"]
                assert [first, second] == instances[:2]
                assert first != second

            began_s = time.monotonic()
            asyncio.run(story())
            link.close()
            assert time.monotonic() - began_s < 15

    def test_a_send_that_waited_too_long_for_its_turn_is_refused_unsent(self, tmp_path: Path) -> None:
        (tmp_path / "slow").write_text("1.0")
        with running(partial(hanging, tmp_path), queued_s_max=0.3) as (port, _):
            slow, late = connected(port), connected(port)
            slow.send_bytes(encode({"call": "positions_total"}))
            time.sleep(0.2)
            answer = ask(late, {"call": "send", "request": {"action": 1}, "key": "1", "token": 1, "instance": 1})
            assert answer["refused"] == "late"
            slow.close()
            late.close()


class TestLink:
    def test_nobody_at_the_port_is_unavailable_for_certain(self) -> None:
        with socket.create_server((HOST, 0)) as free:
            nobody = free.getsockname()[1]
        link = RemoteLink(HOST, nobody, SECRET, connect_timeout_s=0.5)
        with pytest.raises(BrokerUnavailable, match="no gateway"):
            asyncio.run(link.call(SNAPSHOT))
        link.close()

    def test_a_server_that_says_nothing_is_unavailable(self) -> None:
        with socket.create_server((HOST, 0)) as mute:
            link = RemoteLink(HOST, mute.getsockname()[1], SECRET, connect_timeout_s=0.3)
            with pytest.raises(BrokerUnavailable, match="says nothing"):
                asyncio.run(link.call(SNAPSHOT))
            link.close()

    def test_a_late_answer_is_not_taken_for_the_next(self, tmp_path: Path) -> None:
        (tmp_path / "slow").write_text("1.0")
        with running(partial(hanging, tmp_path)) as (port, _):
            link = RemoteLink(HOST, port, SECRET, timeout_s=0.5)

            async def story() -> None:
                with pytest.raises(OutcomeUnknown):
                    await link.call({"call": "positions_total"})
                (tmp_path / "slow").unlink()
                await asyncio.sleep(1.0)
                assert "account" in (await link.call(SNAPSHOT))["value"]

            asyncio.run(story())
            link.close()

    def test_a_request_that_did_not_get_its_turn_was_certainly_not_sent(self, tmp_path: Path) -> None:
        (tmp_path / "slow").write_text("0.6")
        with running(partial(hanging, tmp_path)) as (port, _):
            link = RemoteLink(HOST, port, SECRET, timeout_s=0.4)

            async def story() -> None:
                first = asyncio.ensure_future(link.call({"call": "positions_total"}))
                await asyncio.sleep(0.05)
                link._timeout_s = 0.2  # the second gives up while the first still holds the line
                second = await asyncio.gather(link.call(SNAPSHOT), return_exceptions=True)
                assert isinstance(second[0], BrokerUnavailable)
                with pytest.raises(OutcomeUnknown):
                    await first

            asyncio.run(story())
            link.close()

    def test_a_gateway_that_was_started_anew_is_found_again_without_an_unknown(self, tmp_path: Path) -> None:
        """The line died while nothing was under way, so the next request is sent on a new one."""
        with running(accelerated()) as (port, instances):
            link = RemoteLink(HOST, port, SECRET)

            async def story() -> None:
                await link.call(SNAPSHOT)
                child = _child_at(port)
                child.kill()
                child.wait(5)
                await _until_ready(link, instances, 2)
                assert "value" in await link.call(SNAPSHOT)

            asyncio.run(story())
            link.close()


class TestProgram:
    def test_without_a_terminal_it_says_why_and_ends(self, caplog: pytest.LogCaptureFixture) -> None:
        options = TerminalOptions(service=ServiceOptions(port=0, secret=SECRET))
        assert run_terminal(options, load=missing) == 2
        assert caplog.messages == ["there is no terminal here"]

    def test_a_port_that_is_taken_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        with socket.create_server((HOST, 0)) as taken:
            options = TerminalOptions(service=ServiceOptions(port=taken.getsockname()[1], secret=SECRET))
            assert run_terminal(options, load=accelerated()) == 2
        assert "cannot listen" in caplog.text

    @pytest.mark.skipif(sys.platform == "win32", reason="says what it says elsewhere than on Windows")
    def test_the_vendors_package_is_for_windows(self) -> None:
        with pytest.raises(CannotLoad, match="Windows"):
            load_metatrader5()

    def test_a_simulation_without_a_sound_file_cannot_be_loaded(self, tmp_path: Path) -> None:
        service = ServiceOptions(secret=SECRET)
        broken = tmp_path / "sim.json"
        broken.write_text('{"start": "2017-10-03T09:00Z", "symbols": [{"name": "NOPE"}]}')
        for config in (None, tmp_path / "none.json", broken):
            with pytest.raises(CannotLoad):
                loader_of(TerminalOptions(service=service, config=config))()

    def test_secrets_do_not_show(self) -> None:
        service = ServiceOptions(secret="hush", credentials={"password": "hush"})
        assert "hush" not in repr(TerminalOptions(service=service))

    @pytest.mark.parametrize("ending", ["interrupt", "terminate", "kill"])
    def test_the_program_runs_alone_and_leaves_no_child_behind(self, tmp_path: Path, ending: str) -> None:
        if sys.platform == "win32" and ending != "kill":
            pytest.skip("a test cannot send console signals to another process here")
        with _program(tmp_path) as (process, port):
            child = _child_at(port)
            with connected(port) as connection:
                assert "value" in ask(connection, SNAPSHOT)
            if ending == "kill":
                process.kill()
            else:
                process.send_signal(signal.SIGINT if ending == "interrupt" else signal.SIGTERM)
            code = process.wait(15)
            assert ending == "kill" or code == 0
            psutil.wait_procs([child], timeout=10)
            assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    def test_the_gateway_needs_nothing_but_the_standard_library_to_start(self) -> None:
        program = (
            "import sys\nimport dtms.terminal.launch\n"
            "known = set(sys.stdlib_module_names)\n"
            "tops = {name.split('.')[0] for name in sys.modules}\n"
            "print(sorted(top for top in tops - known - {'dtms'} if not top.startswith('_')))\n"
            "print(sorted(name for name in sys.modules if name.startswith('dtms') and not name.startswith('dtms.t')))"
        )
        out = subprocess.run(
            [sys.executable, "-S", "-c", program], env=_stdlib_only(), capture_output=True, text=True, check=True
        ).stdout
        assert out.splitlines() == ["[]", "['dtms']"]


class _program:  # noqa: N801
    """The program ``python -m dtms.terminal.launch``, run on a simulated terminal until the block ends."""

    def __init__(self, folder: Path) -> None:
        config, secret = folder / "sim.json", folder / "secret"
        config.write_text(json.dumps(described(rate=60)))
        secret.write_text(SECRET)
        with socket.create_server((HOST, 0)) as free:
            self._port = free.getsockname()[1]
        arguments = ["--port", str(self._port), "--secret-file", str(secret), "--config", str(config)]
        self._process = subprocess.Popen([sys.executable, "-m", "dtms.terminal.launch", *arguments])

    def __enter__(self) -> tuple["subprocess.Popen[bytes]", int]:
        assert _eventually(lambda: _can_connect(self._port), 20)
        return self._process, self._port

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def _stdlib_only() -> dict[str, str]:
    source = Path(__file__).parents[2] / "src"
    return {**os.environ, "PYTHONPATH": str(source)}


def _seconds(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _eventually(holds: Any, within_s: float = 10) -> bool:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if holds():
            return True
        time.sleep(0.1)
    return False


def _can_connect(port: int) -> bool:
    try:
        connected(port).close()
    except (OSError, EOFError):
        return False
    return True


def _child_at(port: int) -> psutil.Process:
    """Find the process that listens on a port."""
    found = [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    ]
    return psutil.Process(found[0])


async def _until_ready(link: RemoteLink, instances: list[int], count: int) -> None:
    until_s = time.monotonic() + 15
    while len(instances) < count:
        assert time.monotonic() < until_s, "no new child"
        await asyncio.sleep(0.1)
