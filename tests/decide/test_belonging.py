"""Whose a position is that no watched trade knows: each row of the table."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.decide.builders import HEDGE, NOW, TICKET, machine, position, trade

from dtms.decide.belonging import Whose, again, role_of, whose
from dtms.domain.actions import Action, ActionKind, ClosePosition, Intent, IntentState, OpenPosition
from dtms.domain.market import Side
from dtms.domain.position import Position
from dtms.domain.trade import Role, State

SIDE = Side.LONG
OURS = position(HEDGE, SIDE.opposite, "0.2", magic=7)
OPEN = OpenPosition(
    kind=ActionKind.OPEN_HEDGE,
    symbol="EURUSD",
    side=SIDE.opposite,
    volume=Decimal("0.2"),
    stop=1.102,
    target=None,
)
CLOSE = ClosePosition(
    kind=ActionKind.CLOSE_PART,
    position=TICKET,
    symbol="EURUSD",
    side=SIDE,
    volume=Decimal("0.2"),
    expected_volume=Decimal("0.4"),
)
ACTIVE, DISABLED = trade(SIDE), trade(SIDE, disabled=True)
CLOSED = trade(SIDE, "0", machine=machine(State.CLOSED))


def sent(state: IntentState, action: Action = OPEN) -> Intent:
    return Intent(number=7, ticket=TICKET, action=action, serves=None, state=state, token=1, created_ms=NOW)


@pytest.mark.parametrize("state", [s for s in IntentState if s.is_open])
def test_an_open_request_is_resolved_first(state: IntentState) -> None:
    for family in (ACTIVE, CLOSED):
        assert whose(OURS, row=None, number=7, intent=sent(state), family=family) is Whose.UNRESOLVED


def test_what_was_opened_for_a_trade_joins_it() -> None:
    found = whose(OURS, row=None, number=7, intent=sent(IntentState.CONFIRMED), family=ACTIVE)
    assert found is Whose.JOINS
    assert role_of(OURS, ACTIVE) is Role.HEDGE
    assert role_of(position(3, SIDE, "0.1"), ACTIVE) is Role.READD


@pytest.mark.parametrize(
    ("intent", "family"),
    [
        (sent(IntentState.CONFIRMED), CLOSED),
        (sent(IntentState.NOT_EXECUTED), ACTIVE),
        (sent(IntentState.REFUSED), ACTIVE),
        (sent(IntentState.CONFIRMED, CLOSE), ACTIVE),
    ],
    ids=["trade ended", "believed not executed", "believed refused", "a close that opened"],
)
def test_what_nobody_wants_any_more_is_surplus(intent: Intent, family: object) -> None:
    assert whose(OURS, row=None, number=7, intent=intent, family=family) is Whose.SURPLUS  # type: ignore[arg-type]


EXECUTE = replace(OPEN, kind=ActionKind.EXECUTE)


def test_a_trade_of_its_own_belongs_to_the_main_program_when_it_has_a_strategy() -> None:
    """Whatever became of its request; one for no strategy is protected when nobody else did that."""
    for state in IntentState:
        asked = replace(sent(state, EXECUTE), ticket=0, strategy_type="default_standard")
        assert whose(OURS, row=None, number=7, intent=asked, family=None) is Whose.MAIN
        plain = whose(OURS, row=None, number=7, intent=replace(asked, strategy_type=None), family=None)
        assert plain is (Whose.MAIN if state.is_open else Whose.EXECUTED)
    assert Whose.MAIN.needs_nothing
    assert Whose.EXECUTED.is_stranger


def test_what_carries_our_number_and_is_known_by_no_request_is_an_orphan() -> None:
    assert whose(OURS, row=None, number=7, intent=None, family=None) is Whose.ORPHAN
    assert whose(OURS, row=None, number=7, intent=sent(IntentState.CONFIRMED), family=None) is Whose.ORPHAN


@pytest.mark.parametrize(
    ("magic", "verdict"), [(0, Whose.STRANGER), (777, Whose.ROBOT)], ids=["nobody's", "another program's"]
)
def test_positions_without_our_number_are_not_ours(magic: int, verdict: Whose) -> None:
    assert whose(replace(OURS, magic=magic), row=None, number=None, intent=None, family=None) is verdict


def test_what_a_person_disabled_is_left_to_him() -> None:
    own = position(TICKET, SIDE, "0.4")
    assert whose(own, row=DISABLED, number=None, intent=None, family=None) is Whose.LEFT
    assert whose(OURS, row=None, number=7, intent=sent(IntentState.CONFIRMED), family=DISABLED) is Whose.LEFT


@pytest.mark.parametrize(
    ("row", "held", "verdict"),
    [
        (ACTIVE, position(TICKET, SIDE, "0.4"), Whose.WATCHED),
        (CLOSED, position(TICKET, SIDE, "0.1"), Whose.AGAIN),
        (CLOSED, position(9, SIDE.opposite, "0.1", identifier=TICKET), Whose.REVERSED),
    ],
    ids=["active", "shows again", "reversed"],
)
def test_a_position_with_a_trade_of_its_own(row: object, held: Position, verdict: Whose) -> None:
    assert whose(held, row=row, number=None, intent=None, family=None) is verdict  # type: ignore[arg-type]


def test_a_trade_that_shows_again_keeps_its_measure_and_calls_a_person() -> None:
    """R, the initial stop and what was counted stay; the machine is HEALTHY, and armed as it was."""
    counted = machine(State.CLOSED, hedges=2, readds=1)
    ended = replace(CLOSED, closed_by_dtms=Decimal("0.2"), machine=counted, close_price=1.2, realised=5.0)
    back = again(ended, position(4, SIDE, "0.1", identifier=TICKET, stop=1.0985), NOW + 1)
    assert (back.risk, back.initial_stop) == (CLOSED.risk, CLOSED.initial_stop)
    assert (back.initial_volume, back.closed_by_dtms) == (Decimal("0.1"), Decimal(0))
    assert (back.volume, back.stop, back.position, back.ticket) == (Decimal("0.1"), 1.0985, 4, TICKET)
    assert (back.machine.state, back.machine.armed) == (State.HEALTHY, True)
    assert (back.machine.hedges, back.machine.readds) == (2, 1)
    assert (back.close_price, back.realised, back.is_active) == (None, 0.0, True)
    assert back.needs_attention
