"""The DTMS server: its engine on what the configuration names, and its HTTP program."""

import asyncio
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from dtms.adapters.clocks import SystemClock, TerminalClock
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.sources import make_sources
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.keeper import Keeper
from dtms.adapters.store_sql.leases import this_holder
from dtms.adapters.store_sql.sqlite import path_of
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.store_sql.upkeep import Upkeep
from dtms.adapters.store_sql.verify import verify_file
from dtms.audit.watch import Auditor
from dtms.audit.world import Look
from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.domain.broker_ways import why_due
from dtms.domain.errors import DtmsError, Misconfigured
from dtms.domain.facts import FactKind
from dtms.domain.trade import Mode
from dtms.execute.chores import Chore
from dtms.execute.engine import Engine, EngineOptions
from dtms.ports.clock import Clock
from dtms.probe.findings import recall
from dtms.server.app import create_app
from dtms.server.listen import bind, refuse_exposed
from dtms.server.run import run

log = structlog.get_logger(__name__)


GARBAGE_THRESHOLDS = (50_000, 50, 100)


def _settle_memory() -> None:
    """Spare the collector what lives as long as the process: to look through it stops everything for a tenth second.

    Trades, bars and positions hold no cycles, so what a collection finds is little, and can wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


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
        _settle_memory()
        doing = asyncio.create_task(self._chores.run())
        await self._ended.wait()
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return 0

    async def stop(self) -> None:
        await self._engine.stop()
        self._ended.set()


def link_of(config: Config) -> RemoteLink:
    """Connect to the gateway that the configuration names."""
    return RemoteLink(config.terminal.host, config.terminal.port, terminal_secret(config))


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
    if config.mode is Mode.ADVISE:
        raise Misconfigured("mode = advise: it needs approvals, which this version does not offer; use observe or auto")
    simulated = config.terminal.module == "sim"
    terminal_clock = TerminalClock(link)
    clock: Clock = terminal_clock if simulated else SystemClock()
    store, upkeep = make_store(config, clock)
    broker = Mt5Broker(
        link,
        clock,
        magic_prefix=config.magic_prefix,
        expected_login=config.mt5.login,
        expected_server=config.mt5.server,
        recall=partial(recall, store),
    )
    options = EngineOptions(
        holder=this_holder(),
        mode=config.mode,
        broker_timeout_s=config.startup.broker_timeout,
        sources=make_sources(config, clock),
        before_connect=partial(read_simulated_clock, terminal_clock) if simulated else None,
        patience=lambda settings: replace(settings, intents=settings.intents.with_lag(broker.ways.lag_ms / 1000)),
    )
    engine = Engine(broker=broker, store=store, clock=clock, settings=config.settings, options=options)
    auditor = Auditor(
        broker=broker,
        store=store,
        clock=clock,
        settings=lambda: engine.settings,
        mode=lambda: engine.mode,
        looks=lambda: {ticket: Look(at_ms=at, interval_s=every) for ticket, (at, every) in engine.looks().items()},
    )
    engine.parts["audit"] = lambda: auditor.last.as_json() if auditor.last is not None else None
    if not simulated:
        engine.parts["probe"] = lambda: why_due(broker.proven, clock.wall_ms(), broker.build) if broker.build else None
    if upkeep is not None:
        engine.parts["keeping"] = upkeep.as_json
    return Made(engine=engine, store=store, clock=clock, chores=[*_chores_of(upkeep, engine), _audit_of(auditor)])


def make_store(config: Config, clock: Clock) -> tuple[SqlStore, Upkeep | None]:
    """Make the store, and what keeps its file; a database in memory is not kept."""
    path, at = path_of(config.store.url), config.store
    if path is None:
        return SqlStore(at.url, clock), None
    keeper = Keeper(path, clock.wall_ms, verify_file, at.backups_kept)
    store = GuardedStore(at.url, clock, keeper)
    upkeep = Upkeep(store, keeper, clock, backup_every_h=at.backup_every_h, archive_after_days=at.archive_after_days)
    return store, upkeep


def _chores_of(upkeep: Upkeep | None, engine: Engine) -> Sequence[Chore]:
    if upkeep is None:
        return ()

    async def tell_rebuilt() -> None:
        told = upkeep.rebuilt_news()
        if told is not None:
            await engine.record(FactKind.STORE_REBUILT, told, {"alert": "CRITICAL"})

    return (
        Chore(name="rebuilding", every_s=5.0, work=tell_rebuilt),
        Chore(name="change log", every_s=1.0, work=upkeep.sync_log),
        Chore(name="backup", every_s=60.0, work=upkeep.back_up, first_s=5.0),
        Chore(name="archive", every_s=600.0, work=upkeep.archive, first_s=60.0),
        Chore(name="scrub", every_s=1.0, work=upkeep.scrub, first_s=30.0),
    )


def _audit_of(auditor: Auditor) -> Chore:
    return Chore(name="audit", every_s=0.0, work=auditor.run)


async def read_simulated_clock(clock: TerminalClock) -> None:
    """Read the simulated terminal's clock, and refuse to take a real terminal for it.

    Raises:
        Misconfigured: when the gateway holds a real terminal: a demo must never reach an account.
    """
    await clock.synchronise()
    if not clock.is_simulated:
        raise Misconfigured("terminal.module = sim, but the gateway holds a real terminal: set it to metatrader5")


SWITCH_S = 0.0005
"""How long a busy thread may keep the others waiting: link and store answer in tenths of a millisecond."""


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
