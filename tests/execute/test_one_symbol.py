"""What the terminal does not give for one symbol holds up that symbol alone."""

from typing import Any

import pytest
from tests.execute.unsteady import Unsteady
from tests.replay.windows import BALANCE, BTC, EUR

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import run_virtual
from dtms.execute.service import Registration
from dtms.replay import Stage, replay_settings, stage
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.config import load_config

SOUND, LACKING = "BTCUSD.m", "EURUSD.m"
STOPS = {SOUND: 300.0, LACKING: 0.0040}


def on_two_symbols() -> tuple[Stage, Unsteady]:
    symbols = [{"name": f"{r[:6]}.m", "like": r[:6], "recording": f"shipped:{r}"} for r in (BTC, EUR)]
    config = load_config({"start": "2017-11-29T08:00Z", "account": {"balance": BALANCE}, "symbols": symbols})
    terminal = Unsteady(SimulatedTerminal(config, LoopClock(config.start_ms)))
    made: Any = terminal
    return stage(config, settings=replay_settings(), terminal=made), terminal


def bought(terminal: Unsteady, symbol: str) -> int:
    tick = terminal.symbol_info_tick(symbol)
    request = {"action": 1, "symbol": symbol, "volume": 0.4, "type": 0, "price": tick.ask, "deviation": 1_000}
    answer = terminal.simulation.send_as({**request, "type_filling": 1, "sl": round(tick.bid - STOPS[symbol], 5)})
    assert answer.retcode == 10009
    return int(answer.order)


def refuse(terminal: Unsteady, call: str) -> None:
    """Answer a call for one symbol with None, though the terminal is there."""
    inner = getattr(terminal._terminal, call)

    def answered(symbol: str, *arguments: Any) -> Any:
        terminal._error = None
        if symbol != LACKING:
            return inner(symbol, *arguments)
        terminal._error = (-1, "made to fail")
        return None

    setattr(terminal, call, answered)


@pytest.mark.parametrize("call", ["copy_rates_from_pos", "copy_ticks_range", "symbol_info_tick", "symbol_info"])
def test_a_symbol_without_an_answer_holds_up_no_other(call: str) -> None:
    """For forty minutes one symbol's call fails: both trades are looked at, the sound one scored, the engine ready."""

    async def main() -> None:
        on, terminal = on_two_symbols()
        await on.engine.start()
        await on.play(2)
        tickets = {symbol: bought(terminal, symbol) for symbol in STOPS}
        for ticket in tickets.values():
            await on.engine.register(Registration(ticket=ticket))
        await on.play(5)
        refuse(terminal, call)
        await on.play(40)
        assert on.engine.health().ready
        now = on.clock.market_ms()
        lives = {live.trade.symbol: live for live in on.engine.live_trades()}
        assert all(now - (live.last_fast_ms or 0) <= 60_000 for live in lives.values())
        sound = lives[SOUND]
        assert sound.held is None
        assert sound.view is not None
        assert now - sound.view.m5_close_ms <= 300_000 + 30_000
        stale = on.engine.monitoring().stale_symbols
        assert set(stale) == ({LACKING} if call in ("copy_rates_from_pos", "symbol_info_tick") else set())
        await on.engine.stop()

    run_virtual(main())
