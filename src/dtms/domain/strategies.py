"""The names of the strategies that a trade can carry; what each means for its stop stands in ``decide/strategies``."""

import difflib
from enum import StrEnum

from dtms.domain.errors import DtmsError


class Strategy(StrEnum):
    """Every ``strategy_type`` that is known."""

    BREAKOUT_IB_VOLATILITY_TRAP = "breakout_ib_volatility_trap"
    BREAKOUT_BOS = "breakout_bos"
    TREND_CONTINUATION_PULLBACK = "trend_continuation_pullback"
    TREND_CONTINUATION_BOS = "trend_continuation_bos"
    LIQUIDITY_SWEEP_REVERSAL = "liquidity_sweep_reversal"
    ORDER_BLOCK_REJECTION = "order_block_rejection"
    MEAN_REVERSION_RANGE_SCALP = "mean_reversion_range_scalp"
    MEAN_REVERSION_VWAP_FADE = "mean_reversion_vwap_fade"
    MICRO_SCALP = "micro_scalp"
    BREAKER_BLOCK = "breaker_block"
    MARKET_STRUCTURE_SHIFT = "market_structure_shift"
    FVG_RETRACEMENT = "fvg_retracement"
    MITIGATION_BLOCK = "mitigation_block"
    INDUCEMENT_REVERSAL = "inducement_reversal"
    PREMIUM_DISCOUNT_ARRAY = "premium_discount_array"
    SESSION_LIQUIDITY_RUN = "session_liquidity_run"
    KILL_ZONE = "kill_zone"
    DEFAULT_STANDARD = "default_standard"


class UnknownStrategy(DtmsError):
    """A strategy type that nobody knows: an error of whoever asked, never the default."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.valid = tuple(strategy.value for strategy in Strategy)
        self.near = tuple(difflib.get_close_matches(name.strip().lower(), self.valid, n=3, cutoff=0.6))
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        super().__init__(f"strategy_type {name!r} is unknown{hint} (known are {', '.join(self.valid)})")


def strategy_of(name: str) -> Strategy:
    """Read a strategy type.

    Raises:
        UnknownStrategy: for any name that is not exactly one of them.
    """
    try:
        return Strategy(name)
    except ValueError:
        raise UnknownStrategy(name) from None
