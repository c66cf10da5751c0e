"""Plans: what is refused when one is made, what becomes of it on every look, and the steps it can take."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import NOW, instrument, view
from tests.market.made import MONDAY_MS, bars_of

from dtms.decide.conditions import MarketFacts, parse
from dtms.decide.plans import Cancel, Due, Expire, Judgement, Waits, is_near, judge, judgement_json, watched_prices
from dtms.decide.plans_drafts import Draft, InvalidPlan, amended, draft_of, validate
from dtms.decide.plans_sizing import Unsizable, sized
from dtms.decide.plans_status import STEPS, losers, moved, winner
from dtms.decide.plans_structure import broke, relied_on
from dtms.domain.errors import InvariantBroken
from dtms.domain.market import Bars, Side, Tick, Timeframe, TradeMode
from dtms.domain.plans import OrderType, Plan, PlanStatus
from dtms.domain.prices import floor_lots
from dtms.market.patterns import Patterns
from dtms.settings import PlanSettings, Settings

SETTINGS = Settings()
RULES = SETTINGS.plans
HOUR = 3_600_000
EVER: dict[str, Any] = {"name": "spread_below", "points": 1e6}
NEVER: dict[str, Any] = {"name": "spread_below", "points": 0}


def draft(side: Side = Side.LONG, **changes: Any) -> Draft:
    """Draft a plan at 1.1 with stop and target 30 points of a thousandth away."""
    base = Draft(
        symbol="EURUSD",
        direction=side.direction,
        entry=1.1,
        stop_loss=1.1 - side.sign * 0.003,
        take_profit=1.1 + side.sign * 0.006,
        volume=Decimal("0.10"),
    )
    return replace(base, **changes)


def quote(side: Side, price: float) -> Tick:
    """Quote so that ``side`` is opened at ``price``."""
    return Tick(NOW, price - 0.0001, price) if side is Side.LONG else Tick(NOW, price, price + 0.0001)


def made(of: Draft, price: float = 1.1, **known: Any) -> Plan:
    side = Side.SHORT if of.direction == "SELL" else Side.LONG
    base: dict[str, Any] = {
        "plan_id": "p1",
        "instrument": instrument(),
        "tick": quote(side, price),
        "now_ms": NOW,
        "settings": RULES,
    }
    return validate(of, **{**base, **known})


def plan(side: Side = Side.LONG, price: float = 1.1, **changes: Any) -> Plan:
    return made(draft(side, **changes), price)


def at(side: Side, price: float, **known: Any) -> MarketFacts:
    base: dict[str, Any] = {
        "symbol": "EURUSD",
        "instrument": instrument(),
        "now_ms": NOW,
        "settings": SETTINGS,
        "tick": quote(side, price),
        "view": view(),
    }
    return MarketFacts(**{**base, **known})


def judged(of: Plan, price: float, **known: Any) -> Judgement:
    others: Sequence[Plan] = known.pop("others", ())
    return judge(of, at(of.side, price, **known), RULES, others=others)


def fields_of(of: Draft, **known: Any) -> list[str]:
    with pytest.raises(InvalidPlan) as caught:
        made(of, **known)
    return [fault.path for fault in caught.value.faults]


# --- drafts --------------------------------------------------------------------------------------------------------


def test_a_draft_becomes_a_pending_plan_with_its_defaults() -> None:
    found = made(draft(conditions=[{"name": "inside_bar"}]))
    assert (found.status, found.strategy_type, found.order_type) == (
        PlanStatus.PENDING,
        "default_standard",
        OrderType.MARKET,
    )
    assert found.expires_ms == NOW + 24 * HOUR
    assert found.tolerance == pytest.approx(1.1 * 0.0005)
    assert found.created_price == 1.1
    assert found.conditions == {"all": [{"name": "inside_bar", "timeframe": "M15"}]}
    assert found.version == 0


@pytest.mark.parametrize(
    ("strategy", "hours"), [("micro_scalp", 2), ("mean_reversion_range_scalp", 8), ("breakout_bos", 24)]
)
def test_scalps_expire_sooner_unless_told_otherwise(strategy: str, hours: int) -> None:
    assert made(draft(strategy_type=strategy)).expires_ms == NOW + hours * HOUR
    assert made(draft(strategy_type=strategy, expires_hours=5)).expires_ms == NOW + 5 * HOUR


def test_a_condition_on_the_price_or_a_resting_order_needs_no_tolerance() -> None:
    assert made(draft(conditions={"name": "price_above", "price": 1.1})).tolerance is None
    assert made(draft(order_type="limit")).tolerance is None
    assert made(draft(tolerance=0.001)).tolerance == 0.001


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"stop_loss": 1.1}, ["stop_loss"]),
        ({"stop_loss": ("+", 0.003)}, ["stop_loss"]),
        ({"stop_loss": ("-", 0.00005)}, ["stop_loss"]),
        ({"take_profit": ("-", 0.003)}, ["take_profit"]),
        ({"take_profit": ("+", 0.00005)}, ["take_profit"]),
        ({"entry_levels": (1.1, ("-", 0.004))}, ["stop_loss"]),
        ({"entry_levels": (1.1, ("+", 0.007))}, ["take_profit"]),
    ],
)
def test_levels_on_the_wrong_side_or_too_near_are_refused(
    side: Side, changes: dict[str, Any], fields: list[str]
) -> None:
    def priced(value: Any) -> Any:
        match value:
            case ("+", away):
                return 1.1 + side.sign * away
            case ("-", away):
                return 1.1 - side.sign * away
            case tuple():
                return tuple(priced(one) for one in value)
            case _:
                return value

    assert fields_of(draft(side, **{name: priced(value) for name, value in changes.items()})) == fields


@pytest.mark.parametrize("side", Side)
def test_a_refused_level_is_told_where_it_must_lie(side: Side) -> None:
    with pytest.raises(InvalidPlan) as caught:
        made(draft(side, stop_loss=1.1 + side.sign * 0.003, take_profit=1.1 - side.sign * 0.003))
    below, above = ("below", "above") if side is Side.LONG else ("above", "below")
    assert [fault.message.split(" the entry")[0] for fault in caught.value.faults] == [
        f"for a {side.direction} must lie {below}",
        f"for a {side.direction} must lie {above}",
    ]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"direction": "up"}, ["direction"]),
        ({"strategy_type": "breakout_bosss"}, ["strategy_type"]),
        ({"order_type": "iceberg"}, ["order_type"]),
        ({"entry": None}, ["entry"]),
        ({"entry": float("nan")}, ["entry"]),
        ({"entry": -1.0}, ["entry"]),
        ({"entry": 0.0}, ["entry"]),
        ({"entry": 1.7}, ["entry"]),
        ({"volume": None}, ["volume"]),
        ({"risk_pct": 1.0}, ["volume"]),
        ({"volume": Decimal("0.105")}, ["volume"]),
        ({"volume": Decimal("0.001")}, ["volume"]),
        ({"volume": Decimal("NaN")}, ["volume"]),
        ({"volume": Decimal(101)}, ["volume"]),
        ({"volume": None, "risk_pct": 1.0, "stop_loss": None}, ["stop_loss"]),
        ({"volume": None, "risk_pct": 2.5}, ["risk_pct"]),
        ({"volume": None, "risk_pct": float("nan")}, ["risk_pct"]),
        ({"expires_hours": 0}, ["expires_hours"]),
        ({"expires_hours": 721}, ["expires_hours"]),
        ({"expires_hours": float("nan")}, ["expires_hours"]),
        ({"tolerance": 0.003}, ["tolerance"]),
        ({"tolerance": 0.0}, ["tolerance"]),
        ({"order_type": "stop", "entry_levels": (1.1, 1.101)}, ["entry_levels"]),
        ({"entry_levels": (1.1,) * 11}, ["entry_levels"]),
        ({"notes": "x" * 1001}, ["notes"]),
        ({"conditions": {"name": "price_abov"}}, ["conditions.name"]),
        ({"direction": "up", "volume": None, "expires_hours": -1}, ["direction", "volume", "expires_hours"]),
    ],
)
def test_what_a_plan_cannot_have_is_refused_field_by_field(changes: dict[str, Any], fields: list[str]) -> None:
    assert fields_of(draft(**changes)) == fields


def test_an_unknown_strategy_is_refused_with_near_ones() -> None:
    with pytest.raises(InvalidPlan) as caught:
        made(draft(strategy_type="breakout_boss"))
    assert "breakout_bos" in caught.value.faults[0].near


@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        (TradeMode.FULL, ()),
        (TradeMode.DISABLED, (Side.LONG, Side.SHORT)),
        (TradeMode.CLOSE_ONLY, (Side.LONG, Side.SHORT)),
        (TradeMode.LONG_ONLY, (Side.SHORT,)),
        (TradeMode.SHORT_ONLY, (Side.LONG,)),
    ],
)
def test_what_the_broker_does_not_let_open_is_refused(mode: TradeMode, refused: tuple[Side, ...]) -> None:
    of = instrument(trade_mode=mode)
    for side in Side:
        if side in refused:
            assert fields_of(draft(side), instrument=of) == ["symbol"]
        else:
            assert made(draft(side), instrument=of).side is side


@pytest.mark.parametrize("side", Side)
def test_prices_are_put_on_the_grid_and_a_stop_never_nearer(side: Side) -> None:
    off = draft(side, entry=1.100004, stop_loss=1.1 - side.sign * 0.003004, take_profit=1.1 + side.sign * 0.006004)
    found = made(off)
    assert found.entry == 1.1
    assert found.stop == pytest.approx(1.1 - side.sign * 0.00301, abs=1e-9)
    assert found.target == pytest.approx(1.1 + side.sign * 0.006, abs=1e-9)


def test_the_first_level_is_the_entry_when_none_is_given() -> None:
    assert made(draft(entry=None, entry_levels=(1.101, 1.1))).entry == 1.101


def test_a_changed_plan_keeps_its_birth_and_its_expiry() -> None:
    first = plan(conditions=[EVER])
    fresh = made(replace(draft_of(first), stop_loss=1.096), price=1.102, now_ms=NOW + HOUR)
    after = amended(first, fresh, is_expiry_given=False)
    assert after == replace(first, stop=1.096, version=1, status_ms=NOW + HOUR)
    assert amended(first, fresh, is_expiry_given=True).expires_ms == NOW + 25 * HOUR


# --- due or not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", Side)
def test_a_plan_is_due_when_its_conditions_hold_within_the_tolerance_of_its_entry(side: Side) -> None:
    found = judged(plan(side, conditions=[EVER]), 1.1 - side.sign * 0.0005)
    assert isinstance(found, Due)
    assert (found.level, found.price) == (1.1, 1.1 - side.sign * 0.0005)
    assert found.verdict.is_met


@pytest.mark.parametrize("side", Side)
def test_further_away_it_waits_though_its_conditions_hold(side: Side) -> None:
    found = judged(plan(side, conditions=[EVER]), 1.1 - side.sign * 0.0006)
    assert isinstance(found, Waits)
    assert "tolerance" in found.reason


def test_any_of_its_levels_will_do() -> None:
    of = plan(entry_levels=(1.1, 1.102), tolerance=0.0002)
    found = judged(of, 1.1021)
    assert isinstance(found, Due)
    assert found.level == 1.102


def test_conditions_that_do_not_hold_are_named_with_their_present_values() -> None:
    found = judged(plan(conditions=[EVER, NEVER]), 1.1)
    assert isinstance(found, Waits)
    assert found.reason == "waits for spread_below (spread 10.0 points)"
    assert found.verdict is not None


def test_without_a_quote_to_believe_a_plan_waits_and_is_not_given_up() -> None:
    of = plan(expires_hours=100)
    for unknown in ({"tick": None}, {"stale": "the feed stopped"}):
        assert isinstance(judged(of, 1.2, now_ms=NOW + 30 * HOUR, **unknown), Waits)


@pytest.mark.parametrize("side", Side)
def test_a_plan_does_not_execute_where_its_stop_would_be_hit_at_once(side: Side) -> None:
    of = plan(side, tolerance=0.00285, conditions=[EVER])
    assert isinstance(judged(of, 1.1 - side.sign * 0.0027), Due)
    found = judged(of, 1.1 - side.sign * 0.00284)  # which the spread brings to within 0.0001 of the stop
    assert isinstance(found, Waits)
    assert "no room to the stop" in found.reason


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("kind", "rests"), [("stop", -1), ("limit", 1)])
def test_an_order_is_placed_only_where_it_rests(side: Side, kind: str, rests: int) -> None:
    of = plan(side, order_type=kind, conditions=[EVER])
    assert isinstance(judged(of, 1.1 + side.sign * rests * 0.0005), Due)
    for price in (1.1, 1.1 + side.sign * rests * 0.00009, 1.1 - side.sign * rests * 0.0005):
        assert isinstance(judged(of, price), Waits)


def test_a_resting_order_waits_and_is_never_due_again() -> None:
    of = replace(plan(order_type="limit", conditions=[EVER]), status=PlanStatus.PENDING_ORDER_PLACED)
    assert isinstance(judged(of, 1.1005), Waits)


@pytest.mark.parametrize(
    "status", [s for s in PlanStatus if s not in (PlanStatus.PENDING, PlanStatus.PENDING_ORDER_PLACED)]
)
def test_a_plan_that_began_or_ended_is_not_judged(status: PlanStatus) -> None:
    assert isinstance(judged(replace(plan(), status=status), 1.1, now_ms=NOW + 100 * HOUR), Waits)


def test_a_judgement_is_shown_with_every_condition_and_its_present_value() -> None:
    shown = judgement_json(judged(plan(conditions=[NEVER]), 1.1))
    assert shown == {
        "judgement": "waits",
        "reason": "waits for spread_below (spread 10.0 points)",
        "conditions": {
            "name": "all",
            "state": "does_not_hold",
            "parts": [
                {
                    "name": "spread_below",
                    "state": "does_not_hold",
                    "present": "spread 10.0 points",
                    "wanted": "spread below 0 points",
                }
            ],
        },
    }
    assert judgement_json(judged(plan(conditions=[EVER]), 1.1)).keys() >= {"price", "level", "conditions"}
    assert judgement_json(judged(plan(conditions=[NEVER]), 1.103))["rule"] == "runaway"
    assert judgement_json(judged(plan(), 1.1, now_ms=NOW + 25 * HOUR))["judgement"] == "expire"


# --- given up ------------------------------------------------------------------------------------------------------


def test_a_plan_expires_to_the_millisecond_whatever_its_conditions() -> None:
    of = plan(conditions=[EVER])
    assert isinstance(judged(of, 1.1, now_ms=of.expires_ms - 1, view=None), Due)
    assert isinstance(judged(of, 1.1, now_ms=of.expires_ms), Expire)
    assert isinstance(judged(of, 1.1, now_ms=of.expires_ms, tick=None), Expire)


@pytest.mark.parametrize("side", Side)
def test_a_price_that_ran_away_by_the_larger_of_percentage_and_atr_cancels(side: Side) -> None:
    of = plan(side, conditions=[NEVER])
    assert isinstance(judged(of, 1.1 + side.sign * 0.0021), Waits)
    found = judged(of, 1.1 + side.sign * 0.0023)
    assert isinstance(found, Cancel)
    assert found.rule == "runaway"
    wide = replace(view(), atr_m15=0.004)
    assert isinstance(judged(of, 1.1 + side.sign * 0.0039, view=wide), Waits)
    assert isinstance(judged(of, 1.1 + side.sign * 0.0041, view=wide), Cancel)


@pytest.mark.parametrize("side", Side)
def test_a_plan_that_waits_for_a_pullback_is_not_run_away_from_at_birth(side: Side) -> None:
    of = plan(side, price=1.1 + side.sign * 0.005, conditions=[NEVER])
    assert isinstance(judged(of, 1.1 + side.sign * 0.007), Waits)
    assert isinstance(judged(of, 1.1 + side.sign * 0.0073), Cancel)


@pytest.mark.parametrize(("symbol", "percent"), [("BTCUSDc", 0.5), ("XAUUSD.m", 0.3), ("EURUSD", 0.2)])
def test_how_far_is_away_depends_on_the_class_of_the_symbol(symbol: str, percent: float) -> None:
    of = replace(plan(conditions=[NEVER], take_profit=None), symbol=symbol)
    limit = 1.1 * percent / 100.0
    assert isinstance(judged(of, 1.1 + limit * 0.99), Waits)
    assert isinstance(judged(of, 1.1 + limit * 1.01), Cancel)


def test_an_old_plan_far_from_its_entry_is_stale_on_either_side() -> None:
    of = plan(expires_hours=100, conditions=[NEVER])
    far = 1.1 - 1.1 * 0.0031
    assert isinstance(judged(of, far, now_ms=NOW + 24 * HOUR), Waits)
    found = judged(of, far, now_ms=NOW + 24 * HOUR + 40_000)
    assert isinstance(found, Cancel)
    assert found.rule == "stale"
    assert isinstance(judged(of, 1.1 - 1.1 * 0.0029, now_ms=NOW + 30 * HOUR), Waits)


def test_the_other_side_of_a_bracket_that_began_cancels_a_plan() -> None:
    of = plan(bracket_id="b", conditions=[NEVER])
    other = replace(of, id="p2", status=PlanStatus.EXECUTING)
    found = judged(of, 1.1, others=[of, other])
    assert isinstance(found, Cancel)
    assert found.rule == "bracket"
    assert isinstance(judged(of, 1.1, others=[of, replace(other, bracket_id="c")]), Waits)
    assert isinstance(judged(of, 1.1, others=[of, replace(other, status=PlanStatus.CANCELLED)]), Waits)


# --- structure -----------------------------------------------------------------------------------------------------

HILL = [10.0 + 0.1 * (n % 2) for n in range(20)] + [10.0, 11, 12, 13, 12, 11, 10.5, 11, 12, 13.9]
"""The last close breaks the swing high of 13.5."""


def hill(*more: float) -> Bars:
    closes = [*HILL, *more]
    return replace(bars_of(closes), high=np.array(closes) + 0.5, low=np.array(closes) - 0.5)


def on(bars: Bars) -> MarketFacts:
    tick = Tick(bars.last_close_ms, float(bars.close[-1]), float(bars.close[-1]))
    known = {"now_ms": bars.last_close_ms, "tick": tick, "bars": {bars.timeframe: Patterns(bars, SETTINGS)}}
    return at(Side.LONG, 1.1, **{**known, "view": None})


BOS = {"name": "bos_bull", "timeframe": "M15"}


def test_the_structure_that_stands_when_a_plan_is_made_is_recorded() -> None:
    asked = parse([BOS, {"not": {"name": "bos_bull", "timeframe": "M15", "age_bars_max": 0}}, EVER])
    assert relied_on(asked, on(hill())) == {
        "structures": [{"condition": "bos_bull", "direction": "BUY", "timeframe": "M15", "level": 13.5}]
    }
    assert relied_on(asked, on(hill()[:-1])) == {}
    assert relied_on(asked, at(Side.LONG, 1.1)) == {}


def test_a_plan_is_made_with_the_structure_that_stands() -> None:
    known: dict[str, Any] = {
        "tick": quote(Side.LONG, 13.9),
        "instrument": instrument(tick_size=0.01, stops_level_points=0),
    }
    of = draft(entry=13.9, stop_loss=13.0, take_profit=15.0, conditions=BOS)
    assert made(of, **known, facts=on(hill())).relies_on == relied_on(parse(BOS), on(hill()))
    assert made(of, **known).relies_on == {}


def test_structure_of_a_short_breaks_with_a_close_above_it() -> None:
    def on_valley(*more: float) -> MarketFacts:
        upright = hill(*more)
        return on(replace(upright, close=25 - upright.close, high=25 - upright.low, low=25 - upright.high))

    down = {"name": "bos_bear", "timeframe": "M15"}
    relies_on = relied_on(parse(down), on_valley())
    assert relies_on["structures"] == [
        {"condition": "bos_bear", "direction": "SELL", "timeframe": "M15", "level": 11.5}
    ]
    assert broke(relies_on, hill().last_close_ms, on_valley(13.5)) is None
    assert broke(relies_on, hill().last_close_ms, on_valley(13.4)) is not None


def test_structure_breaks_with_a_later_close_beyond_it_and_not_with_an_earlier_one() -> None:
    relies_on = relied_on(parse(BOS), on(hill()))
    since = hill().last_close_ms
    assert broke(relies_on, since, on(hill(13.6, 13.5))) is None
    told = broke(relies_on, since, on(hill(13.6, 13.4, 14.0)))
    assert told is not None
    assert "closed at 13.4" in told
    assert broke(relies_on, since + 2 * Timeframe.M15.ms, on(hill(13.6, 13.4, 14.0))) is None


def test_a_plan_whose_structure_broke_is_cancelled_with_the_figures() -> None:
    relies_on = relied_on(parse(BOS), on(hill()))
    of = replace(plan(), relies_on=relies_on, created_ms=hill().last_close_ms, expires_ms=2**60, entry=13.9)
    found = judge(of, on(hill(13.4)), RULES)
    assert isinstance(found, Cancel)
    assert found.rule == "structure"
    assert not isinstance(judge(of, on(hill(13.6)), RULES), Cancel)


@pytest.mark.parametrize("name", ["order_block", "fvg_bull", "liquidity_sweep", "choch_bear"])
def test_without_such_structure_nothing_is_relied_on(name: str) -> None:
    flat = bars_of([100.0, 100.2] * 30, start_ms=MONDAY_MS)
    assert relied_on(parse({"name": name, "timeframe": "M15"}, Side.LONG), on(flat)) == {}


# --- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", PlanStatus)
@pytest.mark.parametrize("after", PlanStatus)
def test_a_plan_takes_the_steps_of_the_table_and_no_other(before: PlanStatus, after: PlanStatus) -> None:
    of = replace(plan(), status=before, version=3)
    if after in STEPS[before]:
        done = moved(of, after, NOW + 5, "because", ticket=7)
        assert (done.status, done.status_ms, done.reason, done.ticket, done.version) == (
            after,
            NOW + 5,
            "because",
            7,
            4,
        )
    else:
        with pytest.raises(InvariantBroken):
            moved(of, after, NOW)


def test_every_status_can_be_reached_and_only_what_was_being_executed_can_wait_again() -> None:
    reached = {after for steps in STEPS.values() for after in steps}
    assert reached == set(PlanStatus)
    assert [before for before, steps in STEPS.items() if PlanStatus.PENDING in steps] == [PlanStatus.EXECUTING]
    assert {status for status in PlanStatus if not STEPS[status]} == {s for s in PlanStatus if not s.is_open}


def of_bracket(*statuses: tuple[PlanStatus, OrderType, int]) -> list[Plan]:
    base = plan(bracket_id="b")
    return [
        replace(base, id=f"p{n}", status=status, order_type=kind, status_ms=at_ms)
        for n, (status, kind, at_ms) in enumerate(statuses)
    ]


def test_the_first_market_order_that_begins_beats_all_that_wait() -> None:
    plans = of_bracket(
        (PlanStatus.PENDING, OrderType.MARKET, 0),
        (PlanStatus.EXECUTING, OrderType.MARKET, 5),
        (PlanStatus.PENDING_ORDER_PLACED, OrderType.LIMIT, 3),
        (PlanStatus.CANCELLED, OrderType.MARKET, 1),
    )
    assert [p.id for p in losers(plans)] == ["p0", "p2"]


def test_both_sides_may_rest_until_one_is_filled() -> None:
    resting = (PlanStatus.PENDING_ORDER_PLACED, OrderType.STOP, 1)
    assert losers(of_bracket(resting, resting, (PlanStatus.EXECUTING, OrderType.STOP, 2))) == ()
    assert [p.id for p in losers(of_bracket(resting, (PlanStatus.EXECUTED, OrderType.STOP, 2)))] == ["p0"]


def test_of_two_that_executed_the_earlier_is_the_winner_of_the_others() -> None:
    plans = of_bracket(
        (PlanStatus.EXECUTED, OrderType.STOP, 9),
        (PlanStatus.EXECUTED, OrderType.STOP, 4),
        (PlanStatus.PENDING, OrderType.STOP, 0),
    )
    first = winner(plans[2], plans)
    assert first is not None
    assert first.id == "p1"
    assert [p.id for p in losers(plans)] == ["p2"]


def test_plans_without_a_bracket_do_not_touch_each_other() -> None:
    one = plan()
    assert losers([one, replace(one, id="p2", status=PlanStatus.EXECUTED)]) == ()


# --- sizing --------------------------------------------------------------------------------------------------------


def size(risk_pct: float, equity: float, money_per_lot: float, **of: Any) -> Decimal | Unsizable:
    return sized(
        risk_pct=risk_pct,
        equity=equity,
        entry=1.1,
        stop=1.097,
        instrument=instrument(**of),
        money_per_lot=money_per_lot,
    )


def test_a_share_of_the_equity_becomes_lots_rounded_down() -> None:
    assert size(1.0, 10_000.0, 300.0) == Decimal("0.33")
    assert size(1.0, 10_000.0, 300.0, volume_step=Decimal("0.1"), volume_min=Decimal("0.1")) == Decimal("0.3")


def test_more_than_the_largest_volume_is_that_one() -> None:
    assert size(2.0, 10_000_000.0, 300.0) == Decimal(100)


def test_less_than_the_smallest_volume_is_impossible_and_says_what_that_one_risks() -> None:
    found = size(0.01, 1_000.0, 300.0)
    assert isinstance(found, Unsizable)
    assert "0.01, which risks 0.3 %" in found.reason
    assert isinstance(size(1.0, 1_000.0, 0.0), Unsizable)
    assert isinstance(size(1.0, -5.0, 300.0), Unsizable)


@given(
    risk=st.floats(0.01, 2.0),
    equity=st.floats(1.0, 1e8),
    per_lot=st.floats(0.01, 1e6),
    step=st.sampled_from(["0.01", "0.1", "1", "0.001"]),
)
def test_the_stop_never_costs_more_than_was_meant(risk: float, equity: float, per_lot: float, step: str) -> None:
    of = instrument(volume_step=Decimal(step), volume_min=Decimal(step))
    found = size(risk, equity, per_lot, volume_step=Decimal(step), volume_min=Decimal(step))
    if isinstance(found, Decimal):
        assert floor_lots(found, of) == found
        assert of.volume_min <= found <= of.volume_max
        assert float(found) * per_lot <= equity * risk / 100.0 * (1 + 1e-9)
    else:
        assert float(of.volume_min) * per_lot > equity * risk / 100.0 * (1 - 1e-9)


# --- when to look --------------------------------------------------------------------------------------------------


def test_quotes_near_an_entry_a_level_or_a_price_that_is_waited_for_are_looked_at() -> None:
    asked = parse([{"name": "price_below", "price": 1.12}])
    prices = watched_prices(plan(entry_levels=(1.1, 1.09), stop_loss=1.08), asked)
    assert prices == (1.1, 1.09, 1.12)
    assert is_near(prices, quote(Side.LONG, 1.0910), RULES)
    assert is_near(prices, quote(Side.LONG, 1.1195), RULES)
    assert not is_near(prices, quote(Side.LONG, 1.1060), RULES)


def test_settings_of_plans_are_what_the_rules_use() -> None:
    rules = replace(PlanSettings(), runaway_percent={"fx": 1.0}, runaway_atr=0.0)
    of = plan(conditions=[NEVER], take_profit=None)
    assert isinstance(judge(of, at(Side.LONG, 1.1105), rules), Waits)
    assert isinstance(judge(of, at(Side.LONG, 1.1115), rules), Cancel)
