"""R: what a position risks from its entry to its first stop, which is taken once and never changes."""

from dataclasses import dataclass

from dtms.domain.managed import Managed
from dtms.domain.position import Position
from dtms.domain.trade import Trade
from dtms.settings import Settings

FALLBACK_SHARE = 0.005
"""Of the entry: R of a position without a stop while ATR is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialRisk:
    """R as a price difference, and the stop that it was taken from; nominal where there was none to take it from."""

    stop: float | None
    risk: float
    is_nominal: bool


def initial_risk(
    position: Position, atr_m15: float | None, settings: Settings, known: Trade | Managed | None = None
) -> InitialRisk:
    """Take R of a position: what is known of it already, else from its stop, else nominal 1.5 ATR(14, M15).

    A stop that protects no loss (at entry or beyond it) is none to take R from.

    Args:
        atr_m15: None while it is unknown: half a percent of the entry stands in.
        known: what another manager registered of the same position.
    """
    if known is not None and known.risk > 0.0:
        return InitialRisk(stop=known.initial_stop, risk=known.risk, is_nominal=known.nominal_risk)
    stop = position.stop
    if stop is not None and (position.entry - stop) * position.side.sign > 0.0:
        return InitialRisk(stop=stop, risk=abs(position.entry - stop), is_nominal=False)
    is_known = atr_m15 is not None and atr_m15 > 0.0
    nominal = settings.protection.nominal_risk_atr * (atr_m15 or 0.0) if is_known else position.entry * FALLBACK_SHARE
    return InitialRisk(stop=stop, risk=nominal, is_nominal=True)
