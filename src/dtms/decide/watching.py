"""What becomes of a position that appeared and that no manager has yet, as one function.

| the position | what happens |
| --- | --- |
| has an entry in the registry | its owner has it |
| is watched by DTMS, under its ticket or its identifier | DTMS has it |
| was disabled by hand at DTMS | left to that person |
| carries the number of a request that is not resolved yet | waited for |
| was opened by an execution or a plan, with a strategy | the Universal manager's |
| was opened by an execution, without a strategy | handed to DTMS |
| carries the number of another request of ours, or is a member of a trade's family | family: nobody's own |
| carries our number, and no request is known by it | left to DTMS's recovery, which adopts and alerts |
| has a magic number that is not watched | another program's, left alone |
| anything else | handed to DTMS |
"""

from collections.abc import Collection
from enum import StrEnum

from dtms.domain.actions import Intent
from dtms.domain.owners import Asker, Standing
from dtms.domain.position import Position


class Fate(StrEnum):
    """To whom an unknown position goes."""

    OWNED = "owned"
    LEFT = "left"
    WAITS = "waits"
    UNIVERSAL = "universal"
    DTMS = "dtms"
    FAMILY = "family"
    ORPHAN = "orphan"
    OTHER_PROGRAM = "other_program"

    @property
    def is_settled(self) -> bool:
        """Whether the position need not be looked at again until something of it changes."""
        return self in (Fate.OWNED, Fate.LEFT, Fate.FAMILY, Fate.OTHER_PROGRAM)


def fate_of(
    position: Position, *, standing: Standing, number: int | None, intent: Intent | None, magics: Collection[int]
) -> Fate:
    """Return to whom a position goes.

    Args:
        standing: registry entry and DTMS's row of the position, under its ticket or its identifier.
        number: the number of ours that its magic number or comment carries.
        intent: the stored intent of that number.
        magics: magic numbers that are watched besides 0.
    """
    if standing.ownership is not None:
        return Fate.OWNED
    if standing.trade is not None and standing.trade.identifier == position.identifier:
        if standing.trade.disabled:
            return Fate.LEFT
        return Fate.OWNED if standing.trade.is_active else Fate.ORPHAN
    if intent is not None:
        return _of_intent(intent)
    if number is not None:
        return Fate.ORPHAN
    return Fate.DTMS if position.magic == 0 or position.magic in magics else Fate.OTHER_PROGRAM


def _of_intent(intent: Intent) -> Fate:
    if not intent.action.kind.opens_trade:
        return Fate.FAMILY
    if intent.asker is Asker.EXECUTION and intent.state.is_open:
        return Fate.WAITS
    return Fate.UNIVERSAL if intent.strategy_type is not None else Fate.DTMS
