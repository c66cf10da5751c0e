"""Start-up in order over a real port: what is answered at each step, and how each obstacle ends."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import pytest
from tests.program.conftest import MONDAY
from tests.program.running import Program, Site, free_port, market, wait_until

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql import SqlStore

ENVELOPE = {"success", "error", "message", "summary", "details", "correlation_id"}
ONCE_RECOVERED = (
    ("GET", "/dtms/status"),
    ("GET", "/dtms/trades"),
    ("GET", "/dtms/trade/100001"),
    ("GET", "/dtms/trade/100001/history"),
    ("GET", "/dtms/trade/100001/explain"),
    ("GET", "/dtms/actions"),
    ("GET", "/dtms/engine"),
    ("POST", "/dtms/trade/enable"),
    ("POST", "/dtms/trade/100001/disable"),
    ("POST", "/dtms/resume"),
    ("POST", "/dtms/mode"),
    ("POST", "/dtms/initialize"),
    ("POST", "/dtms/config/reload"),
)


def told(program: Program) -> str:
    """Return what a program wrote beside its log lines: what a person reads."""
    return "\n".join(line for line in program.lines if not line.startswith("{"))


@dataclass(frozen=True, slots=True)
class Hopeless:
    """Servers that cannot start, begun together because each lingers to tell why."""

    no_broker: Program
    no_broker_site: Site
    other_secret: Program
    newer: Program
    newer_store: Path
    second: Program


@pytest.fixture(scope="module")
def hopeless(calm: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hopeless]:
    soon = {"startup.broker_timeout": 1}
    alone, newer = (Site(tmp_path_factory.mktemp(name), market(MONDAY), **soon) for name in ("alone", "newer"))
    store = newer.data / "dtms_trades.db"
    of_next_version(store)
    try:
        yield Hopeless(
            no_broker=alone.start_server(),
            no_broker_site=alone,
            other_secret=calm.start_server(**own(calm, "other"), **{"terminal.secret": "y" * 40}, **soon),
            newer=newer.start_server(),
            newer_store=store,
            second=calm.start_server(**{"api.port": free_port()}),
        )
    finally:
        alone.close()
        newer.close()


def own(site: Site, name: str) -> dict[str, Any]:
    """Give another server of a site its own port and store."""
    return {"api.port": free_port(), "store.url": f"sqlite:///{(site.data / f'{name}.db').as_posix()}"}


def of_next_version(path: Path) -> None:
    """Make a store, and mark it as written by a later version."""

    async def make() -> None:
        store = SqlStore(f"sqlite:///{path.as_posix()}", SystemClock())
        await store.open()
        await store.close()

    asyncio.run(make())
    connection = driver.connect(path)
    with connection:
        connection.execute("UPDATE dtms_schema SET version_num = '9999_later'")
    connection.close()


def failure_of(server: Program, code: int = 1, within_s: float = 40) -> str:
    """Return the one line with which a start failed."""
    assert server.ended(within_s) == code
    (line,) = server.events("start_failed")
    assert "Traceback" not in server.text
    return str(line["told"])


def test_a_broker_that_does_not_come_ends_the_start_with_1_and_one_line(hopeless: Hopeless) -> None:
    site = hopeless.no_broker_site
    wait_until(lambda: site.status_of("/dtms/health") == 500, "health tells the failure", every_s=0.02)
    failed = site.http.get("/dtms/health").json()
    assert failed["error"] == "initialization_failed"
    assert "no broker after" in failed["message"]
    told = failure_of(hopeless.no_broker)
    assert "no broker after" in told
    assert str(site.gateway_port) in told


def test_a_gateway_with_another_secret_is_told_not_mistaken_for_an_outage(hopeless: Hopeless) -> None:
    assert "refused the secret" in failure_of(hopeless.other_secret)


def test_a_store_of_a_newer_version_is_left_alone(hopeless: Hopeless) -> None:
    assert "9999_later, newer than this program's" in failure_of(hopeless.newer)
    with driver.connect(hopeless.newer_store) as connection:
        assert connection.execute("SELECT version_num FROM dtms_schema").fetchall() == [("9999_later",)]
        assert connection.execute("SELECT count(*) FROM facts").fetchall() == [(0,)]


def test_before_the_broker_all_but_health_pages_and_halt_is_503_and_the_start_goes_on_by_itself(site: Site) -> None:
    server = site.start_server()
    wait_until(lambda: site.status_of("/dtms/health") == 503, "the port answers")
    wait_until(lambda: bool(server.events("broker_unavailable")), "the broker was asked")
    health = site.http.get("/dtms/health").json()
    assert (health["ready"], health["broker_connected"], health["store_ok"]) == (False, False, True)
    assert "starting: broker" in " ".join(health["reasons"])
    assert site.http.get("/health").json()["status"] in ("unhealthy", "degraded")
    assert site.status_of("/dtms/monitoring/health") == 503
    for method, path in ONCE_RECOVERED:
        answer = site.http.request(method, path, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error"]) == (503, "not_ready"), path
        assert answer.json().keys() == ENVELOPE
        assert int(answer.headers["Retry-After"]) > 0
    assert site.status_of("/") == site.status_of("/docs") == site.status_of("/openapi.json") == 200
    # The kill switch works before there is a broker …
    assert site.done("/dtms/halt", {"reason": "do not start trading"})["halted"] is True
    site.start_terminal()
    site.wait_ready(server)
    assert site.get("/dtms/status")["dtms_status"]["halt_reason"] == "do not start trading"
    # … and holds across a restart.
    assert server.interrupt() == 0
    again = site.start_server()
    site.wait_ready(again)
    assert site.get("/dtms/status")["dtms_status"]["halted"] is True
    site.done("/dtms/resume")
    assert site.get("/dtms/status")["dtms_status"]["halted"] is False
    again.kill()
    site.wait_ready(site.start_server())
    assert site.get("/dtms/status")["dtms_status"]["halted"] is False


def test_a_taken_port_is_one_line_and_the_first_server_is_unharmed(calm: Site) -> None:
    second = calm.start_server()
    assert second.ended(15) == 2
    assert f"api.port = {calm.api_port}: cannot listen on" in told(second)
    assert len(second.lines) == 1
    assert calm.status_of("/dtms/health") == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "without API keys only a loopback address is allowed"),
        (("--set", "protection.warn_11=-3"), "did you mean protection.warn_l1?"),
        (("--set", "protection.warn_l1=low"), 'protection.warn_l1 = "low"'),
        (("--set", "store.url=mysql://x"), "must start with sqlite:/// or postgresql://"),
    ],
)
def test_what_cannot_work_is_refused_at_once_in_one_line(site: Site, arguments: tuple[str, ...], words: str) -> None:
    server = site.start_server(*arguments)
    assert server.ended(15) == 2
    assert words in told(server)
    assert len(server.lines) == 1
    assert not (site.data / "dtms_trades.db").exists()


def test_a_wrong_file_stops_the_start_and_names_key_value_rule_and_source(site: Site) -> None:
    path = site.folder / "config" / "dtms_config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"cadence": {"fast_s": -5}}), encoding="utf-8")
    server = site.start_server()
    assert server.ended(15) == 2
    assert told(server) == (
        f"dtms: cadence.fast_s = -5.0: must lie between 1 and 86400 (from {Path('config/dtms_config.json').as_posix()})"
    )


def test_a_gateway_whose_market_cannot_be_loaded_ends_with_2_and_one_line(site: Site) -> None:
    (site.folder / "terminal.json").write_text('{"start": "2017-10-02T07:00Z", "symbols": [{"name": "X"}]}')
    terminal = site.start_terminal()
    assert terminal.ended(20) == 2
    assert "X" in terminal.text
    assert "Traceback" not in terminal.text


def test_ctrl_c_while_starting_ends_in_order(site: Site) -> None:
    server = site.start_server()
    wait_until(lambda: bool(server.events("broker_unavailable")), "the broker was asked")
    started = time.monotonic()
    assert server.interrupt() == 0
    assert time.monotonic() - started < 10
    assert "Traceback" not in server.text


def test_a_second_server_on_the_same_store_ends_and_the_first_is_unharmed(calm: Site, hopeless: Hopeless) -> None:
    assert "another DTMS server holds the authority over this store" in failure_of(hopeless.second)
    assert calm.status_of("/dtms/health") == 200
    assert calm.get("/dtms/status")["dtms_status"]["ready"] is True
