"""The managers of the main program put together: its loop's life, and what its HTTP routes may ask of them."""

from collections.abc import Callable, Sequence

from dtms.decide.guards import RailState
from dtms.domain.actions import Intent
from dtms.domain.errors import DtmsError
from dtms.domain.facts import Fact
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
from dtms.execute.managing.claiming import Claiming, ManagingRefused
from dtms.execute.managing.floor import Floor
from dtms.execute.managing.hand import FirstLook, Hand
from dtms.execute.managing.loop import Round
from dtms.execute.managing.news import News
from dtms.execute.managing.openings import Concluded, Openings, nothing_else
from dtms.execute.managing.presence import Presence
from dtms.execute.managing.resolving import Resolving
from dtms.execute.managing.restart import Restart
from dtms.execute.managing.sights import Sights
from dtms.execute.managing.steps import Step
from dtms.execute.managing.taking import Taking
from dtms.execute.managing.telling import Live, Statistics, Telling
from dtms.execute.service import Health, Monitoring
from dtms.execute.trading.handing import Letters
from dtms.execute.trading.service import Code
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import OnlyReleases
from dtms.ports.store import Store
from dtms.settings import Settings

LOOP_WAIT_S = 0.5
"""How long the managers wait for a ticket's lease: longer than a call takes, and they come back in a second."""


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
        self._telling = Telling(bench, floor, sights)
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
        return [self._telling.live(charge) for charge in self.floor.of_manager(Owner.UNIVERSAL)]

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
        return [self._telling.live(charge) for charge in self.floor.of_manager(Owner.EXITS)]

    # --- both --------------------------------------------------------------------------------------------------------

    def live(self, owner: Owner, ticket: int) -> Live:
        """Return one managed position, with its manager's view of it in words.

        Raises:
            ManagingRefused: when the manager has no such position.
        """
        charge = self.floor.charges.get((owner, ticket))
        if charge is None:
            raise ManagingRefused(Code.NOT_FOUND, f"{owner.value} has no position {ticket}.", {"ticket": ticket})
        return self._telling.live(charge, explain=True)

    async def history(self, owner: Owner, ticket: int, limit: int = 100) -> Sequence[Fact]:
        """Return what a manager recorded of a position, in order."""
        return await self._telling.history(owner, ticket, limit)

    async def statistics(self, owner: Owner) -> Statistics:
        """Count what a manager has in hand and has done."""
        return await self._telling.statistics(owner)


__all__ = ["Code", "Live", "Managers", "ManagingRefused", "Statistics"]
