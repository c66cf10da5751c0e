"""Whose doing a change is that a look at the broker shows: another manager's or a person's through dtms, or nobody's.

Other managers change positions beside DTMS, each request an intent that is stored before it is sent. What such an
intent explains was not done behind our backs: it is told with its maker, and alarms nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.decide.recovery import Matched, Note
from dtms.domain.actions import ClosePosition, Intent, IntentState, MoveStop, SetLevels
from dtms.domain.facts import FactKind, Json
from dtms.domain.owners import Asker
from dtms.domain.trade import Trade

DONE = frozenset({IntentState.SENDING, IntentState.CONFIRMED, IntentState.UNKNOWN, IntentState.NEEDS_HUMAN})
"""Intents that may have been executed."""


def attributed(before: Trade, matched: Matched, intents: Sequence[Intent]) -> Matched:
    """Return what matching found, with what others' intents explain told as theirs.

    ``intents`` are all that are known for the trade's ticket.
    """
    others = [i for i in intents if i.asker is not Asker.DTMS and i.state in DONE]
    notes = tuple(_told(before, matched.trade, note, others) for note in matched.notes)
    return replace(matched, notes=notes)


def _told(before: Trade, after: Trade, note: Note, others: Sequence[Intent]) -> Note:
    """Tell one change as its maker's, when all of it is explained."""
    if note.kind is not FactKind.CHANGED_OUTSIDE:
        return note
    explained = {name: _maker(name, before, after, others) for name in _COMPARED if name in note.details}
    makers = {maker.number: maker for maker in explained.values() if maker is not None}
    if not explained or None in explained.values() or _is_more(note, explained):
        return note
    whose = ", ".join(f"{i.asker.value}, intent {i.number}" for i in makers.values())
    details: dict[str, Json] = {name: value for name, value in note.details.items() if name != "alert"}
    details["by"] = [*sorted({i.asker.value for i in makers.values()})]
    details["intents"] = [*sorted(makers)]
    summary = note.summary.replace("changed outside dtms", "changed by another manager") + f" ({whose})"
    return Note(kind=note.kind, summary=summary, details=details)


_COMPARED = ("volume", "stop", "target")


def _is_more(note: Note, explained: Mapping[str, Intent | None]) -> bool:
    """Answer whether more changed than is explained."""
    return bool(note.details.keys() - explained.keys() - {"alert"})


def _maker(name: str, before: Trade, after: Trade, others: Sequence[Intent]) -> Intent | None:
    if name == "volume":
        return _closer(after.position, before.volume, after.volume, others)
    newest = sorted(others, key=lambda i: i.number, reverse=True)
    return next((i for i in newest if _sets(name, i, after)), None)


def _sets(name: str, intent: Intent, after: Trade) -> bool:
    """Answer whether an intent sets a level to what it is now."""
    action = intent.action
    if not isinstance(action, MoveStop | SetLevels) or action.position != after.position:
        return False
    return action.stop == after.stop if name == "stop" else action.target == after.target


def _closer(position: int, before: Decimal, after: Decimal, others: Sequence[Intent]) -> Intent | None:
    """Follow the parts that others closed, from the lots that were to those that are; the last of them, or None."""
    left, last = before, None
    for intent in sorted(others, key=lambda i: i.number):
        action = intent.action
        if isinstance(action, ClosePosition) and action.position == position and action.expected_volume == left:
            left, last = left - (intent.filled or action.volume), intent
        if left == after and last is not None:
            return last
    return None


def is_bared_by(intents: Sequence[Intent], position: int) -> Intent | None:
    """Return the intent of another by which a position's stop was removed; None when it is not the newest word."""
    newest = max((i for i in intents if i.state in DONE and _moves(i, position)), key=lambda i: i.number, default=None)
    if newest is None or newest.asker is Asker.DTMS:
        return None
    return newest if isinstance(newest.action, SetLevels) and newest.action.stop is None else None


def _moves(intent: Intent, position: int) -> bool:
    action = intent.action
    return isinstance(action, MoveStop | SetLevels) and action.position == position
