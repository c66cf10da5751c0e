"""Switches over real HTTP, in a market that moves: disable, modes, halt, reload; and the story that the views tell."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.program.past import PLAYED, demo_day, ledger_of, play_past
from tests.program.running import Program, Site, wait_until
from tests.replay.judge import DONE, is_ours


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, list[Program]]]:
    """An installation with a past and a configuration file, running; the market at real speed."""
    site = Site(tmp_path_factory.mktemp("controls"), demo_day(), **PLAYED)
    try:
        play_past(site)
        config_of(site).parent.mkdir()
        write_config(site, {})
        yield site, list(site.start())
    finally:
        site.close()


def config_of(site: Site) -> Path:
    return site.folder / "config" / "dtms_config.json"


def write_config(site: Site, content: Any) -> None:
    config_of(site).write_text(json.dumps(content), encoding="utf-8")


def requests_sent(site: Site) -> int:
    """Count what was asked of the broker under our numbers, done or refused."""
    return sum(is_ours(n.request.get("magic", 0)) for n in ledger_of(site.journal).requests)


def in_state(site: Site, state: str) -> dict[str, Any]:
    found: dict[str, Any] = site.get("/dtms/trades", state=state, limit=500)["trades"][0]
    return found


def test_health_tells_of_a_loop_that_is_young_and_of_checks_that_happen(lived: tuple[Site, Any]) -> None:
    site, _ = lived
    first = site.get("/dtms/monitoring/health")
    assert first["alive"] is True
    assert first["loop_age_s"] < 3
    assert first["last_cycle"]["outcome"] == "ok"
    wait_until(lambda: site.get("/dtms/monitoring/health")["cycles"] > first["cycles"] + 3, "cycles go on")
    engine = site.get("/dtms/engine")["engine_info"]
    listed = site.get("/dtms/trades", limit=500)["trades"]
    assert engine["active_trades_count"] == len(listed)
    assert set(engine["last_fast_check"]) == {str(trade["ticket"]) for trade in listed}


def test_the_views_tell_of_a_hedged_trade_what_the_terminals_books_say(lived: tuple[Site, Any]) -> None:
    site, _ = lived
    trade = in_state(site, "HEDGED")
    ticket, hedge = trade["ticket"], trade["trade_info"]["hedge"]
    books = ledger_of(site.journal)
    (opened,) = [deal for deal in books.deals if deal.position_id == hedge["ticket"] and deal.entry == 0]
    assert opened.magic & (2**40 - 1) == hedge["intent"]
    assert hedge["direction"] != trade["direction"]
    assert books.positions[hedge["ticket"]].units == opened.units

    history = site.get(f"/dtms/trade/{ticket}/history")
    story = [(t["from_state"], t["to_state"]) for t in history["transitions"]]
    assert story[-1][1] == "HEDGED"
    assert all(before[1] == after[0] for before, after in pairwise(story)), "no state is left out"
    done = [a for a in history["actions"] if a["success"]]
    ours = {n.request["magic"] & (2**40 - 1): n for n in books.requests if n.retcode in DONE and "magic" in n.request}
    assert {a["details"]["intent"] for a in done} <= set(ours)
    assert "open_hedge" in {a["action_type"] for a in done}
    for action in done:
        if action["action_type"] in ("tighten_stop", "stop_to_breakeven"):
            assert ours[action["details"]["intent"]].request["sl"] == action["details"]["stop"]
    assert [p["state"] for p in history["points"]][-1] == "HEDGED"

    listed = site.get("/dtms/actions", ticket=ticket, limit=50)["action_history"]
    assert [a["id"] for a in listed] == [a["id"] for a in history["actions"]]
    explained = site.get(f"/dtms/trade/{ticket}/explain")
    assert explained["state"] == "HEDGED"
    assert len(explained["layers"]) == 6
    then = site.get(f"/dtms/trade/{ticket}/explain", at=history["transitions"][0]["timestamp"])
    assert then["at"] <= explained["at"]
    assert str(ticket) in trade["summary"]
    assert "HEDGED" in trade["summary"]


def test_a_hedges_ticket_is_refused_with_the_name_of_its_trade(lived: tuple[Site, Any]) -> None:
    site, _ = lived
    trade = in_state(site, "HEDGED")
    hedge = trade["trade_info"]["hedge"]["ticket"]
    answer = site.post("/dtms/trade/enable", {"ticket": hedge})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert answer.json()["details"] == {"ticket": hedge, "trade": trade["ticket"]}
    assert str(trade["ticket"]) in answer.json()["message"]


def test_disabling_waits_for_the_hedge_holds_over_a_restart_and_ends_with_the_same_r(lived: tuple[Site, Any]) -> None:
    site, programs = lived
    trade = in_state(site, "HEDGED")
    ticket, hedge, risk = trade["ticket"], trade["trade_info"]["hedge"]["ticket"], trade["trade_info"]["risk"]
    path = f"/dtms/trade/{ticket}/disable"
    refused = site.post(path)
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")
    assert hedge in refused.json()["details"]["hedges"]
    site.done("/dtms/halt", {"reason": "test"})
    assert site.post(path, {"close_hedge": True}).json()["error"] == "halted"
    assert hedge in ledger_of(site.journal).positions
    site.done("/dtms/resume")
    site.done(path, {"close_hedge": True})
    books = ledger_of(site.journal)
    assert hedge not in books.positions, "the hedge is closed at the broker"
    assert ticket in books.positions, "the trade itself is not"
    before = site.rows("SELECT * FROM trades WHERE ticket = ?", ticket)
    site.done(path)
    assert site.rows("SELECT * FROM trades WHERE ticket = ?", ticket) == before, "idempotent"

    assert programs[1].interrupt() == 0
    programs[1] = site.start_server()
    site.wait_ready(programs[1])
    info = site.trade(ticket)["trade_info"]
    assert (info["disabled"], info["protection_active"]) == (True, False)
    assert ticket not in {
        t["ticket"] for t in site.get("/dtms/trades", limit=500)["trades"] if not t["trade_info"]["disabled"]
    }
    assert str(ticket) not in site.get("/dtms/engine")["engine_info"]["last_fast_check"]
    again = site.done("/dtms/trade/enable", {"ticket": ticket})
    assert (again["already_registered"], again["trade_info"]["state"]) == (False, "HEALTHY")
    assert again["trade_info"]["risk"] == risk


def test_modes_are_set_for_the_account_and_for_one_trade_and_survive_a_restart(lived: tuple[Site, Any]) -> None:
    site, programs = lived
    first, second = (trade["ticket"] for trade in site.get("/dtms/trades", limit=500)["trades"][:2])
    site.done("/dtms/mode", {"mode": "observe"})
    site.done("/dtms/mode", {"mode": "auto", "ticket": first})
    programs[1].kill()
    programs[1] = site.start_server()
    site.wait_ready(programs[1])
    assert site.get("/dtms/status")["dtms_status"]["mode"] == "observe"
    assert site.trade(first)["trade_info"]["mode"] == "auto"
    assert site.trade(second)["trade_info"]["mode"] == "observe"
    assert site.post("/dtms/mode", {"mode": "observe", "ticket": 1}).json()["error"] == "trade_not_found"
    assert site.post("/dtms/mode", {"mode": "advise"}).status_code == 422
    site.done("/dtms/mode", {"mode": "auto"})


def test_a_changed_file_is_taken_whole_and_journalled_and_a_wrong_one_not_at_all(lived: tuple[Site, Any]) -> None:
    site, programs = lived
    write_config(site, {"protection": {"warn_l1": -3.75}, "cadence": {"fast_s": 20.0}})

    def changes() -> list[tuple[Any, ...]]:
        return site.rows("SELECT details FROM facts WHERE kind = 'settings_changed' ORDER BY id")

    wait_until(lambda: len(changes()) == 1, "the file was noticed")
    assert json.loads(changes()[0][0]) == {
        "protection.warn_l1": {"old": -3.5, "new": -3.75},
        "cadence.fast_s": {"old": 30.0, "new": 20.0},
    }
    ticket = site.get("/dtms/trades")["trades"][0]["ticket"]
    wait_until(lambda: site.get(f"/dtms/trade/{ticket}/explain")["thresholds"]["warn_l1"] == -3.75, "used")
    write_config(site, {"protection": {"warn_l1": -3.9, "warn_l2": 5.0}})
    wait_until(lambda: bool(programs[1].events("configuration_refused")), "the wrong file was noticed")
    refused = site.post("/dtms/config/reload")
    assert refused.status_code == 422
    assert "thresholds must fall" in refused.json()["message"]
    assert len(changes()) == 1
    assert site.get(f"/dtms/trade/{ticket}/explain")["thresholds"]["warn_l1"] == -3.75
    write_config(site, {"api": {"port": 1234}})
    answer = site.done("/dtms/config/reload")
    assert answer["needs_restart"] == {} or "api.port" in answer["needs_restart"]
    assert answer["changes"]["protection.warn_l1"] == {"old": -3.75, "new": -3.5}
    assert site.status_of("/health") == 200


def test_observe_and_halt_send_nothing_in_a_market_that_moves_and_resume_acts_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    site = Site(tmp_path_factory.mktemp("moving"), demo_day(rate=1200), **PLAYED, **{"cadence.tick_poll_ms": 50})
    try:
        play_past(site)
        sent = requests_sent(site)
        site.start(mode="observe")
        wait_until(lambda: bool(shadows(site)), "a shadow steps")
        assert requests_sent(site) == sent, "observe sends nothing"
        site.done("/dtms/halt", {"reason": "look first"})
        site.done("/dtms/mode", {"mode": "auto"})
        look(site, 30)
        assert requests_sent(site) == sent, "a halted engine sends nothing"
        site.done("/dtms/resume")
        wait_until(lambda: requests_sent(site) > sent, "it acts again")
        site.done("/dtms/halt", {"reason": "again"})
        look(site, 1)  # the request in hand is finished
        sent = requests_sent(site)
        look(site, 30)
        assert requests_sent(site) == sent
    finally:
        site.close()


def look(site: Site, times: int) -> None:
    """Wait until trades were looked at so many times more."""

    def looks() -> int:
        return int(site.get("/dtms/status")["dtms_status"]["performance"]["deep_checks_total"])

    until = looks() + times
    wait_until(lambda: looks() > until, "trades are looked at")


def shadows(site: Site) -> list[tuple[Any, ...]]:
    return site.rows("SELECT summary FROM facts WHERE kind = 'shadow_transition'")
