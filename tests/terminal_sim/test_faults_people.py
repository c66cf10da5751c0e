"""Other people and the broker, acting while the terminal runs; and the messages by which they are asked to."""

import json
import re
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, price

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_kinds import FaultKind


@pytest.fixture
def lab(bench: MakeLab) -> Lab:
    return bench([FLAT] * 10)


def fault(lab: Lab, kind: str, **more: Any) -> None:
    lab.terminal.simulation.faults.add({"kind": kind, **more})


def ask(lab: Lab, do: str, **more: Any) -> Any:
    """Ask as the gateway does; what comes back must cross as JSON."""
    answer = lab.terminal.simulation.control({"call": "simulation", "do": do, **more})
    assert json.loads(json.dumps(answer)) == answer
    return answer


class TestBeforeACall:
    def test_somebody_closes_the_position_just_before_our_request(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "outside_close", of="levels", reason="web")
        assert lab.levels(ticket, sl=price(-99)).retcode == MT5.TRADE_RETCODE_POSITION_CLOSED
        closing = lab.terminal.simulation.ledger.deals[-1]
        assert (closing.reason, closing.position_id) == (MT5.DEAL_REASON_WEB, ticket)

    def test_somebody_closes_a_part_of_it(self, lab: Lab) -> None:
        ticket = lab.opened(0, 0.3)
        fault(lab, "outside_close", lots=0.2)
        assert lab.market(1, 0.2, position=ticket).retcode == MT5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
        position = lab.position(ticket)
        assert position is not None
        assert position.volume == 0.1

    @pytest.mark.parametrize(("kind", "level"), [("outside_stop", -150), ("outside_target", 150)])
    def test_somebody_moves_or_removes_a_level_and_the_other_stays(self, lab: Lab, kind: str, level: int) -> None:
        ticket = lab.opened(0, sl=price(-200), tp=price(200))
        index = 0 if kind == "outside_stop" else 1
        for told, shown in ((price(level), price(level)), (0.0, 0.0)):
            fault(lab, kind, price=told, calls=["positions_get"])
            position = lab.position(ticket)
            assert position is not None
            levels = [position.sl, position.tp]
            assert levels.pop(index) == shown
            assert levels == [price(200) if index == 0 else price(-200)]

    def test_somebody_opens_a_position_of_his_own(self, lab: Lab) -> None:
        fault(lab, "outside_open", side="SELL", lots=0.4, calls=["positions_get"], reason="client")
        (position,) = lab.terminal.positions_get() or ()
        assert (position.type, position.volume, position.magic, position.reason) == (1, 0.4, 0, 0)

    def test_with_nothing_to_act_on_nothing_happens(self, lab: Lab) -> None:
        for kind in ("outside_stop", "outside_target", "outside_close"):
            fault(lab, kind, calls=["positions_get"])
            assert lab.terminal.positions_get() == ()


class TestActing:
    def test_a_person_opens_changes_and_closes(self, lab: Lab) -> None:
        made = ask(lab, "act", act="open", symbol="EURUSD", side="BUY", lots=0.3, sl=price(-100), reason="mobile")
        ticket = made["order"]
        assert made["retcode"] == MT5.TRADE_RETCODE_DONE
        ask(lab, "act", act="modify", ticket=ticket, tp=price(300))
        position = lab.position(ticket)
        assert position is not None
        assert (position.sl, position.tp, position.reason) == (price(-100), price(300), MT5.POSITION_REASON_MOBILE)
        ask(lab, "act", act="close", ticket=ticket, lots=0.1)
        ask(lab, "act", act="close", ticket=ticket)
        assert lab.terminal.positions_get() == ()
        assert ask(lab, "act", act="close", ticket=ticket)["retcode"] == MT5.TRADE_RETCODE_POSITION_CLOSED

    def test_time_is_moved_on(self, lab: Lab) -> None:
        before_ms = lab.terminal.simulation.utc_ms()
        assert ask(lab, "advance", seconds=90) == before_ms + 90_000
        assert lab.terminal.simulation.utc_ms() == before_ms + 90_000

    def test_the_books_tell_what_really_happened(self, lab: Lab) -> None:
        fault(lab, "lost_executed")
        request = {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, "type_filling": 0, "magic": 9}
        assert lab.terminal.order_send(request) is None
        fault(lab, "empty_list", times=0)
        books = ask(lab, "ledger", last=1)
        assert [position["magic"] for position in books["positions"]] == [9]
        assert [(deal["magic"], deal["volume"]) for deal in books["deals"]] == [(9, 0.1)]
        (note,) = books["requests"]
        assert (note["retcode"], note["reason"], note["request"]["magic"]) == (10009, "expert", 9)

    @pytest.mark.parametrize(
        ("name", "value", "full"),
        [
            ("connected", False, "switches.connected"),
            ("manners.comment_mode", "truncate_16", "manners.comment_mode"),
            ("EURUSD.stops_level_points", 77, "symbol.EURUSD.stops_level_points"),
            ("symbol.EURUSD.trade_mode", 3, "symbol.EURUSD.trade_mode"),
        ],
    )
    def test_a_condition_is_set_by_its_name_or_the_end_of_it(self, lab: Lab, name: str, value: Any, full: str) -> None:
        assert ask(lab, "set", name=name, value=value) == {full: value}
        assert ask(lab, "conditions")[full] == value

    def test_what_was_set_is_what_a_caller_meets(self, lab: Lab) -> None:
        ask(lab, "set", name="EURUSD.stops_level_points", value=500)
        assert lab.market(0, sl=price(-400)).retcode == MT5.TRADE_RETCODE_INVALID_STOPS
        ask(lab, "set", name="connected", value=False)
        info = lab.terminal.terminal_info()
        assert info is not None
        assert not info.connected

    def test_faults_are_added_listed_and_cleared(self, lab: Lab) -> None:
        assert len(ask(lab, "kinds")) == len(FaultKind)
        ask(lab, "add", fault={"kind": "lost_late", "late_s": 3})
        ask(lab, "add", fault={"kind": "lag"})
        lab.terminal.order_send({"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, "type_filling": 0})
        listed = ask(lab, "faults")
        assert [fault["kind"] for fault in listed["active"]] == ["lag"]
        assert listed["fired"] == {"lost_late": 1}
        assert [waiting["request"]["volume"] for waiting in listed["waiting"]] == [0.1]
        assert ask(lab, "clear", kind="stale_list") == 0
        assert ask(lab, "clear") == 1
        lab.clock.advance(4)
        assert len(lab.terminal.positions_get() or ()) == 1

    @pytest.mark.parametrize(
        ("message", "told"),
        [
            ({}, "do: one of"),
            ({"do": "__class__"}, "do: one of"),
            ({"do": "add"}, "fault"),
            ({"do": "add", "fault": {"kind": "x"}}, "x"),
            ({"do": "add", "fault": {"kind": "hang"}}, "virtual"),
            ({"do": "clear", "kind": "x"}, "x"),
            ({"do": "set", "name": "nothing", "value": 1}, "no such name"),
            ({"do": "set", "name": "connected", "value": "yes"}, "connected"),
            ({"do": "set", "name": "EURUSD.digits", "value": 3}, "no such name"),
            ({"do": "set", "name": "EURUSD.stops_level_points", "value": -1.5}, "stops_level_points"),
            ({"do": "act"}, "act: one of"),
            ({"do": "act", "act": "close"}, "ticket"),
            ({"do": "act", "act": "close", "ticket": 1, "more": 2}, "more"),
            ({"do": "act", "act": "close", "ticket": 1, "reason": "tax"}, "TAX"),
            ({"do": "act", "act": "open", "symbol": "X", "side": "BUY", "lots": 1}, "X"),
            ({"do": "act", "act": "open", "symbol": "EURUSD", "side": "BUY", "lots": "much"}, "much"),
            ({"do": "advance", "seconds": -1}, "seconds"),
            ({"do": "advance", "seconds": float("nan")}, "seconds"),
            ({"do": "ledger", "last": "x"}, "x"),
        ],
    )
    def test_what_cannot_be_done_is_said_and_changes_nothing(
        self, lab: Lab, message: dict[str, Any], told: str
    ) -> None:
        before = (lab.terminal.simulation.ledger.changes, ask(lab, "conditions"), lab.terminal.simulation.utc_ms())
        with pytest.raises(ValueError, match=re.escape(told)):
            lab.terminal.simulation.control(message)
        after = (lab.terminal.simulation.ledger.changes, ask(lab, "conditions"), lab.terminal.simulation.utc_ms())
        assert before == after
