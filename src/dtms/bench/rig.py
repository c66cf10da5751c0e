"""A monitor with thousands of trades on it: the engine's own parts on the simulated terminal, with nothing due."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.bench import market, trades
from dtms.bench.measure import CannotMeasure
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.cycle import Cycle
from dtms.execute.desk import Desk
from dtms.execute.engine import Engine, EngineOptions
from dtms.execute.feeds import Feeds
from dtms.execute.monitor import Monitor
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal

MAGIC_PREFIX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """The parts that a pass consists of, with trades in the book."""

    monitor: Monitor
    cycle: Cycle
    book: Book
    feeds: Feeds
    desk: Desk
    store: SqlStore
    symbols: Sequence[SymbolWatch]
    snapshot: Snapshot
    """What the broker would show if it held every trade exactly as remembered."""
    commits: int
    """Transactions that were committed when the rig was made."""

    @property
    def tickets(self) -> list[int]:
        return list(self.book.watches)

    def require_quiet(self) -> None:
        """Refuse figures that were taken while something was done.

        Raises:
            CannotMeasure: when a trade moved or failed, or anything was written.
        """
        done = self.desk.transitions, self.desk.actions, self.monitor.counts.failures, self.store.commits - self.commits
        if any(done):
            raise CannotMeasure(f"trades were not quiet: transitions, actions, failures, commits {done}")


async def make_rig(count: int, symbols: int, settings: Settings = trades.QUIET) -> Rig:
    """Build a monitor that watches ``count`` trades on ``symbols`` symbols, with views read from recorded bars."""
    config = market.config(symbols)
    clock = LoopClock(config.start_ms)
    terminal = SimulatedTerminal(config, clock)
    gateway = Gateway(terminal, instance=1, now=clock.machine_s, requests_per_day=1_000_000)
    broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
    store = SqlStore("sqlite://", clock, inline=True)
    await store.open()
    await broker.connect()
    options = EngineOptions(holder="bench:1:0", mode=Mode.AUTO)
    engine = Engine(broker=broker, store=store, clock=clock, settings=settings, options=options)
    book, feeds, desk = engine.book, engine.feeds, engine.desk
    watched = [found for name in market.names(symbols) if (found := await feeds.symbol(name)) is not None]
    await feeds.quotes(watched)
    await feeds.bars(watched, desk.settings)
    _fill(book, watched, count, clock.market_ms())
    snapshot = await broker.snapshot([s.name for s in watched])
    held = {p.ticket: p for watch in book.watches.values() for p in trades.positions_of(watch.trade)}
    return Rig(
        monitor=engine.monitor,
        cycle=engine.cycle,
        book=book,
        feeds=feeds,
        desk=desk,
        store=store,
        symbols=watched,
        snapshot=replace(snapshot, positions=held),
        commits=store.commits,
    )


def _fill(book: Book, symbols: Sequence[SymbolWatch], count: int, now_ms: int) -> None:
    """Spread the trades over all symbols."""
    for symbol in symbols:
        if symbol.tick is None or symbol.view is None:
            raise CannotMeasure(f"{symbol.name} has no quote or no view: {symbol.stale}")
    for number in range(count):
        symbol = symbols[number % len(symbols)]
        assert symbol.tick is not None
        book.add(trades.make(number, symbol.name, symbol.tick, now_ms), symbol)
