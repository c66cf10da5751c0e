"""The main program's managers on a recorded market, in one thread and in virtual time, on a store in a file.

A DTMS server's engine can stand beside them, on the same file and gateway. What the managers did is judged by the
terminal's ledger.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.execute.unsteady import Unsteady
from tests.replay.windows import BALANCE, data_folder

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Mode
from dtms.execute.engine import Engine, EngineOptions
from dtms.execute.managing.hand import FirstLook
from dtms.execute.managing.managers import Managers
from dtms.execute.managing.steps import Step
from dtms.replay import MAGIC_PREFIX
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.config import SimConfig, load_config
from dtms.terminal.simulated.records import LevelChange
from dtms.terminal.simulated.spec import BUILT_IN, SymbolSpec

POLL_MS = 1_000


def settings_for_tests(poll_ms: int = POLL_MS, **sections: Any) -> Settings:
    """Look once a second, which in virtual time is enough."""
    settings = Settings()
    changed = {name: replace(getattr(settings, name), **changes) for name, changes in sections.items()}
    return replace(settings, cadence=replace(settings.cadence, tick_poll_ms=poll_ms), **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One symbol on one recording, from one moment on."""

    recording: str
    start: str

    @property
    def symbol(self) -> str:
        return f"{self.recording[:6]}.m"

    @property
    def spec(self) -> SymbolSpec:
        return replace(BUILT_IN[self.recording[:6]], name=self.symbol)

    def config(self, **changes: Any) -> SimConfig:
        shipped = self.recording.endswith("_H1_2017")
        path = f"shipped:{self.recording}" if shipped else str(data_folder() / "bars" / f"{self.recording}.parquet")
        account = {"balance": BALANCE} | changes.pop("account", {})
        symbol = {"name": self.symbol, "like": self.recording[:6], "recording": path, **changes}
        start = datetime.fromisoformat(self.start).isoformat()
        return load_config({"start": start, "account": account, "symbols": [symbol]})


@dataclass(slots=True)
class Site:
    """A market, its terminal and a store's file, with the managers that live on them one after the other."""

    market: Market
    url: str
    config: SimConfig
    terminal: Unsteady
    clock: LoopClock
    settings: Settings
    gateway: Gateway
    managers: Managers
    store: SqlStore
    steps: Sequence[Step] = ()
    count: int = 1
    engine: Engine | None = None
    lives: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def begin(
        cls,
        market: Market,
        folder: Path,
        *,
        settings: Settings | None = None,
        mode: Mode = Mode.AUTO,
        steps: Sequence[Step] = (),
        looks: FirstLook | None = None,
        start: bool = True,
        **changes: Any,
    ) -> "Site":
        """Open the market, and start the managers unless told otherwise."""
        config = market.config(**changes)
        clock = LoopClock(config.start_ms)
        terminal = Unsteady(SimulatedTerminal(config, clock))
        url = f"sqlite:///{(folder / 'store.db').as_posix()}"
        settings = settings or settings_for_tests()
        gateway = _gateway(terminal, clock, 1)
        store, managers = _managers(gateway, clock, url, settings, mode, steps, 1, looks)
        site = cls(
            market=market,
            url=url,
            config=config,
            terminal=terminal,
            clock=clock,
            settings=settings,
            gateway=gateway,
            managers=managers,
            store=store,
            steps=steps,
        )
        if start:
            await managers.start()
        return site

    # --- lives -----------------------------------------------------------------------------------------------------

    async def die(self) -> None:
        """Drop all programs where they stand: no task of theirs runs on, nothing is given back."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def renew(self, mode: Mode = Mode.AUTO) -> None:
        """Make the managers of another process, on another instance of the gateway."""
        self.count += 1
        self.gateway = _gateway(self.terminal, self.clock, self.count)
        self.store, self.managers = _managers(
            self.gateway, self.clock, self.url, self.settings, mode, self.steps, self.count
        )

    async def restart(self, *, crash: bool, mode: Mode = Mode.AUTO) -> None:
        if crash:
            await self.die()
        else:
            await self.managers.stop()
        self.renew(mode)
        await self.managers.start()

    async def with_dtms(self, mode: Mode = Mode.AUTO) -> Engine:
        """Start a DTMS server's engine beside the managers, on a store of its own over the same file."""
        store = SqlStore(self.url, self.clock, inline=True)
        self.engine = Engine(
            broker=_broker(self.gateway, self.clock),
            store=store,
            clock=self.clock,
            settings=self.settings,
            options=EngineOptions(holder=f"dtms:{self.count}:0", mode=mode),
        )
        await self.engine.start()
        return self.engine

    async def end(self) -> None:
        if self.engine is not None:
            await self.engine.stop()
        await self.managers.stop()

    # --- the market --------------------------------------------------------------------------------------------------

    async def play(self, minutes: float) -> None:
        """Let market time pass."""
        await self.clock.sleep_market(minutes * 60.0)

    def do(self, deed: str, **message: Any) -> Any:
        """Do to the simulation what the market, the broker or a person does."""
        return self.terminal.simulation.control({"do": deed, **message})

    def open(self, side: Side, stop: float | None, *, lots: float = 0.4, target: float = 0.0, magic: int = 0) -> int:
        """Open a position as a person does in the terminal; returns its ticket."""
        tick = self.terminal.symbol_info_tick(self.market.symbol)
        request = {
            "action": 1,
            "symbol": self.market.symbol,
            "volume": lots,
            "type": 0 if side is Side.LONG else 1,
            "price": tick.ask if side is Side.LONG else tick.bid,
            "deviation": 1_000,
            "type_filling": 1,
            "magic": magic,
            "sl": stop or 0.0,
            "tp": target,
        }
        answer = self.terminal.simulation.send_as(request)
        assert answer.retcode == 10009, answer
        return int(answer.order)

    def open_away(self, side: Side, distance: float, **known: Any) -> int:
        """Open a position with its stop so far from the price."""
        tick = self.terminal.symbol_info_tick(self.market.symbol)
        price = tick.bid if side is Side.LONG else tick.ask
        return self.open(side, round(price - side.sign * distance, self.market.spec.digits), **known)

    def held(self, ticket: int) -> Any:
        """Return the terminal's true position, None when it is closed."""
        positions = self.terminal.simulation.ledger.positions.values()
        return next((p for p in positions if p.ticket == ticket), None)

    # --- what was done -----------------------------------------------------------------------------------------------

    def stops(self, ticket: int) -> list[LevelChange]:
        """Return every level that a position ever had, in order."""
        return [change for change in self.terminal.simulation.ledger.levels if change.position == ticket]

    def parts(self, ticket: int) -> list[Any]:
        """Return the deals that closed lots of a position."""
        deals = self.terminal.simulation.ledger.deals
        return [d for d in deals if d.position_id == ticket and d.entry != 0]

    async def facts(self, ticket: int, *kinds: FactKind) -> list[Fact]:
        wanted = frozenset(kind.value for kind in kinds) or None
        return list(await self.store.facts(ticket=ticket, kinds=wanted, limit=100_000))


def never_loosened(changes: Sequence[LevelChange], side: Side) -> bool:
    """Answer whether no stop of a position was ever set looser than the one before."""
    stops = [change.sl_points for change in changes]
    return all(before == 0 or (after - before) * side.sign >= 0 for before, after in pairwise(stops))


def _gateway(terminal: Any, clock: LoopClock, instance: int) -> Gateway:
    return Gateway(terminal, instance=instance, now=clock.machine_s, requests_per_day=1_000_000)


def _broker(gateway: Gateway, clock: LoopClock) -> Mt5Broker:
    return Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)


def _managers(
    gateway: Gateway,
    clock: LoopClock,
    url: str,
    settings: Settings,
    mode: Mode,
    steps: Sequence[Step],
    count: int,
    looks: FirstLook | None = None,
) -> tuple[SqlStore, Managers]:
    store = SqlStore(url, clock, inline=True)
    managers = Managers(
        broker=_broker(gateway, clock),
        store=store,
        clock=clock,
        settings=settings,
        options=EngineOptions(holder=f"main:{count}:0", mode=mode),
        draw=lambda: 0.5,
        steps=steps,
        looks=looks,
    )
    return store, managers
