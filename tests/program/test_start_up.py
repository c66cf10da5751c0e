"""Start-up in order over a real port: what is answered at each step, and how each obstacle ends."""

import json
import sqlite3
import time
from pathlib import Path

import httpx
import pytest
from tests.program.conftest import MakeSite
from tests.program.running import HOST, Program, Site, free_port, wait_until

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


def test_a_broker_that_does_not_come_ends_the_start_with_1_and_one_line(site: Site) -> None:
    server = site.start_server(**{"startup.broker_timeout": 1})
    wait_until(lambda: site.status_of("/dtms/health") == 500, "health tells the failure", every_s=0.02)
    failed = site.http.get("/dtms/health").json()
    assert failed["error"] == "initialization_failed"
    assert "no broker after" in failed["message"]
    assert server.ended(10) == 1
    (line,) = server.events("start_failed")
    assert "no broker after" in line["told"]
    assert str(site.gateway_port) in line["told"]
    assert "Traceback" not in server.text


def test_a_taken_port_is_one_line_and_the_first_server_is_unharmed(calm: Site) -> None:
    second = calm.start_server()
    assert second.ended(15) == 2
    assert f"api.port = {calm.api_port}: cannot listen on" in told(second)
    assert len(second.lines) == 1
    assert calm.status_of("/dtms/health") == 200


def test_a_second_server_on_the_same_store_ends_and_the_first_is_unharmed(calm: Site) -> None:
    port = free_port()
    second = calm.start_server(**{"api.port": port})
    wait_until(lambda: health_of(port) == 500 or second.process.poll() is not None, "the second gave up")
    assert second.ended(15) == 1
    (line,) = second.events("start_failed")
    assert "another DTMS server holds the authority over this store" in line["told"]
    assert "Traceback" not in second.text
    assert calm.status_of("/dtms/health") == 200
    assert calm.get("/dtms/status")["dtms_status"]["ready"] is True


def health_of(port: int) -> int:
    try:
        return httpx.get(f"http://{HOST}:{port}/dtms/health", trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_a_store_of_a_newer_version_is_left_alone(make_site: MakeSite) -> None:
    site = make_site(**{"startup.broker_timeout": 1})
    assert site.start_server().ended(20) == 1
    path = site.data / "dtms_trades.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE dtms_schema SET version_num = '9999_later'")
    connection.close()
    before = path.read_bytes()
    server = site.start_server()
    assert server.ended(20) == 1
    (line,) = server.events("start_failed")
    assert "newer" in line["told"]
    assert "Traceback" not in server.text
    assert path.read_bytes() == before


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


def test_a_gateway_with_another_secret_is_told_not_mistaken_for_an_outage(site: Site) -> None:
    site.start_terminal()
    server = site.start_server(**{"terminal.secret": "y" * 40, "startup.broker_timeout": 1})
    assert server.ended(30) == 1
    assert "refused the secret" in server.events("start_failed")[0]["told"]


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
