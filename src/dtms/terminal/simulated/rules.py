"""The rules by which a trade server refuses. Each gives the retcode of its refusal, or 0; the first refusal answers.

What an account or a broker forbids is added here: one function, one row in the table of each action it concerns.
"""

import itertools
import math
from collections.abc import Callable

from dtms.terminal.simulated.cases import Case
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import to_units
from dtms.terminal.simulated.records import Reason
from dtms.terminal.simulated.rules_prices import (
    deviation,
    entry_stops,
    finite_levels,
    freeze,
    levels_change,
    order_freeze,
    pending_price,
    pending_stops,
    position_stops,
)
from dtms.terminal.simulated.world import World

Rule = Callable[[Case], int]

MARKET_TYPES = (MT5.ORDER_TYPE_BUY, MT5.ORDER_TYPE_SELL)
PENDING_TYPES: dict[int, int] = {  # type: the bit of the symbol's order mask that allows it
    MT5.ORDER_TYPE_BUY_LIMIT: 2,
    MT5.ORDER_TYPE_SELL_LIMIT: 2,
    MT5.ORDER_TYPE_BUY_STOP: 4,
    MT5.ORDER_TYPE_SELL_STOP: 4,
    MT5.ORDER_TYPE_BUY_STOP_LIMIT: 8,
    MT5.ORDER_TYPE_SELL_STOP_LIMIT: 8,
}
# In the vendor's documents, and not among the package's constants.
HEDGE_PROHIBITED = 10_046
FILLING_BITS: dict[int, int] = {MT5.ORDER_FILLING_FOK: 1, MT5.ORDER_FILLING_IOC: 2, MT5.ORDER_FILLING_BOC: 4}
EXPIRATION_BITS: dict[int, int] = {
    MT5.ORDER_TIME_GTC: 1,
    MT5.ORDER_TIME_DAY: 2,
    MT5.ORDER_TIME_SPECIFIED: 4,
    MT5.ORDER_TIME_SPECIFIED_DAY: 8,
}
ENTRY_REFUSALS: dict[int, tuple[int, int]] = {  # trade mode: refusal of a buying entry, of a selling entry
    MT5.SYMBOL_TRADE_MODE_DISABLED: (MT5.TRADE_RETCODE_TRADE_DISABLED, MT5.TRADE_RETCODE_TRADE_DISABLED),
    MT5.SYMBOL_TRADE_MODE_LONGONLY: (0, MT5.TRADE_RETCODE_LONG_ONLY),
    MT5.SYMBOL_TRADE_MODE_SHORTONLY: (MT5.TRADE_RETCODE_SHORT_ONLY, 0),
    MT5.SYMBOL_TRADE_MODE_CLOSEONLY: (MT5.TRADE_RETCODE_CLOSE_ONLY, MT5.TRADE_RETCODE_CLOSE_ONLY),
    MT5.SYMBOL_TRADE_MODE_FULL: (0, 0),
}


def permission(world: World, reason: Reason) -> int:
    """Refuse by the switches of terminal and account; a person at a desk is not stopped by those for programs."""
    switches = world.switches
    if not switches.connected:
        return MT5.TRADE_RETCODE_CONNECTION
    if reason == Reason.EXPERT and not switches.terminal_trade_allowed:
        return MT5.TRADE_RETCODE_CLIENT_DISABLES_AT
    if reason == Reason.EXPERT and not switches.account_trade_expert:
        return MT5.TRADE_RETCODE_SERVER_DISABLES_AT
    if not switches.account_trade_allowed:
        return MT5.TRADE_RETCODE_TRADE_DISABLED
    return _limits_of_programs(world) if reason == Reason.EXPERT else 0


def _limits_of_programs(world: World) -> int:
    manners = world.manners
    if manners.only_real and world.account.trade_mode != MT5.ACCOUNT_TRADE_MODE_REAL:
        return MT5.TRADE_RETCODE_ONLY_REAL
    if not manners.requests_per_minute:
        return 0
    recent = itertools.takewhile(lambda note: note.ms > world.now_ms - 60_000, reversed(world.ledger.requests))
    asked = sum(note.reason == Reason.EXPERT for note in recent)
    return MT5.TRADE_RETCODE_TOO_MANY_REQUESTS if asked >= manners.requests_per_minute else 0


def open_market(case: Case) -> int:
    """Refuse outside the hours in which the symbol trades."""
    return 0 if case.world.is_open(case.spec.name) else MT5.TRADE_RETCODE_MARKET_CLOSED


def market_type(case: Case) -> int:
    """Refuse a deal that is neither a buy nor a sell."""
    return 0 if case.request.type in MARKET_TYPES else MT5.TRADE_RETCODE_INVALID_ORDER


def pending_type(case: Case) -> int:
    """Refuse a pending order of a type that the symbol does not take."""
    bit = PENDING_TYPES.get(case.request.type, 0)
    return 0 if bit & case.spec.order_mask else MT5.TRADE_RETCODE_INVALID_ORDER


def volume_grid(case: Case) -> int:
    """Refuse a volume off the grid of minimum, step and maximum; a position is closed whole whatever its size."""
    if not math.isfinite(case.request.volume):
        return MT5.TRADE_RETCODE_INVALID_VOLUME
    spec, units = case.spec, case.units
    # A request carries a double; what is further from the grid than a double's error is off it.
    fits = abs(case.request.volume * 1e8 - units) < 0.5 and units % to_units(spec.volume_step_lots) == 0
    within = to_units(spec.volume_min_lots) <= units <= to_units(spec.volume_max_lots)
    within |= case.position is not None and units == case.position.units > 0
    return 0 if fits and within else MT5.TRADE_RETCODE_INVALID_VOLUME


def filling(case: Case) -> int:
    """Refuse a filling that the symbol's mask lacks; RETURN is for other than market execution."""
    if case.request.type_filling == MT5.ORDER_FILLING_RETURN:
        allowed = case.spec.exemode != MT5.SYMBOL_TRADE_EXECUTION_MARKET
    else:
        allowed = bool(FILLING_BITS.get(case.request.type_filling, 0) & case.spec.filling_mask)
    return 0 if allowed else MT5.TRADE_RETCODE_INVALID_FILL


def pending_filling(case: Case) -> int:
    """Refuse, where brokers look at it, a pending order with a filling that market orders may not have either."""
    return filling(case) if case.world.manners.pending_filling_judged else 0


def closes_opposite(case: Case) -> int:
    """Refuse a close in the direction of the position itself."""
    same = case.position is not None and case.request.type == case.position.type
    return MT5.TRADE_RETCODE_INVALID if same else 0


def close_volume(case: Case) -> int:
    """Refuse to close more than there is, or to leave less than the minimum, on either side."""
    if case.reduced is None:
        return 0
    rest = case.reduced.units - case.units
    if rest < 0 and case.position is not None:
        return MT5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    return MT5.TRADE_RETCODE_INVALID_VOLUME if 0 < abs(rest) < to_units(case.spec.volume_min_lots) else 0


def close_in_flight(case: Case) -> int:
    """Refuse a second close of a position while the first is not wholly filled."""
    if case.position is None:
        return 0
    orders = case.world.ledger.orders.values()
    waiting = any(order.closes and order.position_id == case.position.identifier for order in orders)
    return MT5.TRADE_RETCODE_CLOSE_ORDER_EXIST if waiting else 0


def whole_fill(case: Case) -> int:
    """Refuse what must be filled whole or not at all when there is not enough to fill it with."""
    available = case.world.available_units(case.spec)
    whole = case.request.type_filling == MT5.ORDER_FILLING_FOK and case.world.manners.fok_is_whole
    short = available is not None and (available == 0 or (whole and case.units > available))
    return MT5.TRADE_RETCODE_REJECT if short else 0


def trade_mode(case: Case) -> int:
    """Refuse what the symbol's trade mode forbids: entries by side, and everything when it is disabled."""
    mode = case.world.trade_mode(case.spec)
    if mode != MT5.SYMBOL_TRADE_MODE_DISABLED and not case.entering_units:
        return 0
    return ENTRY_REFUSALS[mode][0 if case.is_buy else 1]


def fifo(case: Case) -> int:
    """Refuse, on a FIFO account, to close any but the oldest position of the symbol."""
    if case.position is None or not case.world.account.fifo_close:
        return 0
    held = case.world.ledger.positions_of(case.spec.name)
    oldest = min(held, key=lambda position: (position.opened_ms, position.identifier))
    named = [position.ticket for position in (case.position, case.by) if position]
    return 0 if oldest.ticket in named else MT5.TRADE_RETCODE_FIFO_CLOSE


def hedge(case: Case) -> int:
    """Refuse, where hedges are prohibited, what would open a position opposite to one of the symbol."""
    if case.world.account.hedge_allowed or case.world.is_netting or not case.entering_units:
        return 0
    held = case.world.ledger.positions_of(case.spec.name)
    return HEDGE_PROHIBITED if any(position.type != case.side for position in held) else 0


def expiration(case: Case) -> int:
    """Refuse an expiration that the symbol does not take, or that has passed."""
    kind = case.request.type_time
    if not EXPIRATION_BITS.get(kind, 0) & case.spec.expiration_mask:
        return MT5.TRADE_RETCODE_INVALID_EXPIRATION
    dated = kind in (MT5.ORDER_TIME_SPECIFIED, MT5.ORDER_TIME_SPECIFIED_DAY)
    passed = case.request.expiration * 1000 <= case.world.clock.to_server(case.world.now_ms)
    return MT5.TRADE_RETCODE_INVALID_EXPIRATION if dated and passed else 0


def position_limit(case: Case) -> int:
    """Refuse an entry beyond the account's number of positions; 0 is no limit."""
    limit = case.world.account.limit_positions
    adds = case.entering_units and not case.netted
    full = adds and limit and len(case.world.ledger.positions) >= limit
    return MT5.TRADE_RETCODE_LIMIT_POSITIONS if full else 0


def order_limit(case: Case) -> int:
    """Refuse a pending order beyond the account's number of them; 0 is no limit."""
    limit = case.world.account.limit_orders
    return MT5.TRADE_RETCODE_LIMIT_ORDERS if limit and len(case.world.ledger.orders) >= limit else 0


def volume_limit(case: Case) -> int:
    """Refuse an entry that takes one direction of the symbol, its orders included, beyond its limit; 0 is none."""
    limit, ledger = to_units(case.spec.volume_limit_lots), case.world.ledger
    if not case.entering_units or not limit:
        return 0
    held = sum(p.units for p in ledger.positions_of(case.spec.name) if p.type == case.side)
    waiting = sum(o.units for o in ledger.orders_of(case.spec.name) if o.type % 2 == case.side)
    return MT5.TRADE_RETCODE_LIMIT_VOLUME if held + waiting + case.entering_units > limit else 0


def money(case: Case) -> int:
    """Refuse an entry whose margin exceeds the free margin."""
    units = case.entering_units
    paid = not units or case.world.can_pay(case.spec, case.side, units, case.market_points)
    return 0 if paid else MT5.TRADE_RETCODE_NO_MONEY


def opposite_pair(case: Case) -> int:
    """Refuse to close two positions by each other unless they are opposite ones of a symbol; netting has no such."""
    one, other = case.named_position, case.by
    fits = other is not None and other.symbol == one.symbol and other.type != one.type
    return 0 if fits else MT5.TRADE_RETCODE_INVALID


def order_changes(case: Case) -> int:
    """Refuse to set a pending order to what it is already."""
    order, request = case.named_order, case.request
    asked = tuple(case.points(p) for p in (request.price, request.stoplimit, request.sl, request.tp))
    held = (order.price_points, order.stoplimit_points, order.sl_points, order.tp_points)
    same = asked == held and request.type_time == order.type_time and not request.expiration
    return MT5.TRADE_RETCODE_NO_CHANGES if same else 0


RULES: dict[int, tuple[Rule, ...]] = {
    MT5.TRADE_ACTION_DEAL: (
        market_type,
        volume_grid,
        closes_opposite,
        close_volume,
        close_in_flight,
        filling,
        trade_mode,
        open_market,
        fifo,
        hedge,
        freeze,
        deviation,
        entry_stops,
        position_limit,
        volume_limit,
        money,
        whole_fill,
    ),
    MT5.TRADE_ACTION_SLTP: (trade_mode, finite_levels, levels_change, open_market, freeze, position_stops),
    MT5.TRADE_ACTION_PENDING: (
        pending_type,
        volume_grid,
        pending_filling,
        expiration,
        trade_mode,
        open_market,
        hedge,
        pending_price,
        pending_stops,
        order_limit,
        volume_limit,
    ),
    MT5.TRADE_ACTION_MODIFY: (order_freeze, pending_price, order_changes, expiration, open_market, pending_stops),
    MT5.TRADE_ACTION_REMOVE: (open_market, order_freeze),
    MT5.TRADE_ACTION_CLOSE_BY: (opposite_pair, trade_mode, open_market, fifo, freeze),
}
