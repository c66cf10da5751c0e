"""From a share of the equity to lots: rounded down, so that the stop never costs more than was meant."""

from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.market import Instrument
from dtms.domain.prices import floor_lots


@dataclass(frozen=True, slots=True)
class Unsizable:
    """No volume risks so little; the reason has the figures."""

    reason: str


def sized(
    *, risk_pct: float, equity: float, entry: float, stop: float, instrument: Instrument, money_per_lot: float
) -> Decimal | Unsizable:
    """Return the lots whose loss at the stop is at most ``risk_pct`` percent of the equity.

    ``money_per_lot`` is what one lot loses from ``entry`` to ``stop``, in account currency. More than the largest
    volume is that one; less than the smallest is impossible.
    """
    if not (money_per_lot > 0.0 and equity > 0.0 and risk_pct > 0.0):
        told = f"{money_per_lot:.2f} per lot from {entry:.10g} to {stop:.10g}, {risk_pct:g} % of {equity:.2f}"
        return Unsizable(f"nothing can be sized on a loss of {told}")
    money = equity * risk_pct / 100.0
    exact = Decimal(repr(money / money_per_lot))
    lots = floor_lots(min(exact, instrument.volume_max), instrument)
    if lots >= instrument.volume_min:
        return lots
    least_pct = 100.0 * money_per_lot * float(instrument.volume_min) / equity
    return Unsizable(
        f"{risk_pct:g} % of {equity:.2f} is {money:.2f}, the stop costs {money_per_lot:.2f} per lot: {exact:.4g} lots, "
        f"below the smallest {instrument.volume_min}, which risks {least_pct:.3g} %"
    )
