"""What became of a request whose outcome nobody told: judged from looks at the broker, and from nothing else.

| what the looks show | verdict |
| --- | --- |
| deals or positions that carry the intent's number, in magic number or comment, or its order's ticket | executed |
| the same by content: symbol, side, volume, by a program, since it was created, claimed by no other | executed |
| its order is still live; filled, and its deals are not listed yet; a part of its lots | not yet |
| something like it that a person or another program made, where the broker never echoed a number of ours | not yet |
| a list that leaves out the trade's own position without a deal that closed it | not yet |
| its order refused, cancelled or expired with nothing filled; its position closed by somebody else | not executed |
| nothing, in two looks that began after the settle window and ``APART_MS`` apart | not executed |

The settle window is market time from the later of two moments: the answer that got lost, and when the present process
took the intent up. So a wall clock that was set between two processes cannot make it pass, and a delay that a
simulated terminal plays in its own accelerated time is waited for in that time. An order may fill in steps and make
several positions: what counts is the volume.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.actions import ClosePosition, Intent, MoveStop, OpenPosition
from dtms.domain.market import Instrument, Side
from dtms.domain.position import Deal, DealEntry, DealReason, Order, Position
from dtms.domain.prices import ZERO, same_price
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
    """Identifier of the trade's own position while it is remembered as open."""
    target: int | None = None
    """Identifier of the position that the action names."""
    opener: int | None = None
    """Number of the intent that opened that position, where dtms did."""
    claimed: frozenset[int] = frozenset()
    """Identifiers of positions that are known: other trades and their families, and this one's."""
    claimed_deals: frozenset[int] = frozenset()
    """Tickets of deals that other intents made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """It was done: ``volume`` in lots, ``at_ms`` the time of the last deal (or of the look, for a stop)."""

    positions: tuple[Position, ...] = ()
    """What it opened and is still open."""
    volume: Decimal = ZERO
    merged: Decimal = ZERO
    """The part of the volume that a netting account added to the trade's own position."""
    at_ms: int
    deals: tuple[int, ...] = ()
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
class _Nothing:
    """One look without a trace; ``is_final`` when it shows that there will be none."""

    told: str
    is_final: bool = False


_Seen = Executed | NotYet | _Nothing


def judge(question: Question, looks: Sequence[Evidence]) -> Verdict:
    """Judge an intent from looks at the broker, oldest first; the newest alone can show that it was executed."""
    seen = [_see(question, look) for look in looks]
    newest = seen[-1] if seen else NotYet("the broker was not looked at")
    if not isinstance(newest, _Nothing):
        return newest
    if newest.is_final:
        return NotExecuted(newest.told)
    return _agreed(question, looks, seen, newest)


def _agreed(question: Question, looks: Sequence[Evidence], seen: Sequence[_Seen], newest: _Nothing) -> Verdict:
    """Two looks without a trace, begun after the window and some time apart, with nothing else seen in between."""
    first = len(looks)
    while first and isinstance(seen[first - 1], _Nothing) and is_settled(question, looks[first - 1]):
        first -= 1
    if first == len(looks):
        return NotYet(f"{newest.told}; the settle window is still open")
    if looks[-1].begun_ms - looks[first].begun_ms < APART_MS:
        return NotYet(f"{newest.told}; a second look has to agree")
    return NotExecuted(f"{newest.told}, in two looks {(looks[-1].begun_ms - looks[first].begun_ms) / 1000:.1f} s apart")


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


def _see(question: Question, look: Evidence) -> _Seen:
    action = question.intent.action
    match action:
        case MoveStop():
            return _moved(question, action, look)
        case ClosePosition():
            return _closed(question, action, look)
        case OpenPosition():
            return _opened(question, action, look)


# --- stops ---------------------------------------------------------------------------------------------------------


def _moved(question: Question, action: MoveStop, look: Evidence) -> _Seen:
    position = find(look.positions, question.target, action.position)
    if position is None:
        out = _outs(look, question.target)
        told = f"position {action.position} is closed" if out else f"position {action.position} is not listed"
        return _Nothing(told, is_final=True) if out else NotYet(told)
    if same_price(position.stop, action.stop, question.instrument):
        return Executed(at_ms=look.begun_ms, told=f"the stop is {action.stop:.10g}")
    return _Nothing(f"the stop is {position.stop if position.stop is None else format(position.stop, '.10g')}")


# --- closing -------------------------------------------------------------------------------------------------------


def _closed(question: Question, action: ClosePosition, look: Evidence) -> _Seen:
    since_ms = question.intent.created_ms - SKEW_MS
    # What carries its number is its own, whatever the clocks say: the machine's may be ahead of the server's.
    outs = [d for d in _outs(look, question.target) if d.time_ms >= since_ms or _names(question, d)]
    ours = [d for d in outs if _names(question, d)] or [d for d in outs if _like_a_close_of_ours(question, d)]
    if sum((d.volume for d in ours), ZERO) > action.volume and not any(_names(question, d) for d in ours):
        return NotYet("more was closed by a program without a number than was asked for")
    position = find(look.positions, question.target, action.position)
    orders = _orders_of(question, look.past_orders, action.side.opposite)
    if live := _orders_of(question, look.orders, action.side.opposite, also_on=question.target):
        return NotYet(f"its order {live[0].ticket} is still live")
    if ours:
        return _as_far_as_seen(question, action.volume, ours, orders, look, is_gone=position is None)
    if told := _filled_unseen(orders):
        return NotYet(told)
    if position is None:
        return _gone(action, outs)
    return _untouched(question, action, look, position, outs, orders)


def _gone(action: ClosePosition, outs: Sequence[Deal]) -> _Seen:
    if sum((d.volume for d in outs), ZERO) < action.expected_volume:
        return NotYet(f"neither position {action.position} nor deals that closed it are listed")
    by = outs[-1].reason.value.replace("_", " ")
    return _Nothing(f"position {action.position} was closed by {by}", is_final=True)


def _untouched(
    question: Question,
    action: ClosePosition,
    look: Evidence,
    position: Position,
    outs: Sequence[Deal],
    orders: Sequence[Order],
) -> _Seen:
    """The position is there: its lots must be accounted for without ours, where a second close would do harm."""
    if _is_refused(question, orders):
        return _Nothing(f"its order {orders[0].ticket} is {orders[0].state.value}", is_final=True)
    told = f"position {action.position} has {position.volume} of {action.expected_volume} lots"
    if not action.kind.changes_exposure:
        return _Nothing(told)
    ins = sum((d.volume for d in look.deals if d.position_id == question.target and _is_new_entry(question, d)), ZERO)
    left = action.expected_volume + ins - sum((d.volume for d in outs), ZERO)
    if position.volume < left:
        return NotYet(f"{told}, and no deal tells why")
    if doubt := _doubt(question, [d for d in outs if d.volume == action.volume], _echoed(question, look, OUT)):
        return NotYet(doubt)
    return _Nothing(f"{told}, and no deal is its own")


def _is_new_entry(question: Question, deal: Deal) -> bool:
    return deal.entry is DealEntry.IN and deal.time_ms >= question.intent.created_ms


def _like_a_close_of_ours(question: Question, deal: Deal) -> bool:
    """A program closed it, under no number but that of the position itself, and no other intent did."""
    number = question.numbers(deal.magic, deal.comment)
    is_nameless = number in (None, question.opener) and (deal.magic == 0 or number is not None)
    is_by_program = deal.reason not in BY_HAND and deal.reason not in BY_LEVEL
    return is_nameless and is_by_program and deal.ticket not in question.claimed_deals


# --- opening -------------------------------------------------------------------------------------------------------


def _opened(question: Question, action: OpenPosition, look: Evidence) -> _Seen:
    ins = [d for d in look.deals if d.entry is not DealEntry.OUT and d.side is action.side]
    named = [d for d in ins if _names(question, d)]
    positions = named_positions(question.intent, look.positions, question.numbers)
    nameless = [] if named or positions else [d for d in ins if _like_an_entry_of_ours(question, action, d)]
    orders = _orders_of(question, look.past_orders, action.side)
    if live := [
        *_orders_of(question, look.orders, action.side),
        *(o for o in look.orders if _like_an_order_of_ours(question, action, o)),
    ]:
        return NotYet(f"its order {live[0].ticket} is still live")
    if sum((d.volume for d in nameless), ZERO) > action.volume:
        return NotYet("more was opened by a program without a number than was asked for")
    if named or positions or nameless:
        return _found(question, action, look, [*named, *nameless], positions, orders)
    if told := _filled_unseen(orders):
        return NotYet(told)
    if orders and _is_refused(question, orders):
        return _Nothing(f"its order {orders[0].ticket} is {orders[0].state.value}", is_final=True)
    return _none_opened(question, action, look, ins)


def _found(
    question: Question,
    action: OpenPosition,
    look: Evidence,
    deals: Sequence[Deal],
    named: Sequence[Position],
    orders: Sequence[Order],
) -> _Seen:
    identifiers = {p.identifier for p in named} | {d.position_id for d in deals}
    open_now = tuple(p for p in look.positions if p.identifier in identifiers and p.identifier != question.anchor)
    return _as_far_as_seen(question, action.volume, deals, orders, look, positions=open_now)


def _none_opened(question: Question, action: OpenPosition, look: Evidence, ins: Sequence[Deal]) -> _Seen:
    alike = [d for d in ins if d.symbol == action.symbol and d.volume == action.volume]
    new = [d for d in alike if d.time_ms >= question.intent.created_ms - SKEW_MS]
    if doubt := _doubt(
        question,
        [d for d in new if d.position_id not in question.claimed],
        _echoed(question, look, (DealEntry.IN,)),
    ):
        return NotYet(doubt)
    told_of = {d.position_id for d in look.deals}
    unexplained = [p for p in look.positions if _like_a_position_of_ours(question, action, p)]
    if untold := [p for p in unexplained if p.identifier not in told_of]:
        return NotYet(f"position {untold[0].ticket} may be its own, and no deal tells yet")
    if question.anchor is not None and not _is_whole(question.anchor, look):
        return NotYet(f"the list leaves out position {question.anchor}, which nothing closed")
    return _Nothing("no position, order or deal carries its number or is like it")


def _is_whole(anchor: int, look: Evidence) -> bool:
    """Answer whether the list has the trade's own position, or a deal tells why not."""
    return any(p.identifier == anchor for p in look.positions) or bool(_outs(look, anchor))


def _like_an_entry_of_ours(question: Question, action: OpenPosition, deal: Deal) -> bool:
    is_free = deal.position_id not in question.claimed or deal.position_id == question.anchor
    return (
        deal.symbol == action.symbol
        and deal.volume <= action.volume
        and deal.time_ms >= question.intent.created_ms - SKEW_MS
        and deal.magic == 0
        and question.numbers(deal.magic, deal.comment) is None
        and deal.reason not in BY_HAND
        and is_free
        and deal.ticket not in question.claimed_deals
    )


def _like_a_position_of_ours(question: Question, action: OpenPosition, position: Position) -> bool:
    return (
        position.symbol == action.symbol
        and position.side is action.side
        and position.volume <= action.volume
        and position.opened_ms >= question.intent.created_ms - SKEW_MS
        and position.magic == 0
        and question.numbers(position.magic, position.comment) is None
        and position.identifier not in question.claimed
    )


def _like_an_order_of_ours(question: Question, action: OpenPosition, order: Order) -> bool:
    return (
        order.symbol == action.symbol
        and order.side is action.side
        and order.volume == action.volume
        and order.set_up_ms >= question.intent.created_ms - SKEW_MS
        and order.magic == 0
        and question.numbers(order.magic, order.comment) is None
    )


# --- what all kinds share ------------------------------------------------------------------------------------------


def _outs(look: Evidence, identifier: int | None) -> list[Deal]:
    return [d for d in look.deals if d.position_id == identifier and d.entry in OUT]


def _names(question: Question, deal: Deal) -> bool:
    intent = question.intent
    return (
        question.numbers(deal.magic, deal.comment) == intent.number
        or (intent.order is not None and deal.order == intent.order)
        or (intent.deal is not None and deal.ticket == intent.deal)
    )


def _orders_of(
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


def _filled_unseen(orders: Sequence[Order]) -> str | None:
    filled = next((o for o in orders if o.filled > ZERO), None)
    return f"order {filled.ticket} filled {filled.filled} lots whose deals are not listed yet" if filled else None


def _is_refused(question: Question, orders: Sequence[Order]) -> bool:
    """Answer whether the very order that was answered came to nothing.

    Any other could be one of several tries (fillings) under the same number, of which the last is still under way.
    """
    its_own = [o for o in orders if o.ticket == question.intent.order]
    return bool(its_own) and all(o.state.is_final and o.filled == ZERO for o in orders)


def _as_far_as_seen(
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
    witness = "its number" if any(_names(question, d) for d in deals) or not deals else "what it is, without a number"
    return Executed(
        positions=positions,
        volume=volume,
        merged=sum((d.volume for d in deals if d.position_id == question.anchor and d.entry is DealEntry.IN), ZERO),
        at_ms=max(times, default=look.begun_ms),
        deals=tuple(d.ticket for d in deals),
        told=f"{volume} lots found by {witness}",
    )


def _echoed(question: Question, look: Evidence, entries: Sequence[DealEntry]) -> bool:
    """Answer whether this broker was seen to carry a number of ours in such a deal."""
    return any(d.entry in entries and question.numbers(d.magic, d.comment) is not None for d in look.deals)


def _doubt(question: Question, alike: Sequence[Deal], echoed: bool) -> str | None:
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
