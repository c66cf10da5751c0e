"""What shows that a position, or a part of it, was closed by an intent, or was not."""

from collections.abc import Sequence

from dtms.decide.proof_parts import (
    BY_HAND,
    BY_LEVEL,
    OUT,
    SKEW_MS,
    Nothing,
    NotYet,
    Question,
    Seen,
    as_far_as_seen,
    doubt_of,
    filled_unseen,
    find,
    is_echoed,
    is_named,
    is_refused,
    orders_of,
    outs_of,
)
from dtms.domain.actions import ClosePosition
from dtms.domain.position import Deal, DealEntry, Order, Position
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Evidence


def closed(question: Question, action: ClosePosition, look: Evidence) -> Seen:
    """See what one look shows of a close."""
    since_ms = question.intent.created_ms - SKEW_MS
    # What carries its number is its own, whatever the clocks say: the machine's may be ahead of the server's.
    outs = [d for d in outs_of(look, question.target) if d.time_ms >= since_ms or is_named(question, d)]
    ours = [d for d in outs if is_named(question, d)] or [d for d in outs if _like_a_close_of_ours(question, d)]
    if sum((d.volume for d in ours), ZERO) > action.volume and not any(is_named(question, d) for d in ours):
        return NotYet("more was closed by a program without a number than was asked for")
    position = find(look.positions, question.target, action.position)
    orders = orders_of(question, look.past_orders, action.side.opposite)
    if live := orders_of(question, look.orders, action.side.opposite, also_on=question.target):
        return NotYet(f"its order {live[0].ticket} is still live")
    if ours:
        return as_far_as_seen(question, action.volume, ours, orders, look, is_gone=position is None)
    if told := filled_unseen(orders):
        return NotYet(told)
    if position is None:
        return _gone(action, outs)
    return _untouched(question, action, look, position, outs, orders)


def _gone(action: ClosePosition, outs: Sequence[Deal]) -> Seen:
    if sum((d.volume for d in outs), ZERO) < action.expected_volume:
        return NotYet(f"neither position {action.position} nor deals that closed it are listed")
    by = outs[-1].reason.value.replace("_", " ")
    return Nothing(f"position {action.position} was closed by {by}", is_final=True)


def _untouched(
    question: Question,
    action: ClosePosition,
    look: Evidence,
    position: Position,
    outs: Sequence[Deal],
    orders: Sequence[Order],
) -> Seen:
    """The position is there: its lots must be accounted for without ours, where a second close would do harm."""
    if is_refused(question, orders):
        return Nothing(f"its order {orders[0].ticket} is {orders[0].state.value}", is_final=True)
    told = f"position {action.position} has {position.volume} of {action.expected_volume} lots"
    if not action.kind.changes_exposure:
        return Nothing(told)
    ins = sum((d.volume for d in look.deals if d.position_id == question.target and _is_new_entry(question, d)), ZERO)
    left = action.expected_volume + ins - sum((d.volume for d in outs), ZERO)
    if position.volume < left:
        return NotYet(f"{told}, and no deal tells why")
    if doubt := doubt_of(question, [d for d in outs if d.volume == action.volume], is_echoed(question, look, OUT)):
        return NotYet(doubt)
    return Nothing(f"{told}, and no deal is its own")


def _is_new_entry(question: Question, deal: Deal) -> bool:
    """Answer whether a deal added to the position since; the one that began it bears its order's ticket for a name."""
    is_addition = deal.entry is DealEntry.IN and deal.order != deal.position_id
    return is_addition and deal.time_ms >= question.intent.created_ms


def _like_a_close_of_ours(question: Question, deal: Deal) -> bool:
    """A program closed it, under no number but that of the position itself, and no other intent did."""
    number = question.numbers(deal.magic, deal.comment)
    is_nameless = number in (None, question.opener) and (deal.magic == 0 or number is not None)
    is_by_program = deal.reason not in BY_HAND and deal.reason not in BY_LEVEL
    return is_nameless and is_by_program and deal.ticket not in question.claimed_deals
