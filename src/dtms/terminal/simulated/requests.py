"""Reading a request as the vendor's package does: a plain dict of plain numbers and texts, checked by type alone."""

from typing import Any

from dtms.terminal.simulated.answers import ErrorText, bad_argument
from dtms.terminal.simulated.structs import TradeRequest

COMMENT_MAX_CHARS = 31
FIELDS: dict[str, type] = {
    "action": int,
    "magic": int,
    "order": int,
    "symbol": str,
    "volume": float,
    "price": float,
    "stoplimit": float,
    "sl": float,
    "tp": float,
    "deviation": int,
    "type": int,
    "type_filling": int,
    "type_time": int,
    "expiration": int,
    "comment": str,
    "position": int,
    "position_by": int,
}


def read_request(request: object) -> TradeRequest | ErrorText:
    """Give the request with defaults for what it omits, or the error of the first argument that is wrong."""
    if type(request) is not dict:
        return bad_argument("Invalid arguments")
    values: dict[str, Any] = {}
    for name, kind in FIELDS.items():
        value = request.get(name, kind())
        if not _fits(value, kind):
            return bad_argument(f'Invalid "{name}" argument')
        values[name] = kind(value)
    if len(values["comment"]) > COMMENT_MAX_CHARS:
        return bad_argument('Invalid "comment" argument')
    return TradeRequest.named(values)


def _fits(value: object, kind: type) -> bool:
    """Tell whether a value is of the kind; whole numbers serve as prices, never the reverse."""
    return isinstance(value, (int, float) if kind is float else kind)
