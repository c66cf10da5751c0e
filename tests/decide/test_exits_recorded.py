"""Intelligent Exit over recorded markets: lives of positions bar by bar, both ways, and in the mirrored market."""

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from tests.decide.builders import instrument, position
from tests.market.recorded import BTCUSD_2025, EURUSD_2019, POINTS, XAUUSD_2025, closed_before, m15_of, recorded

from dtms.decide.adoption import adopt
from dtms.decide.exits import propose
from dtms.decide.exits_rules import rules_of
from dtms.decide.proposals import Sighting
from dtms.domain.actions import ClosePosition, MoveStop
from dtms.domain.managed import ExitRules
from dtms.domain.market import Bars, Instrument, Side, Tick, Timeframe
from dtms.domain.prices import on_grid
from dtms.market.gates import read_gates
from dtms.market.levels import read_levels
from dtms.market.regime import session_at
from dtms.settings import Settings

SETTINGS = Settings()
BARS = 150
SPREADS = {"EURUSD": 0.00008, "XAUUSD": 0.20, "BTCUSD": 12.0}
ROWS = tuple(range(5_000, 45_000, 4_003))
names = pytest.mark.parametrize("name", [EURUSD_2019, XAUUSD_2025, BTCUSD_2025])


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was done at a bar's close, as multiples of R from the entry, in the position's favour."""

    row: int
    rule: str
    at_r: float
    stop_r: float
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Market:
    """A recorded market, or its mirror image around twice the price at a row: on the same grid, and positive."""

    name: str
    mirror: float | None = None

    @property
    def symbol(self) -> str:
        return self.name.split("_")[0]

    @property
    def grid(self) -> Instrument:
        point = POINTS[self.symbol]
        return instrument(symbol=self.symbol, point=point, tick_size=point, stops_level_points=5)

    def window(self, bars: Bars) -> Bars:
        if self.mirror is None:
            return bars

        def turned(prices: np.ndarray) -> np.ndarray:
            made: np.ndarray = self.mirror - prices
            return made

        return replace(
            bars,
            open=turned(bars.open),
            high=turned(bars.low),
            low=turned(bars.high),
            close=turned(bars.close),
        )

    def tick(self, bars: Bars) -> Tick:
        bid, at_ms = float(bars.close[-1]), bars.last_close_ms
        ask = bid + SPREADS[self.symbol]
        if self.mirror is not None:
            bid, ask = self.mirror - ask, self.mirror - bid
        return Tick(at_ms, on_grid(bid, self.grid), on_grid(ask, self.grid))


def sights(market: Market, first_row: int, side: Side, rules: ExitRules) -> Generator[Sighting, Sighting, None]:
    """Yield a position at the close of bar after bar; what is sent back is how it stands afterwards."""
    seen: Sighting | None = None
    for row in range(first_row, first_row + BARS):
        m5 = recorded(market.name)[row - 700 : row + 1]
        m15 = closed_before(m15_of(market.name), m5.last_close_ms)[-700:]
        short, long, tick = market.window(m5), market.window(m15), market.tick(m5)
        levels = read_levels(long, SETTINGS)
        assert levels is not None
        if seen is None:
            seen = opened(market, side, rules, tick, levels.atr)
        now = replace(
            seen,
            tick=tick,
            position=replace(seen.position, price_now=tick.closing(side)),
            now_ms=tick.time_ms,
            levels={Timeframe.M15: levels},
            gates=read_gates(short, long, SETTINGS),
        )
        seen = yield now


def opened(market: Market, side: Side, rules: ExitRules, tick: Tick, atr: float) -> Sighting:
    """Open 0.4 lots with a stop at 2 ATR and a target at 2 R."""
    grid, entry = market.grid, tick.opening(side)
    risk = on_grid(2.0 * atr, grid)
    held = position(
        1,
        side,
        "0.4",
        symbol=market.symbol,
        entry=entry,
        stop=on_grid(entry - side.sign * risk, grid),
        target=on_grid(entry + side.sign * 2.0 * risk, grid),
    )
    made = adopt(held, rules, login=1, server="S", now_ms=tick.time_ms, atr_m15=atr, settings=SETTINGS)
    return Sighting(
        managed=made,
        position=held,
        tick=tick,
        instrument=grid,
        now_ms=tick.time_ms,
        levels={},
        median_spread=SPREADS[market.symbol],
    )


def life(market: Market, row: int, side: Side) -> tuple[Act, ...]:
    """Live a position from a bar on, as the manager would have it, and list what it did."""
    rules = rules_of(market.symbol, session_at(int(recorded(market.name).time_ms[row])), False, SETTINGS.exits)
    acts: list[Act] = []
    bars = sights(market, row, side, rules)
    seen = next(bars)
    for at in range(row, row + BARS - 1):
        if is_over(seen):
            break
        for _ in range(3):  # one action at a look, looked at again at once
            seen, act = done(seen, at)
            if act is None:
                break
            acts.append(act)
        seen = bars.send(seen)
    return tuple(acts)


def is_over(seen: Sighting) -> bool:
    price, held = seen.tick.closing(seen.position.side), seen.position
    assert held.stop is not None
    assert held.target is not None
    return (price - held.stop) * held.side.sign <= 0.0 or (held.target - price) * held.side.sign <= 0.0


def done(seen: Sighting, row: int) -> tuple[Sighting, Act | None]:
    proposed, held = propose(seen, SETTINGS), seen.position
    seen = replace(seen, managed=proposed.memory or seen.managed)
    if not proposed.proposals:
        return seen, None
    (found,) = proposed.proposals
    if isinstance(found.action, MoveStop):
        held = replace(held, stop=found.action.stop)
    else:
        assert isinstance(found.action, ClosePosition)
        held = replace(held, volume=held.volume - found.action.volume)
    assert held.stop is not None
    act = Act(
        row=row,
        rule=found.rule,
        at_r=seen.managed.r_multiple(seen.tick.closing(held.side)),
        stop_r=seen.managed.r_multiple(held.stop),
        volume=held.volume,
    )
    return replace(seen, position=held, managed=replace(found.after, stop=held.stop, volume=held.volume)), act


@cache
def lives(name: str) -> dict[tuple[int, Side], tuple[Act, ...]]:
    return {(row, side): life(Market(name), row, side) for row in ROWS for side in Side}


@names
def test_every_rule_is_seen_to_act_on_both_sides(name: str) -> None:
    for side in Side:
        rules = Counter(act.rule for (_, of), acts in lives(name).items() if of is side for act in acts)
        assert rules["breakeven"] >= 2, rules
        assert rules["partial"] >= 1, rules
        assert rules["trail"] >= 3, rules


@names
def test_no_stop_is_ever_loosened_or_beyond_the_price(name: str) -> None:
    for acts in lives(name).values():
        stops = [-1.0, *(act.stop_r for act in acts)]
        assert all(later >= earlier - 1e-6 for earlier, later in pairwise(stops))
        assert all(act.stop_r < act.at_r for act in acts)


@names
def test_breakeven_partial_and_trail_come_when_they_are_due(name: str) -> None:
    """The target stands at 2 R: 30 % of the way is 0.6 R, 60 % is 1.2 R."""
    for acts in lives(name).values():
        assert all(act.at_r >= 0.6 - 1e-6 for act in acts if act.rule == "breakeven")
        assert all(act.at_r >= 1.2 - 1e-6 for act in acts if act.rule == "partial")
        assert sum(act.rule == "partial" for act in acts) <= 1
        assert sum(act.rule == "breakeven" for act in acts) <= 1
        reached = [n for n, act in enumerate(acts) if act.rule == "breakeven"]
        early = acts[: reached[0]] if reached else acts
        assert all(act.at_r >= 0.2 or act.stop_r > 0.0 for act in early if act.rule == "trail")


@names
def test_a_partial_closes_half_and_leaves_half(name: str) -> None:
    taken = [act for acts in lives(name).values() for act in acts if act.rule == "partial"]

    assert taken
    assert all(act.volume == Decimal("0.20") for act in taken)


@names
def test_a_mirrored_market_gives_mirrored_lives(name: str) -> None:
    compared = 0
    for row in ROWS[:5]:
        price = float(recorded(name).close[row])
        turned = Market(name, on_grid(2.0 * price, Market(name).grid))
        for side in Side:
            one, other = lives(name)[row, side], life(turned, row, side.opposite)
            assert [(a.row, a.rule, a.volume) for a in one] == [(a.row, a.rule, a.volume) for a in other]
            assert [a.stop_r for a in one] == pytest.approx([a.stop_r for a in other], abs=1e-3)
            compared += len(one)
    assert compared > 10
