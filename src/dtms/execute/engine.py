"""The protection engine: its parts put together, and what its HTTP program may ask of it."""

from collections.abc import Callable, Mapping, Sequence

from dtms.decide.guards import RailState
from dtms.domain.errors import DtmsError
from dtms.domain.facts import FactKind, Json
from dtms.domain.trade import Mode, Trade
from dtms.execute.authority import EngineLease, Fenced
from dtms.execute.book import Book
from dtms.execute.carrying import Carrier
from dtms.execute.chores import Chore, Chores
from dtms.execute.cycle import Cycle
from dtms.execute.desk import Desk
from dtms.execute.earlier import Earlier
from dtms.execute.executor import Executor
from dtms.execute.feeds import Feeds
from dtms.execute.isolation import Isolation
from dtms.execute.journal import Journal
from dtms.execute.leases import PATIENCE_ALL_S, PATIENCE_S, Leases
from dtms.execute.lifecycle import EngineOptions, Lifecycle
from dtms.execute.monitor import Monitor
from dtms.execute.moves import Moves
from dtms.execute.presence import Presence
from dtms.execute.reading import Reading
from dtms.execute.registrar import Registrar
from dtms.execute.registry import Registry
from dtms.execute.requests import Requests
from dtms.execute.restart import Restart
from dtms.execute.restoring import Restoring
from dtms.execute.service import (
    Health,
    Live,
    Monitoring,
    Pending,
    Receipt,
    RefusalCode,
    Refused,
    Registered,
    Registration,
    Result,
    Status,
    Step,
    Switches,
)
from dtms.execute.strays import Strays
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import OnlyReleases
from dtms.ports.store import Store, Unit
from dtms.settings import Settings


class Engine:
    """Watches registered trades and acts on them; fulfils ``execute.service.Service``."""

    def __init__(
        self, *, broker: Broker, store: Store, clock: Clock, settings: Settings, options: EngineOptions
    ) -> None:
        journal, self.book = Journal(clock), Book()
        sources = options.sources or OnlyReleases(options.releases)
        lease = EngineLease(store, broker, clock, options.holder)
        kept: Store = Fenced(store, lease)
        leases = Leases(
            store=kept,
            broker=broker,
            clock=clock,
            holder=options.holder,
            draw=options.draw,
            wait_s=PATIENCE_S,
            all_s=PATIENCE_ALL_S,
        )
        carrier = Carrier(
            broker=broker, store=kept, clock=clock, leases=leases, program=lease, settings=settings.intents
        )
        desk = Desk(
            broker=broker,
            store=kept,
            clock=clock,
            executor=Executor(
                broker=broker, store=kept, clock=clock, carrier=carrier, journal=journal, mode=options.mode
            ),
            leases=leases,
            journal=journal,
            settings=settings,
            rails=RailState(),
            sources=sources,
            mode=options.mode,
        )
        feeds = Feeds(broker=broker, store=kept, clock=clock, journal=journal, book=self.book, sources=sources)
        moves, presence = Moves(desk), Presence(desk, self.book)
        self.cycle = cycle = Cycle(desk, moves)
        self._registrar = registrar = Registrar(desk, self.book, feeds)
        isolation, restoring = Isolation(desk, self.book, presence), Restoring(desk, moves)
        strays = Strays(
            desk=desk, book=self.book, feeds=feeds, isolation=isolation, presence=presence, registrar=registrar
        )
        self.monitor = Monitor(
            desk=desk,
            book=self.book,
            feeds=feeds,
            cycle=cycle,
            moves=moves,
            presence=presence,
            isolation=isolation,
            strays=strays,
            restoring=restoring,
            before=(Registry(desk, self.book, isolation).follow, registrar.settle_pending),
        )
        restart = Restart(
            desk=desk,
            book=self.book,
            feeds=feeds,
            presence=presence,
            isolation=isolation,
            strays=strays,
            restoring=restoring,
            earlier=Earlier(desk=desk, book=self.book, feeds=feeds, registrar=registrar),
        )
        self._desk, self._feeds = desk, feeds
        self._life = Lifecycle(desk=desk, loop=self.monitor, recovery=restart, lease=lease, options=options)
        self._reading = Reading(
            desk=desk,
            book=self.book,
            monitor=self.monitor,
            life=self._life,
            pendings=registrar.pendings,
            warnings=options.warnings,
        )
        self._reading.parts["sources"] = self._reading.tell_sources
        self._reading.parts["standstill"] = lambda: moves.standstill
        self._requests = Requests(
            desk=desk,
            book=self.book,
            monitor=self.monitor,
            life=self._life,
            moves=moves,
            presence=presence,
            registrar=registrar,
        )

    @property
    def settings(self) -> Settings:
        return self._desk.settings

    @property
    def parts(self) -> dict[str, Callable[[], Json]]:
        """What other parts tell of themselves in the status, by name; whoever puts the program together adds to it."""
        return self._reading.parts

    @property
    def desk(self) -> Desk:
        return self._desk

    @property
    def feeds(self) -> Feeds:
        return self._feeds

    @property
    def mode(self) -> Mode:
        """The account's mode."""
        return self._desk.mode

    def looks(self) -> Mapping[int, tuple[int | None, float]]:
        """Tell when each watched trade was last looked at (market time), and how often that should be, in seconds."""
        cadence = self._desk.settings.cadence
        return {w.ticket: (w.last_fast_ms, cadence.fast_hedged_s) for w in self.book.watches.values()}

    def chores(self, chores: Sequence[Chore]) -> Chores:
        """Take on what is to be done beside the loop."""
        return Chores(clock=self._desk.clock, store=self._desk.store, journal=self._desk.journal, chores=chores)

    async def record(self, kind: FactKind, summary: str, details: Mapping[str, Json]) -> None:
        """Put a fact about the system into the journal."""
        await self._desk.store.commit(Unit(facts=(self._desk.journal.fact(kind, summary, details=details),)))

    async def start(self) -> None:
        """Start in order and leave the monitoring loop running.

        Raises:
            DtmsError: with one clear line; nothing runs half-initialised.
        """
        self._feeds.start(lambda: self._life.health().broker_connected)
        await self._life.start()

    async def stop(self) -> None:
        """Finish the call in hand, record its outcome, give the lease back, close the store."""
        await self._feeds.stop()
        await self._life.stop()

    def note_store_failure(self, error: DtmsError) -> None:
        """Stop acknowledging and acting until the store was reopened and verified."""
        self._life.note_store_failure(error)

    async def initialize(self) -> None:
        """Nothing to build: the engine is made once, by its process."""
        if self._life.step is Step.FAILED:
            raise Refused(RefusalCode.NOT_READY, f"Initialisation failed: {self._life.failure}.")

    def health(self) -> Health:
        return self._life.health()

    def monitoring(self) -> Monitoring:
        return self._life.monitoring()

    def status(self) -> Status:
        return self._reading.status()

    def live(self, ticket: int) -> Live | None:
        return self._reading.live(ticket)

    def live_trades(self) -> Sequence[Live]:
        return self._reading.live_trades()

    async def register(self, request: Registration) -> Registered:
        return await self._requests.register(request)

    async def register_all(
        self, requests: Sequence[Registration], receipt: Receipt[Sequence[Result]] | None = None
    ) -> Sequence[Result]:
        return await self._requests.register_all(requests, receipt)

    def ticket_of(self, ticket: int) -> int | None:
        return self.book.ticket_of(ticket)

    def pending(self, ticket: int) -> Pending | None:
        return self._registrar.pendings.get(ticket)

    async def disable(
        self, ticket: int, *, close_hedge: bool, correlation_id: str | None, receipt: Receipt[Trade] | None = None
    ) -> Trade:
        return await self._requests.disable(
            ticket, close_hedge=close_hedge, correlation_id=correlation_id, receipt=receipt
        )

    async def halt(self, reason: str, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        await self._requests.halt(reason, correlation_id, receipt)

    async def resume(self, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        await self._requests.resume(correlation_id, receipt)

    async def set_mode(
        self, mode: Mode, ticket: int | None, correlation_id: str | None, receipt: Receipt[Switches] | None = None
    ) -> None:
        await self._requests.set_mode(mode, ticket, correlation_id, receipt)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        await self._requests.apply_settings(settings, changes, correlation_id)


__all__ = ["Engine", "EngineOptions"]
