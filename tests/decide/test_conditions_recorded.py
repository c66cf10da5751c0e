"""Conditions on recorded markets: each kind holds somewhere and fails somewhere, and plans end in every way."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from tests.decide.builders import instrument
from tests.market.recorded import (
    BTCUSD_2025,
    EURUSD_2019,
    POINTS,
    XAUUSD_2025,
    aggregate,
    closed_before,
    mirrored,
    recorded,
)

from dtms.decide.conditions import LEAVES, MarketFacts, Truth, evaluate, parse
from dtms.decide.plans import Cancel, Due, Judgement, Waits, judge
from dtms.decide.plans_drafts import Draft, validate
from dtms.decide.plans_structure import broke, relied_on
from dtms.domain.market import Bars, Side, Tick, Timeframe
from dtms.domain.plans import Plan
from dtms.domain.symbols import canonical
from dtms.market.patterns import Patterns
from dtms.market.view import evaluate as market_view
from dtms.settings import Settings

SETTINGS = Settings()
FILES = (EURUSD_2019, XAUUSD_2025, BTCUSD_2025)
PLACES = 150
BREAK = {"timeframe": "M15"}
GIVEN: dict[str, dict[str, Any]] = {
    "bos_bull": BREAK,
    "bos_bear": BREAK,
    "choch_bull": BREAK,
    "choch_bear": BREAK,
    "fvg_bull": {"timeframe": "M15", "filled_pct_min": 50, "filled_pct_max": 90, "age_bars_max": 20},
    "fvg_bear": {"timeframe": "M15", "filled_pct_min": 50, "filled_pct_max": 90, "age_bars_max": 20},
    "vwap_deviation": {"sigma": 2, "direction": "above"},
    "rsi_above": {"value": 70},
    "rsi_below": {"value": 30},
    "atr_above": {"ratio": 1.3},
    "atr_below": {"ratio": 0.7},
    "score_above": {"value": 3},
    "min_confidence": {"value": 65},
}
"""What has to be given; everything else is left to its default."""
NOT_OF_BARS = frozenset(
    {"price_above", "price_below", "price_near", "time_after", "time_before", "session"}
    | {"spread_below", "vix_below", "news_clear"}
)
"""Conditions that no bar decides: their limits are shown in the tests of each."""


@cache
def longer(name: str, timeframe: Timeframe) -> Bars:
    return aggregate(recorded(name), timeframe)


def facts_at(name: str, known: int) -> MarketFacts:
    """See a recorded market just after the ``known``-th M5 bar closed."""
    m5 = recorded(name)[:known]
    at_ms, close = m5.last_close_ms, float(m5.close[-1])
    m15, h1 = (closed_before(longer(name, timeframe), at_ms) for timeframe in (Timeframe.M15, Timeframe.H1))
    symbol = canonical(name.split("_")[0])
    return MarketFacts(
        symbol=symbol,
        instrument=instrument(symbol=symbol, point=POINTS[symbol]),
        now_ms=at_ms,
        settings=SETTINGS,
        tick=Tick(at_ms, close, close + POINTS[symbol]),
        bars={b.timeframe: Patterns(b, SETTINGS) for b in (m5, m15, h1)},
        view=market_view(m5=m5, m15=m15, flow=None, settings=SETTINGS),
    )


@cache
def moments(name: str) -> tuple[MarketFacts, ...]:
    """See a recorded market at random moments of its months at which no bar is missing."""
    rng = np.random.default_rng(5)
    count = len(recorded(name))
    return tuple(facts_at(name, known) for known in rng.integers(9_000, count, PLACES).tolist())


def share(leaf: str, side: Side) -> float:
    """Return how often a condition holds over all files; what is unknown does not count."""
    condition = parse({"name": leaf, **GIVEN.get(leaf, {})}, side)
    states = [evaluate(condition, facts).state for name in FILES for facts in moments(name)]
    known = [state is Truth.HOLDS for state in states if state is not Truth.UNKNOWN]
    assert len(known) > 0.8 * len(states)
    return sum(known) / len(known)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("leaf", [name for name in LEAVES if name not in NOT_OF_BARS])
def test_every_condition_on_bars_holds_now_and_then_and_not_mostly(leaf: str, side: Side) -> None:
    """A condition that never held in years of data, or always did, would be a defect."""
    assert 0.005 < share(leaf, side) < 0.75


MIRROR = {
    "bos_bull": "bos_bear",
    "choch_bull": "choch_bear",
    "fvg_bull": "fvg_bear",
    "equal_highs": "equal_lows",
}
UPSIDE_DOWN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "rsi_above": ({"name": "rsi_above", "value": 65}, {"name": "rsi_below", "value": 35}),
    "vwap_deviation": (
        {"name": "vwap_deviation", "sigma": 1.5, "direction": "above"},
        {"name": "vwap_deviation", "sigma": 1.5, "direction": "below"},
    ),
}
PAIRS = [
    *(({"name": a, **GIVEN.get(a, {})}, {"name": b, **GIVEN.get(b, {})}) for a, b in MIRROR.items()),
    *UPSIDE_DOWN.values(),
    *(
        (
            {"name": one, **GIVEN.get(one, {}), "direction": "BUY"},
            {"name": one, **GIVEN.get(one, {}), "direction": "SELL"},
        )
        for one in ("rejection_wick", "liquidity_sweep", "ema_alignment", "score_above", "min_confidence")
    ),
]


@pytest.mark.parametrize(("here", "there"), PAIRS, ids=lambda data: str(data["name"]))
def test_a_mirrored_market_answers_the_mirrored_question_alike(here: dict[str, Any], there: dict[str, Any]) -> None:
    asked, turned = parse(here), parse(there)
    held = 0
    for name in FILES:
        for facts in moments(name)[:40]:
            upside_down = replace(
                facts,
                bars={tf: Patterns(mirrored(patterns.bars), SETTINGS) for tf, patterns in facts.bars.items()},
                view=facts.view and replace(facts.view, long=facts.view.short, short=facts.view.long),
                kept={},
            )
            state = evaluate(asked, facts).state
            held += state is Truth.HOLDS
            assert evaluate(turned, upside_down).state is state
    assert held > 0


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("leaf", ["bos", "choch", "fvg", "order_block", "liquidity_sweep"])
def test_the_structure_that_is_relied_on_stands_where_no_bar_has_closed_beyond_it(leaf: str, side: Side) -> None:
    """For a LONG its level is not above the close: a level that is broken at birth would cancel every plan."""
    named = leaf if leaf in LEAVES else f"{leaf}_{'bull' if side is Side.LONG else 'bear'}"
    asked, found = parse({"name": named, "timeframe": "M15"}, side), 0
    for facts in (facts for name in FILES for facts in moments(name)):
        closed = facts.bars[Timeframe.M15].bars
        for row in cast(list[dict[str, Any]], relied_on(asked, facts).get("structures", [])):
            found += 1
            assert row["direction"] == side.direction
            assert (float(closed.close[-1]) - row["level"]) * side.sign >= 0.0
        assert broke(relied_on(asked, facts), closed.last_close_ms - 1, facts) is None
    assert found > 10


# --- plans over recorded months ------------------------------------------------------------------------------------


def seen_by(name: str, known: int) -> MarketFacts:
    """See what plans need, without a score: the patterns are read only where a condition asks."""
    m5 = recorded(name)[:known]
    at_ms, close, symbol = m5.last_close_ms, float(m5.close[-1]), name.split("_")[0]
    return MarketFacts(
        symbol=symbol,
        instrument=instrument(symbol=symbol, point=POINTS[symbol], tick_size=POINTS[symbol]),
        now_ms=at_ms,
        settings=SETTINGS,
        tick=Tick(at_ms, close, close + POINTS[symbol]),
        bars={
            m5.timeframe: Patterns(m5, SETTINGS),
            Timeframe.M15: Patterns(closed_before(longer(name, Timeframe.M15), at_ms), SETTINGS),
        },
    )


def planned(name: str, known: int, side: Side, conditions: object, away_atr: float, **given: Any) -> Plan:
    """Make a plan at a recorded moment, its entry so many ATR(M15) from the price, stop and target 2 ATR from it."""
    facts = seen_by(name, known)
    atr, tick = facts.bars[Timeframe.M15].atr, facts.tick
    assert atr is not None
    assert tick is not None
    entry = tick.bid + side.sign * away_atr * atr
    draft = Draft(
        symbol=facts.symbol,
        direction=side.direction,
        entry=entry,
        stop_loss=entry - side.sign * 2.0 * atr,
        take_profit=entry + side.sign * 2.0 * atr,
        volume=Decimal("0.1"),
        conditions=conditions,  # type: ignore[arg-type]
        **given,
    )
    made = {"plan_id": f"{name}-{known}", "instrument": facts.instrument, "tick": tick, "now_ms": facts.now_ms}
    return validate(draft, **made, settings=SETTINGS.plans, facts=facts)  # type: ignore[arg-type]


CONDITIONS: tuple[object, ...] = (
    [{"name": "rejection_wick"}],
    [{"name": "bos_bull", "timeframe": "M5"}, {"name": "volume_ratio", "ratio_min": 1.2}],
    {"any": [{"name": "order_block"}, {"name": "liquidity_sweep"}]},
    [{"name": "fvg_bear", "timeframe": "M5"}, {"not": {"name": "bb_squeeze"}}],
)


def fate(name: str, known: int, plan: Plan) -> Judgement:
    """Judge a plan at the close of every later bar until something becomes of it."""
    condition = parse(plan.conditions, plan.side)
    for later in range(known + 1, known + 700):
        judged = judge(plan, seen_by(name, later), SETTINGS.plans, condition=condition)
        if not isinstance(judged, Waits):
            return judged
    raise AssertionError("a plan of 30 hours waited for 58")


def test_plans_of_recorded_months_end_in_every_way_and_execute_only_where_they_may() -> None:
    """Every rule that gives a plan up is seen to act, and what is due lies within tolerance, stop and target."""
    ends: Counter[str] = Counter()
    rng = np.random.default_rng(11)
    for number, known in enumerate(rng.integers(9_000, 38_000, 72).tolist()):
        name, side = FILES[number % 3], Side.LONG if number % 2 else Side.SHORT
        given = {"expires_hours": 30.0, "tolerance": None if number % 5 else 1e-9}
        plan = planned(name, known, side, CONDITIONS[number % 4], (-1.5, -0.5, 0.0, 0.5)[number // 4 % 4], **given)
        end = fate(name, known, plan)
        ends[end.rule if isinstance(end, Cancel) else type(end).__name__] += 1
        if isinstance(end, Due):
            assert plan.tolerance is not None
            assert abs(end.price - plan.entry) <= plan.tolerance
            assert plan.stop is not None
            assert (end.price - plan.stop) * side.sign > 0.0
            assert end.verdict.is_met
    assert set(ends) == {"Due", "Expire", "runaway", "structure", "stale"}
