"""What shows that a pending order was placed by an intent, or removed, or was not.

An order that was placed is executed whatever became of it since: it is live, filled, or ended unfilled, and the verdict
names it. One that the broker rejected came to nothing.
"""

from collections.abc import Sequence

from dtms.decide.proof_parts import (
    BY_HAND,
    SKEW_MS,
    Executed,
    Nothing,
    NotYet,
    Question,
    Seen,
    as_far_as_seen,
    filled_unseen,
    is_named,
    is_refused,
    named_positions,
    orders_of,
)
from dtms.domain.actions import CancelOrder, PlaceOrder
from dtms.domain.position import Deal, Order, OrderState
from dtms.domain.prices import ZERO, same_price
from dtms.domain.snapshot import Evidence


def placed(question: Question, action: PlaceOrder, look: Evidence) -> Seen:
    """See what one look shows of the placing of a pending order."""
    listed = (*look.orders, *look.past_orders)
    named = orders_of(question, listed, action.side)
    deals = [d for d in look.deals if d.side is action.side and is_named(question, d)]
    if named or deals or named_positions(question.intent, look.positions, question.numbers):
        return _become(question, action, look, named, deals)
    alike = [o for o in listed if _is_alike(question, action, o)]
    by_program = [o for o in alike if o.magic == 0 and o.reason not in BY_HAND]
    if len(by_program) > 1:
        return NotYet(f"{len(by_program)} orders are like it and carry no number: whose they are cannot be told")
    if by_program:
        (own,) = by_program
        return _become(question, action, look, by_program, [d for d in look.deals if d.order == own.ticket])
    if alike and not _are_echoed(question, look):
        return NotYet(f"order {alike[0].ticket} is like it and carries no number of ours: whose it is cannot be told")
    return Nothing("no order, position or deal carries its number or is like it")


def _become(
    question: Question, action: PlaceOrder, look: Evidence, orders: Sequence[Order], deals: Sequence[Deal]
) -> Seen:
    """Tell what became of an order that was found: of several tries under one number, the one that was taken."""
    order = next((o for o in orders if o.state is not OrderState.REJECTED or o.filled > ZERO), None)
    if order is None and orders:
        return Nothing(f"its order {orders[0].ticket} is rejected", is_final=is_refused(question, orders))
    identifiers = {d.position_id for d in deals}
    named = {p.identifier for p in named_positions(question.intent, look.positions, question.numbers)}
    positions = tuple(p for p in look.positions if p.identifier in identifiers | named)
    if order is None:
        return as_far_as_seen(question, action.volume, deals, orders, look, positions=positions)
    volume = sum((d.volume for d in deals), ZERO)
    if volume < order.filled and (told := filled_unseen([order])):
        return NotYet(told)
    return Executed(
        order=order,
        positions=positions,
        volume=volume,
        at_ms=max((d.time_ms for d in deals), default=order.set_up_ms or look.begun_ms),
        deals=tuple(d.ticket for d in deals),
        told=f"order {order.ticket} is {order.state.value}",
    )


def _is_alike(question: Question, action: PlaceOrder, order: Order) -> bool:
    return (
        order.symbol == action.symbol
        and order.side is action.side
        and order.kind.value == action.way.value
        and order.volume == action.volume
        and same_price(order.price, action.price, question.instrument)
        and order.set_up_ms >= question.intent.created_ms - SKEW_MS
        and question.numbers(order.magic, order.comment) is None
        and order.ticket not in question.claimed_orders
    )


def _are_echoed(question: Question, look: Evidence) -> bool:
    """Answer whether this broker was seen to carry a number of ours in an order."""
    return any(question.numbers(o.magic, o.comment) is not None for o in (*look.orders, *look.past_orders))


def cancelled(action: CancelOrder, look: Evidence) -> Seen:
    """See what one look shows of the removal of a pending order: that it is gone, whoever removed it."""
    if any(o.ticket == action.order for o in look.orders):
        return Nothing(f"order {action.order} is still there")
    order = next((o for o in look.past_orders if o.ticket == action.order), None)
    if order is None:
        return NotYet(f"neither order {action.order} nor its end is listed")
    if not order.state.is_final:
        return NotYet(f"order {action.order} is not live, and nothing tells how it ended")
    if order.state is OrderState.FILLED:
        return Nothing(f"order {action.order} was filled", is_final=True)
    rest = f", {order.filled} lots of it were filled before" if order.filled > ZERO else ""
    return Executed(order=order, at_ms=look.begun_ms, told=f"order {action.order} is {order.state.value}{rest}")
