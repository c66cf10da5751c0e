"""What crosses between the gateway and its clients: JSON messages, the vendor's structures as lists of plain values.

A request is ``{"call": name, ...arguments}``. An answer is one of

* ``{"value": …, "last_error": [code, text], "instance": n}``: the terminal answered (a vendor call may answer None);
* ``{"refused": reason, "message": text}``: the gateway did not pass the request on, so certainly nothing was sent;
* ``{"failed": what, "message": text, "last_error": [code, text]}``: the terminal gave no sound answer.

A structure is a list of values in the order of its field names below. Times are the trade server's wall clock written
as an epoch, exactly as the terminal gives them; what is not finite travels as null.
"""

import json
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

PORT = 18812
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
ROWS_PER_PART = 200
REQUEST_BYTES_MAX = 256 * 1024

Message = dict[str, Any]


class Refusal(StrEnum):
    """Why the gateway did not pass a request on."""

    UNKNOWN_CALL = "unknown_call"
    BAD_REQUEST = "bad_request"
    ACCOUNT = "account"
    DISCONNECTED = "disconnected"
    FENCED = "fenced"
    OTHER_INSTANCE = "other_instance"
    BUDGET = "budget"
    LATE = "late"


def _names(words: str) -> tuple[str, ...]:
    return tuple(words.split())


POSITION_FIELDS = _names(
    "ticket time time_msc time_update time_update_msc type magic identifier reason volume price_open sl tp "
    "price_current swap profit symbol comment external_id"
)
ORDER_FIELDS = _names(
    "ticket time_setup time_setup_msc time_done time_done_msc time_expiration type type_time type_filling state magic "
    "position_id position_by_id reason volume_initial volume_current price_open sl tp price_current price_stoplimit "
    "symbol comment external_id"
)
DEAL_FIELDS = _names(
    "ticket order time time_msc type entry magic position_id reason volume price commission swap profit fee symbol "
    "comment external_id"
)
TICK_FIELDS = _names("time bid ask last volume time_msc flags volume_real")
# An answer goes without the request, which the sender has.
RESULT_FIELDS = _names("retcode deal order volume price bid ask comment request_id retcode_external")
CHECK_FIELDS = _names("retcode balance equity profit margin margin_free margin_level comment")
TERMINAL_FIELDS = _names("connected trade_allowed tradeapi_disabled build ping_last company name path")
ACCOUNT_FIELDS = _names(
    "login trade_mode leverage limit_orders margin_so_mode trade_allowed trade_expert margin_mode currency_digits "
    "fifo_close balance credit profit equity margin margin_free margin_level margin_so_call margin_so_so name server "
    "currency company"
)
SYMBOL_FIELDS = _names(
    "name path description select visible time digits point spread spread_float trade_calc_mode trade_mode "
    "trade_stops_level trade_freeze_level trade_exemode filling_mode order_mode expiration_mode swap_mode "
    "swap_rollover3days swap_long swap_short bid ask trade_tick_value trade_tick_value_profit trade_tick_value_loss "
    "trade_tick_size trade_contract_size volume_min volume_max volume_step volume_limit margin_initial margin_hedged "
    "currency_base currency_profit currency_margin"
)
RATE_COLUMNS = _names("time open high low close tick_volume spread real_volume")
TICK_COLUMNS = _names("time bid ask last volume time_msc flags volume_real")

TIMEFRAMES = {
    1: "TIMEFRAME_M1",
    5: "TIMEFRAME_M5",
    15: "TIMEFRAME_M15",
    30: "TIMEFRAME_M30",
    60: "TIMEFRAME_H1",
    240: "TIMEFRAME_H4",
    1440: "TIMEFRAME_D1",
}
"""Minutes to the vendor's constant."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Write a message as JSON bytes; what is not finite becomes null.

    Raises:
        TypeError: for what JSON has no word for.
    """
    try:
        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a broken quote or bar is rare, so the walk is done only then
        text = json.dumps(_finite(message), separators=(",", ":"), allow_nan=False)
    return text.encode()


def encode_parts(message: Mapping[str, Any]) -> list[bytes]:
    """Write an answer as a head and parts: long lists travel in pieces, so that no reader is busy with one for long.

    The head counts the parts of each list under ``parts``; each part is ``{"rows": [...]}``, in the order of counts.
    """
    value = message.get("value")
    named = value.items() if isinstance(value, dict) else ()
    long = {name: rows for name, rows in named if isinstance(rows, list) and len(rows) > ROWS_PER_PART}
    if not long:
        return [encode(message)]
    pieces = {
        name: [rows[at : at + ROWS_PER_PART] for at in range(0, len(rows), ROWS_PER_PART)]
        for name, rows in long.items()
    }
    emptied: dict[str, Any] = {**dict(named), **{name: [] for name in long}}
    head = encode({**message, "value": emptied, "parts": {name: len(cut) for name, cut in pieces.items()}})
    return [head, *(encode({"rows": rows}) for cut in pieces.values() for rows in cut)]


def decode_parts(head: bytes, receive: Callable[[], bytes]) -> Message:
    """Read an answer whose further parts ``receive`` gives one by one.

    Raises:
        ValueError: when the bytes are not what ``encode_parts`` writes.
    """
    message = decode(head)
    for name, count in message.pop("parts", {}).items():
        for _ in range(count):
            message["value"][name] += decode(receive())["rows"]
    return message


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        ValueError: when the bytes are not one JSON object in UTF-8.
    """
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a message is one JSON object")
    return message
