"""The DTMS server: its engine on what the configuration names, and its HTTP program."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.store_sql.store import SqlStore
from dtms.audit.watch import Auditor
from dtms.audit.world import Look
from dtms.bootstrap.ground import SWITCH_S, keeping_of, link_of, make_ground, settle_memory
from dtms.config.model import Config
from dtms.domain.broker_ways import why_due
from dtms.domain.errors import DtmsError
from dtms.execute.chores import Chore
from dtms.execute.engine import Engine
from dtms.ports.clock import Clock
from dtms.server.app import create_app
from dtms.server.listen import bind, refuse_exposed
from dtms.server.run import run

log = structlog.get_logger(__name__)


class EngineProgram:
    """The engine as the HTTP program runs it."""

    def __init__(self, engine: Engine, chores: Sequence[Chore]) -> None:
        self._engine = engine
        self._chores = engine.chores(chores)
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Start the engine and stay until it is stopped; 1 when it could not start."""
        try:
            await self._engine.start()
        except DtmsError as error:
            log.error("start_failed", told=str(error))
            return 1
        settle_memory()
        doing = asyncio.create_task(self._chores.run())
        await self._ended.wait()
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return 0

    async def stop(self) -> None:
        await self._engine.stop()
        self._ended.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The engine and what it works with; nothing is opened yet."""

    engine: Engine
    store: SqlStore
    clock: Clock
    chores: Sequence[Chore]


def make_engine(config: Config, link: RemoteLink) -> Made:
    """Put the engine together on what the configuration names.

    Raises:
        Misconfigured: for a mode that cannot work yet.
    """
    ground = make_ground(config, link)
    broker, store, clock = ground.broker, ground.store, ground.clock
    engine = Engine(broker=broker, store=store, clock=clock, settings=config.settings, options=ground.options)
    auditor = Auditor(
        broker=broker,
        store=store,
        clock=clock,
        settings=lambda: engine.settings,
        mode=lambda: engine.mode,
        looks=lambda: {ticket: Look(at_ms=at, interval_s=every) for ticket, (at, every) in engine.looks().items()},
    )
    engine.parts["audit"] = lambda: auditor.last.as_json() if auditor.last is not None else None
    engine.parts["leases"] = lambda: {**store.lease_counts}
    if not ground.is_simulated:
        engine.parts["probe"] = lambda: why_due(broker.proven, clock.wall_ms(), broker.build) if broker.build else None
    if ground.upkeep is not None:
        engine.parts["keeping"] = ground.upkeep.as_json
    audit = Chore(name="audit", every_s=0.0, work=auditor.run)
    return Made(engine=engine, store=store, clock=clock, chores=[*keeping_of(ground.upkeep, engine.record), audit])


def serve(config: Config) -> int:
    """Run the DTMS server until it is stopped; return its exit code."""
    sys.setswitchinterval(SWITCH_S)
    refuse_exposed(config.api.host)
    bound = bind(config.api.host, config.api.port)
    link = link_of(config)
    made = make_engine(config, link)
    app = create_app(made.engine, made.store, made.clock, config)
    try:
        return asyncio.run(run(app, bound, EngineProgram(made.engine, made.chores), made.clock))
    finally:
        link.close()
