"""What trailing stops hang on: ATR with its baseline, confirmed swings and the last impulse, per timeframe."""

from dataclasses import dataclass

from dtms.domain.market import Side, Timeframe


@dataclass(frozen=True, slots=True)
class Swing:
    """A confirmed swing's price, and when its confirming bar closed (UTC ms)."""

    price: float
    confirmed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Impulse:
    """A fast move over some bars; ``origin`` is the far end of its first candle, ``begun_ms`` that one's opening."""

    side: Side
    origin: float
    begun_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Read at ``close_ms`` (UTC), the close of the newest bar; all prices, ATRs as price differences."""

    symbol: str
    timeframe: Timeframe
    close_ms: int
    close: float
    atr: float
    """ATR(14)."""
    atr_baseline: float
    """The usual ATR(14) on the same timeframe."""
    swing_lows: tuple[Swing, ...]
    """Oldest first."""
    swing_highs: tuple[Swing, ...]
    impulse: Impulse | None = None
