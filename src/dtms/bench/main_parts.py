"""The main program's managers on the simulated terminal, in one process, with a store in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.bench import market
from dtms.bench.measure import CannotMeasure
from dtms.domain.market import Tick
from dtms.domain.trade import Mode
from dtms.execute.book import SymbolWatch
from dtms.execute.lifecycle import EngineOptions
from dtms.execute.managing.managers import Managers
from dtms.execute.managing.sights import Sights
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal

MAGIC_PREFIX = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    managers: Managers
    sights: Sights
    store: SqlStore
    broker: Mt5Broker
    clock: LoopClock
    symbols: Sequence[SymbolWatch]
    """All of them, with a quote each."""

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return sum(carrier.requests for carrier in self.managers.bench.carriers)


async def make_parts(symbols: int) -> Parts:
    """Put the managers together on so many symbols; they have nothing in hand."""
    config = market.config(symbols)
    clock = LoopClock(config.start_ms)
    gateway = Gateway(SimulatedTerminal(config, clock), instance=1, now=clock.machine_s, requests_per_day=1_000_000)
    broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
    store = SqlStore("sqlite://", clock, inline=True)
    await store.open()
    await broker.connect()
    options = EngineOptions(holder="bench:1:0", mode=Mode.AUTO)
    managers = Managers(broker=broker, store=store, clock=clock, settings=Settings(), options=options, draw=lambda: 0.5)
    sights = Sights(managers.bench, managers.floor)
    watched = [found for name in market.names(symbols) if (found := await sights.symbol(name)) is not None]
    await sights.feeds.quotes(watched)
    return Parts(managers=managers, sights=sights, store=store, broker=broker, clock=clock, symbols=watched)


def tick_of(symbol: SymbolWatch) -> Tick:
    """Return a symbol's quote.

    Raises:
        CannotMeasure: without one.
    """
    if symbol.tick is None:
        raise CannotMeasure(f"{symbol.name} has no quote")
    return symbol.tick
