"""An earlier system's table of trades in the same file: read once, and kept as it is.

Such a table tells less than a trade needs: no account, no position identifier, prices and times in whatever spelling.
So its open trades become registrations that wait: the next recovery makes trades of those whose positions the broker
has, with the stop and the time that the table gives. What cannot be read is reported and stays in its table.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.facts import Json
from dtms.domain.prices import lots
from dtms.ports.store import Kept, KeptKind

TABLE = "dtms_trades"
DONE = "earlier_import"
"""Under which key it is remembered that the table was read."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "ticket": ("ticket", "position_ticket", "trade_id"),
    "symbol": ("symbol",),
    "direction": ("direction", "type", "side"),
    "entry": ("entry_price", "entry", "open_price", "price_open"),
    "volume": ("volume", "lots", "initial_volume"),
    "stop": ("stop_loss", "sl"),
    "target": ("take_profit", "tp"),
    "registered": ("registered_at", "created_at", "state_entry_time"),
    "state": ("state", "status"),
}
"""What is looked for, under the names that such tables have used; the first that is there counts."""
REQUIRED = ("ticket", "symbol", "direction")
ENDED = frozenset({"CLOSED", "CLOSE", "DONE", "INACTIVE", "DELETED"})
SIDES: Mapping[str, str] = {"BUY": "BUY", "LONG": "BUY", "0": "BUY", "SELL": "SELL", "SHORT": "SELL", "1": "SELL"}
TICKET_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an earlier table held."""

    waiting: Sequence[Kept] = ()
    ended: int = 0
    unreadable: Sequence[str] = ()
    """Each with its row and what is wrong with it."""


class Unreadable(ValueError):
    """A row that cannot be understood."""


def read_earlier(tx: Transaction, wall_ms: int) -> Imported | None:
    """Read the earlier table; None when there is none, or it cannot be one of trades."""
    tx.cursor.execute(f'SELECT name FROM pragma_table_info("{TABLE}")')
    names = {str(name).lower(): str(name) for (name,) in tx.cursor.fetchall()}
    found = {what: names[n] for what, given in COLUMNS.items() if (n := next((g for g in given if g in names), ""))}
    if any(what not in found for what in REQUIRED):
        return None
    tx.cursor.execute(f'SELECT {", ".join(_quoted(name) for name in found.values())} FROM "{TABLE}"')
    waiting, ended, unreadable = [], 0, []
    for values in tx.cursor.fetchall():
        row = dict(zip(found, values, strict=True))
        try:
            if _text(row.get("state")).upper() in ENDED:
                ended += 1
                continue
            waiting.append(_registration(row, wall_ms))
        except Unreadable as wrong:
            unreadable.append(f"{json.dumps(row, default=str)}: {wrong}")
    return Imported(waiting=waiting, ended=ended, unreadable=unreadable)


def _registration(row: Mapping[str, Any], wall_ms: int) -> Kept:
    ticket = _ticket(row["ticket"])
    body: dict[str, Json] = {
        "ticket": ticket,
        "symbol": _symbol(row["symbol"]),
        "direction": _side(row["direction"]),
        "entry": _price(row.get("entry"), "entry"),
        "volume": _volume(row.get("volume")),
        "stop_loss": _price(row.get("stop"), "stop"),
        "take_profit": _price(row.get("target"), "target"),
        "registered_ms": _time_ms(row.get("registered")),
    }
    return Kept(kind=KeptKind.EARLIER, key=str(ticket), body=body, at_ms=wall_ms)


def remembered(imported: Imported | None, wall_ms: int) -> Kept:
    """Make the note by which the table is not read again."""
    found = imported or Imported()
    body: dict[str, Json] = {
        "waiting": len(found.waiting),
        "ended": found.ended,
        "unreadable": list(found.unreadable),
        "table": imported is not None,
    }
    return Kept(kind=KeptKind.WORK, key=DONE, body=body, at_ms=wall_ms)


# --- single values -----------------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _ticket(value: Any) -> int:
    try:
        ticket = int(str(value).strip().removesuffix(".0"))
    except ValueError:
        raise Unreadable(f"ticket {value!r} is not a number") from None
    if not 1 <= ticket <= TICKET_MAX:
        raise Unreadable(f"ticket {ticket} is out of range")
    return ticket


def _symbol(value: Any) -> str:
    symbol = _text(value)
    if not symbol:
        raise Unreadable("no symbol")
    return symbol


def _side(value: Any) -> str:
    side = SIDES.get(_text(value).upper().removesuffix(".0"))
    if side is None:
        raise Unreadable(f"direction {value!r} is neither BUY nor SELL")
    return side


def _price(value: Any, what: str) -> float | None:
    """Read a price; absent, empty and zero are None."""
    if _text(value) == "":
        return None
    try:
        price = float(value)
    except (TypeError, ValueError):
        raise Unreadable(f"{what} {value!r} is not a number") from None
    if not math.isfinite(price) or price < 0:
        raise Unreadable(f"{what} {price} is not a price")
    return price or None


def _volume(value: Any) -> str | None:
    volume = _price(value, "volume")
    return None if volume is None else str(lots(volume))


def _time_ms(value: Any) -> int | None:
    """Read a time: seconds or milliseconds since 1970, or ISO text, taken as UTC where it names no zone."""
    text = _text(value)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return _iso_ms(text)
    return int(number if number > 1e11 else number * 1000) if math.isfinite(number) else None


def _iso_ms(text: str) -> int | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
