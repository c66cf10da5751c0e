"""The simulated terminal and what is played on it: steps, positions, looks through the gateway, whole replays."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from dtms.adapters.clocks import SystemClock
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.virtual_loop import run_virtual
from dtms.bench import market
from dtms.bench.figures import Figure, Limit, at_least, quantile
from dtms.bench.measure import MS, CannotMeasure, repeated, timed
from dtms.bench.preload import write_positions
from dtms.bench.programs import SECRET, programs
from dtms.domain.errors import BrokerUnavailable
from dtms.replay import stage
from dtms.terminal.simulated.actors import Act, Kind, Level, Unit
from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal

RUNS = 5
MINUTE_MS = 60_000
STEPS = 4_000
STEPPED = {20: 20_000.0, 1_000: None}
"""Open positions, and minutes per second that must be reached with them."""
WIDE_STOP_SHARE = 2
"""Stops half of the price away: judged in every step, never reached."""
LOOK_POSITIONS = 30
LOOKS = 100
REPLAY_TRADES = 5
REPLAY_HOURS = 6
Say = Callable[[str], None]


def measure_steps(say: Say, runs: int = RUNS, steps: int = STEPS) -> Iterator[Figure]:
    """Measure how fast the simulated market plays, minute by minute, with open positions."""
    for positions, least in STEPPED.items():
        say(f"simulated terminal with {positions:,} positions")
        yield from _stepped(positions, at_least(least) if least else None, runs, steps)


def _stepped(positions: int, limit: Limit | None, runs: int, steps: int) -> list[Figure]:
    with TemporaryDirectory(prefix="dtms-bench-", ignore_cleanup_errors=True) as folder:
        terminal = _terminal(Path(folder), positions)
        rates = [steps / timed(lambda: _step(terminal, steps)) for _ in range(runs)]
        looks = [timed(terminal.positions_get) * MS for _ in range(runs)]
        if len(terminal.positions_get() or ()) != positions:
            raise CannotMeasure("positions were closed while minutes were stepped")
        terminal.simulation.close()
    named = f"minutes stepped, {positions:,} open positions on 2 symbols"
    return [
        Figure(name=named, unit="/s", runs=tuple(rates), limit=limit),
        Figure(name=f"positions_get of {positions:,}", unit="ms", runs=tuple(looks)),
    ]


def _terminal(folder: Path, positions: int) -> SimulatedTerminal:
    journal = folder / "terminal.jsonl"
    write_positions(journal, symbols=2, positions=positions, stop_share=WIDE_STOP_SHARE)
    terminal, _ = stepped_terminal(market.config(2, journal=journal))
    if not terminal.initialize():
        raise CannotMeasure(f"the simulated terminal does not start: {terminal.last_error()}")
    return terminal


def _step(terminal: SimulatedTerminal, steps: int) -> None:
    """Play minute after minute: fills, swaps and levels of every position are judged in each."""
    simulation = terminal.simulation
    at_ms = simulation.utc_ms()
    for _ in range(steps):
        at_ms += MINUTE_MS
        simulation.play_to(at_ms)


def measure_looks(say: Say, runs: int = RUNS, looks: int = LOOKS) -> Iterator[Figure]:
    """Measure a look at account, positions, orders and quotes, through the gateway's process and back."""
    say(f"snapshots of {LOOK_POSITIONS} positions through the gateway")
    with programs() as running:
        running.start_gateway(symbols=2, positions=LOOK_POSITIONS, magic=0)
        times = asyncio.run(_looks(running.gateway_port, runs, looks))
    for share, word in ((0.5, "p50"), (0.99, "p99")):
        figures = tuple(quantile(run, share) for run in times)
        yield Figure(name=f"snapshot of {LOOK_POSITIONS} positions over the gateway: {word}", unit="ms", runs=figures)


async def _looks(port: int, runs: int, looks: int) -> list[list[float]]:
    link, clock = RemoteLink("127.0.0.1", port, SECRET), SystemClock()
    broker = Mt5Broker(link, clock, magic_prefix=1)
    try:
        for _ in range(600):
            try:
                await broker.connect()
                break
            except BrokerUnavailable:
                await asyncio.sleep(0.1)
        symbols = market.names(2)
        if len((await broker.snapshot(symbols)).positions) != LOOK_POSITIONS:
            raise CannotMeasure("the gateway does not show the positions")
        return [[s * MS for s in await repeated(lambda: broker.snapshot(symbols), looks)] for _ in range(runs)]
    finally:
        link.close()


def measure_replay(say: Say, runs: int = RUNS, hours: float = REPLAY_HOURS) -> Iterator[Figure]:
    """Measure how fast the whole engine replays a recorded market."""
    say(f"replay of {hours:g} hours with {REPLAY_TRADES} trades")
    rates = [hours * 60 / timed(lambda: run_virtual(_replay(hours))) for _ in range(runs)]
    yield Figure(name=f"replay, {REPLAY_TRADES} trades on 2 symbols", unit="market min/s", runs=tuple(rates))


async def _replay(hours: float) -> None:
    symbols = market.names(2)
    start_ms = market.config(2).start_ms
    acts = tuple(
        Act(
            at_ms=start_ms + number * 1000,
            kind=Kind.OPEN,
            name=f"bench-{number}",
            symbol=symbols[number % 2],
            side="BUY" if number % 3 else "SELL",
            lots=0.1,
            sl=Level(Unit.ATR, 6.0),
        )
        for number in range(REPLAY_TRADES)
    )
    played = stage(market.config(2, actors=acts, start_ms=start_ms), start_ms=start_ms + MINUTE_MS)
    await played.engine.start()
    await played.play(hours * 60)
    if played.engine.status().deep_checks == 0:
        raise CannotMeasure("the replay checked nothing")
    await played.engine.stop()
