"""The one place that rounds: prices to the tick grid, lots to the volume step, both decided in Decimal."""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import Enum
from functools import lru_cache

from dtms.domain.market import Instrument, Side

ZERO = Decimal(0)


class Toward(Enum):
    """The direction in which a price is put on the grid."""

    NEAREST = ROUND_HALF_EVEN
    UP = ROUND_CEILING
    DOWN = ROUND_FLOOR


def on_grid(price: float, instrument: Instrument, toward: Toward = Toward.NEAREST) -> float:
    """Put ``price`` on the instrument's tick grid.

    A price that lies on the grid but for the last bits of its float stays where it is, whatever the direction.
    """
    tick = Decimal(repr(instrument.tick_size))
    ticks = Decimal(repr(price)) / tick
    nearest = ticks.to_integral_value(ROUND_HALF_EVEN)
    if abs(ticks - nearest) > Decimal("1e-6"):
        nearest = ticks.to_integral_value(toward.value)
    return float(nearest * tick)


def away_from_market(price: float, side: Side, instrument: Instrument) -> float:
    """Put a protective stop on the grid without bringing it nearer to the market."""
    return on_grid(price, instrument, Toward.DOWN if side is Side.LONG else Toward.UP)


def same_price(a: float | None, b: float | None, instrument: Instrument) -> bool:
    """Compare two prices on the grid; absent equals only absent."""
    if a is None or b is None:
        return a is b
    return abs(a - b) < instrument.tick_size / 2


@lru_cache(maxsize=4096)
def lots(value: float | str | Decimal) -> Decimal:
    """Read a volume as Decimal, without the float's tail."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def floor_lots(volume: Decimal, instrument: Instrument) -> Decimal:
    """Round a volume down to the step; never up."""
    return (volume // instrument.volume_step) * instrument.volume_step


def valid_share(of: Decimal, share: Decimal, instrument: Instrument) -> Decimal | None:
    """Size ``share`` of the volume ``of`` to close.

    Returns None when it is below the minimum, or would leave a rest that is neither 0 nor at least the minimum.
    """
    part = floor_lots(of * share, instrument)
    rest = of - part
    if part < instrument.volume_min or ZERO < rest < instrument.volume_min:
        return None
    return part
