"""What an outcome does to a trade, in time and late."""

from dataclasses import replace
from decimal import Decimal
from typing import Literal

import pytest
from tests.decide.builders import HEDGE, NOW, READD, TICKET, machine, member, position, trade

from dtms.decide import settle
from dtms.domain.actions import (
    Action,
    ActionKind,
    ClosePosition,
    Intent,
    IntentState,
    MoveStop,
    OpenPosition,
    Serves,
)
from dtms.domain.market import Side
from dtms.domain.trade import Role, State, Trade, Visit

SIDE = Side.LONG
THEN = NOW - 40_000


def closing(kind: ActionKind, volume: str, of: str = "0.4", ticket: int = TICKET) -> ClosePosition:
    return ClosePosition(
        kind=kind, position=ticket, symbol="EURUSD", side=SIDE, volume=Decimal(volume), expected_volume=Decimal(of)
    )


def opening(kind: ActionKind) -> OpenPosition:
    side = SIDE.opposite if kind is ActionKind.OPEN_HEDGE else SIDE
    return OpenPosition(kind=kind, symbol="EURUSD", side=side, volume=Decimal("0.1"), stop=1.1, target=None)


def moving(kind: ActionKind) -> MoveStop:
    return MoveStop(
        kind=kind, position=TICKET, symbol="EURUSD", side=SIDE, stop=1.0990, target=None, expected_stop=1.0970
    )


def serves(rule: str) -> Serves:
    row = settle.ROW_BY_RULE[rule]
    return Serves(rule=rule, from_state=row.source or State.HEDGED, to_state=row.to)


def in_state(state: State, **changes: object) -> Trade:
    return replace(trade(SIDE), machine=machine(state), **changes)  # type: ignore[arg-type]


def test_closed_lots_count_for_a_re_add_only_when_they_were_a_part() -> None:
    part = settle.closed(trade(SIDE), closing(ActionKind.CLOSE_PART, "0.2"), Decimal("0.2"))
    assert (part.volume, part.closed_by_dtms) == (Decimal("0.2"), Decimal("0.2"))
    whole = settle.closed(trade(SIDE), closing(ActionKind.CLOSE, "0.4"), Decimal("0.4"))
    assert (whole.volume, whole.closed_by_dtms) == (Decimal(0), Decimal(0))


def test_a_close_that_the_list_showed_already_is_not_taken_off_twice() -> None:
    """A late answer to a close of 0.2 of 0.4 lots leaves 0.2, whether the position list came first or not."""
    listed = replace(trade(SIDE), volume=Decimal("0.2"))
    after = settle.closed(listed, closing(ActionKind.CLOSE_PART, "0.2"), Decimal("0.2"))
    assert after.volume == Decimal("0.2")
    assert after.closed_by_dtms == Decimal("0.2")


def test_a_hedge_that_was_closed_leaves_the_family() -> None:
    hedged = trade(SIDE).with_member(member(position(HEDGE, SIDE.opposite, "0.2"), Role.HEDGE))
    part = settle.closed(hedged, closing(ActionKind.CLOSE_HEDGE, "0.2", "0.2", HEDGE), Decimal("0.1"))
    assert [m.volume for m in part.members] == [Decimal("0.1")]
    rest = settle.closed(part, closing(ActionKind.CLOSE_HEDGE, "0.1", "0.1", HEDGE), Decimal("0.1"))
    assert rest.members == ()


@pytest.mark.parametrize(
    ("kind", "role", "counted"), [(ActionKind.OPEN_HEDGE, Role.HEDGE, (1, 0)), (ActionKind.READD, Role.READD, (0, 1))]
)
def test_one_order_can_open_several_positions(kind: ActionKind, role: Role, counted: tuple[int, int]) -> None:
    """Both positions join the family, and they count as one hedge or re-add."""
    intent = late_intent(opening(kind), None)
    parts = [position(HEDGE, SIDE, "0.05"), position(READD, SIDE, "0.05")]
    after = settle.opened(replace(trade(SIDE), closed_by_dtms=Decimal("0.2")), intent, parts, Decimal("0.1"))
    assert [m.role for m in after.members] == [role, role]
    assert (after.machine.hedges, after.machine.readds) == counted
    assert after.closed_by_dtms == (Decimal("0.2") if role is Role.HEDGE else Decimal("0.1"))


def late_intent(action: Action, serving: Serves | None) -> Intent:
    return Intent(
        number=7,
        ticket=TICKET,
        action=action,
        serves=serving,
        state=IntentState.UNKNOWN,
        token=1,
        created_ms=THEN,
    )


def test_a_late_hedge_enters_hedged_at_the_deals_time() -> None:
    after = settle.late(in_state(State.WARNING_L2), late_intent(opening(ActionKind.OPEN_HEDGE), serves("hedged")), THEN)
    assert after.machine.state is State.HEDGED
    assert after.machine.entered_ms == after.machine.flat_since_ms == THEN


def test_a_late_answer_moves_nothing_when_the_state_was_left() -> None:
    """The trade that eased in between stays where it is, and what was opened is surplus."""
    moved = in_state(State.WARNING_L1)
    assert settle.late(moved, late_intent(opening(ActionKind.OPEN_HEDGE), serves("hedged")), THEN) == moved
    assert settle.is_surplus(moved, late_intent(opening(ActionKind.OPEN_HEDGE), serves("hedged")))
    assert not settle.is_surplus(
        in_state(State.WARNING_L2), late_intent(opening(ActionKind.OPEN_HEDGE), serves("hedged"))
    )
    assert not settle.is_surplus(moved, late_intent(closing(ActionKind.CLOSE_PART, "0.2"), serves("worsened")))


def test_a_late_tightening_marks_its_visit() -> None:
    after = settle.late(in_state(State.HEALTHY), late_intent(moving(ActionKind.TIGHTEN), serves("warned")), THEN)
    assert after.machine.state is State.WARNING_L1
    assert Visit.TIGHTENED in after.machine.done


def test_a_late_part_enters_with_breakeven_pending() -> None:
    """The row's second move was not made yet, so it waits for its price."""
    after = settle.late(
        in_state(State.WARNING_L1), late_intent(closing(ActionKind.CLOSE_PART, "0.2"), serves("worsened")), THEN
    )
    assert after.machine.state is State.WARNING_L2
    assert after.machine.breakeven_pending
    assert Visit.HALVED in after.machine.done


def test_a_late_substitute_is_not_run_again() -> None:
    """The part that stood in for a hedge is done: the state stays, the visit is marked, and the flat timer runs."""
    after = settle.late(
        in_state(State.WARNING_L2), late_intent(closing(ActionKind.CLOSE_PART, "0.2"), serves("hedged")), THEN
    )
    assert after.machine.state is State.WARNING_L2
    assert Visit.SUBSTITUTED in after.machine.done
    assert after.machine.flat_since_ms == THEN


@pytest.mark.parametrize("left", ["nothing", "own", "hedge"])
def test_a_late_close_ends_the_trade_only_when_nothing_is_left(left: Literal["nothing", "own", "hedge"]) -> None:
    after = in_state(State.HEDGED, volume=Decimal("0.4") if left == "own" else Decimal(0))
    if left == "hedge":
        after = after.with_member(member(position(HEDGE, SIDE.opposite, "0.2"), Role.HEDGE))
    after = settle.late(after, late_intent(closing(ActionKind.CLOSE, "0.4"), serves("given_up_hedged")), THEN)
    assert (after.machine.state is State.CLOSED) == (left == "nothing")
