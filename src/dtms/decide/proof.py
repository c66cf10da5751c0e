"""What became of a request whose outcome nobody told: judged from looks at the broker, and from nothing else.

| what the looks show | verdict |
| --- | --- |
| deals or positions that carry the intent's number, in magic number or comment, or its order's ticket | executed |
| the same by content: symbol, side, volume, by a program, since it was created, claimed by no other | executed |
| its order is still live; filled, and its deals are not listed yet; a part of its lots | not yet |
| something like it that a person or another program made, where the broker never echoed a number of ours | not yet |
| a list that leaves out the trade's own position without a deal that closed it | not yet |
| its order refused, cancelled or expired with nothing filled; its position closed by somebody else | not executed |
| a pending order: its order, live or ended, or what that filled; likewise by content | executed |
| levels, or the removal of an order: they stand, or it is gone | executed |
| nothing, in two looks that began after the settle window and ``APART_MS`` apart | not executed |

The settle window is market time from the later of two moments: the answer that got lost, and when the present process
took the intent up. So a wall clock that was set between two processes cannot make it pass, and a delay that a
simulated terminal plays in its own accelerated time is waited for in that time. An order may fill in steps and make
several positions: what counts is the volume.
"""

from collections.abc import Sequence

from dtms.decide.proof_closing import closed
from dtms.decide.proof_opening import opened
from dtms.decide.proof_orders import cancelled, placed
from dtms.decide.proof_parts import (
    APART_MS,
    Executed,
    NotExecuted,
    Nothing,
    NotYet,
    NumberOf,
    Question,
    Seen,
    Verdict,
    find,
    is_settled,
    named_positions,
    outs_of,
)
from dtms.domain.actions import CancelOrder, ClosePosition, MoveStop, OpenPosition, PlaceOrder, SetLevels
from dtms.domain.position import Position
from dtms.domain.prices import same_price
from dtms.domain.snapshot import Evidence

__all__ = [
    "APART_MS",
    "Executed",
    "NotExecuted",
    "NotYet",
    "NumberOf",
    "Question",
    "Verdict",
    "find",
    "judge",
    "named_positions",
]


def judge(question: Question, looks: Sequence[Evidence]) -> Verdict:
    """Judge an intent from looks at the broker, oldest first; the newest alone can show that it was executed."""
    seen = [_see(question, look) for look in looks]
    newest = seen[-1] if seen else NotYet("the broker was not looked at")
    if not isinstance(newest, Nothing):
        return newest
    if newest.is_final:
        return NotExecuted(newest.told)
    return _agreed(question, looks, seen, newest)


def _agreed(question: Question, looks: Sequence[Evidence], seen: Sequence[Seen], newest: Nothing) -> Verdict:
    """Two looks without a trace, begun after the window and some time apart, with nothing else seen in between."""
    first = len(looks)
    while first and isinstance(seen[first - 1], Nothing) and is_settled(question, looks[first - 1]):
        first -= 1
    if first == len(looks):
        return NotYet(f"{newest.told}; the settle window is still open")
    if looks[-1].begun_ms - looks[first].begun_ms < APART_MS:
        return NotYet(f"{newest.told}; a second look has to agree")
    return NotExecuted(f"{newest.told}, in two looks {(looks[-1].begun_ms - looks[first].begun_ms) / 1000:.1f} s apart")


def _see(question: Question, look: Evidence) -> Seen:
    action = question.intent.action
    match action:
        case MoveStop() | SetLevels():
            return _moved(question, action, look)
        case ClosePosition():
            return closed(question, action, look)
        case OpenPosition():
            return opened(question, action, look)
        case PlaceOrder():
            return placed(question, action, look)
        case CancelOrder():
            return cancelled(action, look)


def _moved(question: Question, action: MoveStop | SetLevels, look: Evidence) -> Seen:
    position = find(look.positions, question.target, action.position)
    if position is None:
        out = outs_of(look, question.target)
        told = f"position {action.position} is closed" if out else f"position {action.position} is not listed"
        return Nothing(told, is_final=True) if out else NotYet(told)
    if _stands(question, action, position):
        return Executed(at_ms=look.begun_ms, told=_levels(action, action.stop, action.target))
    return Nothing(_levels(action, position.stop, position.target))


def _stands(question: Question, action: MoveStop | SetLevels, position: Position) -> bool:
    """Answer whether the levels that were asked for stand; the target of a stop that is moved is not asked about."""
    stop = same_price(position.stop, action.stop, question.instrument)
    return stop and (isinstance(action, MoveStop) or same_price(position.target, action.target, question.instrument))


def _levels(action: MoveStop | SetLevels, stop: float | None, target: float | None) -> str:
    told = f"the stop is {_price(stop)}"
    return told if isinstance(action, MoveStop) else f"{told}, the target {_price(target)}"


def _price(price: float | None) -> str:
    return "none" if price is None else f"{price:.10g}"
