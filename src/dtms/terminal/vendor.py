"""The vendor's functions that a client may call, with their arguments and the shape of their answers.

What is missing here cannot be called: ``initialize``, ``login`` and ``shutdown`` belong to the gateway, ``order_send``
goes through its ``send`` alone, and ``last_error`` comes with each answer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from dtms.terminal import protocol

REQUEST_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "action": int,
    "magic": int,
    "order": int,
    "symbol": str,
    "volume": (int, float),
    "price": (int, float),
    "stoplimit": (int, float),
    "sl": (int, float),
    "tp": (int, float),
    "deviation": int,
    "type": int,
    "type_filling": int,
    "type_time": int,
    "expiration": int,
    "comment": str,
    "position": int,
    "position_by": int,
}
"""The keys of a trade request, and what each must be."""


_PLAIN = frozenset({int, float, str, bool})


class Malformed(ValueError):
    """A request that does not have the form that its call needs."""


def argument(request: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """Take one argument out of a request.

    Raises:
        Malformed: when it is missing or of another kind; a truth value is no number.
    """
    value = request.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"{name} must be given, as {kind}")
    return value


def all_of(values: list[Any], kind: type) -> list[Any]:
    """Check that a list holds values of one kind alone.

    Raises:
        Malformed: when it does not.
    """
    if not all(type(value) is kind for value in values):
        raise Malformed(f"a list of {kind.__name__} was expected")
    return values


def symbols_of(request: Mapping[str, Any]) -> list[str]:
    """Take the symbols out of a request; Malformed when they are none."""
    return all_of(argument(request, "symbols", list), str)


def rate_request(one: Any) -> tuple[str, int, int]:
    """Read one request for bars: symbol, minutes, count.

    Raises:
        Malformed: when it is none.
    """
    match one:
        case [str(symbol), int(minutes), int(count)] if minutes in protocol.TIMEFRAMES and 0 < count <= 100_000:
            return symbol, minutes, count
    raise Malformed("a rate request is [symbol, minutes, count]")


def trade_request(value: Any) -> dict[str, Any]:
    """Check a trade request and return it as a real dict of plain values.

    Raises:
        Malformed: for an unknown key or a value of the wrong kind.
    """
    if not isinstance(value, dict) or not value.keys() <= REQUEST_KEYS.keys():
        raise Malformed("request must be an object with the vendor's keys")
    return {name: argument(value, name, REQUEST_KEYS[name]) for name in value}


def plain(value: Any) -> Any:
    """Return a vendor's scalar as int, float, str, bool or None."""
    if value is None or type(value) in _PLAIN:
        return value
    return value.item() if hasattr(value, "item") else str(value)


Reader = Callable[[Any], Any]


def structure(fields: Iterable[str]) -> Reader:
    """Make a reader of one structure: a list of its fields' values, by name, whatever their order in this build."""
    take = attrgetter(*fields)
    return lambda value: [part if type(part) in _PLAIN else plain(part) for part in take(value)]


def structures(fields: Iterable[str]) -> Reader:
    """Make a reader of a tuple of structures."""
    one = structure(fields)
    return lambda values: [one(value) for value in values]


def columns(names: Iterable[str]) -> Reader:
    """Make a reader of a numpy structured array: a list of its columns."""
    wanted = tuple(names)
    return lambda array: [array[name].tolist() for name in wanted]


read_positions = structures(protocol.POSITION_FIELDS)
read_orders = structures(protocol.ORDER_FIELDS)
read_deals = structures(protocol.DEAL_FIELDS)
read_tick = structure(protocol.TICK_FIELDS)
read_terminal = structure(protocol.TERMINAL_FIELDS)
read_account = structure(protocol.ACCOUNT_FIELDS)
read_symbol = structure(protocol.SYMBOL_FIELDS)
read_symbols = structures(protocol.SYMBOL_FIELDS)
read_result = structure(protocol.RESULT_FIELDS)
read_check = structure(protocol.CHECK_FIELDS)
read_rates = columns(protocol.RATE_COLUMNS)
read_ticks = columns(protocol.TICK_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorCall:
    """One callable function: positional arguments in order, named ones that may be left out, its answer's reader."""

    positional: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    named: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
    read: Reader = plain

    def arguments(self, request: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Take the positional and named arguments out of a request.

        Raises:
            Malformed: when one is missing, unknown or of the wrong kind.
        """
        unknown = request.keys() - self.positional.keys() - self.named.keys() - {"call"}
        if unknown:
            raise Malformed(f"unknown arguments: {', '.join(sorted(unknown))}")
        given = [argument(request, name, kind) for name, kind in self.positional.items()]
        return given, {name: argument(request, name, kind) for name, kind in self.named.items() if name in request}


_NUMBER = (int, float)
_WINDOW = {"date_from": int, "date_to": int}
_FILTER = {"symbol": str, "group": str, "ticket": int}
_SYMBOL = {"symbol": str}

VENDOR_CALLS: Mapping[str, VendorCall] = {
    "version": VendorCall(read=list),
    "terminal_info": VendorCall(read=read_terminal),
    "account_info": VendorCall(read=read_account),
    "symbols_total": VendorCall(),
    "symbols_get": VendorCall(named={"group": str}, read=read_symbols),
    "symbol_info": VendorCall(positional=_SYMBOL, read=read_symbol),
    "symbol_info_tick": VendorCall(positional=_SYMBOL, read=read_tick),
    "symbol_select": VendorCall(positional={**_SYMBOL, "enable": bool}),
    "copy_rates_from_pos": VendorCall(
        positional={**_SYMBOL, "timeframe": int, "start_pos": int, "count": int}, read=read_rates
    ),
    "copy_rates_range": VendorCall(positional={**_SYMBOL, "timeframe": int, **_WINDOW}, read=read_rates),
    "copy_ticks_from": VendorCall(
        positional={**_SYMBOL, "date_from": int, "count": int, "flags": int}, read=read_ticks
    ),
    "copy_ticks_range": VendorCall(positional={**_SYMBOL, **_WINDOW, "flags": int}, read=read_ticks),
    "orders_total": VendorCall(),
    "positions_total": VendorCall(),
    "orders_get": VendorCall(named=_FILTER, read=read_orders),
    "positions_get": VendorCall(named=_FILTER, read=read_positions),
    "order_calc_margin": VendorCall(positional={"action": int, **_SYMBOL, "volume": _NUMBER, "price": _NUMBER}),
    "order_calc_profit": VendorCall(
        positional={"action": int, **_SYMBOL, "volume": _NUMBER, "price_open": _NUMBER, "price_close": _NUMBER}
    ),
    "history_orders_total": VendorCall(positional=_WINDOW),
    "history_deals_total": VendorCall(positional=_WINDOW),
}
