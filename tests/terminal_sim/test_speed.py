"""The simulation is fast enough to play years; the limits leave room for a slow, busy machine."""

import time
from collections.abc import Callable

from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal
from dtms.terminal.simulated.clock import SteppedClock
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.constants import MT5

MINUTE_MS = 60_000


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def terminal_with(positions: int, distance: float) -> tuple[SimulatedTerminal, SteppedClock]:
    """Bitcoin, which trades through, with so many positions whose stops are so far away."""
    symbols = [{"name": "BTCUSD", "recording": "shipped:BTCUSD_H1_2017", "commission_per_lot": 0.0}]
    account = {"balance": 1_000_000.0}
    config = load_config({"start": "2017-08-15T00:00:30Z", "symbols": symbols, "account": account})
    terminal, clock = stepped_terminal(config)
    assert terminal.initialize()
    tick = terminal.symbol_info_tick("BTCUSD")
    assert tick is not None
    for i in range(positions):
        sl = tick.bid - distance if i % 2 == 0 else tick.ask + distance
        request = {
            "action": 1,
            "symbol": "BTCUSD",
            "volume": 0.01,
            "type": i % 2,
            "sl": round(sl, 2),
            "type_filling": 1,
        }
        result = terminal.order_send(request)
        assert result is not None
        assert result.retcode == MT5.TRADE_RETCODE_DONE
    return terminal, clock


def test_twenty_thousand_minutes_a_second_with_twenty_positions() -> None:
    terminal, clock = terminal_with(20, 3_000.0)
    taken_s = seconds_of(lambda: terminal.simulation.play_to(clock.now_ms() + 20_000 * MINUTE_MS))
    assert taken_s < 1.0


def test_minute_by_minute_it_is_as_fast() -> None:
    terminal, clock = terminal_with(20, 3_000.0)

    def play() -> None:
        for _ in range(5_000):
            terminal.simulation.play_to(clock.now_ms() + MINUTE_MS)

    assert seconds_of(play) < 0.25


def test_seven_hundred_bars_take_about_a_millisecond() -> None:
    terminal, _ = terminal_with(0, 0.0)
    for timeframe in (MT5.TIMEFRAME_M5, MT5.TIMEFRAME_M15, MT5.TIMEFRAME_H1):
        terminal.copy_rates_from_pos("BTCUSD", timeframe, 0, 700)
        taken_s = min(
            seconds_of(lambda t=timeframe: terminal.copy_rates_from_pos("BTCUSD", t, 0, 700))  # type: ignore[misc]
            for _ in range(10)
        )
        assert taken_s < 0.001


def test_a_thousand_positions_are_listed_within_ten_milliseconds() -> None:
    terminal, clock = terminal_with(1_000, 3_000.0)
    clock.advance(60)
    terminal.positions_total()
    assert min(seconds_of(terminal.positions_get) for _ in range(5)) < 0.010
