"""What can become of a request and its reply: what the caller sees, and what the terminal's own books say."""

from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, price

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_names import LOST_CODES, REQUOTE_RETCODES, UNCLEAR_RETCODES

BUY: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, "type_filling": 0, "magic": 77}


@pytest.fixture
def lab(bench: MakeLab) -> Lab:
    return bench([FLAT] * 10)


def fault(lab: Lab, kind: str, **more: Any) -> None:
    lab.terminal.simulation.faults.add({"kind": kind, **more})


def volumes(lab: Lab) -> list[int]:
    """What the trade server itself holds, in 1e-8 lots."""
    return [position.units for position in lab.terminal.simulation.ledger.positions.values()]


ONE = [10_000_000]


class TestLost:
    @pytest.mark.parametrize("code", LOST_CODES)
    @pytest.mark.parametrize(("kind", "held"), [("lost_executed", ONE), ("lost_unexecuted", [])])
    def test_none_with_a_code_tells_nothing_about_the_books(
        self, lab: Lab, kind: str, code: int, held: list[int]
    ) -> None:
        fault(lab, kind, code=code)
        assert lab.terminal.order_send(BUY) is None
        assert lab.terminal.last_error()[0] == code
        assert volumes(lab) == held

    @pytest.mark.parametrize("retcode", UNCLEAR_RETCODES)
    @pytest.mark.parametrize(("kind", "held"), [("unclear_executed", ONE), ("unclear_unexecuted", [])])
    def test_an_unclear_retcode_tells_nothing_either(self, lab: Lab, kind: str, retcode: int, held: list[int]) -> None:
        fault(lab, kind, retcode=retcode)
        result = lab.terminal.order_send(BUY)
        assert result is not None
        assert (result.retcode, result.order, result.deal) == (retcode, 0, 0)
        assert result.request.magic == 77
        assert volumes(lab) == held

    @pytest.mark.parametrize("kind", ["lost_late", "unclear_late"])
    def test_a_late_request_is_carried_out_at_its_moment_of_the_terminals_time(self, lab: Lab, kind: str) -> None:
        fault(lab, kind, late_s=5.5)
        sent_ms = lab.terminal.simulation.utc_ms()
        lab.terminal.order_send(BUY)
        lab.clock.advance(5.4)
        assert lab.terminal.positions_get() == ()
        lab.clock.advance(30)
        (position,) = lab.terminal.positions_get() or ()
        assert position.magic == 77
        (held,) = lab.terminal.simulation.ledger.positions.values()
        assert held.opened_ms == sent_ms + 5_500

    def test_without_a_time_it_is_drawn_between_half_a_second_and_twenty(self, lab: Lab) -> None:
        for seed in range(40):
            fault(lab, "lost_late", seed=seed)
            lab.terminal.order_send(BUY)
        drawn = [late.due_ms - late.since_ms for late in lab.terminal.simulation.faults.waiting]
        assert len(set(drawn)) > 30
        assert 500 <= min(drawn) < 3_000
        assert 17_000 < max(drawn) <= 20_000

    def test_a_late_request_is_judged_by_the_rules_of_its_moment(self, bench: MakeLab) -> None:
        """The stop that was allowed when it was sent lies on the wrong side when it is judged."""
        fall = (0, 0, -100, -100)
        lab = bench([FLAT, FLAT, fall, (-100, -100, -100, -100), (-100, -100, -100, -100)])
        ticket = lab.opened(0, sl=price(-300))
        lab.minute(1)
        fault(lab, "lost_late", late_s=120)
        assert lab.terminal.order_send({"action": 6, "symbol": "EURUSD", "position": ticket, "sl": price(-50)}) is None
        lab.minute(4.5)
        position = lab.position(ticket)
        assert position is not None
        assert position.sl == price(-300)
        assert lab.terminal.simulation.ledger.requests[-1].retcode == MT5.TRADE_RETCODE_INVALID_STOPS

    def test_a_lost_close_and_a_lost_stop_are_lost_as_well(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "lost_executed", times=2)
        assert lab.terminal.order_send({"action": 6, "symbol": "EURUSD", "position": ticket, "sl": price(-99)}) is None
        assert lab.terminal.order_send({**BUY, "type": 1, "volume": 0.04, "position": ticket}) is None
        (position,) = lab.terminal.positions_get() or ()
        assert (position.sl, position.volume) == (price(-99), 0.06)

    def test_a_request_that_the_package_refuses_is_refused_and_not_lost(self, lab: Lab) -> None:
        fault(lab, "lost_executed")
        assert lab.terminal.order_send({**BUY, "volume": "0.1"}) is None
        assert lab.terminal.last_error()[0] == MT5.RES_E_INVALID_PARAMS


class TestPlaced:
    def test_a_placed_order_is_listed_and_filled_under_its_number(self, lab: Lab) -> None:
        fault(lab, "placed_late", late_s=3)
        result = lab.terminal.order_send(BUY)
        assert result is not None
        assert (result.retcode, result.deal) == (MT5.TRADE_RETCODE_PLACED, 0)
        (order,) = lab.terminal.orders_get() or ()
        assert (order.ticket, order.state, order.magic) == (result.order, MT5.ORDER_STATE_PLACED, 77)
        assert lab.terminal.orders_total() == 1
        assert lab.terminal.positions_get() == ()
        lab.clock.advance(4)
        (position,) = lab.terminal.positions_get() or ()
        assert position.ticket == result.order
        assert lab.terminal.orders_get() == ()
        (deal,) = lab.terminal.history_deals_get(position=position.identifier) or ()
        assert deal.order == result.order
        assert lab.opened(0) > result.order

    def test_a_placed_order_that_is_never_filled_expires_without_a_deal(self, lab: Lab) -> None:
        fault(lab, "placed_never", late_s=3)
        result = lab.terminal.order_send(BUY)
        assert result is not None
        assert result.retcode == MT5.TRADE_RETCODE_PLACED
        lab.clock.advance(4)
        assert lab.terminal.orders_get() == ()
        assert volumes(lab) == []
        (past,) = lab.terminal.history_orders_get(ticket=result.order) or ()
        assert past.state == MT5.ORDER_STATE_EXPIRED
        assert lab.terminal.history_deals_get(ticket=result.order) == ()

    def test_a_placed_close_closes_later(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "placed_late", late_s=2)
        close = lab.terminal.order_send({**BUY, "type": 1, "position": ticket})
        assert close is not None
        assert close.retcode == MT5.TRADE_RETCODE_PLACED
        assert len(lab.terminal.positions_get() or ()) == 1
        lab.clock.advance(3)
        assert lab.terminal.positions_get() == ()
        assert [deal.order for deal in lab.terminal.history_deals_get(position=ticket) or ()][-1] == close.order

    def test_a_change_of_levels_is_never_placed(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "placed_late")
        assert lab.levels(ticket, sl=price(-99)).retcode == MT5.TRADE_RETCODE_DONE
        assert not lab.terminal.simulation.faults.fired

    def test_what_the_rules_refuse_is_not_placed(self, lab: Lab) -> None:
        fault(lab, "placed_late")
        result = lab.terminal.order_send({**BUY, "volume": 0.015})
        assert result is not None
        assert result.retcode == MT5.TRADE_RETCODE_INVALID_VOLUME


class TestRefused:
    @pytest.mark.parametrize(
        ("kind", "retcode"),
        [("too_many_requests", 10024), ("locked", 10028), ("frozen", 10029), ("market_closed", 10018)],
    )
    def test_a_passing_refusal_leaves_the_books_alone_and_passes(self, lab: Lab, kind: str, retcode: int) -> None:
        fault(lab, kind, times=2)
        answers = [lab.terminal.order_send(BUY) for _ in range(3)]
        assert [answer.retcode for answer in answers if answer] == [retcode, retcode, 10009]
        assert volumes(lab) == ONE

    @pytest.mark.parametrize("retcode", REQUOTE_RETCODES)
    def test_a_requote_moves_the_price_against_the_request_each_time(self, lab: Lab, retcode: int) -> None:
        fault(lab, "requote", retcode=retcode, times=3, move_points=5)
        asks = []
        for _ in range(3):
            answer = lab.terminal.order_send(BUY)
            assert answer is not None
            assert answer.retcode == retcode
            asks.append(round(answer.ask * 1e5))
        moved = [0, 0, 0] if retcode == MT5.TRADE_RETCODE_PRICE_OFF else [5, 10, 15]
        assert asks == [110_002 + away for away in moved]
        assert volumes(lab) == []

    @pytest.mark.parametrize(("executed", "held"), [(False, []), (True, ONE)])
    @pytest.mark.parametrize(("kind", "retcode"), [("retcode", 10006), ("retcode", 10011), ("unknown_retcode", 10999)])
    def test_any_retcode_can_be_forced_executed_or_not(
        self, lab: Lab, kind: str, retcode: int, executed: bool, held: list[int]
    ) -> None:
        fault(lab, kind, retcode=retcode, executed=executed)
        answer = lab.terminal.order_send(BUY)
        assert answer is not None
        assert answer.retcode == retcode
        assert volumes(lab) == held

    def test_an_argument_can_be_refused_by_name(self, lab: Lab) -> None:
        fault(lab, "bad_argument")
        assert lab.terminal.order_send(BUY) is None
        assert lab.terminal.last_error() == (-2, 'Invalid "comment" argument')
        assert volumes(lab) == []


class TestNone:
    @pytest.mark.parametrize("code", [-1, -2, -3, -4, -5, -6, -7, -8, -10000, -10001, -10002, -10003, -10004, -10005])
    def test_a_call_fails_with_any_code_in_the_terminals_words(self, lab: Lab, code: int) -> None:
        fault(lab, "none", calls=["positions_get"], code=code)
        assert lab.terminal.positions_get() is None
        assert lab.terminal.last_error()[0] == code
        assert len(lab.terminal.last_error()[1]) > 5
        assert lab.terminal.positions_get() == ()
        assert lab.terminal.last_error() == (1, "Success")

    def test_what_answers_yes_or_no_answers_no(self, lab: Lab) -> None:
        fault(lab, "none", calls=["symbol_select", "initialize"], times=0)
        assert lab.terminal.symbol_select("EURUSD") is False
        assert lab.terminal.initialize() is False

    def test_a_request_that_fails_so_is_not_carried_out(self, lab: Lab) -> None:
        fault(lab, "none", calls=["order_send"], code=-10004)
        assert lab.terminal.order_send(BUY) is None
        assert volumes(lab) == []


class TestRealTime:
    def test_a_call_hangs_or_is_slow_for_as_long_as_told(self, lab: Lab) -> None:
        slept: list[float] = []
        lab.terminal.simulation.faults._site.sleep = slept.append
        fault(lab, "hang", seconds=40, executed=True)
        fault(lab, "slow", seconds=2, calls=["positions_get"], times=1)
        assert lab.terminal.order_send(BUY) is None
        assert lab.terminal.last_error()[0] == -10005
        assert len(lab.terminal.positions_get() or ()) == 1
        assert slept == [40, 2]

    @pytest.mark.parametrize("kind", ["hang", "slow"])
    def test_where_time_is_virtual_no_call_can_take_real_seconds(self, lab: Lab, kind: str) -> None:
        with pytest.raises(ValueError, match="virtual"):
            fault(lab, kind)
