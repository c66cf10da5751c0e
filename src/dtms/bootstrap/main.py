"""The main program: the managers beside DTMS, executions, the watcher, and the main API."""

import asyncio
import random
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from dtms.adapters.peer import HttpPeer
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.store_sql.store import SqlStore
from dtms.bootstrap.ground import SWITCH_S, keeping_of, link_of, make_ground, settle_memory
from dtms.config.model import Config
from dtms.domain.errors import DtmsError, StoreFailed
from dtms.domain.facts import FactKind, Json
from dtms.domain.position import Position
from dtms.domain.trade import Owner
from dtms.execute.chores import Chore, Chores
from dtms.execute.handing.asking import FirstLooks
from dtms.execute.handing.outbox import Outbox
from dtms.execute.handing.watcher import Watcher
from dtms.execute.journal import Journal
from dtms.execute.managing.managers import Managers, ManagingRefused
from dtms.execute.managing.steps import Step
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.planning.runner import Planner
from dtms.execute.planning.service import Plans
from dtms.execute.service import Health
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.rails import Rails
from dtms.execute.trading.trading import MainTrading
from dtms.main_api.app import create_main_app
from dtms.main_api.table import Deps
from dtms.ports.clock import Clock
from dtms.ports.store import Unit
from dtms.server.correlation import ulid
from dtms.server.listen import bind
from dtms.server.run import run
from dtms.settings import Settings

log = structlog.get_logger(__name__)


class MainProgram:
    """The main program's parts as HTTP runs them."""

    def __init__(
        self, *, managers: Managers, outbox: Outbox, looks: FirstLooks, peer: HttpPeer, journal: Journal
    ) -> None:
        self.managers = managers
        self._outbox = outbox
        self._looks = looks
        self._peer = peer
        self._journal = journal
        self._ended = asyncio.Event()
        self.chores: Chores | None = None

    async def run(self) -> int:
        """Start and stay until stopped; 1 when it could not start."""
        try:
            await self.managers.start()
        except DtmsError as error:
            log.error("start_failed", told=str(error))
            return 1
        settle_memory()
        works = [self._outbox.run(), self._looks.run(), *([self.chores.run()] if self.chores is not None else [])]
        doing = [asyncio.create_task(work) for work in works]
        await self._ended.wait()
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
        await self._peer.close()
        return 0

    async def stop(self) -> None:
        await self.managers.stop()
        self._ended.set()

    def health(self) -> Health:
        return self.managers.health()

    def note_store_failure(self, error: StoreFailed) -> None:
        """Stop acting until the store was reopened and verified."""
        self.managers.note_store_failure(error)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Journal validated settings and use them from the next cycle on."""
        told = f"{len(changes)} settings changed: {', '.join(changes)}"
        details = {**changes, "program": "main"}
        fact = self._journal.fact(FactKind.SETTINGS_CHANGED, told, details=details, correlation_id=correlation_id)
        await self.managers.store.commit(Unit(facts=(fact,)))
        self.managers.use(settings)

    async def record(self, kind: FactKind, told: str, details: Mapping[str, Json]) -> None:
        """Put a fact about the system into the journal."""
        await self.managers.store.commit(Unit(facts=(self._journal.fact(kind, told, details=details),)))


class Handed:
    """Gives positions to the managers; what they refuse is told, and left to the next look."""

    def __init__(self, managers: Managers) -> None:
        self._managers = managers

    async def manage(self, position: Position, strategy_type: str) -> None:
        try:
            await self._managers.register_universal(position.ticket, strategy_type)
        except ManagingRefused as refused:
            log.warning("not_managed", ticket=position.ticket, told=str(refused))

    async def protect(self, position: Position) -> None:
        try:
            await self._managers.enable_exits(position.ticket)
        except ManagingRefused as refused:
            log.warning("exits_not_enabled", ticket=position.ticket, told=str(refused))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The main program and what it works with; nothing is opened yet."""

    program: MainProgram
    trading: MainTrading
    plans: Plans
    peer: HttpPeer
    store: SqlStore
    clock: Clock
    watcher: Watcher


def make_main(config: Config, link: RemoteLink) -> Made:
    """Put the main program together on what the configuration names.

    Raises:
        Misconfigured: for a mode that cannot work yet.
    """
    ground = make_ground(config, link)
    store, clock, broker = ground.store, ground.clock, ground.broker
    journal, peer = Journal(clock), HttpPeer(config.client.api_url, clock)
    outbox = Outbox(store=store, peer=peer, clock=clock, journal=journal)
    steps: list[Step] = []
    looks = FirstLooks(peer=peer, store=store, clock=clock, journal=journal, wanted=lambda: _beside_dtms(managers))
    managers = Managers(
        broker=broker,
        store=store,
        clock=clock,
        settings=config.settings,
        options=ground.options,
        draw=ground.options.draw,
        steps=steps,
        letters=outbox,
        looks=looks,
    )

    watcher = Watcher(
        broker=broker,
        store=store,
        clock=clock,
        journal=journal,
        outbox=outbox,
        managing=Handed(managers),
        settings=lambda: managers.settings,
    )
    steps.append(watcher)
    desk = TradingDesk(
        broker=broker,
        store=managers.store,
        clock=clock,
        leases=managers.leases,
        carrier=managers.carrier,
        journal=journal,
        rails=Rails(
            broker=broker,
            store=store,
            clock=clock,
            settings=lambda: managers.settings,
            sources=ground.sources,
            watched=lambda symbol: managers.floor.book.symbols.get(symbol),
        ),
        letters=outbox,
        taker=managers,
    )
    trading = MainTrading(desk)
    planning = PlanDesk(
        broker=broker,
        store=managers.store,
        clock=clock,
        journal=journal,
        trading=trading,
        sources=ground.sources,
        settings=lambda: managers.settings,
        mode=config.mode,
    )
    planner = Planner(planning)
    steps.append(planner)
    entropy = random.SystemRandom()
    plans = Plans(planning, planner, make_id=lambda: ulid(clock.wall_ms(), entropy.getrandbits(80)))
    program = MainProgram(managers=managers, outbox=outbox, looks=looks, peer=peer, journal=journal)
    chores: Sequence[Chore] = keeping_of(ground.upkeep, program.record)
    program.chores = Chores(clock=clock, store=managers.store, journal=journal, chores=chores)
    return Made(program=program, trading=trading, plans=plans, peer=peer, store=store, clock=clock, watcher=watcher)


def _beside_dtms(managers: Managers) -> Collection[int]:
    """Return the positions of DTMS that Intelligent Exit protects as well."""
    floor = managers.floor
    return [c.managed.ticket for c in floor.of_manager(Owner.EXITS) if floor.owner(c.managed.ticket) is Owner.DTMS]


def run_main(config: Config) -> int:
    """Run the main program until it is stopped; return its exit code."""
    sys.setswitchinterval(SWITCH_S)
    bound = bind(config.main.host, config.main.port, "main")
    link = link_of(config)
    made = make_main(config, link)
    deps = Deps(
        program=made.program,
        trading=made.trading,
        managers=made.program.managers,
        plans=made.plans,
        peer=made.peer,
        clock=made.clock,
    )
    app = create_main_app(deps, made.store, config)
    try:
        return asyncio.run(run(app, bound, made.program, made.clock))
    finally:
        link.close()
