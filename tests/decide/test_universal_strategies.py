"""Strategies: the table is the specification's, and what is resolved of it is frozen."""

from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest

from dtms.decide.strategies import ROWS, resolve, timeframe_of
from dtms.domain.errors import Misconfigured
from dtms.domain.managed import TrailingMethod, UniversalRules
from dtms.domain.market import Timeframe
from dtms.domain.strategies import Strategy, UnknownStrategy
from dtms.domain.symbols import SymbolClass, canonical, class_of
from dtms.market.regime import Session
from dtms.settings import UniversalSettings

SETTINGS = UniversalSettings()
M1, M5, M15 = Timeframe.M1, Timeframe.M5, Timeframe.M15

SPECIFIED = {
    # strategy: breakeven (Asian), method, timeframe, ATR ×, lookback, buffer, min change, cooldown, partial, share
    "breakout_ib_volatility_trap": (1.0, 0.75, "structure_atr_hybrid", M5, 1.5, 2, None, 0.1, 20, 1.5, "0.5"),
    "trend_continuation_pullback": (1.0, 1.0, "structure", M5, None, 1, 0.5, 0.1, 45, None, None),
    "liquidity_sweep_reversal": (0.5, 0.5, "micro_choch", M1, None, None, None, 0.1, 15, None, None),
    "order_block_rejection": (1.0, 0.75, "displacement_or_structure", M5, None, None, None, 0.1, 30, None, None),
    "mean_reversion_range_scalp": (0.5, 0.5, "none", None, None, None, None, 0.1, 10, None, None),
    "default_standard": (1.0, 1.0, "atr", M15, 2.0, None, None, 0.1, 60, None, None),
}
"""None: the specification says nothing."""


def resolved(
    strategy: str, session: Session = Session.LONDON, settings: UniversalSettings = SETTINGS
) -> UniversalRules:
    return resolve(strategy, "EURUSDc", session, 0.001, settings)


@pytest.mark.parametrize("strategy", SPECIFIED)
def test_a_named_strategy_has_the_specified_row(strategy: str) -> None:
    usual, asian = resolved(strategy), resolved(strategy, Session.ASIAN)
    expected = SPECIFIED[strategy]
    found = (
        usual.breakeven_r,
        asian.breakeven_r,
        usual.trailing.value,
        usual.timeframe,
        usual.atr_multiplier,
        usual.lookback,
        usual.buffer_atr,
        usual.min_change_r,
        usual.cooldown_s,
        usual.partial_r,
        None if usual.partial_share is None else str(usual.partial_share),
    )
    compared = [(f, e) for f, e in zip(found, expected, strict=True) if e is not None]
    assert [f for f, _ in compared] == [e for _, e in compared]
    assert (usual.partial_r is None) == (expected[-2] is None) == (usual.partial_share is None)


def test_there_are_eighteen_and_all_others_have_the_row_of_the_default() -> None:
    assert len(ROWS) == len(Strategy) == 18
    for strategy in set(Strategy) - {Strategy(name) for name in SPECIFIED}:
        assert ROWS[strategy] == ROWS[Strategy.DEFAULT_STANDARD]
        assert resolved(strategy.value).strategy_type == strategy.value
        assert timeframe_of(strategy.value) is M15


@pytest.mark.parametrize(
    ("name", "near"),
    [("breakout_bso", "breakout_bos"), ("Kill_Zone", "kill_zone"), ("", None), ("dtms", None), ("default", None)],
)
def test_an_unknown_name_is_an_error_that_lists_the_valid_ones_and_near_ones(name: str, near: str | None) -> None:
    with pytest.raises(UnknownStrategy) as told:
        resolved(name)
    assert told.value.valid == tuple(s.value for s in Strategy)
    assert all(strategy in str(told.value) for strategy in told.value.valid)
    assert near is None or told.value.near[0] == near


@pytest.mark.parametrize("symbol", ["BTCUSDc", "XAUUSD.m", "EURUSD", "US500"])
def test_a_sessions_factor_lies_between_0_85_and_1_1_for_every_class(symbol: str) -> None:
    factors = [resolve("kill_zone", symbol, session, None, SETTINGS).session_factor for session in Session]
    assert all(0.85 <= factor <= 1.1 for factor in factors)
    assert len(set(factors)) > 1


@pytest.mark.parametrize(
    ("symbol", "kind"),
    [
        ("BTCUSDc", SymbolClass.CRYPTO),
        ("ETHUSD", SymbolClass.CRYPTO),
        ("DOGEUSD", SymbolClass.CRYPTO),
        ("XAUUSD.m", SymbolClass.GOLD),
        ("GOLD", SymbolClass.GOLD),
        ("EURUSD-ecn", SymbolClass.FX),
        ("usdjpy", SymbolClass.FX),
        ("US500", SymbolClass.OTHER),
        ("XAGUSD", SymbolClass.OTHER),
        ("DOT", SymbolClass.OTHER),
    ],
)
def test_a_symbol_has_one_class_however_the_broker_spells_it(symbol: str, kind: SymbolClass) -> None:
    assert class_of(symbol) is kind


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("DOGEUSD.m", "DOGEUSD"),
        ("AVAXUSDc", "AVAXUSD"),
        ("EURUSDM", "EURUSD"),
        ("USDJPYpro", "USDJPY"),
        ("US500", "US500"),
    ],
)
def test_a_base_of_more_than_three_letters_keeps_its_name(symbol: str, name: str) -> None:
    assert canonical(symbol) == name


def test_a_symbols_row_wins_over_its_class_which_wins_over_the_strategys() -> None:
    settings = UniversalSettings(
        strategies={"kill_zone": {"cooldown_s": 1.0, "breakeven_r": 2.0, "lookback": 3.0}},
        symbols={"fx": {"cooldown_s": 2.0, "atr_multiplier": 3.0}, "EURUSD": {"atr_multiplier": 4.0}},
    )
    rules = resolved("kill_zone", settings=settings)
    assert (rules.breakeven_r, rules.cooldown_s, rules.atr_multiplier, rules.lookback) == (2.0, 2.0, 4.0, 3)
    assert isinstance(rules.lookback, int)
    other = resolve("kill_zone", "XAUUSD", Session.LONDON, None, settings)
    assert (other.cooldown_s, other.atr_multiplier) == (1.0, 2.0)


def test_a_partial_can_be_configured_where_the_table_has_none() -> None:
    settings = UniversalSettings(strategies={"default_standard": {"partial_r": 2.0, "partial_share": 0.3}})
    rules = resolved("default_standard", settings=settings)
    assert (rules.partial_r, rules.partial_share) == (2.0, Decimal("0.3"))


@pytest.mark.parametrize(
    "rows",
    [
        {"strategies": {"kill_zon": {"cooldown_s": 1.0}}},
        {"strategies": {"kill_zone": {"cooldown": 1.0}}},
        {"symbols": {"EURUSD": {"partial_share": 1.0}}},
        {"symbols": {"EURUSD": {"lookback": 1.5}}},
        {"symbols": {"EURUSD": {"breakeven_r": -1.0}}},
    ],
)
def test_a_row_that_cannot_work_is_refused(rows: dict[str, dict[str, dict[str, float]]]) -> None:
    with pytest.raises(Misconfigured):
        UniversalSettings(**rows)  # type: ignore[arg-type]


def test_resolved_rules_cannot_change() -> None:
    rules = resolved("default_standard")
    assert (rules.trailing, rules.baseline_atr, rules.session) == (TrailingMethod.ATR, 0.001, "london")
    with pytest.raises(FrozenInstanceError):
        rules.breakeven_r = 0.1  # type: ignore[misc]
