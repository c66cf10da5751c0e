"""The main API's trading on the simulated terminal and a real store file, in virtual time; one process, or several."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.execute.unsteady import Unsteady
from tests.replay.windows import BTC, EUR, LONG, Window, config_of
from tests.trading.doubles import Away, Noting, Slow

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.calendar import Release
from dtms.domain.facts import Fact, FactKind
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Owner, State, Trade
from dtms.execute.authority import MAIN, EngineLease, Fenced
from dtms.execute.carrying import Carrier
from dtms.execute.handing.outbox import Outbox
from dtms.execute.journal import Journal
from dtms.execute.leases import Leases
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.rails import Rails
from dtms.execute.trading.service import TradingRefused
from dtms.execute.trading.trading import MainTrading
from dtms.ports.sources import OnlyReleases
from dtms.ports.store import Controls, KeptKind, Store, Unit
from dtms.replay import MAGIC_PREFIX
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal

T = TypeVar("T")
MARKET = Window(recording=BTC, at="2017-11-10T09:40:04.657Z", side=LONG, stop=6465.77, hours=4.0, rules=())
"""A market to trade in; its own trader opens only after half an hour."""
FX = Window(recording=EUR, at="2017-09-08T12:05Z", side=LONG, stop=1.19025, hours=3.8, rules=())
"""A Friday, and a market that closes in the evening."""
BTCUSD, EURUSD = MARKET.symbol, FX.symbol


@dataclass(slots=True, eq=False)
class House:
    """One process that trades, and what a test does around it."""

    terminal: Unsteady
    gateway: Gateway
    broker: Mt5Broker
    store: SqlStore
    clock: LoopClock
    lease: EngineLease
    leases: Leases
    outbox: Outbox
    taker: Noting
    trading: MainTrading
    keeper: asyncio.Task[None]
    symbol: str

    def tick(self) -> Any:
        return self.terminal.symbol_info_tick(self.symbol)

    def positions(self) -> dict[int, Any]:
        """Return the terminal's true positions by ticket, whatever it shows to its callers."""
        return {p.ticket: p for p in self.terminal.simulation.ledger.positions.values()}

    def do(self, deed: str, **message: Any) -> Any:
        return self.terminal.simulation.control({"do": deed, **message})

    def fault(self, kind: str, **known: Any) -> None:
        """Let the terminal fail its callers from now on."""
        self.do("add", fault={"kind": kind, **known})

    def open(self, side: str = "BUY", lots: float = 0.4, **levels: float) -> int:
        """Open a position in the terminal, as its owner or another program does; returns its ticket."""
        tick = self.tick()
        buys = side == "BUY"
        answer = self.terminal.simulation.send_as(
            {
                "action": 1,
                "symbol": self.symbol,
                "volume": lots,
                "type": 0 if buys else 1,
                "price": tick.ask if buys else tick.bid,
                "deviation": 1_000,
                "type_filling": 1,
                "magic": int(levels.get("magic", 0)),
                "sl": levels.get("stop", 0.0),
                "tp": levels.get("target", 0.0),
            }
        )
        assert answer.retcode == 10009, answer
        return int(answer.order)

    async def position(self, ticket: int) -> Position:
        return (await self.broker.positions([ticket]))[ticket]

    async def watch(self, ticket: int, state: State = State.HEALTHY, **known: Any) -> Trade:
        """Let DTMS watch a position, as its server would have written it."""
        position = await self.position(ticket)
        account = await self.broker.account()
        trade = Trade(
            ticket=ticket,
            identifier=position.identifier,
            login=account.login,
            server=account.server,
            symbol=position.symbol,
            side=position.side,
            entry=position.entry,
            initial_volume=position.volume,
            initial_stop=position.stop,
            risk=100.0,
            nominal_risk=position.stop is None,
            registered_ms=self.clock.market_ms(),
            opened_ms=position.opened_ms,
            volume=position.volume,
            stop=position.stop,
            target=position.target,
            machine=Machine(state=state, entered_ms=self.clock.market_ms()),
            **known,
        )
        await self.store.commit(Unit(trades=(trade,)))
        return trade

    async def own(self, ticket: int, owner: Owner | str, **known: Any) -> Ownership:
        """Write a position's entry in the registry, as a manager does."""
        position = await self.position(ticket)
        account = await self.broker.account()
        row = Ownership(
            ticket=ticket,
            identifier=position.identifier,
            login=account.login,
            server=account.server,
            symbol=position.symbol,
            side=position.side,
            owner=owner.value if isinstance(owner, Owner) else owner,
            since_ms=self.clock.market_ms(),
            **known,
        )
        await self.store.commit(Unit(ownership=(row,)))
        return row

    async def halt(self) -> None:
        await self.store.commit(Unit(controls=Controls(halted=True, halt_reason="a test", halted_ms=1)))

    async def facts(self, *kinds: FactKind) -> list[Fact]:
        wanted = frozenset(kind.value for kind in kinds) or None
        return list(await self.store.facts(kinds=wanted, limit=10_000))

    async def letters(self) -> dict[int, Any]:
        """Return the registrations that are durably on their way to DTMS."""
        return {int(kept.key): kept.body for kept in await self.store.kept(KeptKind.REGISTRATION)}

    async def play(self, minutes: float) -> None:
        await self.clock.sleep_market(minutes * 60)

    async def die(self) -> None:
        """End the process where it stands: no task of it runs on, and nothing is given back."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def built(
    folder: Path,
    *,
    beside: House | None = None,
    name: str = "main:1:0",
    releases: Sequence[Release] = (),
    wrap: Callable[[SqlStore], Any] | None = None,
    account: dict[str, Any] | None = None,
    program: str = MAIN,
    window: Window = MARKET,
    is_real: bool = False,
    is_slow: bool = False,
    **changes: Any,
) -> House:
    """Start a process; ``beside`` another it shares terminal, gateway and store file with that one.

    On a loop that ``is_real`` its store commits in threads of its own, as in the real program.
    """
    if beside is None:
        config = config_of(window, **changes)
        config = replace(config, account=replace(config.account, **(account or {})))
        clock = LoopClock(config.start_ms, machine_s=0.0)
        terminal = Unsteady(SimulatedTerminal(config, LoopClock(config.start_ms)))
        made: Any = terminal
        gateway = Gateway(made, instance=1, now=clock.machine_s, requests_per_day=1_000_000)
    else:
        clock, terminal, gateway = beside.clock, beside.terminal, beside.gateway
    link = LocalLink(gateway)
    broker = Mt5Broker(Slow(link) if is_slow else link, clock, magic_prefix=MAGIC_PREFIX)
    plain = SqlStore(f"sqlite:///{(folder / 'store.db').as_posix()}", clock, inline=not is_real)
    await plain.open()
    await broker.connect()
    store: Any = wrap(plain) if wrap is not None else plain
    lease = EngineLease(store, broker, clock, name, program)
    await lease.acquire()
    fenced: Store = Fenced(store, lease)
    leases = Leases(store=fenced, broker=broker, clock=clock, holder=name, draw=lambda: 0.5)
    settings = Settings()
    journal = Journal(clock)
    carrier = Carrier(broker=broker, store=fenced, clock=clock, leases=leases, program=lease, settings=settings.intents)
    outbox = Outbox(store=fenced, peer=Away(), clock=clock, journal=journal)
    taker = Noting()
    sources = OnlyReleases(tuple(releases))
    rails = Rails(broker=broker, store=fenced, clock=clock, settings=lambda: settings, sources=sources)
    desk = TradingDesk(
        broker=broker,
        store=fenced,
        clock=clock,
        leases=leases,
        carrier=carrier,
        journal=journal,
        rails=rails,
        letters=outbox,
        taker=taker,
    )
    house = House(
        terminal=terminal,
        gateway=gateway,
        broker=broker,
        store=plain,
        clock=clock,
        lease=lease,
        leases=leases,
        outbox=outbox,
        taker=taker,
        trading=MainTrading(desk),
        keeper=asyncio.create_task(_keep(lease, clock)),
        symbol=window.symbol,
    )
    if beside is None and not is_real:
        await house.play(2)
    return house


async def _keep(lease: EngineLease, clock: LoopClock) -> None:
    """Renew the program's lease for as long as the process lives."""
    while await lease.renew():
        await clock.sleep_machine(5.0)


def in_house(folder: Path, scene: Callable[[House], Awaitable[T]], **known: Any) -> T:
    """Play a scene in one process."""

    async def main() -> T:
        house = await built(folder, **known)
        try:
            return await scene(house)
        finally:
            house.keeper.cancel()
            await house.store.close()

    return run_virtual(main())


async def refusal(asked: Awaitable[Any]) -> TradingRefused:
    """Return the refusal that a request comes to."""
    with pytest.raises(TradingRefused) as caught:
        await asked
    return caught.value
