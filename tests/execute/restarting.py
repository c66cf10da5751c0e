"""Stopping or dropping an engine in the middle of a replay, and going on with a new one on the same store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.execute.unsteady import Unsteady, set_up
from tests.replay.windows import Played, Window, collected, registered, settings_of

from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.calendar import Release
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode, Trade
from dtms.execute.engine import Engine, EngineOptions
from dtms.replay import MAGIC_PREFIX, Stage
from dtms.terminal.gateway import Gateway

ABOUT_THE_ENGINE = {FactKind.STARTED, FactKind.STOPPED, FactKind.RECOVERED}


@dataclass(slots=True)
class Lives:
    """One market and one store, and the engines that follow each other on them."""

    window: Window
    url: str
    on: Stage
    terminal: Unsteady
    ticket: int = 0
    count: int = 1

    @classmethod
    async def begin(
        cls, window: Window, folder: Path, *, register: bool = True, start: bool = True, **changes: Any
    ) -> "Lives":
        """Make the first engine; unless told otherwise start it, and register the trader's position."""
        url = f"sqlite:///{(folder / 'store.db').as_posix()}"
        mode = changes.pop("mode", Mode.AUTO)
        on, terminal = set_up(window, changes=changes, store_url=url, mode=mode)
        lives = cls(window, url, on, terminal)
        if start:
            await on.engine.start()
        if start and register:
            lives.ticket = await registered(on)
        return lives

    async def die(self) -> None:
        """Drop the engine where it stands: no task of it runs on, nothing is given back."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def go_on(self, mode: Mode = Mode.AUTO, releases: Sequence[Release] = ()) -> None:
        """Start another engine, as a new process does."""
        self.renew(mode, releases)
        await self.on.engine.start()

    def renew(self, mode: Mode = Mode.AUTO, releases: Sequence[Release] = ()) -> None:
        """Make another engine: another gateway and holder, and the machine's one clock."""
        self.count += 1
        clock, made = self.on.clock, self.terminal
        gateway = Gateway(made, instance=self.count, now=clock.machine_s, requests_per_day=1_000_000)
        broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
        store = SqlStore(self.url, clock, inline=True)
        options = EngineOptions(holder=f"replay:{self.count}:0", mode=mode, releases=releases)
        settings = settings_of(self.window)
        engine = Engine(broker=broker, store=store, clock=clock, settings=settings, options=options)
        simulated: Any = made
        self.on = Stage(terminal=simulated, gateway=gateway, broker=broker, store=store, clock=clock, engine=engine)

    async def restart(self, *, crash: bool, away_min: float = 0.0) -> None:
        if crash:
            await self.die()
        else:
            await self.on.engine.stop()
        await self.on.clock.sleep_market(away_min * 60)
        await self.go_on()

    async def trade(self, ticket: int | None = None) -> Trade:
        trade = await self.on.store.trade(ticket or self.ticket)
        assert trade is not None
        return trade

    async def news(self) -> list[Fact]:
        """Return the facts that tell of trades."""
        return [f for f in await self.on.store.facts(limit=100_000) if f.kind not in ABOUT_THE_ENGINE]

    async def end(self) -> Played:
        result = await collected(self.window, self.on, self.ticket)
        await self.on.engine.stop()
        return result

    def close_by_hand(self, ticket: int, lots: float | None = None) -> None:
        """Close a position as its owner does, in the terminal."""
        (position,) = self.terminal.positions_get(ticket=ticket)
        tick = self.terminal.symbol_info_tick(position.symbol)
        request = {
            "action": 1,
            "symbol": position.symbol,
            "position": ticket,
            "volume": lots or position.volume,
            "type": 1 - position.type,
            "price": tick.bid if position.type == 0 else tick.ask,
            "deviation": 1_000,
            "type_filling": 1,
        }
        answer = self.terminal.order_send(request)
        assert answer is not None
        assert answer.retcode == 10009
