"""The rules about prices: stops and targets, prices of pending orders, what is frozen, and what has moved."""

import math

from dtms.terminal.simulated.cases import STOP_LIMITS, Case
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import on_grid
from dtms.terminal.simulated.manners import MovedPrice
from dtms.terminal.simulated.records import BUY

# A buy limit or a sell stop stands below the market, the others above it.
BELOW_MARKET = (MT5.ORDER_TYPE_BUY_LIMIT, MT5.ORDER_TYPE_SELL_STOP, MT5.ORDER_TYPE_SELL_STOP_LIMIT)
MOVED = {
    MovedPrice.REQUOTE: MT5.TRADE_RETCODE_REQUOTE,
    MovedPrice.PRICE_CHANGED: MT5.TRADE_RETCODE_PRICE_CHANGED,
}


def freeze(case: Case) -> int:
    """Refuse to touch a position whose stop or target is within the freeze level of the market."""
    if case.position is None or not case.spec.freeze_level_points:
        return 0
    levels = [level for level in (case.position.sl_points, case.position.tp_points) if level]
    near = any(abs(level - case.closing_points) <= case.spec.freeze_level_points for level in levels)
    return MT5.TRADE_RETCODE_FROZEN if near else 0


def order_freeze(case: Case) -> int:
    """Refuse to touch a pending order whose price is within the freeze level of the market."""
    order, level = case.named_order, case.spec.freeze_level_points
    near = level and abs(order.price_points - case.market_points) <= level
    return MT5.TRADE_RETCODE_FROZEN if near else 0


def deviation(case: Case) -> int:
    """Requote, where execution is by request or instant, when the market left the asked price too far behind."""
    if case.spec.exemode not in (MT5.SYMBOL_TRADE_EXECUTION_REQUEST, MT5.SYMBOL_TRADE_EXECUTION_INSTANT):
        return 0
    if not on_grid(case.request.price, case.spec.scale, case.spec.tick_size_points) or not case.request.price:
        return MT5.TRADE_RETCODE_INVALID_PRICE
    moved = abs(case.points(case.request.price) - case.market_points)
    return MOVED[case.world.manners.moved_price] if moved > case.request.deviation else 0


def entry_stops(case: Case) -> int:
    """Refuse stop or target of an entry that stand on the wrong side or too near; a close ignores both."""
    return _levels(case, case.side, case.quote.bid, case.quote.ask) if case.entering_units else 0


def position_stops(case: Case) -> int:
    """Refuse stop or target of a position that stand on the wrong side or too near."""
    return _levels(case, case.named_position.type, case.quote.bid, case.quote.ask)


def pending_stops(case: Case) -> int:
    """Refuse stop or target of a pending order that stand on the wrong side of its price or too near."""
    price = case.request.stoplimit if (case.order or case.request).type in STOP_LIMITS else case.request.price
    at = case.points(price)
    return _levels(case, case.side, at, at)


def _levels(case: Case, side: int, bid: int, ask: int) -> int:
    """Check both levels against the side that would close: a BUY closes on the bid, a SELL on the ask."""
    sl, tp = case.levels
    for level in (sl, tp):
        if not on_grid(level, case.spec.scale, case.spec.tick_size_points) or level < 0:
            return MT5.TRADE_RETCODE_INVALID_STOPS
    clear = clear_points(case)
    stop, target = case.points(sl), case.points(tp)
    below, above = (stop, target) if side == BUY else (target, stop)
    price = bid if side == BUY else ask
    fits = (not below or price - below >= clear) and (not above or above - price >= clear)
    return 0 if fits else MT5.TRADE_RETCODE_INVALID_STOPS


def clear_points(case: Case) -> int:
    """Give how far levels must stay from the market: as declared, or as the broker has it without saying so."""
    if case.spec.stops_level_points:
        return case.spec.stops_level_points
    manners, spread = case.world.manners, case.quote.ask - case.quote.bid
    return max(manners.hidden_stops_points, manners.hidden_stops_spreads * spread, 1)


def levels_change(case: Case) -> int:
    """Refuse to set the levels that are set already."""
    position, (sl, tp) = case.named_position, case.levels
    same = (case.points(sl), case.points(tp)) == (position.sl_points, position.tp_points)
    return MT5.TRADE_RETCODE_NO_CHANGES if same else 0


def finite_levels(case: Case) -> int:
    """Refuse levels that are not numbers, before they are compared."""
    finite = math.isfinite(case.request.sl) and math.isfinite(case.request.tp)
    return 0 if finite else MT5.TRADE_RETCODE_INVALID_STOPS


def pending_price(case: Case) -> int:
    """Refuse a pending price off the grid, on the wrong side of the market, or within the stops level."""
    request, spec = case.request, case.spec
    kind = (case.order or request).type
    if not on_grid(request.price, spec.scale, spec.tick_size_points) or request.price <= 0:
        return MT5.TRADE_RETCODE_INVALID_PRICE
    gap = case.points(request.price) - case.market_points
    away = -gap if kind in BELOW_MARKET else gap
    if away < clear_points(case):
        return MT5.TRADE_RETCODE_INVALID_PRICE
    return _stoplimit_price(case) if kind in STOP_LIMITS else 0


def _stoplimit_price(case: Case) -> int:
    request, spec = case.request, case.spec
    if not on_grid(request.stoplimit, spec.scale, spec.tick_size_points) or request.stoplimit <= 0:
        return MT5.TRADE_RETCODE_INVALID_PRICE
    beyond = request.stoplimit > request.price if case.is_buy else request.stoplimit < request.price
    return MT5.TRADE_RETCODE_INVALID_PRICE if beyond else 0
