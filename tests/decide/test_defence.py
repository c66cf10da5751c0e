"""Sizing moves: what each asks of the broker, and what it never does."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.decide.builders import HEDGE, READD, TICKET, account, instrument, member, position, sight, tick, trade

from dtms.decide.capabilities import Learned
from dtms.decide.defence import Impossible, Plan, Planned, Sight, breakeven_price, plan, restored_stops, unrestorable
from dtms.decide.trade_state import Move
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, ClosePosition, MoveStop, OpenPosition
from dtms.domain.market import Side, TradeMode
from dtms.domain.trade import Machine, Role
from dtms.settings import ProtectionSettings

BOTH = pytest.mark.parametrize("side", Side, ids=lambda side: side.direction)
HALF_LOT = Decimal("0.5")


def stops(planned: Planned) -> list[MoveStop]:
    assert isinstance(planned, Plan)
    return [a for a in planned.actions if isinstance(a, MoveStop)]


def closes(planned: Planned) -> list[ClosePosition]:
    assert isinstance(planned, Plan)
    return [a for a in planned.actions if isinstance(a, ClosePosition)]


def opening(planned: Planned) -> OpenPosition:
    assert isinstance(planned, Plan), planned
    (action,) = planned.actions
    assert isinstance(action, OpenPosition)
    return action


def rule_of(planned: Planned) -> str:
    assert isinstance(planned, Impossible), planned
    return planned.rule


def away(side: Side, price: float) -> float:
    """Return how far a price lies in a side's favour from the entry."""
    return round((price - 1.1) * side.sign, 5)


# --- stops ---------------------------------------------------------------------------------------------------------


@BOTH
def test_tighten_takes_the_larger_of_r_and_atr(side: Side) -> None:
    """The stop comes to max(0.3 R, 1 ATR) behind the price that closes the trade."""
    (by_atr,) = stops(plan(Move.TIGHTEN, sight(side)))
    assert away(side, by_atr.stop) == -0.0010
    (by_r,) = stops(plan(Move.TIGHTEN, sight(side, atr_m15=0.0005)))
    assert away(side, by_r.stop) == -0.0009


@BOTH
def test_tighten_never_loosens(side: Side) -> None:
    """A stop that is nearer already stays, and the journal gets the reason."""
    own = position(TICKET, side, "0.4", stop=1.1 - side.sign * 0.0005)
    planned = plan(Move.TIGHTEN, sight(side, own=own))
    assert isinstance(planned, Plan)
    assert planned.actions == ()
    assert "no valid tightening" in planned.note


@BOTH
def test_tighten_keeps_clear_of_the_market(side: Side) -> None:
    """With a distance below stops level and spread, the nearest valid price is taken."""
    seen = sight(side, instrument=instrument(stops_level_points=400), atr_m15=0.0001)
    own = position(TICKET, side, "0.4", stop=1.1 - side.sign * 0.02)
    (move,) = stops(plan(Move.TIGHTEN, replace(seen, own=own)))
    assert away(side, move.stop) == -0.00408


@BOTH
def test_a_stop_move_carries_the_target_bit_identical(side: Side) -> None:
    target = 1.1 + side.sign * 0.0123456789
    own = position(TICKET, side, "0.4", target=target)
    (move,) = stops(plan(Move.TIGHTEN, sight(side, own=own)))
    assert move.target is target
    assert move.expected_stop == own.stop


@BOTH
def test_stops_move_on_every_position_of_the_trades_side(side: Side) -> None:
    """The own and the re-added positions get the stop, each with its own target; the hedge does not."""
    readd = position(READD, side, "0.1", target=1.2)
    hedge = position(HEDGE, side.opposite, "0.2")
    moves = stops(plan(Move.TIGHTEN, sight(side, readds=(readd,), hedges=(hedge,))))
    assert [m.position for m in moves] == [TICKET, READD]
    assert [m.target for m in moves] == [None, 1.2]


@BOTH
def test_breakeven_is_entry_plus_costs_in_the_trades_favour(side: Side) -> None:
    """Spread and commission (7 for 0.4 lots: 17.5 points) are on top of the entry, rounded in favour."""
    seen = sight(side, tick=tick(side, 0.0030), cost_money=-7.0)
    (move,) = stops(plan(Move.BREAKEVEN, seen))
    assert away(side, move.stop) == pytest.approx(0.00008 + 0.00018)
    assert breakeven_price(trade(side), tick(side), instrument(), 7.0) == pytest.approx(1.1 + side.sign * 0.00008)


@BOTH
def test_breakeven_waits_while_the_market_is_not_beyond_it(side: Side) -> None:
    """A losing trade is not strangled: the stop stays, and the move is pending until the price allows it."""
    clear = 0.00008 + 0.00010 + 0.00008
    for profit, waits in ((-0.001, True), (0.0, True), (clear - 0.00001, True), (clear + 0.00001, False)):
        planned = plan(Move.BREAKEVEN, sight(side, tick=tick(side, profit)))
        assert isinstance(planned, Plan)
        assert planned.pending == waits
        assert (planned.actions == ()) == waits


@BOTH
def test_a_stop_beyond_breakeven_stays(side: Side) -> None:
    own = position(TICKET, side, "0.4", stop=1.1 + side.sign * 0.002)
    planned = plan(Move.BREAKEVEN, sight(side, own=own, tick=tick(side, 0.004)))
    assert isinstance(planned, Plan)
    assert planned.actions == ()
    assert not planned.pending


@BOTH
def test_a_missing_stop_is_restored_only_while_it_is_valid(side: Side) -> None:
    own = position(TICKET, side, "0.4", stop=None)
    owing = trade(side, stop=None, owed_stop=1.1 - side.sign * 0.002)
    (move,) = stops(restored_stops(sight(side, own=own, trade=owing)))
    assert move.kind is ActionKind.RESTORE_STOP
    assert move.stop == owing.owed_stop
    late = sight(side, own=own, trade=owing, tick=tick(side, -0.0025))
    assert rule_of(restored_stops(late)) == "stop_too_near"
    assert unrestorable(late) == (TICKET,)


@BOTH
def test_missing_stops_of_the_whole_family_are_restored(side: Side) -> None:
    """The own position's, the re-added one's and the hedge's, each on its own side; one that has a stop is left."""
    readd = position(READD, side, "0.1", stop=None)
    hedge = position(HEDGE, side.opposite, "0.2", stop=None)
    family = trade(side)
    for held, role, stop in (
        (readd, Role.READD, 1.1 - side.sign * 0.003),
        (hedge, Role.HEDGE, 1.1 + side.sign * 0.004),
    ):
        family = family.with_member(replace(member(held, role), owed_stop=stop))
    moves = stops(restored_stops(sight(side, trade=family, readds=(readd,), hedges=(hedge,))))
    assert [(m.position, away(m.side, m.stop)) for m in moves] == [(READD, -0.003), (HEDGE, -0.004)]


# --- closing -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("open_lots", "closed"), [("0.40", "0.20"), ("0.03", "0.01"), ("0.05", "0.02"), ("0.02", "0.01")]
)
def test_a_part_is_rounded_down(side: Side, open_lots: str, closed: str) -> None:
    (close,) = closes(plan(Move.CLOSE_PART, sight(side, volume=open_lots)))
    assert close.volume == Decimal(closed)
    assert close.expected_volume == Decimal(open_lots)
    assert close.side is side


@BOTH
def test_a_part_below_the_minimum_is_skipped_or_all_is_closed(side: Side) -> None:
    """With 0.01 lots open, half is no lot: skipped by default, everything closed when configured so."""
    assert rule_of(plan(Move.CLOSE_PART, sight(side, volume="0.01"))) == "minimum_lot"
    configured = ProtectionSettings(partial_below_minimum="close_all")
    (close,) = closes(plan(Move.CLOSE_PART, sight(side, volume="0.01", protection=configured)))
    assert close.volume == Decimal("0.01")


@BOTH
def test_a_rest_below_the_minimum_is_not_left(side: Side) -> None:
    """With a minimum of 0.1 lots, half of 0.15 would leave 0.05 and is no part."""
    coarse = instrument(volume_min=Decimal("0.1"))
    assert rule_of(plan(Move.CLOSE_PART, sight(side, volume="0.15", instrument=coarse))) == "minimum_lot"


@BOTH
def test_a_part_is_taken_from_re_added_positions_first(side: Side) -> None:
    """Half of 0.4 + 0.1 lots is the re-added 0.1 whole and 0.15 of the own position."""
    actions = closes(plan(Move.CLOSE_PART, sight(side, readds=(position(READD, side, "0.1"),))))
    assert [(a.position, a.volume) for a in actions] == [(READD, Decimal("0.1")), (TICKET, Decimal("0.15"))]


@BOTH
def test_a_part_that_was_begun_is_finished_and_not_begun_anew(side: Side) -> None:
    """When 0.1 of 0.25 lots are closed already, the next plan closes 0.15 and not half of the rest."""
    (close,) = closes(plan(Move.CLOSE_PART, sight(side, part_left=Decimal("0.15"))))
    assert (close.position, close.volume) == (TICKET, Decimal("0.15"))


@BOTH
def test_close_all_closes_the_own_position_first_and_the_hedge_last(side: Side) -> None:
    family = sight(side, readds=(position(READD, side, "0.1"),), hedges=(position(HEDGE, side.opposite, "0.2"),))
    actions = closes(plan(Move.CLOSE_ALL, family))
    assert [a.position for a in actions] == [TICKET, READD, HEDGE]
    assert [a.volume for a in actions] == [Decimal("0.4"), Decimal("0.1"), Decimal("0.2")]
    assert actions[2].side is side.opposite


@BOTH
def test_close_rest_closes_what_remains_without_the_own_position(side: Side) -> None:
    hedge = position(HEDGE, side.opposite, "0.2")
    actions = closes(plan(Move.CLOSE_REST, sight(side, own=None, hedges=(hedge,))))
    assert [a.position for a in actions] == [HEDGE]


# --- opening -------------------------------------------------------------------------------------------------------


@BOTH
def test_a_hedge_is_half_the_rest_with_a_stop_beyond_its_entry(side: Side) -> None:
    """Opposite side, half of what remains, stop 1.5 ATR beyond its own opening price."""
    seen = sight(side, volume="0.3")
    hedge = opening(plan(Move.OPEN_HEDGE, seen))
    assert hedge.side is side.opposite
    assert hedge.volume == Decimal("0.15")
    assert hedge.target is None
    entry = seen.tick.opening(side.opposite)
    assert hedge.stop is not None
    assert (hedge.stop - entry) * side.sign == pytest.approx(0.0015)


@BOTH
def test_a_hedges_stop_keeps_clear_of_the_market(side: Side) -> None:
    seen = sight(side, instrument=instrument(stops_level_points=400))
    hedge = opening(plan(Move.OPEN_HEDGE, seen))
    assert hedge.stop is not None
    assert (hedge.stop - seen.tick.opening(side.opposite)) * side.sign == pytest.approx(0.00408)


@BOTH
def test_where_a_hedge_is_not_possible(side: Side) -> None:
    """Netting, first-in-first-out, close-only, one-sided and prohibited symbols, a third hedge, a dust lot."""
    shut = TradeMode.LONG_ONLY if side is Side.LONG else TradeMode.SHORT_ONLY
    cases: dict[str, list[dict[str, Any]]] = {
        "account": [
            {"account": account(margin_mode=MarginMode.NETTING)},
            {"account": account(margin_mode=MarginMode.EXCHANGE)},
            {"account": account(fifo_close=True)},
            {"learned": Learned(no_hedging=True)},
        ],
        "trade_mode": [
            {"instrument": instrument(trade_mode=mode)} for mode in (TradeMode.CLOSE_ONLY, TradeMode.DISABLED, shut)
        ],
        "one_hedge": [{"hedges": (position(HEDGE, side.opposite, "0.2"),)}],
        "hedges_max": [{"trade": trade(side, machine=Machine(armed=True, hedges=2))}],
        "unresolved_intent": [{"trade": trade(side, reduce_only=True)}],
        "minimum_lot": [{"volume": "0.01"}],
        "protection.hedge": [{"protection": ProtectionSettings(hedge="close")}],
    }
    for rule, all_known in cases.items():
        for known in all_known:
            assert rule_of(plan(Move.OPEN_HEDGE, sight(side, **known))) == rule


def readding(side: Side, closed: str = "0.2", own_lots: str = "0.2", **known: Any) -> Sight:
    of = trade(side, own_lots, closed_by_dtms=Decimal(closed))
    return replace(sight(side, volume=own_lots), **{"trade": of, **known})


@BOTH
def test_a_re_add_is_half_of_what_dtms_closed_with_stop_and_target(side: Side) -> None:
    target = 1.1 + side.sign * 0.006
    own = position(TICKET, side, "0.2", target=target)
    action = opening(plan(Move.READD, readding(side, own=own)))
    assert (action.side, action.volume, action.stop, action.target) == (side, Decimal("0.1"), own.stop, target)


@BOTH
def test_a_re_add_never_exceeds_the_initial_volume(side: Side) -> None:
    """With 0.39 of 0.4 lots open there is room for 0.01, whatever was closed."""
    assert opening(plan(Move.READD, readding(side, "0.3", "0.39"))).volume == Decimal("0.01")
    assert rule_of(plan(Move.READD, readding(side, "0.3", "0.4"))) == "minimum_lot"


@BOTH
def test_where_a_re_add_is_not_possible(side: Side) -> None:
    bare = position(TICKET, side, "0.2", stop=None)
    assert rule_of(plan(Move.READD, readding(side, own=bare))) == "no_stop"
    assert rule_of(plan(Move.READD, readding(side, own=None))) == "no_stop"
    near = position(TICKET, side, "0.2", stop=1.1 - side.sign * 0.0001)
    assert rule_of(plan(Move.READD, readding(side, own=near))) == "stop_too_near"
    shut = instrument(trade_mode=TradeMode.CLOSE_ONLY)
    assert rule_of(plan(Move.READD, readding(side, instrument=shut))) == "trade_mode"
    twice = trade(side, "0.2", closed_by_dtms=HALF_LOT, machine=Machine(armed=True, readds=2))
    assert rule_of(plan(Move.READD, readding(side, trade=twice))) == "readds_max"
    assert rule_of(plan(Move.READD, readding(side, "0"))) == "minimum_lot"
    blocked = trade(side, "0.2", closed_by_dtms=HALF_LOT, reduce_only=True)
    assert rule_of(plan(Move.READD, readding(side, trade=blocked))) == "unresolved_intent"


@pytest.mark.parametrize("side", Side)
def test_a_re_add_is_never_beyond_what_one_order_may_have(side: Side) -> None:
    """Half of 2 lots that were closed, where an order may have 0.5: half a lot."""
    closed = trade(side, "1", initial_volume=Decimal(3), closed_by_dtms=Decimal(2))
    seen = sight(
        side, volume="1", trade=closed, tick=tick(side, 0.002), instrument=instrument(volume_max=Decimal("0.5"))
    )
    planned = plan(Move.READD, seen)
    assert isinstance(planned, Plan)
    (opening,) = planned.actions
    assert isinstance(opening, OpenPosition)
    assert opening.volume == Decimal("0.5")
