"""What both HTTP programs stand on: the link to the gateway, clock, broker, store and its keeping, outside sources."""

import gc
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import FactKind, Json
from dtms.domain.trade import Mode
from dtms.execute.chores import Chore
from dtms.execute.lifecycle import EngineOptions
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.probe.findings import recall

SWITCH_S = 0.0005
"""How long a busy thread may keep the others waiting: link and store answer in tenths of a millisecond."""
GARBAGE_THRESHOLDS = (50_000, 50, 100)

Record = Callable[[FactKind, str, Mapping[str, Json]], Awaitable[None]]
"""Puts a fact about the system into the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Nothing of it is opened yet."""

    clock: Clock
    broker: Mt5Broker
    store: SqlStore
    upkeep: Upkeep | None
    sources: Sources
    options: EngineOptions
    is_simulated: bool


def settle_memory() -> None:
    """Spare the collector what lives as long as the process: to look through it stops everything for a tenth second.

    Trades, bars and positions hold no cycles, so what a collection finds is little, and can wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def link_of(config: Config) -> RemoteLink:
    """Connect to the gateway that the configuration names."""
    return RemoteLink(config.terminal.host, config.terminal.port, terminal_secret(config))


def make_ground(config: Config, link: RemoteLink) -> Ground:
    """Make what a program stands on.

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
    sources = make_sources(config, clock)
    options = EngineOptions(
        holder=this_holder(),
        mode=config.mode,
        broker_timeout_s=config.startup.broker_timeout,
        sources=sources,
        before_connect=partial(read_simulated_clock, terminal_clock) if simulated else None,
        patience=lambda settings: replace(settings, intents=settings.intents.with_lag(broker.ways.lag_ms / 1000)),
        draw=random.SystemRandom().random,
    )
    return Ground(
        clock=clock,
        broker=broker,
        store=store,
        upkeep=upkeep,
        sources=sources,
        options=options,
        is_simulated=simulated,
    )


def make_store(config: Config, clock: Clock) -> tuple[SqlStore, Upkeep | None]:
    """Make the store, and what keeps its file; a database in memory is not kept."""
    path, at = path_of(config.store.url), config.store
    if path is None:
        return SqlStore(at.url, clock), None
    keeper = Keeper(path, clock.wall_ms, verify_file, at.backups_kept)
    store = GuardedStore(at.url, clock, keeper)
    upkeep = Upkeep(store, keeper, clock, backup_every_h=at.backup_every_h, archive_after_days=at.archive_after_days)
    return store, upkeep


def keeping_of(upkeep: Upkeep | None, record: Record) -> Sequence[Chore]:
    """Return what keeps a store's file; of several programs with one store, one at a time does it."""
    if upkeep is None:
        return ()

    async def tell_rebuilt() -> None:
        told = upkeep.rebuilt_news()
        if told is not None:
            await record(FactKind.STORE_REBUILT, told, {"alert": "CRITICAL"})

    return (
        Chore(name="rebuilding", every_s=5.0, work=tell_rebuilt),
        Chore(name="change log", every_s=1.0, work=upkeep.sync_log),
        Chore(name="backup", every_s=60.0, work=upkeep.back_up, first_s=5.0),
        Chore(name="archive", every_s=600.0, work=upkeep.archive, first_s=60.0),
        Chore(name="scrub", every_s=1.0, work=upkeep.scrub, first_s=30.0),
    )


async def read_simulated_clock(clock: TerminalClock) -> None:
    """Read the simulated terminal's clock, and refuse to take a real terminal for it.

    Raises:
        Misconfigured: when the gateway holds a real terminal: a demo must never reach an account.
    """
    await clock.synchronise()
    if not clock.is_simulated:
        raise Misconfigured("terminal.module = sim, but the gateway holds a real terminal: set it to metatrader5")
