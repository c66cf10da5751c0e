"""What became of a request that nobody answered: what proves that it was executed, that it was not, or neither."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import HEDGE, NOW, TICKET, instrument, position

from dtms.decide.proof import APART_MS, Executed, NotExecuted, NotYet, Question, judge
from dtms.domain.actions import Action, ActionKind, ClosePosition, Intent, IntentState, MoveStop, OpenPosition
from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason, Order, OrderState, Position
from dtms.domain.snapshot import Evidence

SIDE = Side.LONG
OURS, ANOTHER = 7, 8
CREATED, SETTLE = NOW - 60_000, 20_000
EARLY, SETTLED, LATER = CREATED + 5_000, CREATED + SETTLE, CREATED + SETTLE + APART_MS


def number_of(magic: int, comment: str) -> int | None:
    """In these tests a magic number from 1000 on carries a number, and so does a comment ``D<number>``."""
    if magic >= 1000:
        return magic - 1000
    return int(comment[1:]) if comment[:1] == "D" else None


def magic_of(number: int) -> int:
    return 1000 + number


HEDGING = OpenPosition(
    kind=ActionKind.OPEN_HEDGE,
    symbol="EURUSD",
    side=SIDE.opposite,
    volume=Decimal("0.2"),
    stop=1.1,
    target=None,
)
READDING = replace(HEDGING, kind=ActionKind.READD, side=SIDE)


def closing(kind: ActionKind, volume: str) -> ClosePosition:
    return ClosePosition(
        kind=kind,
        position=TICKET,
        symbol="EURUSD",
        side=SIDE,
        volume=Decimal(volume),
        expected_volume=Decimal("0.4"),
    )


PART, ALL = closing(ActionKind.CLOSE_PART, "0.2"), closing(ActionKind.CLOSE, "0.4")
MOVE = MoveStop(
    kind=ActionKind.TIGHTEN,
    position=TICKET,
    symbol="EURUSD",
    side=SIDE,
    stop=1.0990,
    target=None,
    expected_stop=1.0970,
)


def asked(action: Action, **changes: Any) -> Question:
    intent = Intent(
        number=OURS,
        ticket=TICKET,
        action=action,
        serves=None,
        state=IntentState.UNKNOWN,
        token=1,
        created_ms=CREATED,
        sent_ms=CREATED,
        order=changes.pop("order", None),
    )
    known: dict[str, Any] = {
        "intent": intent,
        "numbers": number_of,
        "instrument": instrument(),
        "since_ms": CREATED,
        "settle_ms": SETTLE,
        "anchor": TICKET,
        "target": None if isinstance(action, OpenPosition) else TICKET,
        "claimed": frozenset({TICKET}),
    }
    return Question(**{**known, **changes})


OWN = position(TICKET, SIDE, "0.4")


def look(at: int = EARLY, *, positions: Sequence[Position] = (OWN,), **parts: Any) -> Evidence:
    base: dict[str, Any] = {"orders": (), "past_orders": (), "deals": ()}
    given = {name: tuple(found) for name, found in parts.items()}
    return Evidence(begun_ms=at, positions=tuple(positions), **{**base, **given})


def deal(entry: DealEntry, volume: str = "0.2", **changes: Any) -> Deal:
    """Make a deal of the hedge's side: it opens the hedge, and it closes the trade's own position."""
    base = Deal(
        ticket=50,
        order=40,
        position_id=HEDGE if entry is DealEntry.IN else TICKET,
        symbol="EURUSD",
        side=SIDE.opposite,
        entry=entry,
        reason=DealReason.EXPERT,
        volume=Decimal(volume),
        price=1.1,
        commission=0.0,
        swap=0.0,
        profit=0.0,
        fee=0.0,
        magic=0,
        comment="",
        time_ms=CREATED + 1_000,
    )
    return replace(base, **changes)


def order(state: OrderState, filled: str = "0", **changes: Any) -> Order:
    base = Order(
        ticket=40,
        symbol="EURUSD",
        side=SIDE.opposite,
        volume=Decimal("0.2"),
        magic=magic_of(OURS),
        comment="",
        position_id=0,
        left=Decimal("0.2") - Decimal(filled),
        state=state,
        set_up_ms=CREATED + 500,
    )
    return replace(base, **changes)


HEDGE_THERE = position(HEDGE, SIDE.opposite, "0.2", magic=magic_of(OURS), opened_ms=CREATED + 1_000)
Case = tuple[str, Question, Evidence]


# --- executed ------------------------------------------------------------------------------------------------------

FOUND: list[Case] = [
    ("by the position's magic", asked(HEDGING), look(positions=[OWN, HEDGE_THERE])),
    (
        "by the position's comment",
        asked(HEDGING),
        look(positions=[OWN, replace(HEDGE_THERE, magic=0, comment=f"D{OURS}")]),
    ),
    (
        "by its order's ticket",
        asked(HEDGING, order=HEDGE),
        look(positions=[OWN, replace(HEDGE_THERE, magic=0)]),
    ),
    (
        "by a deal alone, the position being gone again",
        asked(HEDGING),
        look(deals=[deal(DealEntry.IN, magic=magic_of(OURS))]),
    ),
    (
        "by content: a program's, of this side and volume, since then, and nobody else's",
        asked(HEDGING),
        look(positions=[OWN, replace(HEDGE_THERE, magic=0)], deals=[deal(DealEntry.IN)]),
    ),
    (
        "a part closed, by the deal's magic",
        asked(PART),
        look(positions=[position(TICKET, SIDE, "0.2")], deals=[deal(DealEntry.OUT, magic=magic_of(OURS))]),
    ),
    (
        "a part closed, by content",
        asked(PART),
        look(positions=[position(TICKET, SIDE, "0.2")], deals=[deal(DealEntry.OUT)]),
    ),
    (
        "everything closed, by content",
        asked(ALL),
        look(positions=[], deals=[deal(DealEntry.OUT, "0.4")]),
    ),
    (
        "a hedge closed under its own number, as some brokers write it",
        asked(
            replace(ALL, position=HEDGE, kind=ActionKind.CLOSE_HEDGE, side=SIDE.opposite),
            target=HEDGE,
            opener=ANOTHER,
        ),
        look(deals=[deal(DealEntry.OUT, "0.4", position_id=HEDGE, side=SIDE, magic=magic_of(ANOTHER))]),
    ),
    ("a stop that is where it was to go", asked(MOVE), look(positions=[replace(OWN, stop=1.0990)])),
    (
        "a stop, on the same position under another ticket",
        asked(MOVE),
        look(positions=[replace(OWN, ticket=99, stop=1.0990)]),
    ),
]


@pytest.mark.parametrize(("question", "seen"), [c[1:] for c in FOUND], ids=[c[0] for c in FOUND])
def test_what_shows_was_executed_however_early(question: Question, seen: Evidence) -> None:
    assert isinstance(judge(question, [seen]), Executed)


@pytest.mark.parametrize("action", [PART, ALL])
def test_a_close_under_its_number_counts_however_far_the_machines_clock_is_ahead(action: ClosePosition) -> None:
    """Stamped a minute before the intent was made: it is executed, and not looked for until a person is called."""
    left = action.expected_volume - action.volume
    positions = [replace(OWN, volume=left)] if left else []
    early = deal(DealEntry.OUT, str(action.volume), magic=magic_of(OURS), time_ms=CREATED - 60_000)
    verdict = judge(asked(action), [look(positions=positions, deals=[early])])
    assert isinstance(verdict, Executed)
    assert verdict.volume == action.volume


def test_what_was_found_is_what_is_adopted() -> None:
    """Positions, lots, and the time of the deal, from which timers run."""
    at_ms = CREATED + 12_345
    seen = look(positions=[OWN, replace(HEDGE_THERE, magic=0)], deals=[deal(DealEntry.IN, time_ms=at_ms)])
    verdict = judge(asked(HEDGING), [seen])
    assert isinstance(verdict, Executed)
    assert [p.ticket for p in verdict.positions] == [HEDGE]
    assert (verdict.volume, verdict.at_ms, verdict.deals) == (Decimal("0.2"), at_ms, (50,))
    assert "without a number" in verdict.told


def test_one_order_can_have_made_several_positions() -> None:
    parts = [
        replace(HEDGE_THERE, volume=Decimal("0.1")),
        replace(HEDGE_THERE, volume=Decimal("0.1"), ticket=9, identifier=9),
    ]
    verdict = judge(asked(HEDGING), [look(positions=[OWN, *parts])])
    assert isinstance(verdict, Executed)
    assert [p.ticket for p in verdict.positions] == [HEDGE, 9]
    assert verdict.volume == Decimal("0.2")


def test_a_netting_account_adds_a_re_add_to_the_position_itself() -> None:
    merged = deal(DealEntry.IN, side=SIDE, position_id=TICKET)
    for found in (replace(merged, magic=magic_of(OURS)), merged):
        verdict = judge(asked(READDING), [look(positions=[position(TICKET, SIDE, "0.6")], deals=[found])])
        assert isinstance(verdict, Executed)
        assert (verdict.positions, verdict.merged) == ((), Decimal("0.2"))


# --- not yet -------------------------------------------------------------------------------------------------------

UNCLEAR: list[Case] = [
    ("its order is placed and live", asked(HEDGING), look(LATER, orders=[order(OrderState.WORKING)])),
    (
        "an order like its own is live, without a number",
        asked(HEDGING),
        look(LATER, orders=[order(OrderState.WORKING, magic=0)]),
    ),
    (
        "its order was filled, and no deal is listed yet",
        asked(HEDGING),
        look(LATER, past_orders=[order(OrderState.FILLED, "0.2")]),
    ),
    (
        "half of it shows so far",
        asked(HEDGING),
        look(positions=[OWN, replace(HEDGE_THERE, volume=Decimal("0.1"))]),
    ),
    (
        "a position like it, of which no deal tells yet",
        asked(HEDGING),
        look(LATER, positions=[OWN, replace(HEDGE_THERE, magic=0)]),
    ),
    (
        "a person made one like it, on a broker that was never seen to keep a number",
        asked(HEDGING),
        look(LATER, deals=[deal(DealEntry.IN, reason=DealReason.CLIENT)]),
    ),
    (
        "another program's is just like it",
        asked(HEDGING),
        look(LATER, deals=[deal(DealEntry.IN, magic=777)]),
    ),
    (
        "more came without a number than was asked for",
        asked(HEDGING),
        look(LATER, deals=[deal(DealEntry.IN), deal(DealEntry.IN, ticket=51)]),
    ),
    ("the list leaves out the trade's own position", asked(HEDGING), look(LATER, positions=[])),
    ("lots are gone without a deal", asked(PART), look(LATER, positions=[position(TICKET, SIDE, "0.2")])),
    (
        "a close of the position is under way",
        asked(PART),
        look(LATER, orders=[order(OrderState.WORKING, magic=0, position_id=TICKET)]),
    ),
    ("neither the position nor its closing deals are listed", asked(PART), look(LATER, positions=[])),
    ("the position is not listed (a stop)", asked(MOVE), look(LATER, positions=[])),
    ("the position is not listed (closing everything)", asked(ALL), look(LATER, positions=[])),
]


@pytest.mark.parametrize(("question", "seen"), [c[1:] for c in UNCLEAR], ids=[c[0] for c in UNCLEAR])
def test_what_cannot_be_told_stays_unknown_however_often_it_is_looked_at(question: Question, seen: Evidence) -> None:
    looks = [replace(seen, begun_ms=seen.begun_ms + i * APART_MS) for i in range(3)]
    assert isinstance(judge(question, looks), NotYet)


# --- not executed --------------------------------------------------------------------------------------------------

WITHOUT_TRACE: list[tuple[str, Question, Callable[[int], Evidence]]] = [
    ("hedge", asked(HEDGING), look),
    ("re-add", asked(READDING), look),
    ("part", asked(PART), look),
    ("everything", asked(ALL), look),
    ("stop", asked(MOVE), look),
    (
        "a part, beside one that another intent closed",
        asked(PART),
        lambda at: look(
            at, positions=[position(TICKET, SIDE, "0.2")], deals=[deal(DealEntry.OUT, magic=magic_of(ANOTHER))]
        ),
    ),
    (
        "a hedge, beside that of another trade that lost its number",
        asked(HEDGING, claimed=frozenset({TICKET, HEDGE})),
        lambda at: look(at, positions=[OWN, replace(HEDGE_THERE, magic=0)], deals=[deal(DealEntry.IN)]),
    ),
    (
        "a hedge, beside a person's own, on a broker that keeps numbers",
        asked(HEDGING),
        lambda at: look(
            at,
            deals=[
                deal(DealEntry.IN, reason=DealReason.MOBILE),
                deal(DealEntry.IN, ticket=51, magic=magic_of(ANOTHER), position_id=9),
            ],
        ),
    ),
    (
        "a hedge like one of an hour ago",
        asked(HEDGING),
        lambda at: look(at, deals=[deal(DealEntry.IN, time_ms=CREATED - 3_600_000)]),
    ),
]


@pytest.mark.parametrize(("question", "seen"), [c[1:] for c in WITHOUT_TRACE], ids=[c[0] for c in WITHOUT_TRACE])
def test_it_takes_two_looks_after_the_window_to_say_that_it_was_not_executed(
    question: Question, seen: Callable[[int], Evidence]
) -> None:
    looks = [seen(at) for at in (EARLY, SETTLED - 1, SETTLED, SETTLED + APART_MS - 1)]
    for count in range(1, len(looks) + 1):
        assert isinstance(judge(question, looks[:count]), NotYet), count
    assert isinstance(judge(question, [*looks, seen(SETTLED + APART_MS)]), NotExecuted)


def test_a_trace_between_the_looks_begins_the_agreement_anew() -> None:
    """A live order in the second look: the first one no longer counts."""
    live = look(SETTLED + 1_000, orders=[order(OrderState.WORKING)])
    looks = [look(SETTLED), live, look(SETTLED + APART_MS + 500)]
    assert isinstance(judge(asked(HEDGING), looks), NotYet)
    assert isinstance(judge(asked(HEDGING), [*looks, look(SETTLED + 2 * APART_MS + 500)]), NotExecuted)


@pytest.mark.parametrize("state", [OrderState.REJECTED, OrderState.CANCELLED, OrderState.EXPIRED])
def test_the_answered_order_that_came_to_nothing_proves_it_at_once(state: OrderState) -> None:
    """PLACED named the order; in the history it is at its end with nothing filled."""
    verdict = judge(asked(HEDGING, order=40), [look(past_orders=[order(state, magic=0)])])
    assert isinstance(verdict, NotExecuted)
    assert state.value in verdict.told


def test_a_refused_order_that_was_not_the_answered_one_proves_nothing_yet() -> None:
    """Fillings are tried one after the other under one number: the last of them may still be under way."""
    seen = look(past_orders=[order(OrderState.REJECTED)])
    assert isinstance(judge(asked(HEDGING), [seen]), NotYet)


@pytest.mark.parametrize("action", [PART, ALL, MOVE], ids=["part", "everything", "stop"])
def test_a_position_that_somebody_closed_proves_it_at_once(action: Action) -> None:
    """Its stop was hit: what was asked of it cannot be done any more."""
    gone = look(positions=[], deals=[deal(DealEntry.OUT, "0.4", reason=DealReason.STOP)])
    verdict = judge(asked(action), [gone])
    assert isinstance(verdict, NotExecuted)


def test_a_partly_filled_order_counts_with_what_it_filled() -> None:
    """Half filled and at its end: executed with that; while it could still fill, not yet."""
    half = replace(HEDGE_THERE, volume=Decimal("0.1"))
    ended = order(OrderState.CANCELLED, "0.1")
    verdict = judge(asked(HEDGING), [look(positions=[OWN, half], past_orders=[ended])])
    assert isinstance(verdict, Executed)
    assert verdict.volume == Decimal("0.1")
    live = order(OrderState.PARTIAL, "0.1")
    assert isinstance(judge(asked(HEDGING), [look(LATER, positions=[OWN, half], orders=[live])]), NotYet)


# --- properties ----------------------------------------------------------------------------------------------------

ACTIONS = st.sampled_from([HEDGING, READDING, PART, ALL, MOVE])
TIMES = st.lists(st.integers(CREATED, CREATED + 120_000), min_size=1, max_size=6).map(sorted)


@given(action=ACTIONS, times=TIMES)
def test_no_look_before_the_window_ends_proves_anything(action: Action, times: list[int]) -> None:
    """Without a trace the verdict is the same for any looks: two of them settled and apart, or nothing."""
    settled = [at for at in times if at >= SETTLED]
    proven = len(settled) > 1 and settled[-1] - settled[0] >= APART_MS
    verdict = judge(asked(action), [look(at) for at in times])
    assert isinstance(verdict, NotExecuted) is proven


@given(action=st.sampled_from([HEDGING, READDING]), times=TIMES, number=st.sampled_from(["magic", "comment", "none"]))
def test_an_entry_that_is_there_is_never_proven_away(action: OpenPosition, times: list[int], number: str) -> None:
    """Whatever became of its number, and whichever of its traces is listed: no looks say that it was not executed."""
    marks: Any = {
        "magic": magic_of(OURS) if number == "magic" else 0,
        "comment": f"D{OURS}" if number == "comment" else "",
    }
    there = position(HEDGE, action.side, "0.2", opened_ms=CREATED + 1_000, **marks)
    made = deal(DealEntry.IN, side=action.side, **marks)
    for parts in ({"deals": [made]}, {"positions": [OWN, there]}, {"positions": [OWN, there], "deals": [made]}):
        seen: Any = parts
        assert not isinstance(judge(asked(action), [look(at, **seen) for at in times]), NotExecuted)


@given(times=TIMES, by_number=st.booleans(), lists=st.booleans())
def test_a_part_that_was_closed_is_never_proven_away(times: list[int], by_number: bool, lists: bool) -> None:
    """Neither when the deal is not listed yet, nor when the position still shows all its lots."""
    made = deal(DealEntry.OUT, magic=magic_of(OURS) if by_number else 0)
    left = position(TICKET, SIDE, "0.2" if lists else "0.4")
    parts: Any = {"positions": [left], "deals": [made]} if not lists else {"positions": [left]}
    assert not isinstance(judge(asked(PART), [look(at, **parts) for at in times]), NotExecuted)
