"""Every trailing method on recorded markets, long and short, before a broker that refuses what a real one refuses."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.decide.universal_market import EURO, GOLD, Done, Ride, turned
from tests.market.recorded import EURUSD_2019, XAUUSD_2025, recorded

from dtms.domain.market import Bars, Side

XAUUSD_M1 = "XAUUSD_M1_20251203_20260318"
TRAILING = {
    "default_standard": XAUUSD_2025,
    "breakout_ib_volatility_trap": XAUUSD_2025,
    "trend_continuation_pullback": XAUUSD_2025,
    "liquidity_sweep_reversal": XAUUSD_M1,
    "order_block_rejection": XAUUSD_2025,
}
"""Each method's strategy, on a file of its timeframe or a shorter one."""
MIRROR = {XAUUSD_2025: 6_700.0, XAUUSD_M1: 8_400.0}
"""About which gold's prices of the rows in use are turned, all within one power of two."""


def bars_of(name: str) -> Bars:
    return recorded(name)[:4_000]


@cache
def ridden(strategy: str, name: str, side: Side) -> tuple[Done, ...]:
    grid = EURO if name == EURUSD_2019 else GOLD
    return tuple(Ride(bars=bars_of(name), grid=grid, side=side, strategy=strategy).run())


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("strategy", TRAILING)
def test_stops_trail_and_no_move_is_one_that_a_broker_refuses(strategy: str, side: Side) -> None:
    """The ride raises when a stop loosens, crosses the market, leaves the grid, comes too near, or drops the target."""
    rules = [done.rule for done in ridden(strategy, TRAILING[strategy], side)]
    assert rules.count("breakeven") >= 3
    assert rules.count("trail") >= 3


@pytest.mark.parametrize("side", list(Side))
def test_the_same_on_another_grid(side: Side) -> None:
    for strategy in set(TRAILING) - {"liquidity_sweep_reversal"}:
        assert "trail" in [done.rule for done in ridden(strategy, EURUSD_2019, side)]


@pytest.mark.parametrize("side", list(Side))
def test_the_range_scalp_breaks_even_and_leaves_it_there(side: Side) -> None:
    rules = [done.rule for done in ridden("mean_reversion_range_scalp", XAUUSD_2025, side)]
    assert set(rules) == {"breakeven"}
    assert len(rules) >= 3


@pytest.mark.parametrize("side", list(Side))
def test_the_volatility_trap_takes_one_part_of_a_trade(side: Side) -> None:
    done = ridden("breakout_ib_volatility_trap", XAUUSD_2025, side)
    rules = [d.rule for d in done]
    assert rules.count("partial") >= 2
    assert rules.count("partial") <= rules.count("breakeven")


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("strategy", TRAILING)
def test_a_mirrored_market_mirrors_every_move(strategy: str, side: Side) -> None:
    name = TRAILING[strategy]
    upside_down = turned(bars_of(name), MIRROR[name])
    mirrored = Ride(bars=upside_down, grid=GOLD, side=side.opposite, strategy=strategy).run()
    assert [(d.row, d.rule, d.volume) for d in mirrored] == [
        (d.row, d.rule, d.volume) for d in ridden(strategy, name, side)
    ]
    for one, other in zip(mirrored, ridden(strategy, name, side), strict=True):
        if one.stop is not None and other.stop is not None:
            assert MIRROR[name] - one.stop == pytest.approx(other.stop, abs=1e-6)


@pytest.mark.parametrize("strategy", TRAILING)
def test_what_comes_later_changes_nothing_of_what_was_done(strategy: str) -> None:
    name, until = TRAILING[strategy], 2_500
    poisoned = {}
    for column in ("open", "high", "low", "close"):
        poisoned[column] = getattr(bars_of(name), column).copy()
        poisoned[column][until:] = np.nan
    blind = Ride(bars=replace(bars_of(name), **poisoned), grid=GOLD, side=Side.LONG, strategy=strategy, last=until)
    assert [d for d in blind.run() if d.row < until] == [d for d in ridden(strategy, name, Side.LONG) if d.row < until]
    assert blind.done
