"""Who may change a position, as one table.

| who asks | Universal's | Intelligent Exit's | DTMS's, defensive | DTMS's, otherwise | nobody's | unknown owner |
| --- | --- | --- | --- | --- | --- | --- |
| DTMS | only when defensive | only when defensive | yes | yes | yes | no |
| Universal | unless DTMS is defensive | no | no | no | no | no |
| Intelligent Exit | until breakeven, unless DTMS is defensive | unless DTMS is defensive | no | yes | yes | no |

A person overrides all, explicitly. DTMS counts as defensive when the state that it leaves or the one that it moves to
is. What opens a position changes none, and owns none.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from dtms.domain.owners import Asker, Standing
from dtms.domain.trade import Owner, State


class Right(Enum):
    """What a cell of the table grants."""

    YES = auto()
    NO = auto()
    ONLY_DEFENSIVE = auto()
    UNLESS_DEFENSIVE = auto()
    UNTIL_BREAKEVEN = auto()
    """And not while DTMS is defensive."""


@dataclass(frozen=True, slots=True)
class Denied:
    """Why somebody may not change a position, by which rule."""

    rule: str
    reason: str


_ROWS: dict[Asker, dict[Owner | None, Right]] = {
    Asker.DTMS: {
        Owner.UNIVERSAL: Right.ONLY_DEFENSIVE,
        Owner.EXITS: Right.ONLY_DEFENSIVE,
        Owner.DTMS: Right.YES,
        Owner.NOBODY: Right.YES,
        None: Right.NO,
    },
    Asker.UNIVERSAL: {
        Owner.UNIVERSAL: Right.UNLESS_DEFENSIVE,
        Owner.EXITS: Right.NO,
        Owner.DTMS: Right.NO,
        Owner.NOBODY: Right.NO,
        None: Right.NO,
    },
    Asker.EXITS: {
        Owner.UNIVERSAL: Right.UNTIL_BREAKEVEN,
        Owner.EXITS: Right.UNLESS_DEFENSIVE,
        Owner.DTMS: Right.UNLESS_DEFENSIVE,
        Owner.NOBODY: Right.YES,
        None: Right.NO,
    },
    Asker.PERSON: dict.fromkeys((*Owner, None), Right.YES),
    Asker.EXECUTION: dict.fromkeys((*Owner, None), Right.NO),
}


def refuse(
    asker: Asker, owner: Owner | None, state: State | None, *, breakeven: bool, to_state: State | None = None
) -> Denied | None:
    """Return why ``asker`` may not change a position of ``owner``, None when it may.

    Args:
        owner: None when it is unknown to us.
        state: DTMS's state of the trade; None when DTMS does not watch it.
        breakeven: whether the position's stop reached breakeven.
        to_state: where DTMS moves to with this act.
    """
    moving = to_state if asker is Asker.DTMS else None
    is_defensive = any(s is not None and s.is_defensive for s in (state, moving))
    return _refused(_ROWS[asker][owner], asker, owner, state, is_defensive=is_defensive, breakeven=breakeven)


def judge(
    standing: Standing, asker: Asker, *, states: frozenset[State] | None = None, to_state: State | None = None
) -> Denied | None:
    """Return why ``asker`` may not change a position as things stand, None when it may.

    The one judgement: made early, to ask nobody in vain, and again in the transaction that commits an intent.

    Args:
        states: DTMS's states of the trade that permit the act; None permits any in which the trade is watched.
        to_state: where DTMS moves to with this act.
    """
    if asker is Asker.DTMS:
        denied = _refused_to_dtms(standing, states)
        if denied is not None or standing.state is None:
            return denied  # what is left of the family of a trade that has ended is nobody else's
    elif states is not None and standing.state is not None and standing.state not in states:
        return Denied("dtms_state", f"trade {standing.ticket} is {standing.state}")
    denied = refuse(asker, standing.owner, standing.state, breakeven=standing.breakeven, to_state=to_state)
    return None if denied is None else replace(denied, reason=f"trade {standing.ticket}: {denied.reason}")


def _refused_to_dtms(standing: Standing, states: frozenset[State] | None) -> Denied | None:
    """Return why DTMS itself would not act: it does not watch the trade, or not in a state that permits it.

    A trade that has closed is acted on only by who names that state: its hedge may be left.
    """
    trade, ticket = standing.trade, standing.ticket
    if trade is None:
        return Denied("not_registered", f"trade {ticket} is not registered")
    if trade.disabled:
        return Denied("disabled", f"trade {ticket} is disabled")
    if trade.state not in (states if states is not None else frozenset(State) - {State.CLOSED}):
        return Denied("dtms_state", f"trade {ticket} is {trade.state}")
    if trade.is_active and not standing.is_under_dtms:
        return Denied("owned_by_other_manager", f"trade {ticket} belongs to {_word(standing)}")
    return None


def _word(standing: Standing) -> str:
    row, trade = standing.ownership, standing.trade
    return row.owner if row is not None else trade.owner.value if trade is not None else ""


def _refused(
    right: Right, asker: Asker, owner: Owner | None, state: State | None, *, is_defensive: bool, breakeven: bool
) -> Denied | None:
    defending = Denied("dtms_defensive", f"DTMS is defensive ({state.value if state else 'moving there'})")
    match right:
        case Right.YES:
            return None
        case Right.NO:
            return Denied("owned_by_other_manager", f"{asker.value} has no say over {_whose(owner)}")
        case Right.ONLY_DEFENSIVE:
            held = Denied("owned_by_other_manager", f"{_whose(owner)}, and DTMS is not defensive")
            return None if is_defensive else held
        case Right.UNLESS_DEFENSIVE:
            return defending if is_defensive else None
        case Right.UNTIL_BREAKEVEN:
            reached = Denied("owned_by_other_manager", f"{_whose(owner)}, and breakeven was reached")
            return defending if is_defensive else reached if breakeven else None


def _whose(owner: Owner | None) -> str:
    if owner is None:
        return "a position of an owner that is not known"
    return f"a position of {owner.value}" if owner is not Owner.NOBODY else "a position of nobody"
