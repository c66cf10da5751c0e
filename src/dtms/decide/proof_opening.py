"""What shows that an intent opened a position at market, or did not."""

from collections.abc import Sequence

from dtms.decide.proof_parts import (
    BY_HAND,
    SKEW_MS,
    Nothing,
    NotYet,
    Question,
    Seen,
    as_far_as_seen,
    doubt_of,
    filled_unseen,
    is_echoed,
    is_named,
    is_refused,
    named_positions,
    orders_of,
    outs_of,
)
from dtms.domain.actions import OpenPosition
from dtms.domain.position import Deal, DealEntry, Order, OrderKind, Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Evidence


def opened(question: Question, action: OpenPosition, look: Evidence) -> Seen:
    """See what one look shows of an opening at market."""
    ins = [d for d in look.deals if d.side is action.side and _is_entry(question, action, d)]
    named = [d for d in ins if is_named(question, d)]
    positions = named_positions(question.intent, look.positions, question.numbers)
    nameless = [] if named or positions else [d for d in ins if _like_an_entry_of_ours(question, action, d)]
    orders = orders_of(question, look.past_orders, action.side)
    if live := [
        *orders_of(question, look.orders, action.side),
        *(o for o in look.orders if _like_an_order_of_ours(question, action, o)),
    ]:
        return NotYet(f"its order {live[0].ticket} is still live")
    if sum((d.volume for d in nameless), ZERO) > action.volume:
        return NotYet("more was opened by a program without a number than was asked for")
    if named or positions or nameless:
        return _found(question, action, look, [*named, *nameless], positions, orders)
    if told := filled_unseen(orders):
        return NotYet(told)
    if orders and is_refused(question, orders):
        return Nothing(f"its order {orders[0].ticket} is {orders[0].state.value}", is_final=True)
    return _none_opened(question, action, look, ins)


def _is_entry(question: Question, action: OpenPosition, deal: Deal) -> bool:
    """Answer whether a deal can have come from an opening.

    On a netting account a trade of its own can take from a position that is there: its number tells.
    """
    return deal.entry is not DealEntry.OUT or (action.kind.opens_trade and is_named(question, deal))


def _found(
    question: Question,
    action: OpenPosition,
    look: Evidence,
    deals: Sequence[Deal],
    named: Sequence[Position],
    orders: Sequence[Order],
) -> Seen:
    identifiers = {p.identifier for p in named} | {d.position_id for d in deals}
    # What a netting account merged into the position that was there opened none; what began with its order did.
    begun = {p.identifier for p in named} | {d.order for d in deals}
    own = identifiers - ({question.anchor} - begun)
    open_now = tuple(p for p in look.positions if p.identifier in own)
    return as_far_as_seen(question, action.volume, deals, orders, look, positions=open_now)


def _none_opened(question: Question, action: OpenPosition, look: Evidence, ins: Sequence[Deal]) -> Seen:
    alike = [d for d in ins if d.symbol == action.symbol and d.volume == action.volume]
    new = [d for d in alike if d.time_ms >= question.intent.created_ms - SKEW_MS]
    if doubt := doubt_of(
        question,
        [d for d in new if d.position_id not in question.claimed],
        is_echoed(question, look, (DealEntry.IN,)),
    ):
        return NotYet(doubt)
    told_of = {d.position_id for d in look.deals}
    unexplained = [p for p in look.positions if _like_a_position_of_ours(question, action, p)]
    if untold := [p for p in unexplained if p.identifier not in told_of]:
        return NotYet(f"position {untold[0].ticket} may be its own, and no deal tells yet")
    if question.anchor is not None and not _is_whole(question.anchor, look):
        return NotYet(f"the list leaves out position {question.anchor}, which nothing closed")
    return Nothing("no position, order or deal carries its number or is like it")


def _is_whole(anchor: int, look: Evidence) -> bool:
    """Answer whether the list has the trade's own position, or a deal tells why not."""
    return any(p.identifier == anchor for p in look.positions) or bool(outs_of(look, anchor))


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
        and order.kind is OrderKind.MARKET
        and order.magic == 0
        and question.numbers(order.magic, order.comment) is None
    )
