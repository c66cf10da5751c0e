"""Thresholds, weights, timers and limits, as frozen, self-checking values. Names are the configuration's keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from dtms.domain.errors import Misconfigured
from dtms.domain.strategies import Strategy


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise Misconfigured(rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeSettings:
    """The regime's dimensions and the factors of the adaptive VWAP-slope threshold."""

    volatility_bars: int = 96
    volatility_low: float = 0.7
    volatility_high: float = 1.3
    structure_bars: int = 96
    structure_range: float = 0.8
    bollinger_period: int = 20
    bollinger_sigma: float = 2.0
    atr_period: int = 14
    slope_session: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 1.5, "london": 1.0, "ny": 0.8, "overlap": 0.7}
    )
    slope_volatility: Mapping[str, float] = field(default_factory=lambda: {"low": 1.4, "normal": 1.0, "high": 0.8})
    slope_structure: Mapping[str, float] = field(default_factory=lambda: {"range": 1.3, "trend": 1.0})
    slope_factor_min: float = 0.5
    slope_factor_max: float = 1.8

    def __post_init__(self) -> None:
        _require(0 < self.volatility_low < self.volatility_high, "regime.volatility_low must lie below volatility_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """The six layers' figures; factors are in the order structure, vwap, momentum, trend, flow, candle."""

    swing_side_bars: int = 3
    break_atr: float = 0.1
    break_points: float = 3.0
    break_decay_bars: int = 16
    vwap_hours: float = 8.0
    vwap_slope_bars: int = 3
    vwap_slope_atr: float = 0.05
    vwap_flip_closes: int = 2
    opposite_share_bars: int = 12
    opposite_share_high: float = 0.65
    opposite_share_high_low_volatility: float = 0.72
    opposite_share_low: float = 0.35
    rsi_period: int = 14
    rsi_low: float = 45.0
    rsi_low_quiet: float = 40.0
    rsi_high: float = 55.0
    rsi_high_quiet: float = 60.0
    rsi_bars: int = 3
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    macd_bars: int = 3
    ema_fast: int = 50
    ema_slow: int = 200
    ema_slope_bars: int = 10
    ema_fast_slope_atr: float = 0.10
    ema_slow_slope_atr: float = 0.05
    trend_points: float = 0.75
    flow_hours: float = 2.0
    flow_sigma_hours: float = 24.0
    flow_threshold: float = 0.5
    candle_body: float = 0.65
    candle_range_atr: float = 0.8
    candle_weights: tuple[float, ...] = (1.0, 2 / 3, 1 / 3)
    full_range: float = 11.5
    factors_range: tuple[float, ...] = (0.7, 1.3, 1.0, 0.8, 1.2, 1.1)
    factors_high_volatility: tuple[float, ...] = (1.2, 0.9, 0.8, 1.0, 1.1, 0.9)
    factor_asian: float = 0.8
    confluence_share: float = 0.9

    def __post_init__(self) -> None:
        _require(len(self.factors_range) == 6, "score.factors_range needs six factors")
        _require(len(self.factors_high_volatility) == 6, "score.factors_high_volatility needs six factors")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionSettings:
    """Thresholds, timers and shares of the state machine and its moves."""

    hedge: Literal["hedge", "close", "off"] = "hedge"
    attach_stop: bool = False
    warn_l1: float = -3.5
    warn_l1_exit: float = 0.0
    warn_l2: float = -5.5
    warn_l2_exit: float = -3.5
    hedge_at: float = -7.0
    recovered_at: float = 1.0
    flat_min: float = 150.0
    recovery_min: float = 90.0
    close_share: float = 0.5
    hedge_share: float = 0.5
    readd_share: float = 0.5
    tighten_r: float = 0.3
    tighten_atr: float = 1.0
    hedge_stop_atr: float = 1.5
    nominal_risk_atr: float = 1.5
    hedges_max: int = 2
    armed_r: float = 0.2
    armed_min: float = 15.0
    armed_emergency_r: float = -0.5
    partial_below_minimum: Literal["skip", "close_all"] = "skip"
    failures_max: int = 5
    failure_backoff_s: float = 5.0

    def __post_init__(self) -> None:
        _require(
            self.hedge_at < self.warn_l2 < self.warn_l1 < self.warn_l1_exit,
            "protection: thresholds must fall: warn_l1_exit > warn_l1 > warn_l2 > hedge_at",
        )
        _require(self.warn_l2 < self.warn_l2_exit, "protection.warn_l2_exit must lie above warn_l2")
        for name in ("close_share", "hedge_share", "readd_share"):
            _require(0 < getattr(self, name) <= 1, f"protection.{name} must lie in (0, 1]")
        for name in ("flat_min", "recovery_min", "tighten_r", "tighten_atr", "hedge_stop_atr", "nominal_risk_atr"):
            _require(getattr(self, name) > 0, f"protection.{name} must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class CadenceSettings:
    """When a trade is looked at, in market seconds."""

    fast_s: float = 30.0
    fast_high_volatility_s: float = 15.0
    fast_flat_s: float = 60.0
    fast_hedged_s: float = 60.0
    deep_s_max: float = 900.0
    deep_cooldown_s: float = 600.0
    adverse_percent: float = 0.2
    adverse_r: float = 0.25
    stale_s: float = 300.0
    stale_checks_alert: int = 3
    tick_poll_ms: int = 250
    """Machine milliseconds between two looks at the quotes."""

    def __post_init__(self) -> None:
        _require(self.tick_poll_ms >= 10, "cadence.tick_poll_ms must be at least 10")


@dataclass(frozen=True, slots=True, kw_only=True)
class RailSettings:
    """Limits that stop what adds risk, never what reduces it."""

    daily_loss_percent: float = 2.0
    hourly_loss_percent: float = 1.0
    loss_anchor: Literal["balance", "equity", "higher"] = "higher"
    reset_hour: int | None = None
    """Hour of the daily reset in ``reset_zone``; None is the broker's day change."""
    reset_zone: str = "UTC"
    stop_outs_max: int = 3
    news_before_min: float = 30.0
    news_after_min: float = 15.0
    news_impacts: tuple[str, ...] = ("high", "ultra")
    spread_factor: float = 2.0
    repeat_s: float = 10.0
    readds_max: int = 2
    requests_per_day: int = 2000
    requests_reserve: int = 500

    def __post_init__(self) -> None:
        _require(self.daily_loss_percent > 0, "rails.daily_loss_percent must be positive")
        _require(
            self.requests_reserve < self.requests_per_day, "rails.requests_reserve must lie below requests_per_day"
        )


LAG_MARGIN, SETTLE_LAGS = 1.5, 5.0
"""How many times a broker's proven delay is waited for: before a result counts as not shown, as not executed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentSettings:
    """How long an unknown outcome may stay so, in market seconds."""

    settle_s: float = 20.0
    escalate_s: float = 300.0
    quarantine_s: float = 60.0
    """How long after an exposure-changing request was sent, and then found not executed, none of its kind is sent."""
    read_back_tries: int = 4
    read_back_wait_s: float = 0.3
    """Machine seconds between two looks for a result that is not listed yet."""

    def with_lag(self, lag_s: float) -> "IntentSettings":
        """Return settings that wait long enough for a broker which lists things so late; never less than these."""
        looks = max(1, self.read_back_tries - 1)
        return replace(
            self,
            read_back_wait_s=max(self.read_back_wait_s, LAG_MARGIN * lag_s / looks),
            settle_s=max(self.settle_s, SETTLE_LAGS * lag_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """How often the invariants are audited while dtms runs, in machine seconds."""

    every_s: float = 300.0
    confirm_s: float = 20.0
    """What was found is believed when it is still so after as long."""
    time_limit_s: float = 60.0
    """An audit that takes longer is given up, and the next one waited for."""


ROW_COLUMNS: Mapping[str, tuple[float, float]] = {
    "breakeven_r": (0.05, 20.0),
    "breakeven_asian_r": (0.05, 20.0),
    "atr_multiplier": (0.1, 20.0),
    "lookback": (1, 20),
    "buffer_atr": (0.0, 10.0),
    "min_change_r": (0.0, 5.0),
    "cooldown_s": (0.0, 86_400.0),
    "partial_r": (0.05, 20.0),
    "partial_share": (0.01, 0.99),
}
"""The figures of a strategy's row that configuration can change, with their closed bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalSettings:
    """The Universal SL/TP manager's figures; those of each strategy stand in ``decide/strategies.py``.

    ``strategies`` and ``symbols`` change single figures of a strategy's row: by strategy type, and by canonical symbol
    or class of symbols (crypto, gold, fx, other), which win over the strategy's.
    """

    check_s: float = 30.0
    strategies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    symbols: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    session_crypto: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 1.0, "london": 1.0, "ny": 1.05, "overlap": 1.1}
    )
    session_gold: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.9, "london": 1.0, "ny": 1.05, "overlap": 1.1}
    )
    session_fx: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.85, "london": 1.0, "ny": 1.0, "overlap": 1.1}
    )
    session_other: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.9, "london": 1.0, "ny": 1.0, "overlap": 1.05}
    )
    baseline_bars: int = 96
    """The baseline of ATR is its mean over so many bars of the same timeframe."""
    high_volatility: float = 1.5
    """ATR over its baseline above which the distance is multiplied by ``high_volatility_factor``."""
    high_volatility_factor: float = 1.2
    early_partial: float = 1.2
    """ATR over its baseline above which a partial is taken at ``early_partial_factor`` of its R."""
    early_partial_factor: float = 0.8
    micro_buffer_atr: float = 0.5
    displacement_buffer_atr: float = 0.3
    impulse_bars: int = 15
    impulse_range: float = 1.5
    fallback_spreads: float = 20.0
    """Trailing distance in spreads while ATR is unknown."""
    fallback_percent: float = 0.1
    """Trailing distance in percent of the price while ATR is unknown, where that is wider."""

    def __post_init__(self) -> None:
        for name in ("strategies", "symbols"):
            for row, figures in getattr(self, name).items():
                _require_row(f"universal.{name}.{row}", figures)
        for strategy in self.strategies:
            _require(strategy in _STRATEGIES, f"universal.strategies.{strategy}: no such strategy")


_STRATEGIES = frozenset(strategy.value for strategy in Strategy)


def _require_row(key: str, figures: Mapping[str, float]) -> None:
    for column, figure in figures.items():
        _require(column in ROW_COLUMNS, f"{key}.{column}: known are {', '.join(ROW_COLUMNS)}")
        low, high = ROW_COLUMNS[column]
        _require(low <= figure <= high, f"{key}.{column} must lie between {low:g} and {high:g}")
        _require(column != "lookback" or figure == int(figure), f"{key}.lookback must be a whole number")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitSettings:
    """Intelligent Exit's figures, by class of symbol where they differ; progress is the share of the way to the target.

    Figures of breakeven, partial, trailing distance and session are frozen into a position when it is taken over; those
    of the gates and of the VIX hold for all positions from now on.
    """

    auto_enable: bool = False
    """Whether new positions are taken over without being asked for."""
    check_s: float = 30.0
    breakeven_progress: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 0.3, "gold": 0.3, "fx": 0.3, "other": 0.3}
    )
    breakeven_progress_scalp: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 0.25, "gold": 0.25, "fx": 0.25, "other": 0.25}
    )
    partial_progress: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 0.6, "gold": 0.6, "fx": 0.6, "other": 0.6}
    )
    partial_progress_scalp: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 0.4, "gold": 0.4, "fx": 0.4, "other": 0.4}
    )
    partial_share: float = 0.5
    trailing_atr: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 2.0, "gold": 1.5, "fx": 1.2, "other": 1.5}
    )
    session_crypto: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 1.0, "london": 1.0, "ny": 1.05, "overlap": 1.1}
    )
    session_gold: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.9, "london": 1.0, "ny": 1.1, "overlap": 1.2}
    )
    session_fx: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.87, "london": 1.0, "ny": 1.0, "overlap": 1.1}
    )
    session_other: Mapping[str, float] = field(
        default_factory=lambda: {"asian": 0.9, "london": 1.0, "ny": 1.0, "overlap": 1.1}
    )
    min_change_r: float = 0.1
    cooldown_s: float = 60.0
    active_r: float = 0.2
    """Profit in R from which a stop trails although breakeven was not reached."""
    wide_atr: float = 2.0
    """Trailing distance in ATR where it is wider, while ``wide_gates`` gates hold."""
    wide_gates: int = 3
    stretch_sigma: float = 2.0
    node_atr: float = 0.2
    vix_calm: float = 18.0
    vix_points: float = 10.0
    """So far above ``vix_calm`` distances are doubled, if ``vix_factor_max`` allows it."""
    vix_factor_max: float = 2.0
    squeeze_bars: int = 20
    squeeze_sigma: float = 2.0
    squeeze_atr: float = 1.5
    direction_ema: int = 50
    direction_bars: int = 10
    direction_slope_atr: float = 0.02
    """An average that moves less than this (ATR of its timeframe per bar) has no direction to disagree with."""
    stretch_ema: int = 200
    node_hours: float = 24.0
    node_bin_atr: float = 0.1
    node_factor: float = 1.5
    """A volume node has at least so many times the mean volume at a price."""

    def __post_init__(self) -> None:
        for late, early in (
            (self.partial_progress, self.breakeven_progress),
            (self.partial_progress_scalp, self.breakeven_progress_scalp),
        ):
            for name, progress in early.items():
                _require(progress <= late[name], f"exits: breakeven of {name} must not come later than its partial")
        _require(0 < self.partial_share < 1, "exits.partial_share must lie between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherSettings:
    """Which positions of others the position watcher hands to a manager."""

    magics: tuple[int, ...] = ()
    """Magic numbers of other programs whose positions are watched, besides 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """When auto-execution plans are looked at, and when they are given up; percentages are of the entry."""

    check_s: float = 15.0
    near_percent: float = 0.1
    """So near to an entry a plan is looked at with every quote."""
    tolerance_percent: float = 0.05
    """How near to its entry a plan executes that names neither a tolerance nor a condition on the price."""
    expires_h: float = 24.0
    expires_micro_scalp_h: float = 2.0
    expires_range_scalp_h: float = 8.0
    expires_max_h: float = 720.0
    runaway_percent: Mapping[str, float] = field(
        default_factory=lambda: {"crypto": 0.5, "gold": 0.3, "fx": 0.2, "other": 0.3}
    )
    runaway_atr: float = 1.0
    """A price has run away when it is beyond the entry by its percentage, and by so many ATR(14, M15)."""
    stale_h: float = 24.0
    stale_percent: float = 0.3
    """A plan older than ``stale_h`` is given up when the price is further away than this."""
    risk_percent_max: float = 2.0
    """The largest share of the equity that one plan may risk."""
    levels_max: int = 10
    plans_max: int = 1_000
    """How many plans may wait at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decisions depend on; reloadable as a whole."""

    regime: RegimeSettings = field(default_factory=RegimeSettings)
    score: ScoreSettings = field(default_factory=ScoreSettings)
    protection: ProtectionSettings = field(default_factory=ProtectionSettings)
    cadence: CadenceSettings = field(default_factory=CadenceSettings)
    rails: RailSettings = field(default_factory=RailSettings)
    intents: IntentSettings = field(default_factory=IntentSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    universal: UniversalSettings = field(default_factory=UniversalSettings)
    exits: ExitSettings = field(default_factory=ExitSettings)
    watcher: WatcherSettings = field(default_factory=WatcherSettings)
    plans: PlanSettings = field(default_factory=PlanSettings)
