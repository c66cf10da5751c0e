"""What a broker's answer makes of an action: one of the four ways in which a move ends, and what may follow at once."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from dtms.domain.actions import (
    Action,
    ActionKind,
    CancelOrder,
    ClosePosition,
    Ending,
    MoveStop,
    OpenPosition,
    Outcome,
    PlaceOrder,
    SetLevels,
)
from dtms.ports.broker import Answer, SendResult

PLACED = 10008
INVALID = 10013
INVALID_STOPS = 10016
MARKET_CLOSED = 10018
PRICE_OFF = 10021
POSITION_CLOSED = 10036
INVALID_CLOSE_VOLUME = 10038
CLOSE_ORDER_EXIST = 10039
FIFO_CLOSE = 10045

STANDSTILL = frozenset({10017, 10026, 10027, 10032, -3, -5, -6, -7, -8})
"""Nothing can be done on the whole account: told to a person, and waited for."""

Judge = Callable[[Outcome, Action], Outcome]


def _fails(outcome: Outcome, kind: ActionKind) -> Outcome:
    return replace(outcome, ending=Ending.FAILED, again=0 if kind.adds_risk else 1)


_CLASSES: Mapping[Answer, Callable[[Outcome, ActionKind], Outcome]] = {
    Answer.OK: lambda outcome, _: replace(outcome, ending=Ending.DONE, reason=""),
    Answer.NOOP: lambda outcome, _: replace(outcome, ending=Ending.DONE, reason=""),
    Answer.PRICE: lambda outcome, _: replace(outcome, ending=Ending.FAILED, again=2),
    Answer.WAIT: lambda outcome, _: replace(outcome, ending=Ending.FAILED, wait=True),
    Answer.FIX: lambda outcome, _: replace(outcome, ending=Ending.FAILED, again=1),
    Answer.STATE: _fails,
    Answer.POLICY: lambda outcome, _: replace(outcome, ending=Ending.NOT_POSSIBLE),
    Answer.AMBIG: lambda outcome, _: replace(outcome, ending=Ending.UNKNOWN),
}
"""What each class of answers means. What can add exposure is not pressed on a dealer who rejected it."""


def _waits(outcome: Outcome, _: Action) -> Outcome:
    return replace(outcome, ending=Ending.FAILED, wait=True, again=0)


def _closed_already(outcome: Outcome, action: Action) -> Outcome:
    """Closing what is closed is success; of a part, or a stop, it says that its position is gone: its deals tell."""
    if isinstance(action, ClosePosition) and not action.kind.changes_exposure:
        return replace(outcome, ending=Ending.DONE, reason="closed already", again=0)
    return _waits(outcome, action)


def _in_order(outcome: Outcome, action: Action) -> Outcome:
    """The account closes first in, first out, as it is known from now on: a close is planned anew by that."""
    if isinstance(action, ClosePosition):
        return replace(outcome, ending=Ending.FAILED, again=1)
    return outcome


def _levels(outcome: Outcome, action: Action) -> Outcome:
    """A stop is set further away once; a family's entry, which has its stop with it, is planned anew.

    A close has no levels, and is decided anew as its class says; levels that somebody asked for are his to change.
    """
    if isinstance(action, ClosePosition):
        return outcome
    is_ours = isinstance(action, MoveStop | OpenPosition) and not action.kind.opens_trade
    return replace(outcome, again=1 if is_ours else 0)


def _placed(outcome: Outcome, action: Action) -> Outcome:
    """For a pending order being placed is all; a deal that is only placed is not done yet."""
    return replace(outcome, ending=Ending.DONE, reason="") if isinstance(action, PlaceOrder) else outcome


def _missing(outcome: Outcome, action: Action) -> Outcome:
    """Of a removal it says that the order is not there any more: what became of it is looked at first."""
    return _waits(outcome, action) if isinstance(action, CancelOrder) else outcome


_EXCEPTIONS: Mapping[int, Judge] = {
    PLACED: _placed,
    INVALID: _missing,
    INVALID_STOPS: _levels,
    PRICE_OFF: _waits,
    POSITION_CLOSED: _closed_already,
    INVALID_CLOSE_VOLUME: _waits,
    CLOSE_ORDER_EXIST: _waits,
    FIFO_CLOSE: _in_order,
    **dict.fromkeys(STANDSTILL, _waits),
}
"""Codes that mean more than their class: no quotes, gone, closed by somebody else, a close in flight, nothing goes."""


def outcome_of(result: SendResult, action: Action) -> Outcome:
    """Class a broker's answer into one of the four endings."""
    told = f"{result.retcode} {result.name}" + (f": {result.message}" if result.message else "")
    plain = Outcome(
        ending=Ending.UNKNOWN,
        reason=told,
        retcode=result.retcode,
        price=result.price,
        volume=result.volume,
        position=_position_of(result, action),
    )
    classed = _CLASSES[result.answer](plain, action.kind)
    if result.answer is Answer.STATE and not result.sent:
        return _waits(classed, action)  # the terminal or its gateway is not there, or is another one
    special = _EXCEPTIONS.get(result.retcode)
    return classed if special is None else special(classed, action)


def _position_of(result: SendResult, action: Action) -> int | None:
    """Return the ticket of the position that is changed, or will be that of what the order opens."""
    match action:
        case MoveStop() | ClosePosition() | SetLevels():
            return action.position
        case OpenPosition() | PlaceOrder():
            return result.order
        case CancelOrder():
            return action.order


def is_gone(outcome: Outcome, action: Action) -> bool:
    """Answer whether the position is to be looked for at once: somebody else seems to have closed (part of) it."""
    codes = (POSITION_CLOSED, INVALID_CLOSE_VOLUME, CLOSE_ORDER_EXIST)
    changes = isinstance(action, MoveStop | ClosePosition | SetLevels)
    return outcome.ending is not Ending.DONE and outcome.retcode in codes and changes
