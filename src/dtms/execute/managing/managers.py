"""The managers of the main program put together: its loop's life, and what its HTTP routes may ask of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dtms.decide.guards import RailState
from dtms.decide.proposals import Sighting
from dtms.domain.actions import Intent
from dtms.domain.errors import DtmsError
from dtms.domain.facts import Fact, FactKind
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Mode, Owner
from dtms.execute.authority import MAIN, EngineLease, Fenced
from dtms.execute.carrying import Carrier
from dtms.execute.journal import Journal
from dtms.execute.leases import WAIT_S, Leases
from dtms.execute.lifecycle import EngineOptions, Lifecycle
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.claiming import Claiming, Code, ManagingRefused
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.hand import FirstLook, Hand
from dtms.execute.managing.loop import Round
from dtms.execute.managing.news import News
from dtms.execute.managing.openings import Concluded, Openings, nothing_else
from dtms.execute.managing.presence import Presence
from dtms.execute.managing.resolving import Resolving
from dtms.execute.managing.restart import Restart
from dtms.execute.managing.sights import Sights
from dtms.execute.managing.steps import Step
from dtms.execute.managing.table import MANAGERS
from dtms.execute.managing.taking import Taking
from dtms.execute.service import Health, Monitoring
from dtms.execute.trading.handing import Letters
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import OnlyReleases
from dtms.ports.store import Store
from dtms.settings import Settings

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
LOOP_WAIT_S = 0.5
"""How long the managers wait for a ticket's lease: longer than a call takes, and they come back in a second."""
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


class Managers:
    """Runs the managers beside DTMS over their positions; fulfils ``execute.trading.handing.Taker``."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        settings: Settings,
        options: EngineOptions,
        draw: Callable[[], float],
        steps: Sequence[Step] = (),
        letters: Letters | None = None,
        concluded: Concluded = nothing_else,
        looks: FirstLook | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            draw: answers a number in [0, 1), for the pauses between tries for a lease.
            steps: what is run in the loop besides.
            letters: keeps registrations with DTMS of what an execution opened, when that became known late.
            concluded: says what else is committed when an execution's outcome became known late.
            looks: what DTMS last said of its positions; Intelligent Exit asks before it tries. None asks the store
                alone.
        """
        lease = EngineLease(store, broker, clock, options.holder, key=MAIN)
        kept: Store = Fenced(store, lease)

        def leases_of(part: str, wait_s: float) -> Leases:
            holder = f"{options.holder}:{part}"
            return Leases(store=kept, broker=broker, clock=clock, holder=holder, draw=draw, wait_s=wait_s)

        def carrier_of(leases: Leases) -> Carrier:
            return Carrier(
                broker=broker, store=kept, clock=clock, leases=leases, program=lease, settings=settings.intents
            )

        own, claims = leases_of("loop", LOOP_WAIT_S), leases_of("requests", WAIT_S)
        self.bench = bench = Bench(
            broker=broker,
            store=kept,
            clock=clock,
            journal=Journal(clock),
            carrier=carrier_of(own),
            leases=own,
            requests=carrier_of(claims),
            claims=claims,
            sources=options.sources or OnlyReleases(options.releases),
            settings=settings,
            rails=RailState(),
            configured=options.mode,
            mode=options.mode,
        )
        self.floor = floor = Floor()
        self._sights = sights = Sights(bench, floor)
        news, presence = News(bench, floor), Presence(bench, floor)
        self.openings = Openings(bench, floor, letters, concluded)
        resolving = Resolving(bench, floor, self.openings)
        self._claiming = claiming = Claiming(bench, floor, sights)
        taking = Taking(bench, floor, claiming)
        self._news = news
        self.loop = Round(
            bench=bench,
            floor=floor,
            sights=sights,
            news=news,
            presence=presence,
            resolving=resolving,
            taking=taking,
            hand=Hand(bench, floor, looks),
            steps=steps,
        )
        restart = Restart(
            bench=bench,
            floor=floor,
            sights=sights,
            news=news,
            presence=presence,
            resolving=resolving,
            taking=taking,
            loop=self.loop,
        )
        self._life = Lifecycle(desk=bench, loop=self.loop, recovery=restart, lease=lease, options=options)

    # --- life ------------------------------------------------------------------------------------------------------

    @property
    def carrier(self) -> Carrier:
        """What carries the requests of people, programs and plans, beside the managers' own."""
        return self.bench.requests

    @property
    def leases(self) -> Leases:
        """The leases of these."""
        return self.bench.claims

    @property
    def store(self) -> Store:
        """The store, whose commits of what this program owns carry its authority."""
        return self.bench.store

    @property
    def settings(self) -> Settings:
        return self.bench.settings

    async def start(self) -> None:
        """Start in order and leave the loop running.

        Raises:
            DtmsError: with one clear line; nothing runs half-initialised.
        """
        self._sights.feeds.start(lambda: self._life.health().broker_connected)
        await self._life.start()

    async def stop(self) -> None:
        """Finish the call in hand, record its outcome, give the lease back, close the store."""
        await self._sights.feeds.stop()
        await self._life.stop()

    def health(self) -> Health:
        return self._life.health()

    def monitoring(self) -> Monitoring:
        return self._life.monitoring()

    def note_store_failure(self, error: DtmsError) -> None:
        """Stop acting until the store was reopened and verified."""
        self._life.note_store_failure(error)

    def use(self, settings: Settings) -> None:
        """Act by new settings from the next cycle on; rules that were resolved before stay as they are."""
        self._life.pending = settings

    @property
    def mode(self) -> Mode:
        return self.bench.mode

    # --- what was handed over ----------------------------------------------------------------------------------------

    def opened(self, intent: Intent, positions: Sequence[Position]) -> None:  # noqa: ARG002 - the registry tells it
        """Take up what an execution opened, in the next cycle: its entry in the registry is committed."""
        self._news.read_soon()

    def changed_hands(self, ownership: Ownership) -> None:
        """Take up, or let go, what the registry gives to another, in the next cycle."""
        self.floor.ownerships[ownership.ticket] = ownership
        self._news.read_soon()

    # --- Universal ---------------------------------------------------------------------------------------------------

    async def register_universal(self, ticket: int, strategy_type: str, correlation_id: str | None = None) -> Managed:
        """Give a position to the Universal manager; one that it has already is answered as it is.

        Raises:
            ManagingRefused: with the owner, or what else stands in the way.
        """
        return await self._claiming.register(ticket, strategy_type, correlation_id)

    async def unregister_universal(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """Take a position out of the Universal manager's hands; nothing is closed.

        Raises:
            ManagingRefused: when it has no such position, or another has its lease.
        """
        return await self._claiming.unregister(ticket, correlation_id)

    def universal(self) -> Sequence[Live]:
        """List what the Universal manager has in hand."""
        return [self._live(charge) for charge in self.floor.of_manager(Owner.UNIVERSAL)]

    # --- Intelligent Exit --------------------------------------------------------------------------------------------

    async def enable_exits(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """Put a position under profit protection.

        Raises:
            ManagingRefused: when there is no such position, or it belongs to a trade's family.
        """
        return await self._claiming.enable(ticket, correlation_id)

    async def disable_exits(self, ticket: int, correlation_id: str | None = None) -> Managed:
        """End profit protection of a position.

        Raises:
            ManagingRefused: when it has none.
        """
        return await self._claiming.disable(ticket, correlation_id)

    def exits(self) -> Sequence[Live]:
        """List what Intelligent Exit has in hand."""
        return [self._live(charge) for charge in self.floor.of_manager(Owner.EXITS)]

    # --- both --------------------------------------------------------------------------------------------------------

    def live(self, owner: Owner, ticket: int) -> Live:
        """Return one managed position, with its manager's view of it in words.

        Raises:
            ManagingRefused: when the manager has no such position.
        """
        charge = self.floor.charges.get((owner, ticket))
        if charge is None:
            raise ManagingRefused(Code.NOT_FOUND, f"{owner.value} has no position {ticket}.", {"ticket": ticket})
        return self._live(charge, explain=True)

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

    def _live(self, charge: Charge, *, explain: bool = False) -> Live:
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


__all__ = ["Code", "Live", "Managers", "ManagingRefused", "Statistics"]
