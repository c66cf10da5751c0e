"""Reading a request as the vendor's package does: a plain dict of plain numbers and texts, checked by type alone.

Some brokers' terminals look at the comment too: what they do not take is refused as a wrong argument.
"""

from typing import Any

from dtms.terminal.simulated.answers import ErrorText, bad_argument
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.manners import CommentMode, Manners
from dtms.terminal.simulated.structs import TradeRequest

COMMENT_MAX_CHARS = 31
ORDINARY = Manners()
BAD_COMMENT = bad_argument('Invalid "comment" argument')
CUT_AT: dict[CommentMode, int] = {
    CommentMode.TRUNCATE_16: 16,
    CommentMode.TRUNCATE_27: 27,
    CommentMode.TRUNCATE_31: 31,
    CommentMode.STRIP: 0,
}
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


class Omitted(float):
    """A level that a request does not name; to everybody else it is 0.0."""


OMITTED = Omitted(0.0)


def comment_of(manners: Manners, text: str, *, closes: bool = False) -> str | None:
    """Give what becomes of a comment, None when it is refused."""
    if not text:
        return text
    mode = manners.comment_mode
    unwanted = any(char in text for char in manners.comment_refused_chars)
    if mode is CommentMode.REFUSE or unwanted or (closes and not manners.comment_on_close):
        return None
    return manners.comment_replacement if mode is CommentMode.REPLACE else text[: CUT_AT.get(mode)]


def read_request(request: object, manners: Manners = ORDINARY) -> TradeRequest | ErrorText:
    """Give the request with defaults for what it omits, or the error of the first argument that is wrong."""
    if type(request) is not dict:
        return bad_argument("Invalid arguments")
    values: dict[str, Any] = {}
    for name, kind in FIELDS.items():
        value = request.get(name, kind())
        if not _fits(value, kind):
            return bad_argument(f'Invalid "{name}" argument')
        values[name] = kind(value)
    values |= {name: OMITTED for name in ("sl", "tp") if name not in request}
    comment = values["comment"]
    closes = values["position"] > 0 and values["action"] != MT5.TRADE_ACTION_SLTP
    if len(comment) > COMMENT_MAX_CHARS or comment_of(manners, comment, closes=closes) is None:
        return BAD_COMMENT
    return TradeRequest.named(values)


def _fits(value: object, kind: type) -> bool:
    """Tell whether a value is of the kind; whole numbers serve as prices, never the reverse."""
    return isinstance(value, (int, float) if kind is float else kind)
