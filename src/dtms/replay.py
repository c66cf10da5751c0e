"""The engine on a recorded market, in one thread and in virtual time: what runs here is what moves money.

``stage`` puts the simulated terminal, its gateway, the one broker adapter, a store and the engine on one virtual loop,
so that days of market pass in seconds and every run repeats byte for byte.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.trade import Mode
from dtms.execute.engine import Engine, EngineOptions
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.config import SimConfig

MAGIC_PREFIX = 1
REPLAY_POLL_MS = 30_000


@dataclass(slots=True, eq=False)
class Stage:
    """Everything that a replay consists of."""

    terminal: SimulatedTerminal
    gateway: Gateway
    broker: Mt5Broker
    store: SqlStore
    clock: LoopClock
    engine: Engine

    async def play(self, minutes: float) -> None:
        """Let market time pass, with the engine running."""
        await self.clock.sleep_market(minutes * 60.0)


def replay_settings(settings: Settings | None = None, poll_ms: int = REPLAY_POLL_MS) -> Settings:
    """Look at quotes as often as fast checks ask for, instead of four times a second."""
    settings = settings or Settings()
    return replace(settings, cadence=replace(settings.cadence, tick_poll_ms=poll_ms))


def stage(
    config: SimConfig,
    *,
    settings: Settings | None = None,
    mode: Mode = Mode.AUTO,
    store_url: str = "sqlite://",
    start_ms: int | None = None,
    instance: int = 1,
    holder: str = "replay:1:0",
    terminal: SimulatedTerminal | None = None,
    make_store: Callable[[LoopClock], SqlStore] | None = None,
) -> Stage:
    """Build a stage on the running virtual loop.

    ``start_ms`` goes on at a later moment, with the machine's clock as far on as the market's. ``terminal`` goes on
    with one that played before; ``make_store`` makes another store than one at ``store_url``.
    """
    begin_ms = config.start_ms if start_ms is None else start_ms
    # One machine for all stages of a market: leases that a dropped engine left run out as they would have.
    clock = LoopClock(begin_ms, machine_s=(begin_ms - config.start_ms) / 1000)
    terminal = terminal or SimulatedTerminal(config, clock)
    gateway = Gateway(terminal, instance=instance, now=clock.machine_s, requests_per_day=1_000_000)
    broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
    store = make_store(clock) if make_store is not None else SqlStore(store_url, clock, inline=True)
    engine = Engine(
        broker=broker,
        store=store,
        clock=clock,
        settings=settings or replay_settings(),
        options=EngineOptions(holder=holder, mode=mode),
    )
    return Stage(terminal=terminal, gateway=gateway, broker=broker, store=store, clock=clock, engine=engine)
