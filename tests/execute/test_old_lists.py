"""A list that is older than the stop that it shows: nothing is sent on it that would loosen the stop that stands."""

from dataclasses import replace
from typing import Any

from tests.execute.arena import WINDOW, eager, open_position
from tests.execute.unsteady import Unsteady, letter_of, set_up

from dtms.adapters.virtual_loop import run_virtual
from dtms.execute.seen_stops import SEEN_MS
from dtms.execute.service import Registration
from dtms.replay import Stage
from dtms.settings import Settings


def calm() -> Settings:
    settings = eager("stop")
    never: dict[str, Any] = {
        "warn_l1": -90.0,
        "warn_l1_exit": -80.0,
        "warn_l2": -100.0,
        "warn_l2_exit": -95.0,
        "hedge_at": -120.0,
    }
    return replace(settings, protection=replace(settings.protection, **never))


def move_stop(terminal: Unsteady, ticket: int, spreads: float) -> float:
    """Move a sold position's stop by hand to so many spreads above the price."""
    tick = terminal.symbol_info_tick(WINDOW.symbol)
    stop = float(round(tick.ask + spreads * (tick.ask - tick.bid), 2))
    answer = terminal._pass({"action": 6, "position": ticket, "symbol": WINDOW.symbol, "sl": stop, "tp": 0.0})
    assert answer.retcode == 10009
    return stop


async def prepared() -> tuple[Stage, Unsteady, int]:
    """A sold position whose stop was just moved near by hand; what its lists showed is kept from the start."""
    on, terminal = set_up(WINDOW, calm())
    fault: Any = {"kind": "lag", "ms_min": 0, "ms_max": 0, "times": 0}
    terminal.simulation.control({"do": "add", "fault": fault})
    await on.engine.start()
    await on.play(3)
    ticket = open_position(terminal, WINDOW.symbol)
    await on.engine.register(Registration(ticket=ticket))
    await on.play(12)
    return on, terminal, ticket


async def warned(on: Stage, ticket: int) -> None:
    """Let the trade's next check warn it."""
    settings = calm()
    protection = replace(settings.protection, warn_l1=90.0, warn_l1_exit=100.0)
    await on.engine.apply_settings(replace(settings, protection=protection), {}, None)
    on.engine.book.watches[ticket].last_deep_ms = None
    on.engine.monitor.scan_soon()
    await on.play(1)


def test_an_old_list_loosens_no_stop() -> None:
    """The list shows the stop as it was minutes ago, and a tightening is wanted that lies between: none is sent."""

    async def main() -> None:
        on, terminal, ticket = await prepared()
        near = move_stop(terminal, ticket, 5)
        await on.play(1)
        trade = await on.store.trade(ticket)
        assert trade is not None
        assert trade.stop == near
        old: Any = {"kind": "stale_list", "calls": "books", "age_s": 300.0, "times": 0}
        terminal.simulation.control({"do": "add", "fault": old})
        await on.play(1)
        await warned(on, ticket)
        trade = await on.store.trade(ticket)
        assert trade is not None
        assert trade.machine.state.value == "WARNING_L1"
        assert [r for r in terminal.sent if letter_of(r) == "S"] == []
        terminal.simulation.control({"do": "clear"})
        await on.play(2)
        trade = await on.store.trade(ticket)
        assert trade is not None
        assert trade.stop == near
        await on.engine.stop()

    run_virtual(main())


def test_a_stop_that_somebody_loosened_for_good_is_tightened_again_after_a_while() -> None:
    async def main() -> None:
        on, terminal, ticket = await prepared()
        move_stop(terminal, ticket, 5)
        await on.play(1)
        far = move_stop(terminal, ticket, 50)
        await on.play(1 + SEEN_MS / 60_000)
        await warned(on, ticket)
        trade = await on.store.trade(ticket)
        assert trade is not None
        assert trade.stop is not None
        assert trade.stop < far
        assert len([r for r in terminal.sent if letter_of(r) == "S"]) == 1
        await on.engine.stop()

    run_virtual(main())
