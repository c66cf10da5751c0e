"""Where a position breaks even: entry plus spread, commission and swap so far, in its favour."""

from decimal import Decimal
from typing import Protocol

from dtms.domain.market import Instrument, Side, Tick
from dtms.domain.prices import away_from_market


class Entered(Protocol):
    """What has an entry: a trade, or a position under a manager."""

    @property
    def side(self) -> Side: ...
    @property
    def entry(self) -> float: ...
    @property
    def initial_volume(self) -> Decimal: ...


def costs_paid(of: Entered, instrument: Instrument, cost_money: float) -> float:
    """Return what was paid as a price difference; nothing when money was received.

    ``cost_money`` is commission, fees and swap in account currency, negative when paid.
    """
    money_per_price = instrument.tick_value / instrument.tick_size * float(of.initial_volume)
    return max(0.0, -cost_money) / money_per_price if money_per_price > 0 else 0.0


def breakeven_price(of: Entered, tick: Tick, instrument: Instrument, cost_money: float) -> float:
    """Return entry plus spread, commission and swap so far, in the position's favour, on the grid."""
    price = of.entry + of.side.sign * (tick.spread + costs_paid(of, instrument, cost_money))
    return away_from_market(price, of.side.opposite, instrument)  # rounded in the position's favour
