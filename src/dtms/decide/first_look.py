"""May Intelligent Exit try a change, by what is known from outside of DTMS's state? The lease has the last word.

| owner | last answer of DTMS | breakeven, partial | trailing and the rest |
| --- | --- | --- | --- |
| DTMS | at most 30 s old: defensive | no | no |
| DTMS | at most 30 s old: not defensive, or not tracked | yes | yes |
| DTMS | older, and defensive then | no | no |
| DTMS | older and not defensive, or never had | yes, blind | no |
| another manager, nobody | not asked | yes | yes |
| unknown to us | not asked | no | no |

An answer is good for 10 s and asked for again before it lapses; from then on to 30 s it serves while DTMS cannot be
reached. Ages count from the question, because an answer can be on its way for long. Times are machine seconds.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from dtms.domain.actions import ActionKind
from dtms.domain.trade import Owner, State

GOOD_S: Final = 10.0
SERVES_S: Final = 30.0
REFRESH_S: Final = 7.0
"""An answer so old is asked for again, so that there is a new one before it lapses."""

REDUCING: Final = frozenset({ActionKind.BREAKEVEN, ActionKind.TAKE_PARTIAL})
"""What may be done blind: it only reduces risk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DtmsLook:
    """What is known of DTMS's state of one position.

    ``state`` is the last known, None for a position that is not tracked (which is not defensive), or of which nothing
    is known. ``age_s`` is infinite while nothing is known, or what is known was overtaken.
    """

    state: State | None = None
    age_s: float = inf

    @property
    def is_good(self) -> bool:
        return self.age_s <= GOOD_S

    @property
    def is_blind(self) -> bool:
        """Whether it says nothing of the present."""
        return self.age_s > SERVES_S

    @property
    def is_defensive(self) -> bool:
        return self.state is not None and self.state.is_defensive


class Rule(StrEnum):
    """By which row something may or may not be tried."""

    NOT_ASKED = "not_asked"
    STATE = "dtms_state"
    DEFENSIVE = "dtms_defensive"
    BLIND = "dtms_unknown"
    OWNER_UNKNOWN = "owner_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying:
    """Whether to go on to the lease, by which rule; what is tried blind is to be logged with ticket and action."""

    is_allowed: bool
    is_blind: bool
    rule: Rule
    reason: str


def may_try(kind: ActionKind, owner: Owner | None, look: DtmsLook) -> Trying:
    """Answer whether a change may be tried.

    Args:
        owner: None when it is unknown to us.
    """
    if owner is None:
        return _said(Rule.OWNER_UNKNOWN, "whose position it is cannot be read", allowed=False)
    if owner is not Owner.DTMS:
        return _said(Rule.NOT_ASKED, "not a position of DTMS", allowed=True)
    if look.is_defensive:
        return _said(Rule.DEFENSIVE, f"DTMS is defensive ({_told(look)})", allowed=False, blind=look.is_blind)
    if not look.is_blind:
        return _said(Rule.STATE, f"DTMS is not defensive ({_told(look)})", allowed=True)
    reducing = kind in REDUCING
    why = "it only reduces risk" if reducing else "it waits until DTMS answers"
    return _said(Rule.BLIND, f"DTMS's state is unknown ({_told(look)}): {why}", allowed=reducing, blind=True)


def _said(rule: Rule, reason: str, *, allowed: bool, blind: bool = False) -> Trying:
    return Trying(is_allowed=allowed, is_blind=blind, rule=rule, reason=reason)


def _told(look: DtmsLook) -> str:
    state = "not tracked" if look.state is None else look.state.value
    if look.age_s < inf:
        return f"{state}, {look.age_s:.0f} s ago"
    return "no answer yet" if look.state is None else f"{look.state.value} once, overtaken since"


# --- what was answered -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer, and when it was asked for; or since when nothing that was known counts any more."""

    state: State | None
    at_s: float
    is_overtaken: bool = False


class Looks:
    """What DTMS said of each position, and for how long it has said nothing; all times are given."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._silent_since_s: float | None = None
        self._is_told = False

    def look(self, ticket: int, now_s: float) -> DtmsLook:
        """Return what is known of one position."""
        known = self._known.get(ticket)
        if known is None:
            return DtmsLook()
        return DtmsLook(state=known.state, age_s=inf if known.is_overtaken else max(0.0, now_s - known.at_s))

    def due(self, tickets: Iterable[int], now_s: float) -> tuple[int, ...]:
        """Return those of DTMS's positions to ask for now, in one question: unknown, overtaken, or soon to lapse."""
        return tuple(ticket for ticket in tickets if self.look(ticket, now_s).age_s >= REFRESH_S)

    def answered(self, tickets: Iterable[int], states: Mapping[int, State], asked_s: float) -> None:
        """Take an answer over: asked for ``tickets`` at ``asked_s``; one without a state is not tracked.

        What was learned of a position after the question was put is newer than the answer.
        """
        self._silent_since_s, self._is_told = None, False
        for ticket in tickets:
            known = self._known.get(ticket)
            if known is None or asked_s > known.at_s:
                self._known[ticket] = _Known(states.get(ticket), asked_s)

    def unanswered(self, asked_s: float) -> None:
        """Take note that a question found no answer."""
        if self._silent_since_s is None:
            self._silent_since_s = asked_s

    def told(self, ticket: int, state: State, now_s: float) -> None:
        """Take over what the event stream said of a position."""
        self._known[ticket] = _Known(state, now_s)

    def invalidate(self, ticket: int, now_s: float) -> None:
        """Trust nothing that is known of a position, because it moved; it is due at once.

        The last known state is kept: if DTMS then falls silent, a position that was defensive is left alone.
        """
        known = self._known.get(ticket)
        self._known[ticket] = _Known(known.state if known is not None else None, now_s, is_overtaken=True)

    def silence(self, now_s: float) -> str | None:
        """Return an alert when DTMS has not answered for 30 s; once until it answers again."""
        if self._silent_since_s is None or self._is_told or now_s - self._silent_since_s < SERVES_S:
            return None
        self._is_told = True
        silent_s = now_s - self._silent_since_s
        return (
            f"DTMS has not answered for {silent_s:.0f} s: of its positions, those last known defensive are left alone, "
            "and no other's stop is trailed"
        )

    def keep(self, tickets: Collection[int]) -> None:
        """Forget all positions but these."""
        self._known = {ticket: known for ticket, known in self._known.items() if ticket in tickets}
