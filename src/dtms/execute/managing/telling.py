"""What the managers tell of their positions: as they stand, what was recorded of them, and counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtms.decide.proposals import Sighting
from dtms.domain.facts import Fact, FactKind
from dtms.domain.managed import Managed
from dtms.domain.trade import Owner
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.sights import Sights
from dtms.execute.managing.table import MANAGERS

HISTORY = frozenset(
    kind.value
    for kind in (
        FactKind.MANAGED,
        FactKind.UNMANAGED,
        FactKind.ACTION,
        FactKind.PROPOSAL,
        FactKind.REFUSAL,
        FactKind.CHANGED_OUTSIDE,
        FactKind.UNCONFIRMED,
        FactKind.INTENT,
        FactKind.NEEDS_ATTENTION,
    )
)
COUNTED_MAX = 10_000
"""Actions that statistics look back over, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One managed position as it is in memory, and why its manager did nothing more at its last look."""

    managed: Managed
    owner: str
    notes: Mapping[str, str]
    explained: tuple[str, ...]
    looked_ms: int
    price: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What a manager has done; ``actions`` by rule and ending, over the newest that are remembered."""

    active: int
    breakeven_done: int
    partial_done: int
    trailing: int
    actions: Mapping[str, int]
    since_start: Mapping[str, int]
    lost: Mapping[str, int]
    """Proposals that were not sent since the program's start, by reason."""


class Telling:
    """Tells of what is managed."""

    def __init__(self, bench: Bench, floor: Floor, sights: Sights) -> None:
        self.bench = bench
        self.floor = floor
        self._sights = sights

    async def history(self, owner: Owner, ticket: int, limit: int = 100) -> Sequence[Fact]:
        """Return what a manager recorded of a position, in order."""
        facts = await self.bench.store.facts(ticket=ticket, kinds=HISTORY, limit=limit * 4, newest=True)
        return [f for f in facts if f.details.get("manager") == owner.value][-limit:]

    async def statistics(self, owner: Owner) -> Statistics:
        """Count what a manager has in hand and has done."""
        held = [charge.managed for charge in self.floor.of_manager(owner)]
        kinds = frozenset({FactKind.ACTION.value})
        facts = await self.bench.store.facts(kinds=kinds, limit=COUNTED_MAX, newest=True)
        actions: dict[str, int] = {}
        for fact in facts:
            if fact.details.get("manager") == owner.value:
                key = f"{fact.details.get('rule')}:{fact.details.get('ending')}"
                actions[key] = actions.get(key, 0) + 1
        return Statistics(
            active=len(held),
            breakeven_done=sum(m.breakeven_done for m in held),
            partial_done=sum(m.partial_done for m in held),
            trailing=sum(m.trailing_active for m in held),
            actions=actions,
            since_start=_of(owner, self.bench.done),
            lost=_of(owner, self.bench.lost),
        )

    def live(self, charge: Charge, *, explain: bool = False) -> Live:
        managed = charge.managed
        sighting = self._sighting(charge)
        told: tuple[str, ...] = ()
        if explain and sighting is not None:
            told = tuple(MANAGERS[managed.manager].explain(sighting, self.bench.settings))
        row = self.floor.ownerships.get(managed.ticket)
        owner = self.floor.owner(managed.ticket)
        return Live(
            managed=managed,
            owner=row.owner if owner is None and row is not None else (owner or Owner.NOBODY).value,
            notes=charge.notes,
            explained=told,
            looked_ms=charge.looked_ms,
            price=None if sighting is None else sighting.tick.closing(managed.side),
        )

    def _sighting(self, charge: Charge) -> Sighting | None:
        """Return a position as its manager sees it now; None while that cannot be told."""
        watch, position = self.floor.book.symbols.get(charge.managed.symbol), self.floor.position(charge.managed)
        if watch is None or position is None:
            return None
        scene = self._sights.scene(watch)
        if isinstance(scene, str):
            return None
        return self._sights.sighting(charge, position, scene, self.bench.clock.market_ms())


def _of(owner: Owner, counted: Mapping[str, int]) -> dict[str, int]:
    """Return one manager's counts without its name."""
    prefix = f"{owner.value}:"
    return {key.removeprefix(prefix): count for key, count in counted.items() if key.startswith(prefix)}
