"""A market as one side sees it, so that every pattern is written once, for the side that gains when prices rise."""

from dataclasses import replace

from dtms.domain.market import Bars, Side


def seen_from(bars: Bars, side: Side) -> Bars:
    """Return the bars as a LONG sees them: for a SHORT every price is negated, which floats do exactly."""
    if side is Side.LONG:
        return bars
    return replace(bars, open=-bars.open, high=-bars.low, low=-bars.high, close=-bars.close)
