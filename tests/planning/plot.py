"""The main program's loop with plans, on a recorded market and a store in a file, in virtual time; lives one by one."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from tests.execute.unsteady import Unsteady
from tests.managing.site import settings_for_tests
from tests.replay.windows import BTC, LONG, Window, config_of
from tests.trading.doubles import Away

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.plans_drafts import Draft
from dtms.domain.facts import Fact, FactKind
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Mode
from dtms.execute.handing.outbox import Outbox
from dtms.execute.journal import Journal
from dtms.execute.lifecycle import EngineOptions
from dtms.execute.managing.managers import Managers
from dtms.execute.managing.steps import Step
from dtms.execute.planning.desk import PlanDesk
from dtms.execute.planning.runner import Planner
from dtms.execute.planning.service import Plans
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.rails import Rails
from dtms.execute.trading.trading import MainTrading
from dtms.ports.store import Controls, Unit
from dtms.replay import MAGIC_PREFIX
from dtms.settings import Settings
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal

T = TypeVar("T")
MARKET = Window(recording=BTC, at="2017-11-10T09:40:04.657Z", side=LONG, stop=6465.77, hours=4.0, rules=())
BTCUSD = MARKET.symbol


@dataclass(slots=True, eq=False)
class Plot:
    """One life of the main program, on what outlives it: the terminal, and the store's file."""

    terminal: Unsteady
    clock: LoopClock
    folder: Path
    settings: Settings
    gateway: Gateway
    broker: Mt5Broker
    store: SqlStore
    managers: Managers
    trading: MainTrading
    planner: Planner
    plans: Plans
    life: int = 1
    ids: Any = field(default_factory=lambda: count(1))

    # --- lives ---------------------------------------------------------------------------------------------------

    async def die(self) -> None:
        """End the process where it stands: no task of it runs on, and nothing is given back."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def next_life(self, **known: Any) -> "Plot":
        """Start the next process on the same terminal and file."""
        plot = make(self.folder, self.terminal, self.clock, self.settings, life=self.life + 1, **known)
        plot.ids = self.ids
        await plot.managers.start()
        return plot

    # --- the market ----------------------------------------------------------------------------------------------

    def tick(self) -> Any:
        return self.terminal.symbol_info_tick(BTCUSD)

    def positions(self) -> dict[int, Any]:
        """Return the terminal's true positions by ticket."""
        return {p.ticket: p for p in self.terminal.simulation.ledger.positions.values()}

    def openings(self) -> list[Any]:
        """Return every deal that ever opened something, by the terminal's ledger."""
        return [d for d in self.terminal.simulation.ledger.deals if d.entry == 0 and d.position_id]

    def do(self, deed: str, **message: Any) -> Any:
        return self.terminal.simulation.control({"do": deed, **message})

    async def play(self, minutes: float) -> None:
        await self.clock.sleep_market(minutes * 60)

    # --- plans ---------------------------------------------------------------------------------------------------

    def draft(self, side: str = "BUY", **changes: Any) -> Draft:
        """Draft a plan that is due at once: at the market, its levels 200 away."""
        tick, sign = self.tick(), 1 if side == "BUY" else -1
        price = tick.ask if sign > 0 else tick.bid
        base = Draft(
            symbol=BTCUSD,
            direction=side,
            entry=price,
            stop_loss=price - sign * 200.0,
            take_profit=price + sign * 400.0,
            volume=Decimal("0.10"),
            tolerance=50.0,
        )
        return replace(base, **changes)

    async def make(self, side: str = "BUY", **changes: Any) -> Plan:
        return await self.plans.create(self.draft(side, **changes))

    async def plan(self, plan: Plan) -> Plan:
        row = await self.store.plan(plan.id)
        assert row is not None
        return row

    async def until(self, plan: Plan, *statuses: PlanStatus, minutes: float = 10.0) -> Plan:
        """Let market time pass until a plan is there; answers with it as it is then, there or not."""
        for _ in range(int(minutes * 60)):
            row = await self.plan(plan)
            if row.status in statuses:
                break
            await self.clock.sleep_market(1.0)
        return await self.plan(plan)

    async def facts(self, kind: FactKind = FactKind.PLAN) -> list[Fact]:
        return list(await self.store.facts(kinds=frozenset({kind.value}), limit=10_000))

    async def set(self, *, halted: bool = False, mode: Mode | None = None) -> None:
        await self.store.commit(Unit(controls=Controls(halted=halted, mode=mode)))


def make(
    folder: Path,
    terminal: Unsteady,
    clock: LoopClock,
    settings: Settings,
    *,
    life: int = 1,
    mode: Mode = Mode.AUTO,
    wrap: Callable[[SqlStore], Any] | None = None,
) -> Plot:
    """Put one life of the main program together, as its composition root does."""
    gateway = Gateway(terminal, instance=life, now=clock.machine_s, requests_per_day=1_000_000)
    broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
    plain = SqlStore(f"sqlite:///{(folder / 'store.db').as_posix()}", clock, inline=True)
    store: Any = plain if wrap is None else wrap(plain)
    journal = Journal(clock)
    outbox = Outbox(store=store, peer=Away(), clock=clock, journal=journal)
    steps: list[Step] = []
    managers = Managers(
        broker=broker,
        store=store,
        clock=clock,
        settings=settings,
        options=EngineOptions(holder=f"main:{life}:0", mode=mode),
        draw=lambda: 0.5,
        steps=steps,
        letters=outbox,
    )
    sources = managers.bench.sources
    desk = TradingDesk(
        broker=broker,
        store=managers.store,
        clock=clock,
        leases=managers.leases,
        carrier=managers.carrier,
        journal=journal,
        rails=Rails(broker=broker, store=store, clock=clock, settings=lambda: managers.settings, sources=sources),
        letters=outbox,
        taker=managers,
    )
    trading = MainTrading(desk)
    planning = PlanDesk(
        broker=broker,
        store=managers.store,
        clock=clock,
        journal=journal,
        trading=trading,
        sources=sources,
        settings=lambda: managers.settings,
        mode=mode,
    )
    planner = Planner(planning)
    steps.append(planner)
    names = count(1)
    return Plot(
        terminal=terminal,
        clock=clock,
        folder=folder,
        settings=settings,
        gateway=gateway,
        broker=broker,
        store=plain,
        managers=managers,
        trading=trading,
        planner=planner,
        plans=Plans(planning, planner, make_id=lambda: f"p{life}-{next(names)}"),
        life=life,
    )


def played(folder: Path, scene: Callable[[Plot], Awaitable[T]], *, settings: Settings | None = None, **known: Any) -> T:
    """Play a scene in one life; the scene may begin others."""
    account = known.pop("account", {})
    changes = known.pop("changes", {})

    async def main() -> T:
        config = config_of(MARKET, **changes)
        config = replace(config, account=replace(config.account, **account))
        clock = LoopClock(config.start_ms, machine_s=0.0)
        terminal = Unsteady(SimulatedTerminal(config, LoopClock(config.start_ms)))
        plot = make(folder, terminal, clock, settings or settings_for_tests(), **known)
        await plot.managers.start()
        await plot.play(2)
        try:
            return await scene(plot)
        finally:
            await plot.die()

    return run_virtual(main())
