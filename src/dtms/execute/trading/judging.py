"""What makes a request impossible before it is sent: levels, prices and volumes, refused with their figures.

A BUY is closed at the bid, a SELL at the ask: a stop must stand on the losing side of that price, a target on the
other, both at least the symbol's stops level away. Of a pending order its own price takes the market's place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from dtms.domain.actions import OrderWay
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Side, Tick, TradeMode
from dtms.domain.position import Position
from dtms.domain.prices import ZERO, floor_lots, on_grid, same_price
from dtms.execute.trading.service import Code, TradingRefused

PRICE_SHARE_MAX = 0.5
"""A price further from the market than this share of it means something else."""
_FORBIDDEN: Mapping[TradeMode, tuple[Side, ...]] = {
    TradeMode.DISABLED: (Side.LONG, Side.SHORT),
    TradeMode.CLOSE_ONLY: (Side.LONG, Side.SHORT),
    TradeMode.LONG_ONLY: (Side.SHORT,),
    TradeMode.SHORT_ONLY: (Side.LONG,),
    TradeMode.FULL: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Stop and target on the symbol's price grid."""

    stop: float | None
    target: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What levels are judged against: a price, and what it is called."""

    price: float
    name: str
    side: Side
    instrument: Instrument


def closing_price(side: Side, tick: Tick, instrument: Instrument) -> Against:
    """Judge against the price at which the market would close a position of ``side``."""
    name = "bid" if side is Side.LONG else "ask"
    return Against(price=tick.closing(side), name=name, side=side, instrument=instrument)


def levels_on_grid(stop: float | None, target: float | None, instrument: Instrument) -> Levels:
    """Put both levels on the price grid, at the nearest tick.

    Raises:
        TradingRefused: for one that is no price.
    """
    return Levels(
        stop=None if stop is None else _gridded("stop_loss", stop, instrument),
        target=None if target is None else _gridded("take_profit", target, instrument),
    )


def _gridded(field: str, price: float, instrument: Instrument) -> float:
    if not isfinite(price) or price <= 0.0:
        raise TradingRefused(Code.INVALID, f"{field} must be a positive number.", {"field": field, "rule": "no_price"})
    return on_grid(price, instrument)


def require_levels(levels: Levels, against: Against) -> None:
    """See that a stop and a target stand on their side, and far enough from the market.

    Raises:
        TradingRefused: with the level, the price and the stops level.
    """
    sign = against.side.sign
    _require_beyond("stop_loss", levels.stop, -sign, against)
    _require_beyond("take_profit", levels.target, sign, against)


def _require_beyond(field: str, level: float | None, sign: int, against: Against) -> None:
    """See that a level lies above (``sign`` 1) or below (-1) a price, by the stops level at least."""
    if level is None:
        return
    _require_near(field, level, against)
    instrument = against.instrument
    word, half_tick = "above" if sign > 0 else "below", instrument.tick_size / 2
    distance = (level - against.price) * sign
    of = f"{field} {level:.10g} of a {against.side.direction}"
    details: dict[str, Json] = {
        "field": field,
        "sent": level,
        against.name: against.price,
        "stops_level": instrument.stops_level,
    }
    if distance < half_tick:
        told = f"{of} must lie {word} the {against.name}, which is {against.price:.10g}."
        raise TradingRefused(Code.INVALID, told, details | {"rule": "wrong_side"})
    if distance < instrument.stops_level - half_tick:
        least = f"{instrument.stops_level:.10g} ({instrument.stops_level_points} points)"
        told = (
            f"{of} is {distance:.6g} from the {against.name} {against.price:.10g}; the symbol needs at least {least}."
        )
        raise TradingRefused(Code.INVALID, told, details | {"rule": "stops_level"})


def _require_near(field: str, price: float, against: Against) -> None:
    """See that a price is about this market."""
    if abs(price - against.price) > PRICE_SHARE_MAX * against.price:
        told = f"{field} {price:.10g} is more than {PRICE_SHARE_MAX:.0%} from the {against.name} {against.price:.10g}."
        details: dict[str, Json] = {"field": field, "sent": price, against.name: against.price, "rule": "far_price"}
        raise TradingRefused(Code.INVALID, told, details)


def pending_price(way: OrderWay, side: Side, entry: float | None, tick: Tick, instrument: Instrument) -> Against:
    """Return a pending order's price on the grid: a limit waits on the better side of the market, a stop beyond it.

    Raises:
        TradingRefused: when there is none, or it stands on the wrong side or too near.
    """
    word = f"{side.direction.lower()}_{way.value}"
    if entry is None:
        raise TradingRefused(Code.INVALID, f"A {word} order needs an entry_price.", {"field": "entry_price"})
    name = "ask" if side is Side.LONG else "bid"
    market = Against(price=tick.opening(side), name=name, side=side, instrument=instrument)
    price = _gridded("entry_price", entry, instrument)
    _require_beyond("entry_price", price, side.sign if way is OrderWay.STOP else -side.sign, market)
    return Against(price=price, name="entry_price", side=side, instrument=instrument)


def require_openable(side: Side, instrument: Instrument) -> None:
    """See that the broker lets a side of the symbol be opened.

    Raises:
        TradingRefused: with the symbol's trade mode.
    """
    if side in _FORBIDDEN[instrument.trade_mode]:
        mode = instrument.trade_mode.value
        told = f"{instrument.symbol} is {mode.replace('_', ' ')} at this broker: no {side.direction} can be opened."
        raise TradingRefused(Code.INVALID, told, {"symbol": instrument.symbol, "trade_mode": mode, "rule": mode})


def require_volume(volume: Decimal, instrument: Instrument) -> None:
    """See that a volume can be opened.

    Raises:
        TradingRefused: with minimum, maximum and step.
    """
    figures: dict[str, Json] = {
        "field": "volume",
        "sent": float(volume),
        "min": float(instrument.volume_min),
        "max": float(instrument.volume_max),
        "step": float(instrument.volume_step),
        "rule": "volume",
    }
    if not instrument.volume_min <= volume <= instrument.volume_max:
        told = f"volume {volume} is outside {instrument.volume_min} to {instrument.volume_max} lots."
        raise TradingRefused(Code.INVALID, told, figures)
    if floor_lots(volume, instrument) != volume:
        told = f"volume {volume} is no multiple of the {instrument.volume_step} lots step of {instrument.symbol}."
        raise TradingRefused(Code.INVALID, told, figures)


def closing_volume(asked: Decimal | None, position: Position, instrument: Instrument) -> Decimal:
    """Return how many lots of a position are to be closed; all of them where none are named.

    Raises:
        TradingRefused: when they are more than there are, off the grid, or leave less than the minimum.
    """
    if asked is None or asked == position.volume:
        return position.volume
    rest = position.volume - asked
    figures: dict[str, Json] = {
        "field": "volume",
        "sent": float(asked),
        "open": float(position.volume),
        "min": float(instrument.volume_min),
        "step": float(instrument.volume_step),
        "rule": "volume",
    }
    if asked <= ZERO or rest < ZERO:
        told = f"volume {asked} cannot be closed of the {position.volume} lots of position {position.ticket}."
    elif floor_lots(asked, instrument) != asked or asked < instrument.volume_min:
        told = f"volume {asked} is no multiple of {instrument.volume_step} lots from {instrument.volume_min} on."
    elif rest < instrument.volume_min:
        told = f"closing {asked} of {position.volume} lots leaves {rest}, below the minimum {instrument.volume_min}."
    else:
        return asked
    raise TradingRefused(Code.INVALID, told, figures)


def is_looser(new: float | None, old: float | None, side: Side, instrument: Instrument) -> bool:
    """Answer whether a new stop protects less than the old one."""
    if old is None or same_price(new, old, instrument):
        return False
    return new is None or (old - new) * side.sign > 0.0


def require_unfrozen(position: Position, against: Against) -> None:
    """See that neither level is so near to the market that the broker has frozen the position.

    Raises:
        TradingRefused: with the level and the freeze level.
    """
    freeze = against.instrument.freeze_level
    near = [level for level in (position.stop, position.target) if level and abs(level - against.price) <= freeze]
    if freeze > 0.0 and near:
        told = (
            f"Position {position.ticket} is frozen: its level {near[0]:.10g} is within {freeze:.10g} of the "
            f"{against.name} {against.price:.10g}, and is about to be filled."
        )
        details: dict[str, Json] = {"level": near[0], against.name: against.price, "freeze_level": freeze}
        raise TradingRefused(Code.INVALID, told, details | {"rule": "freeze_level"})
