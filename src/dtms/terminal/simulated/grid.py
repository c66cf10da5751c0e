"""Exact arithmetic: prices as whole points, lots as whole 1e-8 lots, money as whole cents.

The only place of the terminal that rounds. A price is its points divided by a power of ten, which gives the very
double that the decimal text would give, so recorded prices come back bit for bit.
"""

import math

LOT_UNITS = 100_000_000
SUB_POINTS = 100_000_000
GRID_TOLERANCE_POINTS = 1e-3


def to_points(price: float, scale: int) -> int:
    """Give the whole points nearest to a price; `scale` is points per unit of price."""
    return round(price * scale)


def to_price(points: int, scale: int) -> float:
    """Give the price of whole points."""
    return points / scale


def on_grid(price: float, scale: int, step_points: int) -> bool:
    """Tell whether a price is a whole multiple of the tick size."""
    if not math.isfinite(price):
        return False
    points = to_points(price, scale)
    return abs(price * scale - points) <= GRID_TOLERANCE_POINTS and points % step_points == 0


def to_units(lots: float) -> int:
    """Give lots as whole 1e-8 lots."""
    return round(lots * LOT_UNITS)


def to_lots(units: int) -> float:
    """Give whole 1e-8 lots as lots."""
    return units / LOT_UNITS


def divide(numerator: int, denominator: int) -> int:
    """Divide whole numbers, rounding halves away from zero."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    top, bottom = abs(numerator), abs(denominator)
    return sign * ((2 * top + bottom) // (2 * bottom))


def to_cents(money: float) -> int:
    """Give money as whole cents."""
    return round(money * 100)


def to_money(cents: int) -> float:
    """Give whole cents as money."""
    return cents / 100
