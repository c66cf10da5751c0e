"""A broker adapter on a simulated terminal: in this process with virtual time, or behind a gateway process."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dtms.adapters.clocks import LoopClock, TerminalClock
from dtms.adapters.links import Link, LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import Action, ActionKind, ClosePosition, MoveStop, OpenPosition
from dtms.domain.market import Instrument, Side, Tick
from dtms.domain.position import Position
from dtms.domain.prices import on_grid
from dtms.ports.broker import Fence, SendResult
from dtms.terminal.gateway import Gateway
from dtms.terminal.launch import TerminalOptions, run_terminal
from dtms.terminal.service import Load, ServiceOptions
from dtms.terminal.simulated.api import SimulatedTerminal, open_terminal
from dtms.terminal.simulated.config import load_config

T = TypeVar("T")
EURUSD, BTCUSD = "EURUSD.m", "BTCUSDc"
PREFIX = 77
SECRET = "a secret of this test"
LOT = Decimal("0.10")


def described(**changes: Any) -> dict[str, Any]:
    """Describe a simulated terminal on a Tuesday morning of October 2017."""
    symbols = [
        {"name": EURUSD, "like": "EURUSD", "recording": "shipped:EURUSD_H1_2017"},
        {"name": BTCUSD, "like": "BTCUSD", "recording": "shipped:BTCUSD_H1_2017"},
    ]
    return {"start": "2017-10-03T09:00Z", "symbols": symbols, **changes}


def changed(description: dict[str, Any], **conditions: Any) -> dict[str, Any]:
    """Change the conditions of the first symbol."""
    first, *others = description["symbols"]
    return {**description, "symbols": [{**first, **conditions}, *others]}


@dataclass(kw_only=True)
class Desk:
    """A connected broker, and what a test does with it again and again."""

    broker: Mt5Broker
    clock: Any
    link: Link
    symbol: str = EURUSD
    lot: Decimal = LOT
    number: int = 0

    async def fence(self, key: str = "1", token: int = 1) -> Fence:
        return await self.broker.announce(key, token)

    async def tick(self) -> Tick:
        return (await self.broker.quotes([self.symbol]))[self.symbol]

    async def instrument(self) -> Instrument:
        found = await self.broker.instrument(self.symbol)
        assert found is not None
        return found

    async def send(self, action: Action, fence: Fence | None = None) -> SendResult:
        self.number += 1
        under = fence or await self.fence()
        return await self.broker.send(action, number=self.number, fence=under, tick=await self.tick())

    async def opening(self, side: Side = Side.LONG, **changes: Any) -> OpenPosition:
        tick, instrument = await self.tick(), await self.instrument()
        away = 300 * instrument.point * side.sign
        values: dict[str, Any] = {
            "kind": ActionKind.OPEN_HEDGE,
            "symbol": self.symbol,
            "side": side,
            "volume": self.lot,
            "stop": on_grid(tick.bid - away, instrument),
            "target": on_grid(tick.bid + away, instrument),
        }
        return OpenPosition(**{**values, **changes})

    async def open(self, side: Side = Side.LONG, **changes: Any) -> Position:
        """Open a position and return it as the broker lists it."""
        result = await self.send(await self.opening(side, **changes))
        assert result.retcode == 10009, result
        magic = self.broker.magic_of(self.number)
        positions = (await self.broker.snapshot([self.symbol])).positions.values()
        return next(position for position in positions if position.magic == magic)

    async def position(self, ticket: int) -> Position | None:
        return (await self.broker.snapshot([])).positions.get(ticket)


def moved(position: Position, stop: float, **changes: Any) -> MoveStop:
    """Ask for another stop of a position."""
    values: dict[str, Any] = {
        "kind": ActionKind.TIGHTEN,
        "position": position.ticket,
        "symbol": position.symbol,
        "side": position.side,
        "stop": stop,
        "target": position.target,
        "expected_stop": position.stop,
    }
    return MoveStop(**{**values, **changes})


def closed(position: Position, volume: Decimal | None = None) -> ClosePosition:
    """Ask for a position, or a part of it, to be closed."""
    return ClosePosition(
        kind=ActionKind.CLOSE if volume is None else ActionKind.CLOSE_PART,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        volume=position.volume if volume is None else volume,
        expected_volume=position.volume,
    )


Story = Callable[[Desk], Coroutine[Any, Any, T]]


class Bench(Protocol):
    """Run a story at a desk."""

    def __call__(self, story: Story[T]) -> T: ...


@dataclass(kw_only=True)
class LocalBench:
    """A simulated terminal in this process; an hour of market takes no time."""

    description: Mapping[str, Any]
    instance: int = 7
    gateway_options: Mapping[str, Any] | None = None
    broker_options: Mapping[str, Any] | None = None
    terminal: SimulatedTerminal | None = None

    def __call__(self, story: Story[T]) -> T:
        return run_virtual(self._tell(story))

    def module(self, terminal: SimulatedTerminal) -> Any:
        """Give what the gateway gets to hold; a test may put something in between."""
        return terminal

    async def _tell(self, story: Story[T]) -> T:
        config = load_config(self.description)
        clock = LoopClock(config.start_ms)
        self.terminal = SimulatedTerminal(config, clock)
        options = {"now": clock.machine_s, **(self.gateway_options or {})}
        gateway = Gateway(self.module(self.terminal), instance=self.instance, **options)
        link = LocalLink(gateway)
        broker = Mt5Broker(link, clock, magic_prefix=PREFIX, **(self.broker_options or {}))
        return await story(Desk(broker=broker, clock=clock, link=link))


@dataclass(frozen=True, kw_only=True)
class RemoteBench:
    """A gateway behind a socket."""

    host: str
    port: int
    secret: str
    symbol: str = EURUSD
    lot: Decimal = LOT

    def __call__(self, story: Story[T]) -> T:
        return asyncio.run(self._tell(story))

    async def _tell(self, story: Story[T]) -> T:
        link = RemoteLink(self.host, self.port, self.secret)
        clock = TerminalClock(link)
        try:
            await clock.synchronise()
            broker = Mt5Broker(link, clock, magic_prefix=PREFIX)
            # Tests share the gateway, so each takes numbers and keys that no other has used.
            start = clock.market_ms() % 2**39
            return await story(
                Desk(broker=broker, clock=clock, link=link, symbol=self.symbol, lot=self.lot, number=start)
            )
        finally:
            link.close()


def simulated(description: dict[str, Any]) -> SimulatedTerminal:
    """Build the terminal of a gateway process; found there by name."""
    return open_terminal(load_config(description), time.monotonic)


@contextmanager
def running(load: Load, *, instances: list[int] | None = None, **options: Any) -> Iterator[tuple[int, list[int]]]:
    """Run a gateway program for a while; gives its port, and the list of instance numbers as children start."""
    stop, ready = threading.Event(), threading.Event()
    seen: list[int] = instances if instances is not None else []
    port: list[int] = []

    def on_ready(at: int, instance: int) -> None:
        port[:] = [at]
        seen.append(instance)
        ready.set()

    service = ServiceOptions(port=0, secret=SECRET, **options)
    terminal = TerminalOptions(service=service)
    thread = threading.Thread(
        target=run_terminal, args=(terminal,), kwargs={"load": load, "stop": stop, "on_ready": on_ready}
    )
    thread.start()
    try:
        assert ready.wait(30), "the gateway did not become ready"
        yield port[0], seen
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive()


def accelerated() -> Load:
    """Describe a terminal that plays a minute a second."""
    return partial(simulated, described(rate=60))


def external() -> RemoteBench | None:
    """Return the gateway that the environment names, to run the contract against a terminal of one's own."""
    address = os.environ.get("DTMS_CONTRACT_GATEWAY")
    if not address:
        return None
    host, _, port = address.rpartition(":")
    secret = Path(os.environ["DTMS_CONTRACT_SECRET_FILE"]).read_text(encoding="utf-8").strip()
    symbol, lot = os.environ.get("DTMS_CONTRACT_SYMBOL", "EURUSD"), os.environ.get("DTMS_CONTRACT_LOTS", "0.02")
    return RemoteBench(host=host, port=int(port), secret=secret, symbol=symbol, lot=Decimal(lot))
