"""Trades, status and controls: read back exactly as memory and store have them."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from tests.server.double import START_MS, fact, trade_of
from tests.server.past import MINUTE, lived
from tests.server.world import World, check_envelope

from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Machine, Member, Mode, Role, State
from dtms.execute.service import Registration


def test_one_trade_is_the_same_at_the_top_and_inside(world: World) -> None:
    lived(world)
    answer = asyncio.run(world.get("/dtms/trade/42"))
    info = answer["trade_info"]
    for key in ("ticket", "symbol", "direction", "state", "current_score", "state_entry_time"):
        assert answer[key] == info[key], key
    assert (answer["state"], answer["current_score"]) == ("WARNING_L2", -6.0)
    assert answer["error"] is None
    assert (info["type"], info["open_price"], info["current_price"], info["profit"]) == ("BUY", 1.1, 1.094, -60.0)
    assert (info["sl"], info["tp"], info["volume"], info["mode"]) == (1.092, None, 0.1, "auto")
    assert (info["owner"], info["needs_attention"], info["protection_active"]) == ("dtms_manager", False, True)
    assert info["r_multiple"] == pytest.approx(-0.6)
    assert [a["to_state"] for a in info["actions_taken"]] == ["WARNING_L1", "WARNING_L2"]
    assert info["actions_taken"][0].keys() >= {"timestamp", "from_state", "to_state", "reason", "score"}
    assert info["performance"]["warning_count"] == 2
    assert [s["score"] for s in info["performance"]["score_history"]] == [1.0, -4.0, -6.0]
    assert info["score_breakdown"]["total"] == -6.0


def test_a_trade_shows_its_hedge_timers_and_warnings(world: World) -> None:
    lived(world)
    live = world.service.lives[42]
    hedge = Member(
        ticket=77,
        identifier=77,
        role=Role.HEDGE,
        side=Side.SHORT,
        volume=Decimal("0.05"),
        entry=1.093,
        stop=1.1,
        target=None,
        intent=3,
        opened_ms=START_MS + 21 * MINUTE,
    )
    machine = replace(live.trade.machine, state=State.HEDGED, flat_since_ms=START_MS + 21 * MINUTE)
    trade = replace(live.trade, machine=machine, members=(hedge,), nominal_risk=True, needs_attention="5 failures")
    world.service.lives[42] = replace(live, trade=trade, flat_left_min=141.0, held="bars are 400 s late")
    info = asyncio.run(world.get("/dtms/trade/42"))["trade_info"]
    assert (info["hedge"]["ticket"], info["hedge"]["direction"], info["hedge"]["volume"]) == (77, "SELL", 0.05)
    assert info["timers"]["flat"] == {"started_at": "2025-09-26T17:06:00.000Z", "minutes_left": 141.0}
    assert info["timers"]["recovery"] is None
    assert info["needs_attention"] is True
    text = " ".join(info["warnings"])
    assert all(words in text for words in ("without a stop", "5 failures", "400 s late"))


def test_observe_shows_the_shadow_state_as_such(world: World) -> None:
    asyncio.run(world.enable(42, mode="observe"))
    live = world.service.lives[42]
    world.service.lives[42] = replace(live, trade=replace(live.trade, shadow=Machine(state=State.WARNING_L1)))
    answer = asyncio.run(world.get("/dtms/trade/42"))
    assert (answer["state"], answer["trade_info"]["shadow_state"]) == ("HEALTHY", "WARNING_L1")
    assert answer["trade_info"]["mode"] == "observe"
    assert "shadow: WARNING_L1" in answer["summary"]


def test_a_closed_trade_is_read_from_the_store_with_its_closing_figures(world: World) -> None:
    closed = replace(
        trade_of(Registration(ticket=9, stop=1.09), START_MS),
        machine=Machine(state=State.CLOSED, entered_ms=START_MS + MINUTE),
        closed_ms=START_MS + MINUTE,
        close_reason="stop hit",
        close_price=1.09,
        realised=-100.0,
    )
    world.store.rows[9] = closed
    answer = asyncio.run(world.get("/dtms/trade/9"))
    info = answer["trade_info"]
    assert (answer["state"], info["profit"], info["current_price"]) == ("CLOSED", -100.0, 1.09)
    assert (info["close_reason"], info["closed_at"]) == ("stop hit", "2025-09-26T16:46:00.000Z")
    assert "stop hit" in answer["summary"]
    assert info["protection_active"] is False
    assert asyncio.run(world.get("/dtms/trades"))["trades"] == []
    assert len(asyncio.run(world.get("/dtms/trades?state=CLOSED"))["trades"]) == 1


def test_trades_are_paged_and_filtered(world: World) -> None:
    async def run() -> None:
        for ticket in range(1, 8):
            await world.enable(ticket, symbol="EURUSD" if ticket % 2 else "XAUUSD")
        seen, cursor = [], ""
        while cursor is not None:
            page = await world.get(f"/dtms/trades?limit=3&cursor={cursor}")
            seen += [t["ticket"] for t in page["trades"]]
            cursor = page["next_cursor"]
        assert seen == [1, 2, 3, 4, 5, 6, 7]
        gold = await world.get("/dtms/trades?symbol=XAUUSD")
        assert [t["ticket"] for t in gold["trades"]] == [2, 4, 6]
        some = await world.get("/dtms/trades?tickets=5,1,99&state=&symbol=")
        assert [t["ticket"] for t in some["trades"]] == [1, 5]
        await world.ask("POST", "/dtms/trade/5/disable")
        assert len((await world.get("/dtms/trades"))["trades"]) == 6
        assert len((await world.get("/dtms/trades?state=any"))["trades"]) == 7
        assert (await world.get("/dtms/trades?state=hedged,CLOSED"))["trades"] == []

    asyncio.run(run())


def test_a_page_has_the_same_objects_as_single_trades_and_rereads_only_what_changed(world: World) -> None:
    async def run() -> None:
        for ticket in range(1, 21):
            await world.enable(ticket)
        page = await world.get("/dtms/trades")
        assert page["trades"][4] == await world.get("/dtms/trade/5")
        before = world.store.reads
        await world.get("/dtms/trades")
        assert world.store.reads == before + 1
        live = world.service.lives[5]
        world.store.add(fact(FactKind.TRANSITION, 5, START_MS, **{"from": "HEALTHY", "to": "WARNING_L1"}))
        world.service.lives[5] = replace(live, trade=replace(live.trade, version=1))
        again = await world.get("/dtms/trades")
        assert len(again["trades"][4]["trade_info"]["actions_taken"]) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    "query",
    [
        "state=ASLEEP",
        "state=HEALTHY,",
        "symbol=EUR%20USD",
        "symbol=%00",
        "tickets=x",
        "tickets=1,,2",
        "tickets=0",
        "tickets=" + ",".join(["1"] * 501),
        "tickets=" + "9" * 30,
        "cursor=-1",
        "cursor=x",
        "cursor=" + "9" * 40,
        "limit=0",
        "limit=501",
        "limit=1.5",
        "limit=1_0",
    ],
)
def test_an_odd_query_of_trades_is_refused_by_name(world: World, query: str) -> None:
    body = check_envelope(asyncio.run(world.ask("GET", f"/dtms/trades?{query}")), 422, "invalid_request")
    assert body["details"]["fields"][0]["field"] == query.partition("=")[0]


def test_status_has_every_key_and_says_it_in_words(world: World) -> None:
    asyncio.run(world.enable(42))
    asyncio.run(world.ask("POST", "/dtms/halt", json={"reason": "news"}))
    answer = asyncio.run(world.get("/dtms/status"))
    status = answer["dtms_status"]
    assert status.keys() >= {"system_active", "uptime", "active_trades", "trades_by_state", "last_check", "rails"}
    assert status["performance"] == {
        "fast_checks_total": 120,
        "deep_checks_total": 4,
        "actions_executed": 0,
        "state_transitions": 0,
        "fast_checks_per_hour": 120.0,
        "deep_checks_per_hour": 4.0,
    }
    assert (status["halted"], status["mode"], answer["error"]) == (True, "auto", None)
    assert "kill switch is on: news" in answer["summary"]


def test_the_engine_tells_when_each_trade_was_looked_at_in_epoch_seconds(world: World) -> None:
    asyncio.run(world.enable(42))
    info = asyncio.run(world.get("/dtms/engine"))["engine_info"]
    assert info["last_fast_check"] == {"42": START_MS / 1000}
    assert (info["monitoring_active"], info["active_trades_count"], info["last_deep_check"]) == (True, 1, {})


def test_modes_are_set_for_the_account_or_one_trade(world: World) -> None:
    async def run() -> None:
        await world.enable(42)
        answer = await world.ask("POST", "/dtms/mode", json={"mode": "observe"})
        assert (answer.json()["mode"], world.service.account_mode) == ("observe", Mode.OBSERVE)
        await world.ask("POST", "/dtms/mode", json={"mode": "advise", "ticket": "42"})
        assert (await world.get("/dtms/trade/42"))["trade_info"]["mode"] == "advise"
        check_envelope(
            await world.ask("POST", "/dtms/mode", json={"mode": "auto", "ticket": 1}), 404, "trade_not_found"
        )
        check_envelope(await world.ask("POST", "/dtms/mode", json={}), 422, "invalid_request")

    asyncio.run(run())


def test_the_kill_switch_is_set_and_lifted(world: World) -> None:
    async def run() -> None:
        assert (await world.ask("POST", "/dtms/halt", json={"reason": "news"})).json()["halted"] is True
        assert world.service.halt_reason == "news"
        check_envelope(await world.ask("POST", "/dtms/halt", json={"reason": "x" * 501}), 422, "invalid_request")
        assert (await world.ask("POST", "/dtms/resume", json={})).json()["halted"] is False

    asyncio.run(run())
