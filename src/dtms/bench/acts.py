"""A whole act against the real gateway process: lease, fence, second look, intent, send, read back, outcome.

The main program's own parts, started on a database file, with positions under Intelligent Exit; each act brings one
stop a little nearer, on the way that every proposal of a manager takes.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from dtms.adapters.clocks import TerminalClock
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.store_sql import SqlStore, this_holder
from dtms.bench.figures import Figure, quantile
from dtms.bench.measure import MS, CannotMeasure
from dtms.bench.programs import SECRET, programs
from dtms.decide.proposals import Proposal, Sighting
from dtms.domain.actions import ActionKind, Ending, MoveStop
from dtms.domain.prices import away_from_market
from dtms.domain.trade import Mode
from dtms.execute.lifecycle import EngineOptions
from dtms.execute.managing.floor import Charge
from dtms.execute.managing.hand import Hand
from dtms.execute.managing.managers import Managers
from dtms.settings import Settings
from dtms.terminal.simulated.ledger import FIRST_TICKET

RUNS = 5
ACTS = 60
POSITIONS = 20
SYMBOLS = 2
STRANGER_MAGIC = 77
NEARER = 1e-4
"""Share of the price by which an act brings the stop nearer."""

Say = Callable[[str], None]


def measure_acts(say: Say, runs: int = RUNS, acts: int = ACTS) -> Iterator[Figure]:
    """Measure acts one after another."""
    say(f"acts of a manager on {POSITIONS} positions through the gateway")
    with programs() as running:
        running.start_gateway(symbols=SYMBOLS, positions=POSITIONS, magic=STRANGER_MAGIC)
        times = asyncio.run(_measured(running.gateway_port, running.folder / "acts.db", runs, acts))
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        figures = tuple(quantile(run, share) for run in times)
        yield Figure(name=f"an act from lease to outcome: {word}", unit="ms", runs=figures, note=f"{acts} a run")


async def _measured(port: int, path: Path, runs: int, acts: int) -> list[list[float]]:
    link = RemoteLink("127.0.0.1", port, SECRET)
    clock = TerminalClock(link)
    managers = Managers(
        broker=Mt5Broker(link, clock, magic_prefix=1),
        store=SqlStore(f"sqlite:///{path.as_posix()}", clock),
        clock=clock,
        settings=Settings(),
        options=EngineOptions(holder=this_holder(), mode=Mode.AUTO, before_connect=clock.synchronise),
        draw=lambda: 0.5,
    )
    try:
        await managers.start()
        tickets = [FIRST_TICKET + number for number in range(POSITIONS)]
        for ticket in tickets:
            await managers.enable_exits(ticket)
        await _act(managers, tickets[0])
        return [[await _act(managers, tickets[number % len(tickets)]) for number in range(acts)] for _ in range(runs)]
    finally:
        await managers.stop()
        link.close()


async def _act(managers: Managers, ticket: int) -> float:
    """Carry one change of a stop out; milliseconds.

    Raises:
        CannotMeasure: when it was not carried out.
    """
    (charge,) = managers.floor.of_ticket(ticket)
    hand = Hand(managers.bench, managers.floor)
    async with charge.lock:
        proposal, sighting = await _proposed(managers, charge)
        began_s = perf_counter()
        outcome = await hand.carry(charge, proposal, sighting)
        seconds = perf_counter() - began_s
    if outcome is None or outcome.ending is not Ending.DONE:
        raise CannotMeasure(f"an act was not carried out: {outcome}")
    return seconds * MS


async def _proposed(managers: Managers, charge: Charge) -> tuple[Proposal, Sighting]:
    """Want the stop a little nearer to the price, as the position is listed now."""
    bench, managed = managers.bench, charge.managed
    instrument = managers.floor.book.symbols[managed.symbol].instrument
    seen = await bench.broker.snapshot([managed.symbol])
    position, tick = seen.positions[managed.ticket], seen.ticks[managed.symbol]
    if position.stop is None:
        raise CannotMeasure(f"position {managed.ticket} has no stop")
    stop = away_from_market(position.stop + position.side.sign * NEARER * position.entry, position.side, instrument)
    action = MoveStop(
        kind=ActionKind.TRAIL,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=stop,
        target=position.target,
        expected_stop=position.stop,
    )
    sighting = Sighting(
        managed=managed, position=position, tick=tick, instrument=instrument, now_ms=seen.taken_ms, levels={}
    )
    return Proposal(action=action, rule="trail", reason="a benchmark", after=managed), sighting
