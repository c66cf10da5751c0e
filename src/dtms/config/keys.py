"""What is known of configuration keys beside their names, types and defaults: all of it as tables.

A key is dotted (``protection.warn_l1``). The settings' sections stand at the top level of the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ENVIRONMENT: Final[Mapping[str, str]] = {
    "DTMS_API_HOST": "api.host",
    "DTMS_API_PORT": "api.port",
    "DTMS_MAIN_HOST": "main.host",
    "DTMS_MAIN_PORT": "main.port",
    "DTMS_API_URL": "client.api_url",
    "DTMS_MAIN_URL": "client.main_url",
    "DTMS_RETRY_COUNT": "client.retry_count",
    "DTMS_TIMEOUT": "client.timeout_s",
    "DTMS_STORE_URL": "store.url",
    "DTMS_TERMINAL": "terminal.module",
    "DTMS_TERMINAL_HOST": "terminal.host",
    "DTMS_TERMINAL_PORT": "terminal.port",
    "DTMS_TERMINAL_SECRET": "terminal.secret",
    "DTMS_MONITORING_INTERVAL": "cadence.fast_s",
    "DTMS_MODE": "mode",
    "MT5_LOGIN": "mt5.login",
    "MT5_PASSWORD": "mt5.password",
    "MT5_SERVER": "mt5.server",
    "MT5_PATH": "mt5.path",
}

READ_ELSEWHERE: Final = frozenset(
    {
        "DTMS_DATA_DIR",  # recorded market data, for tests
        "DTMS_ENABLE_METRICS",
        "DTMS_RATE_LIMIT_ENABLED",
        "DTMS_USE_API_FALLBACK",
        "DTMS_DISABLE_LOCAL_INIT",
        "DTMS_DISCORD_WEBHOOK_URL",
        "DTMS_TELEGRAM_TOKEN",
        "DTMS_TELEGRAM_CHAT_IDS",
        "DTMS_ALERT_URLS",
    }
)
"""Names that belong to other programs of the house: known, and without effect here."""

REFUSED: Final[Mapping[str, str]] = {
    "DTMS_API_KEYS": "API keys are not supported by this version, and an unprotected server must not look protected",
}

SECRETS: Final = frozenset({"terminal.secret", "mt5.password"})

RELOADABLE_SECTIONS: Final = frozenset(
    {"regime", "score", "protection", "cadence", "rails", "intents", "audit", "universal", "exits", "watcher", "plans"}
)
RELOADABLE_KEYS: Final = frozenset({"log.level"})


def is_reloadable(key: str) -> bool:
    return key in RELOADABLE_KEYS or key.partition(".")[0] in RELOADABLE_SECTIONS


@dataclass(frozen=True, slots=True)
class Range:
    """Closed bounds of every number whose key matches."""

    pattern: re.Pattern[str]
    low: float
    high: float

    @property
    def rule(self) -> str:
        return f"must lie between {self.low:g} and {self.high:g}"


def _range(pattern: str, low: float, high: float) -> Range:
    return Range(re.compile(pattern), low, high)


_DAY_S: Final = 86_400

RANGES: Final = (
    # The first that matches counts. Names end in their unit, so most of the table is by unit.
    _range(r"(api|main|terminal)\.port", 1, 65_535),
    _range(r"mt5\.login", 1, 2**63 - 1),
    _range(r"magic_prefix", 1, 2**13 - 1),
    _range(r"client\.retry_count", 0, 20),
    _range(r"client\.timeout_s", 0.1, 300),
    _range(r"startup\.broker_timeout", 0, _DAY_S),
    _range(r"store\.backup_every_h", 0.1, 168),
    _range(r"store\.backups_kept", 1, 1_000),
    _range(r"store\.archive_after_days", 1, 36_500),
    _range(r"vix\.stale_days", 0.1, 365),
    _range(r"flow\.(poll_s|timeout_s)", 1, 300),
    _range(r"flow\.stale_s", 5, 3_600),
    _range(r"flow\.backfill_min", 0, 1_560),
    _range(r"fetching\.refresh_h", 0.1, 168),
    _range(r"fetching\.timeout_s", 0.1, 300),
    _range(r"cadence\.tick_poll_ms", 10, 60_000),
    _range(r"cadence\.stale_checks_alert", 1, 1_000),
    _range(r"cadence\..*_s(_max)?", 1, _DAY_S),
    _range(r"cadence\.(adverse_percent|adverse_r)", 0.001, 100),
    _range(r"rails\.reset_hour", 0, 23),
    _range(r"rails\.repeat_s", 0, _DAY_S),
    _range(r"rails\.news_.*_min", 0, 1_440),
    _range(r"rails\.(daily|hourly)_loss_percent", 0.01, 100),
    _range(r"rails\.(stop_outs_max|requests_per_day)", 1, 1_000_000),
    _range(r"rails\.(readds_max|requests_reserve)", 0, 1_000_000),
    _range(r"rails\.spread_factor", 1, 1_000),
    _range(r"watcher\.magics", 0, 2**63 - 1),
    _range(r"intents\.(settle_s|escalate_s)", 1, _DAY_S),
    _range(r"intents\.quarantine_s", 0, _DAY_S),
    _range(r"audit\.(every_s|time_limit_s)", 1, _DAY_S),
    _range(r"audit\.confirm_s", 0, 3_600),
    _range(r"intents\.read_back_tries", 1, 100),
    _range(r"intents\.read_back_wait_s", 0, 60),
    _range(r"protection\.(warn_l1|warn_l1_exit|warn_l2|warn_l2_exit|hedge_at|recovered_at)", -11.5, 11.5),
    _range(r"protection\.(hedges_max|failures_max)", 0, 100),
    _range(r"protection\.armed_(r|emergency_r)", -10, 10),
    _range(r"protection\.armed_min", 0, 1_440),
    _range(r"protection\..*_min", 1, 100_000),
    _range(r"protection\..*_share", 0.01, 1),
    _range(r"protection\..*_(r|atr)", 0.01, 100),
    _range(r"protection\.failure_backoff_s", 0.1, 3_600),
    _range(r"universal\.check_s", 1, 3_600),
    _range(r"universal\.session_.*", 0.5, 2),
    _range(r"universal\.baseline_bars", 2, 500),
    _range(r"universal\.impulse_bars", 2, 100),
    _range(r"universal\.early_partial_factor", 0.1, 1),
    _range(r"universal\.(high_volatility.*|early_partial)", 1, 10),
    _range(r"universal\..*_atr", 0, 10),
    _range(r"universal\.(impulse_range|fallback_spreads)", 0.1, 1_000),
    _range(r"universal\.fallback_percent", 0.001, 10),
    _range(r"exits\.check_s", 1, 3_600),
    _range(r"exits\.(breakeven|partial)_progress.*", 0.01, 10),
    _range(r"exits\.partial_share", 0.01, 0.99),
    _range(r"exits\.session_.*", 0.5, 2),
    _range(r"exits\.cooldown_s", 0, _DAY_S),
    _range(r"exits\.wide_gates", 1, 4),
    _range(r"exits\.vix_factor_max", 1, 10),
    _range(r"exits\.vix_(calm|points)", 1, 100),
    _range(r"exits\.(squeeze_bars|direction_ema|direction_bars|stretch_ema)", 2, 250),
    _range(r"exits\.node_hours", 1, 48),
    _range(r"exits\.node_(bin_atr|atr)", 0.01, 2),
    _range(r"exits\.(min_change_r|active_r|direction_slope_atr)", 0, 10),
    _range(r"exits\.(trailing_atr.*|wide_atr|stretch_sigma|squeeze_sigma|squeeze_atr|node_factor)", 0.1, 20),
    _range(r"plans\.check_s", 1, 3_600),
    _range(r"plans\.(expires.*_h|stale_h)", 0.1, 8_760),
    _range(r"plans\.(near|tolerance)_percent", 0.001, 5),
    _range(r"plans\.(runaway_percent\..*|stale_percent)", 0.01, 50),
    _range(r"plans\.runaway_atr", 0, 20),
    _range(r"plans\.risk_percent_max", 0.01, 100),
    _range(r"plans\.levels_max", 1, 100),
    _range(r"plans\.plans_max", 1, 100_000),
    _range(r"score\.(opposite_share_(high|low).*|confluence_share|candle_body)", 0, 1),
    _range(r"score\.candle_weights.*", 0, 1),
    _range(r"score\.rsi_(low|high).*", 0, 100),
    _range(r"(regime|score)\..*(_period|_bars|_closes|macd_fast|macd_slow|macd_signal|ema_fast|ema_slow)", 1, 1_000),
    _range(r"score\..*_hours", 0.1, 96),
    _range(r"score\.(vwap_slope_atr|ema_(fast|slow)_slope_atr|full_range)", 0.0001, 100),
    _range(r"(regime|score)\..*", 0, 100),
)


def range_of(key: str) -> Range | None:
    """Return the bounds of a key's numbers, None when it has none."""
    return next((r for r in RANGES if r.pattern.fullmatch(key)), None)
