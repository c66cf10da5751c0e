"""Restarts: whatever ends, and however, every trade stands as before, and nothing is done twice."""

import json
import random
import time
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from tests.program.past import PLAYED, demo_day, ledger_of, play_past
from tests.program.running import Program, Site, wait_until
from tests.replay.judge import DONE, is_ours

from dtms.replay import MAGIC_PREFIX

TRADES = "SELECT * FROM trades ORDER BY ticket"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation with a past, its market at real speed: in the seconds of a test nothing much moves."""
    site = Site(tmp_path_factory.mktemp("lived"), demo_day(), **PLAYED)
    try:
        standing = play_past(site)
        assert standing["HEDGED"] >= 1
        assert len(standing) >= 2
        yield site
    finally:
        site.close()


def open_trades(site: Site) -> dict[int, Any]:
    """What the API shows of every active trade that a restart must not change."""
    kept = ("state", "risk", "initial_stop", "sl", "tp", "volume", "family", "hedge", "owner", "armed", "registered_at")
    return {
        t["ticket"]: {name: t["trade_info"][name] for name in kept}
        | {"entered": t["state_entry_time"], "timers": _starts(t["trade_info"]["timers"])}
        for t in site.get("/dtms/trades", limit=500)["trades"]
    }


def _starts(timers: dict[str, Any]) -> dict[str, Any]:
    return {name: timer and timer["started_at"] for name, timer in timers.items()}


def test_every_trade_stands_as_before_after_a_stop_a_kill_and_a_gateway_that_died(lived: Site) -> None:
    before = lived.rows(TRADES)
    terminal, server = lived.start()
    shown = open_trades(lived)
    assert {trade["state"] for trade in shown.values()} >= {"HEDGED"}
    assert any(trade["hedge"] for trade in shown.values())
    assert any(trade["timers"]["flat"] for trade in shown.values())
    assert lived.rows(TRADES) == before

    started = time.monotonic()
    assert server.interrupt() == 0
    assert time.monotonic() - started < 10
    assert lived.rows(TRADES) == before
    server = lived.start_server()
    lived.wait_ready(server)
    assert (lived.rows(TRADES), open_trades(lived)) == (before, shown)

    server.kill()
    server = lived.start_server()
    lived.wait_ready(server)
    assert (lived.rows(TRADES), open_trades(lived)) == (before, shown)

    kill_child(terminal)
    wait_until(lambda: lived.status_of("/dtms/health") == 503, "unready without the terminal")
    reasons = lived.http.get("/dtms/health").json()["reasons"]
    assert any("broker unavailable" in reason for reason in reasons)
    assert lived.post("/dtms/trade/enable", {"ticket": 1}).status_code == 503
    assert lived.get("/dtms/trades")["stale"] is True
    wait_until(lambda: lived.status_of("/dtms/health") == 200, "ready again by itself")
    assert (lived.rows(TRADES), open_trades(lived)) == (before, shown)

    terminal.kill()
    wait_until(lambda: lived.status_of("/dtms/health") == 503, "unready without the gateway")
    lived.start_terminal()
    wait_until(lambda: lived.status_of("/dtms/health") == 200, "ready again by itself")
    assert (lived.rows(TRADES), open_trades(lived)) == (before, shown)
    assert server.process.poll() is None


def kill_child(terminal: Program) -> None:
    """Kill the process that holds the terminal, and leave its keeper."""
    keeper = psutil.Process(terminal.process.pid)
    wait_until(lambda: bool(keeper.children()), "a child runs")
    max(keeper.children(recursive=True), key=lambda child: child.memory_info().rss).kill()


def test_in_a_running_market_nothing_is_lost_or_done_twice_whatever_is_killed(tmp_path_factory: Any) -> None:
    site = Site(tmp_path_factory.mktemp("killed"), demo_day(rate=600), **PLAYED, **{"cadence.tick_poll_ms": 50})
    try:
        play_past(site)
        known = {row[0] for row in site.rows("SELECT ticket FROM trades")}
        done_before = len(site.rows("SELECT number FROM intents WHERE state = 'CONFIRMED'"))
        dice = random.Random(7)
        terminal, server = site.start()
        for what in ("child", "server", "gateway", "server"):
            time.sleep(1.0 + dice.random())
            if what == "child":
                kill_child(terminal)
            elif what == "gateway":
                terminal.kill()
                terminal = site.start_terminal()
            else:
                server.kill()
                server = site.start_server()
            wait_until(
                lambda: site.status_of("/dtms/health") != 200, f"unready when the {what} was killed", every_s=0.02
            )
            site.wait_ready(server)
        time.sleep(1.0)
        settle(site)
        assert server.interrupt() == 0
        assert terminal.interrupt() == 0
        assert len(site.rows("SELECT number FROM intents WHERE state = 'CONFIRMED'")) > done_before, (
            "something was done"
        )
        judge(site, known)
    finally:
        site.close()


def settle(site: Site) -> None:
    """Wait until no request's outcome is open; a settle window is 20 market seconds."""
    site.done("/dtms/halt", {"reason": "to count"})
    wait_until(lambda: site.get("/dtms/status")["dtms_status"]["intents_unknown"] == 0, "every outcome is known")


def judge(site: Site, known: set[int], given_up: Collection[int] = ()) -> None:
    """Match the store's intents with the terminal's books, one to one, and its trades with the positions.

    ``given_up`` are trades that were disabled by hand: their positions stay, and what was re-added is theirs.
    """
    ledger = ledger_of(site.journal)
    rows = site.rows("SELECT number, state, body FROM intents")
    magic = {number: MAGIC_PREFIX << 40 | number for number, _, _ in rows}
    confirmed = {magic[n] for n, state, _ in rows if state == "CONFIRMED"}
    carried_out = Counter(
        n.request["magic"] for n in ledger.requests if n.retcode in DONE and is_ours(magic_of(n.request))
    )
    assert set(carried_out) == confirmed, "what was done is what is recorded as done"
    assert set(carried_out.values()) <= {1}, "an intent was carried out twice"
    deals = Counter(deal.magic for deal in ledger.deals if is_ours(deal.magic))
    assert set(deals) <= confirmed
    assert {state for _, state, _ in rows} <= {"CONFIRMED", "REFUSED", "NOT_EXECUTED"}
    trades = {t: (s, json.loads(m)) for t, s, m in site.rows("SELECT ticket, state, memory FROM trades")}
    assert known <= set(trades)
    active = {ticket for ticket, (state, _) in trades.items() if state != "CLOSED"}
    held = {p.ticket for p in ledger.positions.values() if p.magic == 0}
    assert active == held, "every position is watched, and nothing that is gone"
    members = {m["ticket"] for ticket in active for m in trades[ticket][1]["members"]}
    assert members == {p.ticket for p in ledger.positions.values() if is_ours(p.magic)}


def magic_of(request: dict[str, Any]) -> int:
    return int(request.get("magic", 0))
