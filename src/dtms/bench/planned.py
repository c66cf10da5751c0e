"""Plans for the rounds: each waits for a price that is far away and for two things that the market shows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.bench.main_parts import tick_of
from dtms.decide.plans_drafts import Draft, validate
from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.plans import Plan
from dtms.execute.book import SymbolWatch
from dtms.settings import Settings

AWAY = 0.05
"""Share of the price by which entries are away from it: nothing is due, near, or has run away."""
STEP = 0.0001
"""Share of the price between the entries of a symbol's plans."""
LOTS = Decimal("0.10")
TIMEFRAMES = ("M1", "M5", "M15")


def plans(count: int, symbols: Sequence[SymbolWatch], now_ms: int, settings: Settings) -> Iterator[Plan]:
    """Yield validated plans, spread over the symbols."""
    for number in range(count):
        yield _plan(number, symbols[number % len(symbols)], number // len(symbols), now_ms, settings)


def _plan(number: int, watch: SymbolWatch, turn: int, now_ms: int, settings: Settings) -> Plan:
    tick, side = tick_of(watch), Side.LONG if turn % 2 else Side.SHORT
    price = tick.opening(side)
    entry = price * (1 + side.sign * (AWAY + turn * STEP))
    draft = Draft(
        symbol=watch.name,
        direction=side.direction,
        entry=entry,
        stop_loss=entry - side.sign * 0.01 * price,
        take_profit=entry + side.sign * 0.02 * price,
        volume=LOTS,
        conditions=_conditions(turn, side, entry),
        expires_hours=24.0,
    )
    plan = validate(
        draft,
        plan_id=f"bench-{number:05d}",
        instrument=watch.instrument,
        tick=tick,
        now_ms=now_ms,
        settings=settings.plans,
    )
    return replace(plan, relies_on=_structure(side, price)) if turn % 5 == 0 else plan


def _conditions(turn: int, side: Side, entry: float) -> Json:
    """Ask for the entry's price, and by turns for two of what conditions can ask of bars, structure and score."""
    timeframe = TIMEFRAMES[turn % len(TIMEFRAMES)]
    bull = "bull" if side is Side.LONG else "bear"
    asked: list[Json] = [
        {"name": "rsi_above", "value": 40.0 + turn, "timeframe": timeframe},
        {"name": "order_block", "timeframe": timeframe},
        {"name": f"bos_{bull}", "timeframe": timeframe},
        {"name": f"fvg_{bull}", "timeframe": timeframe},
        {"name": "ema_alignment", "timeframe": timeframe},
        {"name": "liquidity_sweep", "timeframe": timeframe},
        {"name": f"choch_{bull}", "timeframe": timeframe},
        {"name": "equal_highs", "timeframe": timeframe, "tolerance_atr": 0.1},
        {"name": "vwap_deviation", "sigma": 1.0 + turn / 100, "direction": "below"},
        {"any": [{"name": "bb_squeeze", "timeframe": timeframe}, {"name": "bb_expansion", "timeframe": timeframe}]},
        {"name": "rejection_wick", "timeframe": timeframe},
        {"not": {"name": "inside_bar", "timeframe": timeframe}},
        {"name": "score_above", "value": 1.0 + turn / 100},
    ]
    beyond: Json = {"name": "price_above" if side is Side.LONG else "price_below", "price": entry}
    return {"all": [beyond, asked[turn % len(asked)], asked[(turn + 5) % len(asked)]]}


def _structure(side: Side, price: float) -> dict[str, Json]:
    """Rely on a level that no close reaches."""
    level = price * (1 - side.sign * AWAY)
    told: dict[str, Json] = {"condition": "order_block", "direction": side.direction, "timeframe": "M5", "level": level}
    return {"structures": [told]}
