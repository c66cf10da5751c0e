"""Whose a position is that no watched trade knows: the last rows of the recovery table, as one function.

| position | what happens |
| --- | --- |
| of a watched trade's open request | left to that request: it is resolved first |
| opened for a watched trade | joins its family |
| opened for a trade that ended, or by a request that was believed not executed | surplus: joins, and is closed |
| opened for a trade that was disabled by hand | left to that person |
| opened as a trade of its own, for a strategy, or not resolved yet | left to the main program |
| opened as a trade of its own, for no strategy | the position watcher's decision |
| with our number, and no request known by it | adopted: watched as a trade of its own, and alerted |
| of a trade that is closed | watched again, and alerted: the rest of an order filled after the close |
| of a trade that is closed, now on the other side | begins another trade: the account nets, and it was reversed |
| of a trade that was disabled by hand | left to that person |
| another program's | left to that program |
| nobody's | the position watcher's decision |

Adopted means watched: what dtms opened has a stop of its own, but nobody who would tighten it or close it.
"""

from dataclasses import replace
from enum import StrEnum

from dtms.domain.actions import Intent, IntentState, OpenPosition
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import Machine, Role, State, Trade

NOT_DONE = frozenset({IntentState.REFUSED, IntentState.NOT_EXECUTED})


class Whose(StrEnum):
    """To whom a position belongs, which says what is done about it."""

    WATCHED = "watched"
    UNRESOLVED = "unresolved"
    JOINS = "joins"
    SURPLUS = "surplus"
    LEFT = "left"
    ORPHAN = "orphan"
    AGAIN = "again"
    REVERSED = "reversed"
    ROBOT = "robot"
    MAIN = "main"
    """Of the main program, and its managers."""
    EXECUTED = "executed"
    """Opened by request, and DTMS's to defend."""
    STRANGER = "stranger"

    @property
    def needs_nothing(self) -> bool:
        return self in (Whose.WATCHED, Whose.LEFT, Whose.ROBOT, Whose.MAIN)

    @property
    def is_stranger(self) -> bool:
        """Whether it is protected when nobody else did that."""
        return self in (Whose.STRANGER, Whose.EXECUTED)


def whose(
    position: Position, *, row: Trade | None, number: int | None, intent: Intent | None, family: Trade | None
) -> Whose:
    """Return whose a position is.

    ``row`` is the stored trade that was registered for this very position, ``number`` the intent number that its
    magic number or comment carries, ``intent`` that intent, ``family`` the stored trade that it was sent for.
    """
    if row is not None:
        return _of_its_own_trade(position, row)
    if number is None:
        return Whose.STRANGER if position.magic == 0 else Whose.ROBOT
    if intent is not None and intent.action.kind.opens_trade:
        return Whose.MAIN if intent.strategy_type is not None or intent.state.is_open else Whose.EXECUTED
    if intent is None or family is None:
        return Whose.ORPHAN
    if family.disabled:
        return Whose.LEFT
    if intent.state.is_open:
        return Whose.UNRESOLVED
    opens = isinstance(intent.action, OpenPosition)
    if not family.is_active or not opens or intent.state in NOT_DONE:
        return Whose.SURPLUS
    return Whose.JOINS


def _of_its_own_trade(position: Position, row: Trade) -> Whose:
    if row.disabled:
        return Whose.LEFT
    if row.is_active:
        return Whose.WATCHED
    return Whose.AGAIN if position.side is row.side else Whose.REVERSED


def role_of(position: Position, family: Trade) -> Role:
    """Return what a position is beside a trade, by its side."""
    return Role.READD if position.side is family.side else Role.HEDGE


def again(row: Trade, position: Position, now_ms: int) -> Trade:
    """Begin to watch a closed trade's position again: R, initial stop and counts stay, the machine is HEALTHY.

    The lots that show again are all that it has: what the trade had before is not re-added to them.
    """
    return replace(
        row,
        volume=position.volume,
        initial_volume=position.volume,
        closed_by_dtms=ZERO,
        entry=position.entry,
        stop=position.stop,
        target=position.target,
        moved_to=None if position.ticket == row.ticket else position.ticket,
        registered_ms=now_ms,
        machine=Machine(
            state=State.HEALTHY,
            entered_ms=now_ms,
            armed=row.machine.armed,
            hedges=row.machine.hedges,
            readds=row.machine.readds,
        ),
        shadow=None,
        members=(),
        surplus=frozenset(),
        part_left=None,
        owed_stop=None,
        unconfirmed=False,
        reduce_only=False,
        retry=None,
        closed_ms=None,
        close_price=None,
        close_reason=None,
        realised=0.0,
        needs_attention=f"the position shows again with {position.volume} lots after the trade was closed",
        version=row.version + 1,
    )
