"""What all proofs share: the question, the verdicts, and how the broker's lists are read for traces of an intent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.actions import Intent
from dtms.domain.market import Instrument, Side
from dtms.domain.position import Deal, DealEntry, DealReason, Order, Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Evidence

APART_MS = 2_000
"""Market time between the two looks that must agree."""
SKEW_MS = 10_000
"""How far the trade server's stamp may lie before the moment at which the intent was committed."""
OUT = (DealEntry.OUT, DealEntry.OUT_BY, DealEntry.INOUT)
BY_HAND = frozenset({DealReason.CLIENT, DealReason.MOBILE, DealReason.WEB})
BY_LEVEL = frozenset({DealReason.STOP, DealReason.TARGET, DealReason.STOP_OUT})

NumberOf = Callable[[int, str], int | None]
"""Read an intent's number out of a magic number and a comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and what must be known to judge; times are market milliseconds."""

    intent: Intent
    numbers: NumberOf
    instrument: Instrument
    since_ms: int
    """When the settle window began."""
    settle_ms: int
    anchor: int | None = None
    """Identifier of the trade's own position while it is remembered as open.

    Of an execution that of any position of the symbol that is known to be open, so that a short list is known as one;
    on a netting account there is only one, which it adds to or takes from.
    """
    target: int | None = None
    """Identifier of the position that the action names."""
    opener: int | None = None
    """Number of the intent that opened that position, where dtms did."""
    claimed: frozenset[int] = frozenset()
    """Identifiers of positions that are known: other trades and their families, and this one's."""
    claimed_deals: frozenset[int] = frozenset()
    """Tickets of deals that other intents made."""
    claimed_orders: frozenset[int] = frozenset()
    """Tickets of orders that other intents placed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """It was done: ``volume`` in lots, ``at_ms`` the time of the last deal, or of the look where there is none."""

    positions: tuple[Position, ...] = ()
    """What it opened and is still open."""
    volume: Decimal = ZERO
    merged: Decimal = ZERO
    """The part of the volume that a netting account added to the trade's own position."""
    at_ms: int
    deals: tuple[int, ...] = ()
    order: Order | None = None
    """The pending order that it placed or removed, as it was found."""
    told: str


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """It was not done, and will not be."""

    told: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nobody can say yet."""

    reason: str


Verdict = Executed | NotExecuted | NotYet


@dataclass(frozen=True, slots=True)
class Nothing:
    """One look without a trace; ``is_final`` when it shows that there will be none."""

    told: str
    is_final: bool = False


Seen = Executed | NotYet | Nothing


def is_settled(question: Question, look: Evidence) -> bool:
    """Answer whether a look began after the settle window."""
    return look.begun_ms >= question.since_ms + question.settle_ms


def named_positions(intent: Intent, positions: Sequence[Position], numbers: NumberOf) -> tuple[Position, ...]:
    """Return the positions that an intent opened, by its number or by the ticket of its order."""
    tickets = () if intent.order is None else (intent.order,)
    return tuple(
        p
        for p in positions
        if numbers(p.magic, p.comment) == intent.number or p.identifier in tickets or p.ticket in tickets
    )


def find(positions: Sequence[Position], identifier: int | None, ticket: int) -> Position | None:
    """Return a position by its identifier, which stays, or by its ticket, which a broker may replace."""
    by_identifier = next((p for p in positions if p.identifier == identifier), None)
    return by_identifier or next((p for p in positions if p.ticket == ticket), None)


def outs_of(look: Evidence, identifier: int | None) -> list[Deal]:
    return [d for d in look.deals if d.position_id == identifier and d.entry in OUT]


def is_named(question: Question, deal: Deal) -> bool:
    intent = question.intent
    return (
        question.numbers(deal.magic, deal.comment) == intent.number
        or (intent.order is not None and deal.order == intent.order)
        or (intent.deal is not None and deal.ticket == intent.deal)
    )


def orders_of(
    question: Question, orders: Sequence[Order], side: Side, *, also_on: int | None = None
) -> tuple[Order, ...]:
    """Return the orders that carry the intent's number or ticket; with ``also_on`` any on that position.

    An order of the other side under the same number is a level of the position that closed it.
    """
    intent = question.intent
    return tuple(
        o
        for o in orders
        if o.side is side
        and (
            question.numbers(o.magic, o.comment) == intent.number
            or o.ticket == intent.order
            or (also_on is not None and o.position_id == also_on)
        )
    )


def filled_unseen(orders: Sequence[Order]) -> str | None:
    filled = next((o for o in orders if o.filled > ZERO), None)
    return f"order {filled.ticket} filled {filled.filled} lots whose deals are not listed yet" if filled else None


def is_refused(question: Question, orders: Sequence[Order]) -> bool:
    """Answer whether the very order that was answered came to nothing.

    Any other could be one of several tries (fillings) under the same number, of which the last is still under way.
    """
    its_own = [o for o in orders if o.ticket == question.intent.order]
    return bool(its_own) and all(o.state.is_final and o.filled == ZERO for o in orders)


def as_far_as_seen(
    question: Question,
    wanted: Decimal,
    deals: Sequence[Deal],
    orders: Sequence[Order],
    look: Evidence,
    *,
    positions: tuple[Position, ...] = (),
    is_gone: bool = False,
) -> Executed | NotYet:
    """Take what shows for all of it once it is all, its order is at its end, or the settle window is over."""
    volume = max(sum((d.volume for d in deals), ZERO), sum((p.volume for p in positions), ZERO))
    ended = bool(orders) and all(o.state.is_final for o in orders) and volume >= sum((o.filled for o in orders), ZERO)
    if volume < wanted and not (ended or is_gone or is_settled(question, look)):
        return NotYet(f"{volume} of {wanted} lots are to be seen so far")
    times = [*(d.time_ms for d in deals), *(p.opened_ms for p in positions if not deals)]
    witness = "its number" if any(is_named(question, d) for d in deals) or not deals else "what it is, without a number"
    return Executed(
        positions=positions,
        volume=volume,
        merged=sum((d.volume for d in deals if _merges(question, d)), ZERO),
        at_ms=max(times, default=look.begun_ms),
        deals=tuple(d.ticket for d in deals),
        told=f"{volume} lots found by {witness}",
    )


def _merges(question: Question, deal: Deal) -> bool:
    """Answer whether a deal added to the anchor, which is identified by the ticket of the order that began it."""
    return deal.position_id == question.anchor != deal.order and deal.entry is DealEntry.IN


def is_echoed(question: Question, look: Evidence, entries: Sequence[DealEntry]) -> bool:
    """Answer whether this broker was seen to carry a number of ours in such a deal."""
    return any(d.entry in entries and question.numbers(d.magic, d.comment) is not None for d in look.deals)


def doubt_of(question: Question, alike: Sequence[Deal], echoed: bool) -> str | None:
    """Tell of a deal like ours that somebody else seems to have made, unless the broker keeps our numbers."""
    strangers = (
        d
        for d in alike
        if question.numbers(d.magic, d.comment) is None
        and d.reason not in BY_LEVEL
        and d.ticket not in question.claimed_deals
    )
    stranger = None if echoed else next(strangers, None)
    if stranger is None:
        return None
    return f"deal {stranger.ticket} is like it and carries no number of ours: whose it is cannot be told"
