"""Stopping or dropping an engine in the middle of a replay, and going on with a new one on the same store."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.execute.unsteady import Unsteady
from tests.replay.windows import Played, Window, collected, config_of, registered, settings_of

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.calendar import Release
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode, Trade
from dtms.execute.engine import Engine, EngineOptions
from dtms.replay import MAGIC_PREFIX, Stage, stage
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal

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
        """Make the first engine; unless told otherwise start it, and register the trader's position.

        ``account`` and ``manners`` are those of the broker; other changes are conditions of the symbol.
        """
        url = f"sqlite:///{(folder / 'store.db').as_posix()}"
        mode = changes.pop("mode", Mode.AUTO)
        account, manners = changes.pop("account", {}), changes.pop("manners", {})
        config = config_of(window, **changes)
        for name, value in manners.items():
            setattr(config.manners, name, value)
        config = replace(config, account=replace(config.account, **account))
        terminal = Unsteady(SimulatedTerminal(config, LoopClock(config.start_ms)))
        made: Any = terminal
        on = stage(config, settings=settings_of(window), terminal=made, store_url=url, mode=mode)
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

    def do(self, deed: str, **message: Any) -> Any:
        """Do to the simulation what the market, the broker or a person does."""
        return self.terminal.simulation.control({"do": deed, **message})

    def fault(self, kind: str, **known: Any) -> None:
        """Let the terminal fail its callers from now on."""
        self.do("add", fault={"kind": kind, **known})

    def act(self, act: str, **known: Any) -> int:
        """Let a person act in the terminal; returns the number of his order."""
        answer = self.do("act", act=act, **known)
        assert answer["retcode"] == 10009, answer
        return int(answer["order"])

    def open_as(self, side: str, lots: float, *, magic: int = 0, comment: str = "", stop: float = 0.0) -> int:
        """Open a position in the terminal under any magic number; returns its order's number."""
        tick = self.terminal.symbol_info_tick(self.window.symbol)
        buys = side == "BUY"
        request = {
            "action": 1,
            "symbol": self.window.symbol,
            "volume": lots,
            "type": 0 if buys else 1,
            "price": tick.ask if buys else tick.bid,
            "deviation": 1_000,
            "type_filling": 1,
            "magic": magic,
            "comment": comment,
            "sl": stop,
        }
        answer = self.terminal.simulation.send_as(request)
        assert answer.retcode in (10009, 10010), answer
        return int(answer.order)

    def held(self) -> dict[int, Any]:
        """Return the terminal's true positions by ticket, whatever it shows to its callers."""
        return {p.ticket: p for p in self.terminal.simulation.ledger.positions.values()}

    async def until(self, holds: Callable[[Trade], bool], limit_min: float = 600, step_min: float = 0.5) -> Trade:
        """Play until the trade's row is as wanted."""
        for _ in range(int(limit_min / step_min)):
            trade = await self.on.store.trade(self.ticket)
            if trade is not None and holds(trade):
                return trade
            await self.on.play(step_min)
        raise AssertionError("the trade never got there")

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
