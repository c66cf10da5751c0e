"""What became of executions, pending orders and levels whose answer was lost: the proofs for them, and against."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import HEDGE, TICKET, position
from tests.decide.test_proof import (
    ANOTHER,
    CREATED,
    EARLY,
    HEDGING,
    LATER,
    OURS,
    OWN,
    PART,
    SETTLED,
    SIDE,
    TIMES,
    asked,
    deal,
    look,
    magic_of,
    order,
)

from dtms.decide.proof import APART_MS, Executed, NotExecuted, NotYet, Question, judge
from dtms.domain.actions import Action, ActionKind, CancelOrder, OrderWay, PlaceOrder, SetLevels
from dtms.domain.position import DealEntry, DealReason, Order, OrderKind, OrderState
from dtms.domain.snapshot import Evidence

ORDER = 40
EXECUTING = replace(HEDGING, kind=ActionKind.EXECUTE, stop=None)
PLACING = PlaceOrder(
    kind=ActionKind.PLACE_ORDER,
    symbol="EURUSD",
    side=SIDE.opposite,
    way=OrderWay.LIMIT,
    volume=Decimal("0.2"),
    price=1.1050,
    stop=1.1080,
    target=None,
)
CANCELLING = CancelOrder(kind=ActionKind.CANCEL_ORDER, order=ORDER, symbol="EURUSD", side=SIDE.opposite)
LEVELS = SetLevels(
    kind=ActionKind.SET_LEVELS,
    position=TICKET,
    symbol="EURUSD",
    side=SIDE,
    stop=None,
    target=1.1050,
    expected_stop=1.0970,
    expected_target=None,
)
TAKING = replace(PART, kind=ActionKind.TAKE_PARTIAL)


def question(action: Action, **changes: Any) -> Question:
    """Ask about what serves no trade of DTMS: no position of its own vouches for the lists."""
    own: dict[str, Any] = {"anchor": None, "claimed": frozenset({TICKET})}
    if isinstance(action, PlaceOrder | CancelOrder):
        own["target"] = None
    return asked(action, **{**own, **changes})


def pending(state: OrderState, filled: str = "0", **changes: Any) -> Order:
    return order(state, filled, **{"kind": OrderKind.LIMIT, "price": 1.1050, "stop": 1.1080, **changes})


FILLED = position(ORDER, SIDE.opposite, "0.2", magic=magic_of(OURS), opened_ms=CREATED + 9_000)
FILLING = deal(DealEntry.IN, magic=magic_of(OURS), position_id=ORDER, time_ms=CREATED + 9_000)


# --- executed ------------------------------------------------------------------------------------------------------

FOUND: list[tuple[str, Question, Evidence]] = [
    (
        "an execution, by its number",
        question(EXECUTING),
        look(positions=[OWN, position(HEDGE, SIDE.opposite, "0.2", magic=magic_of(OURS))]),
    ),
    (
        "an execution, by its comment",
        question(EXECUTING),
        look(deals=[deal(DealEntry.IN, comment=f"D{OURS}")]),
    ),
    ("an execution, by content", question(EXECUTING), look(deals=[deal(DealEntry.IN)])),
    (
        "an execution that took from a position that a netting account had",
        question(EXECUTING, anchor=TICKET),
        look(positions=[position(TICKET, SIDE, "0.2")], deals=[deal(DealEntry.OUT, magic=magic_of(OURS))]),
    ),
    ("an order that waits", question(PLACING), look(orders=[pending(OrderState.WORKING)])),
    ("an order, by its ticket", question(PLACING, order=ORDER), look(orders=[pending(OrderState.WORKING, magic=0)])),
    ("an order, by content", question(PLACING), look(orders=[pending(OrderState.WORKING, magic=0)])),
    (
        "an order that was filled at once",
        question(PLACING),
        look(positions=[OWN, FILLED], past_orders=[pending(OrderState.FILLED, "0.2")], deals=[FILLING]),
    ),
    (
        "an order that was filled, by content",
        question(PLACING),
        look(
            past_orders=[pending(OrderState.FILLED, "0.2", magic=0)],
            deals=[replace(FILLING, magic=0, order=ORDER)],
        ),
    ),
    ("what an order filled, the order not being listed yet", question(PLACING), look(positions=[OWN, FILLED])),
    ("an order that somebody removed again", question(PLACING), look(past_orders=[pending(OrderState.CANCELLED)])),
    ("an order that expired", question(PLACING), look(past_orders=[pending(OrderState.EXPIRED)])),
    (
        "an order, taken after another filling was tried and rejected",
        question(PLACING),
        look(orders=[pending(OrderState.WORKING)], past_orders=[pending(OrderState.REJECTED, ticket=39)]),
    ),
    ("a removal", question(CANCELLING), look(past_orders=[pending(OrderState.CANCELLED, magic=5)])),
    ("a removal of what expired meanwhile", question(CANCELLING), look(past_orders=[pending(OrderState.EXPIRED)])),
    ("levels that stand", question(LEVELS), look(positions=[replace(OWN, stop=None, target=1.1050)])),
    (
        "a partial profit, by the deal's number",
        question(TAKING),
        look(positions=[position(TICKET, SIDE, "0.2")], deals=[deal(DealEntry.OUT, magic=magic_of(OURS))]),
    ),
]


@pytest.mark.parametrize(("about", "seen"), [c[1:] for c in FOUND], ids=[c[0] for c in FOUND])
def test_what_shows_was_executed_however_early(about: Question, seen: Evidence) -> None:
    assert isinstance(judge(about, [seen]), Executed)


def test_a_placed_order_is_told_with_what_it_filled() -> None:
    """The order, its positions, lots and deals, at the time of the last deal."""
    seen = look(positions=[OWN, FILLED], past_orders=[pending(OrderState.FILLED, "0.2")], deals=[FILLING])
    verdict = judge(question(PLACING), [seen])
    assert isinstance(verdict, Executed)
    assert verdict.order is not None
    assert (verdict.order.ticket, verdict.order.state) == (ORDER, OrderState.FILLED)
    assert [p.ticket for p in verdict.positions] == [ORDER]
    assert (verdict.volume, verdict.deals, verdict.at_ms) == (Decimal("0.2"), (50,), CREATED + 9_000)


def test_a_waiting_order_is_told_without_lots() -> None:
    verdict = judge(question(PLACING), [look(orders=[pending(OrderState.WORKING)])])
    assert isinstance(verdict, Executed)
    assert (verdict.volume, verdict.positions, verdict.at_ms) == (Decimal(0), (), CREATED + 500)


# --- not yet -------------------------------------------------------------------------------------------------------

UNCLEAR: list[tuple[str, Question, Evidence]] = [
    (
        "the order was filled, and its deals are not listed yet",
        question(PLACING),
        look(LATER, past_orders=[pending(OrderState.FILLED, "0.2")]),
    ),
    (
        "two orders are like it and have no number",
        question(PLACING),
        look(LATER, orders=[pending(OrderState.WORKING, magic=0), pending(OrderState.WORKING, magic=0, ticket=41)]),
    ),
    (
        "a person's order is like it, where no number was ever seen to be kept",
        question(PLACING),
        look(LATER, orders=[pending(OrderState.WORKING, magic=0, reason=DealReason.CLIENT)]),
    ),
    (
        "another program's order is just like it",
        question(PLACING),
        look(LATER, orders=[pending(OrderState.WORKING, magic=777)]),
    ),
    ("neither the order to be removed nor its end is listed", question(CANCELLING), look(LATER)),
    ("the position whose levels were to be set is not listed", question(LEVELS), look(LATER, positions=[])),
    (
        "another program's deal is just like the execution",
        question(EXECUTING),
        look(LATER, deals=[deal(DealEntry.IN, magic=777)]),
    ),
    (
        "the execution's position shows, and no deal tells of it yet",
        question(EXECUTING),
        look(LATER, positions=[OWN, position(HEDGE, SIDE.opposite, "0.2", opened_ms=CREATED + 1_000)]),
    ),
    ("lots are gone without a deal", question(TAKING), look(LATER, positions=[position(TICKET, SIDE, "0.2")])),
]


@pytest.mark.parametrize(("about", "seen"), [c[1:] for c in UNCLEAR], ids=[c[0] for c in UNCLEAR])
def test_what_cannot_be_told_stays_unknown_however_often_it_is_looked_at(about: Question, seen: Evidence) -> None:
    looks = [replace(seen, begun_ms=seen.begun_ms + i * APART_MS) for i in range(3)]
    assert isinstance(judge(about, looks), NotYet)


# --- not executed --------------------------------------------------------------------------------------------------

WITHOUT_TRACE: list[tuple[str, Question, Callable[[int], Evidence]]] = [
    ("an execution", question(EXECUTING), look),
    ("a placing", question(PLACING), look),
    ("a partial profit", question(TAKING), look),
    ("levels", question(LEVELS), look),
    ("a removal", question(CANCELLING), lambda at: look(at, orders=[pending(OrderState.WORKING)])),
    (
        "an execution, beside a position like it that another intent claims",
        question(EXECUTING, claimed=frozenset({TICKET, HEDGE})),
        lambda at: look(at, deals=[deal(DealEntry.IN)]),
    ),
    (
        "an execution, beside a pending order of a person's",
        question(EXECUTING),
        lambda at: look(at, orders=[pending(OrderState.WORKING, magic=0, reason=DealReason.CLIENT)]),
    ),
    (
        "a placing, beside an order like it that another intent placed",
        question(PLACING, claimed_orders=frozenset({ORDER})),
        lambda at: look(at, orders=[pending(OrderState.WORKING, magic=0)]),
    ),
    (
        "a placing, beside an order at another price",
        question(PLACING),
        lambda at: look(at, orders=[pending(OrderState.WORKING, magic=0, price=1.1051)]),
    ),
    (
        "a placing, beside a person's own, on a broker that keeps numbers",
        question(PLACING),
        lambda at: look(
            at,
            orders=[
                pending(OrderState.WORKING, magic=0, reason=DealReason.MOBILE),
                pending(OrderState.WORKING, ticket=41, magic=magic_of(ANOTHER)),
            ],
        ),
    ),
]


@pytest.mark.parametrize(("about", "seen"), [c[1:] for c in WITHOUT_TRACE], ids=[c[0] for c in WITHOUT_TRACE])
def test_it_takes_two_looks_after_the_window_to_say_that_it_was_not_executed(
    about: Question, seen: Callable[[int], Evidence]
) -> None:
    looks = [seen(at) for at in (EARLY, SETTLED, SETTLED + APART_MS - 1)]
    assert isinstance(judge(about, looks), NotYet)
    assert isinstance(judge(about, [*looks, seen(SETTLED + APART_MS)]), NotExecuted)


@pytest.mark.parametrize(
    ("about", "seen"),
    [
        (question(PLACING, order=ORDER), look(past_orders=[pending(OrderState.REJECTED)])),
        (question(CANCELLING), look(past_orders=[pending(OrderState.FILLED, "0.2")])),
        (question(LEVELS), look(positions=[], deals=[deal(DealEntry.OUT, "0.4", reason=DealReason.TARGET)])),
        (question(TAKING), look(positions=[], deals=[deal(DealEntry.OUT, "0.4", reason=DealReason.STOP)])),
    ],
    ids=["the answered order rejected", "the order filled", "levels of a closed position", "a part of a closed one"],
)
def test_what_cannot_come_any_more_is_proven_at_once(about: Question, seen: Evidence) -> None:
    assert isinstance(judge(about, [seen]), NotExecuted)


def test_an_order_rejected_among_several_tries_proves_nothing_yet() -> None:
    """The broker names no order in its answer: another filling may still be on its way under the same number."""
    assert isinstance(judge(question(PLACING), [look(past_orders=[pending(OrderState.REJECTED)])]), NotYet)


def test_a_part_of_a_position_that_was_just_opened_is_told_apart_from_an_addition() -> None:
    """A trade server whose clock is ahead stamps the opening later than the request: the lots are accounted for."""
    began = deal(DealEntry.IN, "0.4", side=SIDE, position_id=TICKET, order=TICKET, time_ms=CREATED + 3_000)
    looks = [look(at, deals=[began]) for at in (SETTLED, SETTLED + APART_MS)]
    assert isinstance(judge(question(TAKING), looks), NotExecuted)
    added = replace(began, order=TICKET + 1, volume=Decimal("0.1"))
    looks = [look(at, deals=[added]) for at in (SETTLED, SETTLED + APART_MS)]
    assert isinstance(judge(question(TAKING), looks), NotYet)


def test_a_short_list_that_lacks_a_known_position_does_not_disprove_an_execution() -> None:
    """Any position that is known to be open can vouch for the lists."""
    looks = [look(at, positions=[]) for at in (SETTLED, SETTLED + APART_MS)]
    assert isinstance(judge(question(EXECUTING, anchor=TICKET), looks), NotYet)


@given(times=TIMES, marked=st.booleans(), live=st.booleans())
def test_an_order_that_is_there_is_never_proven_away(times: list[int], marked: bool, live: bool) -> None:
    """With its number or without, waiting or ended: no looks say that it was not placed."""
    there = pending(OrderState.WORKING if live else OrderState.EXPIRED, magic=magic_of(OURS) if marked else 0)
    parts: Any = {"orders" if live else "past_orders": [there]}
    assert not isinstance(judge(question(PLACING), [look(at, **parts) for at in times]), NotExecuted)


@pytest.mark.parametrize("marked", [True, False], ids=["with its number", "without"])
def test_the_one_position_of_a_netting_account_is_the_executions_own_when_its_order_began_it(marked: bool) -> None:
    """Whoever asks names the symbol's position as it is listed now: it may be the very one that was opened."""
    magic = magic_of(OURS) if marked else 0
    there = position(HEDGE, SIDE.opposite, "0.2", magic=magic, opened_ms=CREATED + 1_000)
    made = deal(DealEntry.IN, magic=magic, order=HEDGE)
    verdict = judge(question(EXECUTING, anchor=HEDGE), [look(positions=[there], deals=[made])])
    assert isinstance(verdict, Executed)
    assert ([p.ticket for p in verdict.positions], verdict.merged) == ([HEDGE], Decimal(0))


def test_what_an_execution_adds_to_a_position_that_was_there_is_told_as_merged() -> None:
    made = deal(DealEntry.IN, magic=magic_of(OURS), position_id=TICKET, side=SIDE)
    executing = replace(EXECUTING, side=SIDE)
    seen = look(positions=[position(TICKET, SIDE, "0.6")], deals=[made])
    verdict = judge(question(executing, anchor=TICKET), [seen])
    assert isinstance(verdict, Executed)
    assert (verdict.positions, verdict.merged, verdict.volume) == ((), Decimal("0.2"), Decimal("0.2"))
