"""From a share of the equity to lots, by what the broker says is lost between entry and stop."""

from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.account import Account
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Side
from dtms.domain.prices import floor_lots
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.broker import Broker

ONE_LOT = Decimal(1)


@dataclass(frozen=True, slots=True)
class Sized:
    """A volume in lots, and the figures that it comes from."""

    volume: Decimal
    figures: dict[str, Json]


async def by_risk(
    broker: Broker, *, risk_pct: float, side: Side, entry: float, stop: float | None, account: Account, on: Instrument
) -> Sized:
    """Size a position so that its stop costs a percentage of the equity at most: rounded down to the volume step.

    Raises:
        TradingRefused: without a stop, or when not even the smallest volume costs as little; with the figures.
        BrokerUnavailable: when the broker cannot be asked.
    """
    if stop is None:
        raise _impossible("risk_pct needs a stop_loss: without one nothing says how much is risked.", {})
    unit = min(max(ONE_LOT, on.volume_min), on.volume_max)
    loss = -await broker.profit(on.symbol, side, unit, entry, stop)
    if not loss > 0.0:
        raise _impossible(f"the broker tells no loss between {entry:.10g} and {stop:.10g}.", {"loss": loss})
    money, per_lot = account.equity * risk_pct / 100.0, loss / float(unit)
    exact = Decimal(repr(money / per_lot))
    volume = floor_lots(min(exact, on.volume_max), on)
    figures: dict[str, Json] = {
        "risk_pct": risk_pct,
        "equity": account.equity,
        "risk_money": money,
        "loss_per_lot": per_lot,
        "exact_volume": float(exact),
        "volume": float(volume),
        "min": float(on.volume_min),
    }
    if volume < on.volume_min:
        least = 100.0 * per_lot * float(on.volume_min) / account.equity if account.equity > 0.0 else float("inf")
        told = (
            f"{risk_pct:g} % of {account.equity:.2f} {account.currency} is {money:.2f}, and the stop costs "
            f"{per_lot:.2f} per lot: that is {float(exact):.4g} lots, below the minimum {on.volume_min}, which "
            f"risks {least:.3g} %."
        )
        raise _impossible(told, figures)
    return Sized(volume, figures)


def _impossible(told: str, figures: dict[str, Json]) -> TradingRefused:
    return TradingRefused(Code.INVALID, told, figures | {"field": "risk_pct", "rule": "risk_sizing"})
