"""Conditions as data: what is read, what is refused with which words, and how each leaf stands on known markets."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.decide.builders import NOW, instrument, view
from tests.market.made import bars_of

from dtms.decide.conditions import (
    LEAVES,
    All,
    Condition,
    Verdict,
    catalogue,
    conditions_json,
    evaluate,
    leaves_of,
    parse,
    prices_of,
    timeframes_of,
)
from dtms.decide.conditions_facts import MarketFacts, Truth
from dtms.decide.conditions_params import Fault, InvalidConditions
from dtms.domain.calendar import Release
from dtms.domain.market import Bars, Side, Tick, Timeframe
from dtms.domain.sources import Vix
from dtms.market.patterns import Patterns
from dtms.market.structure import BreakKind
from dtms.settings import Settings

SETTINGS = Settings()
MINIMAL: Mapping[str, dict[str, Any]] = {
    "price_above": {"price": 1.1},
    "price_below": {"price": 1.1},
    "price_near": {"price": 1.1, "tolerance": 0.001},
    "time_after": {"time": "13:30"},
    "time_before": {"time": "2026-07-01T13:30:00Z"},
    "session": {"session": ["london", "ny"]},
    "min_confidence": {"value": 60},
    "bos_bull": {"timeframe": "M15"},
    "bos_bear": {"timeframe": "M5"},
    "choch_bull": {"timeframe": "H1"},
    "choch_bear": {"timeframe": "M1"},
    "fvg_bull": {"timeframe": "M15"},
    "fvg_bear": {"timeframe": "M15"},
    "vwap_deviation": {"sigma": 2, "direction": "above"},
    "rsi_above": {"value": 70},
    "rsi_below": {"value": 30},
    "atr_above": {"ratio": 1.2},
    "atr_below": {"value": 0.002},
    "spread_below": {"points": 20},
    "score_above": {"value": 3},
    "vix_below": {"value": 25},
}
"""Parameters that have to be given, by the name of the condition."""


def leaf(name: str, **given: Any) -> dict[str, Any]:
    return {"name": name, **MINIMAL.get(name, {}), **given}


def faults_of(data: object, side: Side | None = Side.LONG) -> tuple[Fault, ...]:
    with pytest.raises(InvalidConditions) as caught:
        parse(data, side)
    return caught.value.faults


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEAVES)
def test_every_condition_is_read_and_written_back_with_its_defaults(name: str) -> None:
    found = parse(leaf(name), Side.SHORT)
    written = conditions_json(found)
    assert isinstance(written, dict)
    assert parse(written) == found
    assert set(MINIMAL.get(name, {})) <= set(written)


@pytest.mark.parametrize("name", sorted(MINIMAL))
def test_a_required_parameter_that_is_missing_is_named(name: str) -> None:
    assert all("is required" in fault.message or "needs either" in fault.message for fault in faults_of({"name": name}))


@pytest.mark.parametrize("nothing", [None, {}, []])
def test_no_conditions_at_all_hold(nothing: object) -> None:
    assert parse(nothing) == All(())
    assert evaluate(parse(nothing), facts()).is_met


def test_a_list_means_all_of_it() -> None:
    both = [leaf("inside_bar"), leaf("bb_squeeze")]
    assert parse(both) == parse({"all": both})


def test_a_direction_that_is_not_given_is_the_plans_own() -> None:
    assert parse(leaf("ema_alignment"), Side.SHORT) == parse(leaf("ema_alignment", direction="sell"))
    assert faults_of(leaf("ema_alignment"), None)[0].path == "conditions.direction"


def test_an_unknown_name_is_refused_with_near_matches() -> None:
    (fault,) = faults_of({"any": [leaf("inside_bar"), {"not": {"name": "price_abov", "price": 1}}]})
    assert fault.path == "conditions.any[1].not.name"
    assert fault.near[0] == "price_above"
    assert "did you mean price_above" in fault.message


def test_every_fault_is_told_at_once_each_by_its_path() -> None:
    wrong = {
        "all": [
            {"name": "rsi_above", "value": 101, "timeframe": "M7"},
            {"name": "price_near", "price": -1, "tolerence": 1},
            {"nome": "inside_bar"},
            {"any": []},
            7,
        ]
    }
    assert [fault.path for fault in faults_of(wrong)] == [
        "conditions.all[0].value",
        "conditions.all[0].timeframe",
        "conditions.all[1].tolerence",
        "conditions.all[1].price",
        "conditions.all[1].tolerance",
        "conditions.all[2]",
        "conditions.all[3].any",
        "conditions.all[4]",
    ]


def test_a_condition_written_as_a_key_is_told_how_to_be_written() -> None:
    (fault,) = faults_of({"price_above": 1.1})
    assert '{"name": "price_above", …}' in fault.message


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (leaf("spread_below", times_median=2), "conditions"),
        ({"name": "spread_below"}, "conditions"),
        (leaf("atr_above", value=1.0), "conditions"),
        (leaf("fvg_bull", filled_pct_min=80, filled_pct_max=20), "conditions"),
        (leaf("price_above", price=True), "conditions.price"),
        (leaf("price_above", price="1.1"), "conditions.price"),
        (leaf("price_above", price=float("nan")), "conditions.price"),
        (leaf("price_above", price=10**400), "conditions.price"),
        (leaf("bos_bull", age_bars_max=2.5), "conditions.age_bars_max"),
        (leaf("bos_bull", age_bars_max=-1), "conditions.age_bars_max"),
        (leaf("time_after", time="25:00"), "conditions.time"),
        (leaf("time_after", time="2026-07-01T13:30:00"), "conditions.time"),
        (leaf("session", session=[]), "conditions.session"),
        (leaf("session", session="tokyo"), "conditions.session"),
        (leaf("vwap_deviation", direction="buy"), "conditions.direction"),
    ],
)
def test_what_a_parameter_cannot_be_is_refused_by_its_path(given: dict[str, Any], path: str) -> None:
    assert [fault.path for fault in faults_of(given)] == [path]


def test_trees_are_bounded_in_depth_and_in_number() -> None:
    deep: object = leaf("inside_bar")
    for _ in range(2_000):
        deep = {"not": deep}
    assert "nested more than" in faults_of(deep)[0].message
    wide = [[leaf("inside_bar")] * 40, [leaf("inside_bar")] * 40]
    assert "more than 64" in faults_of(wide)[0].message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(list(LEAVES)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=10) | st.sampled_from(["name", "all", "any", "not"]), inner, max_size=4)
    ),
    max_leaves=20,
)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["M5", "m15", "BUY", "above", "london", "13:30", "2026-01-01T00:00:00+14:00", "0001-01-01T00:00Z"]
    )
)
NAMES = sorted({key for name in LEAVES for key in MINIMAL.get(name, {})} | {"direction", "age_bars_max", "ratio_min"})
LEAF_LIKE = st.builds(
    lambda name, given: {"name": name, **given},
    st.sampled_from(list(LEAVES)),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
)


@given(JSON | LEAF_LIKE | st.lists(LEAF_LIKE, max_size=3))
def test_any_json_gives_a_condition_or_the_named_error_and_nothing_else(data: object) -> None:
    found = read(data)
    if isinstance(found, InvalidConditions):
        assert found.faults
        assert all(fault.path.startswith("conditions") and fault.message for fault in found.faults)
    else:
        assert parse(conditions_json(found)) == found
        assert evaluate(found, facts()).state in Truth


def read(data: object) -> Condition | InvalidConditions:
    try:
        return parse(data, Side.LONG)
    except InvalidConditions as error:
        return error


def test_the_catalogue_describes_every_condition() -> None:
    listed = catalogue()
    assert [row["name"] for row in listed if isinstance(row, dict)] == list(LEAVES)


def test_a_condition_tells_of_which_bars_and_prices_it_asks() -> None:
    asked = parse([leaf("bos_bull", timeframe="H1"), {"not": leaf("inside_bar", timeframe="m1")}, leaf("price_near")])
    assert timeframes_of(asked) == {Timeframe.H1, Timeframe.M1}
    assert prices_of(asked) == (1.1,)


# --- judging -------------------------------------------------------------------------------------------------------


def facts(**known: Any) -> MarketFacts:
    """Provide a quote and nothing else; any part can be given."""
    base: dict[str, Any] = {
        "symbol": "EURUSD",
        "instrument": instrument(),
        "now_ms": NOW,
        "settings": SETTINGS,
        "tick": Tick(NOW, 1.1, 1.1001),
    }
    return MarketFacts(**{**base, **known})


def on(bars: Bars, **known: Any) -> MarketFacts:
    """Provide the patterns of bars, a moment after the newest closed."""
    newest = float(bars.close[-1])
    base = {"now_ms": bars.last_close_ms + 1_000, "tick": Tick(bars.last_close_ms, newest, newest)}
    return facts(**{**base, "bars": {bars.timeframe: Patterns(bars, SETTINGS)}, **known})


def stands(data: object, given: MarketFacts, side: Side = Side.LONG) -> Verdict:
    (one,) = evaluate(parse([data], side), given).leaves()
    return one


def test_a_price_is_above_or_below_with_the_whole_quote() -> None:
    assert stands(leaf("price_above", price=1.09999), facts()).is_met
    assert not stands(leaf("price_above", price=1.1), facts()).is_met
    assert stands(leaf("price_below", price=1.1002), facts()).is_met
    assert not stands(leaf("price_below", price=1.1001), facts()).is_met
    assert stands(leaf("price_near", price=1.10015, tolerance=0.0001), facts()).is_met
    assert not stands(leaf("price_near", price=1.1003, tolerance=0.0001), facts()).is_met


def test_a_leaf_tells_its_present_value_and_what_it_is_compared_with() -> None:
    told = stands(leaf("price_above", price=1.2), facts()).as_json()
    assert told == {"name": "price_above", "state": "does_not_hold", "present": "bid 1.1", "wanted": "bid above 1.2"}


@pytest.mark.parametrize("missing", [{"tick": None}, {"stale": "the feed stopped"}, {"tick": Tick(NOW, 1.2, 1.1)}])
def test_without_a_quote_to_believe_a_price_is_unknown(missing: dict[str, Any]) -> None:
    for name in ("price_above", "price_below", "price_near", "spread_below"):
        assert stands(leaf(name), facts(**missing)).state is Truth.UNKNOWN


DAY = NOW - NOW % 86_400_000


def test_a_time_of_day_begins_anew_at_midnight_and_an_instant_does_not() -> None:
    late, early = facts(now_ms=DAY + 14 * 3_600_000), facts(now_ms=DAY + 13 * 3_600_000)
    assert stands(leaf("time_after", time="13:30"), late).is_met
    assert not stands(leaf("time_after", time="13:30"), early).is_met
    assert not stands(leaf("time_after", time="13:30"), facts(now_ms=DAY + 86_400_000)).is_met
    assert stands(leaf("time_before", time="13:30"), early).is_met
    assert stands(leaf("time_after", time="2023-01-01T00:00:00+01:00"), facts()).is_met
    assert not stands(leaf("time_before", time="2023-01-01T00:00:00+01:00"), facts()).is_met


def test_a_session_is_one_of_those_named() -> None:
    at = facts(now_ms=DAY + 9 * 3_600_000)
    assert stands(leaf("session", session="London"), at).is_met
    assert not stands(leaf("session", session=["ny", "asian"]), at).is_met


def test_the_score_is_that_of_the_direction_and_shrinks_with_absent_layers() -> None:
    seen = facts(view=view(4.0, scale=0.5))
    assert stands(leaf("score_above", value=7), seen).is_met
    assert not stands(leaf("score_above", value=8), seen).is_met
    assert stands(leaf("min_confidence", value=84), seen).is_met
    assert not stands(leaf("min_confidence", value=85), seen).is_met
    assert "score +4.00" in stands(leaf("score_above", value=7), seen).present


def test_a_score_that_is_too_old_or_missing_is_unknown() -> None:
    late = NOW + 5 * 60_000 + 301_000
    assert stands(leaf("score_above"), facts(view=view(9.0), now_ms=late)).state is Truth.UNKNOWN
    assert stands(leaf("min_confidence"), facts()).state is Truth.UNKNOWN


def test_the_spread_is_measured_in_points_or_in_its_median() -> None:
    assert stands({"name": "spread_below", "points": 11}, facts()).is_met
    assert not stands({"name": "spread_below", "points": 9}, facts()).is_met
    assert stands({"name": "spread_below", "times_median": 1.5}, facts(median_spread=0.0001)).is_met
    assert not stands({"name": "spread_below", "times_median": 1.5}, facts(median_spread=0.00005)).is_met
    assert stands({"name": "spread_below", "times_median": 1.5}, facts()).state is Truth.UNKNOWN


def test_the_volatility_index_is_unknown_without_a_source() -> None:
    assert stands(leaf("vix_below"), facts(vix=Vix(value=20.0, at_ms=NOW, source="file"))).is_met
    assert not stands(leaf("vix_below"), facts(vix=Vix(value=25.0, at_ms=NOW, source="file"))).is_met
    assert stands(leaf("vix_below"), facts()).state is Truth.UNKNOWN


def release(minutes: float, currency: str = "USD", impact: str = "high") -> Release:
    return Release(time_ms=NOW + int(minutes * 60_000), currency=currency, impact=impact, event="CPI")


def test_news_are_clear_outside_the_rails_window_of_releases_of_either_currency() -> None:
    for near in (release(29), release(-14), release(10, "EUR")):
        told = stands({"name": "news_clear"}, facts(releases=[near]))
        assert not told.is_met
        assert "CPI" in told.present
    for far in (release(31), release(-16), release(0, "JPY"), release(0, impact="low")):
        assert stands({"name": "news_clear"}, facts(releases=[far])).is_met
    assert stands({"name": "news_clear", "before_min": 5}, facts(releases=[release(6)])).is_met


def test_without_a_calendar_nobody_knows_whether_news_are_clear() -> None:
    assert stands({"name": "news_clear"}, facts()).state is Truth.UNKNOWN


# --- bars ----------------------------------------------------------------------------------------------------------

RISE = bars_of(np.linspace(100, 150, 300).tolist())
FALL = bars_of(np.linspace(150, 100, 300).tolist())


@pytest.mark.parametrize(
    ("name", "given", "holds", "fails"),
    [
        ("rsi_above", {"value": 90}, RISE, FALL),
        ("rsi_below", {"value": 10}, FALL, RISE),
        ("ema_alignment", {}, RISE, FALL),
        ("vwap_deviation", {"timeframe": "M15", "sigma": 1, "direction": "above"}, RISE, FALL),
        ("vwap_deviation", {"timeframe": "M15", "sigma": 1, "direction": "below"}, FALL, RISE),
    ],
)
def test_a_condition_holds_in_a_rise_and_not_in_a_fall_or_the_other_way(
    name: str, given: dict[str, Any], holds: Bars, fails: Bars
) -> None:
    assert stands(leaf(name, **given), on(holds)).is_met
    assert stands(leaf(name, **given), on(fails)).state is Truth.FAILS


def test_the_average_range_is_compared_as_a_price_or_as_a_ratio_of_its_mean() -> None:
    atr = Patterns(RISE, SETTINGS).atr
    assert atr is not None
    assert stands({"name": "atr_above", "value": atr * 0.99}, on(RISE)).is_met
    assert not stands({"name": "atr_above", "value": atr * 1.01}, on(RISE)).is_met
    assert stands({"name": "atr_below", "ratio": 1.1}, on(RISE)).is_met
    assert not stands({"name": "atr_above", "ratio": 1.1}, on(RISE)).is_met


ON_BARS = sorted(name for name in LEAVES if "timeframe" in str(conditions_json(parse(leaf(name), Side.LONG))))


@pytest.mark.parametrize("name", ON_BARS)
def test_bars_that_are_missing_too_few_or_too_old_leave_a_condition_unknown(name: str) -> None:
    data = leaf(name, timeframe="M15")
    late = RISE.last_close_ms + Timeframe.M15.ms + 301_000
    assert stands(data, facts()).state is Truth.UNKNOWN
    assert stands(data, on(RISE[:10])).state is Truth.UNKNOWN
    assert "overdue" in stands(data, on(RISE, now_ms=late)).present


def test_a_break_of_structure_holds_for_some_bars_and_until_it_is_undone() -> None:
    hill = [10.0, 11, 12, 13, 12, 11, 10.5, 11, 12, 13.9]  # breaks the swing high of 13.5
    before = [10.0 + 0.1 * (n % 2) for n in range(20)]

    def then(close: float) -> Bars:
        closes = [*before, *hill, close]
        return replace(bars_of(closes), high=np.array(closes) + 0.5)

    bars = then(14.5)
    assert stands(leaf("bos_bull", age_bars_max=1), on(bars)).is_met
    assert not stands(leaf("bos_bull", age_bars_max=0), on(bars)).is_met
    assert stands(leaf("bos_bear", timeframe="M15"), on(bars)).state is Truth.FAILS
    told = stands(leaf("bos_bull"), on(then(13.0)))
    assert not told.is_met
    assert "undone since" in told.present
    assert BreakKind.BOS in told.present


# --- joins ---------------------------------------------------------------------------------------------------------

HOLDS, FAILS, UNKNOWN = leaf("price_above", price=1.0), leaf("price_above", price=2.0), leaf("vix_below")


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({"all": [HOLDS, HOLDS]}, Truth.HOLDS),
        ({"all": [HOLDS, FAILS]}, Truth.FAILS),
        ({"all": [HOLDS, UNKNOWN]}, Truth.UNKNOWN),
        ({"all": [FAILS, UNKNOWN]}, Truth.FAILS),
        ({"any": [FAILS, HOLDS]}, Truth.HOLDS),
        ({"any": [FAILS, FAILS]}, Truth.FAILS),
        ({"any": [UNKNOWN, HOLDS]}, Truth.HOLDS),
        ({"any": [UNKNOWN, FAILS]}, Truth.UNKNOWN),
        ({"not": HOLDS}, Truth.FAILS),
        ({"not": FAILS}, Truth.HOLDS),
        ({"not": UNKNOWN}, Truth.UNKNOWN),
    ],
)
def test_what_is_unknown_is_not_met_and_neither_is_its_opposite(data: object, state: Truth) -> None:
    verdict = evaluate(parse(data), facts())
    assert verdict.state is state
    assert verdict.is_met is (state is Truth.HOLDS)


def test_a_verdict_shows_the_tree_with_every_leaf_explained() -> None:
    verdict = evaluate(parse({"all": [HOLDS, {"not": UNKNOWN}]}), facts())
    assert verdict.as_json() == {
        "name": "all",
        "state": "unknown",
        "parts": [
            {"name": "price_above", "state": "holds", "present": "bid 1.1", "wanted": "bid above 1"},
            {
                "name": "not",
                "state": "unknown",
                "parts": [
                    {
                        "name": "vix_below",
                        "state": "unknown",
                        "present": "the volatility index is not known",
                        "wanted": "VIX below 25",
                    }
                ],
            },
        ],
    }


def test_plans_that_ask_the_same_are_answered_once() -> None:
    seen = on(RISE)
    condition: Condition = parse([leaf("rsi_above"), {"not": leaf("rsi_above")}, leaf("rsi_above", value=60)])
    evaluate(condition, seen)
    assert len(seen.kept) == len(set(leaves_of(condition))) == 2
