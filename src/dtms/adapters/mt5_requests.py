"""Trade requests, and how an intent's number travels in them: in the magic number, and again in the comment.

The magic number is the installation's prefix times 2^40 plus the intent's number, below 2^53. The comment is ``D``, a
letter for the kind, and the magic number in eleven base32 digits: thirteen plain characters that survive brokers which
shorten comments to sixteen or refuse all but letters and digits.
"""

from collections.abc import Collection, Mapping
from typing import Any

from dtms.domain.actions import (
    ActionKind,
    CancelOrder,
    ClosePosition,
    MoveStop,
    OpenPosition,
    OrderWay,
    PlaceOrder,
    SetLevels,
)
from dtms.domain.errors import Misconfigured
from dtms.domain.market import Filling, Instrument, Lifetime, Side, Tick
from dtms.domain.prices import on_grid

NUMBER_BITS = 40
PREFIX_MAX = 2**13 - 1
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MARK_LENGTH = 11
COMMENT_LENGTH = 2 + _MARK_LENGTH
_DEAL, _PENDING, _SLTP, _REMOVE = 1, 5, 6, 8
_ORDER_TYPES = {Side.LONG: 0, Side.SHORT: 1}
_PENDING_TYPES = {
    (Side.LONG, OrderWay.LIMIT): 2,
    (Side.SHORT, OrderWay.LIMIT): 3,
    (Side.LONG, OrderWay.STOP): 4,
    (Side.SHORT, OrderWay.STOP): 5,
}
_LIFETIMES = {Lifetime.GTC: 0, Lifetime.DAY: 1, Lifetime.SPECIFIED: 2, Lifetime.SPECIFIED_DAY: 3}
_DATED = frozenset({Lifetime.SPECIFIED, Lifetime.SPECIFIED_DAY})
_LIFE_S = 30 * 86_400
"""How long a pending order waits where a broker wants a date: longer than any plan does."""
_FILLINGS = {Filling.FOK: 0, Filling.IOC: 1, Filling.RETURN: 2}

KIND_LETTERS: Mapping[ActionKind, str] = {
    ActionKind.TIGHTEN: "T",
    ActionKind.BREAKEVEN: "B",
    ActionKind.ATTACH_STOP: "A",
    ActionKind.RESTORE_STOP: "S",
    ActionKind.CLOSE_PART: "P",
    ActionKind.OPEN_HEDGE: "H",
    ActionKind.CLOSE_HEDGE: "X",
    ActionKind.READD: "R",
    ActionKind.CLOSE: "C",
    ActionKind.TRAIL: "L",
    ActionKind.TAKE_PARTIAL: "Q",
    ActionKind.SET_LEVELS: "M",
    ActionKind.EXECUTE: "E",
    ActionKind.PLACE_ORDER: "O",
    ActionKind.CANCEL_ORDER: "K",
}
_KINDS = {letter: kind for kind, letter in KIND_LETTERS.items()}

# All or nothing where a part would be half a plan; whatever can be had where all must go.
_ALL_OR_NOTHING = (Filling.FOK, Filling.IOC, Filling.RETURN)
_WHATEVER_FILLS = (Filling.IOC, Filling.FOK, Filling.RETURN)
# Of a pending order the filling says what becomes of a rest; some brokers want the one that their market orders have.
_PENDING_FILLS = (Filling.RETURN, Filling.IOC, Filling.FOK)


class Numbering:
    """Turn intent numbers into magic numbers and back."""

    def __init__(self, prefix: int) -> None:
        if not 1 <= prefix <= PREFIX_MAX:
            raise Misconfigured(f"the magic prefix must lie in 1..{PREFIX_MAX}, not {prefix}")
        self._prefix = prefix

    def magic_of(self, number: int) -> int:
        """Return the magic number that carries an intent's number.

        Raises:
            ValueError: when the number does not fit into 40 bits.
        """
        if not 0 < number < 2**NUMBER_BITS:
            raise ValueError(f"an intent number lies in 1..2^{NUMBER_BITS} - 1, not {number}")
        return (self._prefix << NUMBER_BITS) + number

    def intent_of(self, magic: int) -> int | None:
        """Return the intent number in a magic number, None when it is not of this installation."""
        number = magic & (2**NUMBER_BITS - 1)
        return number if magic >> NUMBER_BITS == self._prefix and number else None

    def number_in(self, magic: int, comment: str) -> int | None:
        """Return the intent number in a magic number, or failing that in a comment."""
        number = self.intent_of(magic)
        if number is not None:
            return number
        read = read_comment(comment)
        return None if read is None else self.intent_of(read[1])


def mark_of(magic: int) -> str:
    """Write a magic number in eleven base32 digits."""
    return "".join(_DIGITS[(magic >> (5 * place)) & 31] for place in reversed(range(_MARK_LENGTH)))


def comment_of(kind: ActionKind, magic: int) -> str:
    """Write the comment of a request."""
    return f"D{KIND_LETTERS[kind]}{mark_of(magic)}"


def read_comment(comment: str) -> tuple[ActionKind, int] | None:
    """Read kind and magic number out of a comment, None when it is not one of ours."""
    kind, digits = _KINDS.get(comment[1:2]), comment[2 : 2 + _MARK_LENGTH]
    if comment[:1] != "D" or kind is None or len(digits) < _MARK_LENGTH or not set(digits) <= set(_DIGITS):
        return None
    magic = 0
    for digit in digits:
        magic = magic * 32 + _DIGITS.index(digit)
    return kind, magic


def fillings_for(
    action: ClosePosition | OpenPosition, instrument: Instrument, proven: Collection[Filling] = ()
) -> tuple[Filling, ...]:
    """List the fillings to try, in order, proven ones first; all of them when the symbol names none."""
    is_full_close = isinstance(action, ClosePosition) and action.volume >= action.expected_volume
    order = _WHATEVER_FILLS if is_full_close else _ALL_OR_NOTHING
    wanted = tuple(filling for filling in order if filling in instrument.fillings) or order
    return tuple(sorted(wanted, key=lambda filling: bool(proven) and filling not in proven))


def market_type(side: Side) -> int:
    """Return the vendor's type of a market order of a side."""
    return _ORDER_TYPES[side]


def levels_request(action: MoveStop | SetLevels, magic: int) -> dict[str, Any]:
    """Build a change of levels: both go along, because an omitted one is removed."""
    return {
        "action": _SLTP,
        "position": action.position,
        "symbol": action.symbol,
        "sl": action.stop or 0.0,
        "tp": action.target or 0.0,
        "magic": magic,
    }


def removal_request(action: CancelOrder, magic: int) -> dict[str, Any]:
    """Build the removal of a pending order."""
    return {"action": _REMOVE, "order": action.order, "symbol": action.symbol, "magic": magic}


def pending_requests(action: PlaceOrder, *, magic: int, instrument: Instrument, server_s: int) -> list[dict[str, Any]]:
    """Build a pending order once for each filling to try; ``server_s`` is the trade server's clock, in seconds."""
    lifetime = next((one for one in _LIFETIMES if one in instrument.lifetimes), Lifetime.GTC)
    order: dict[str, Any] = {
        "action": _PENDING,
        "symbol": action.symbol,
        "volume": float(action.volume),
        "type": _PENDING_TYPES[action.side, action.way],
        "price": on_grid(action.price, instrument),
        "sl": action.stop or 0.0,
        "tp": action.target or 0.0,
        "type_time": _LIFETIMES[lifetime],
        "magic": magic,
        "comment": comment_of(action.kind, magic),
    }
    if lifetime in _DATED:
        order["expiration"] = server_s + _LIFE_S
    return [{**order, "type_filling": _FILLINGS[filling]} for filling in _PENDING_FILLS]


def deal_requests(
    action: ClosePosition | OpenPosition,
    *,
    magic: int,
    instrument: Instrument,
    tick: Tick,
    deviation_points: int,
    proven: Collection[Filling] = (),
) -> list[dict[str, Any]]:
    """Build a market deal once for each filling to try: against the named position for a close, with its levels for
    an opening."""
    is_close = isinstance(action, ClosePosition)
    price = tick.closing(action.side) if is_close else tick.opening(action.side)
    deal: dict[str, Any] = {
        "action": _DEAL,
        "symbol": action.symbol,
        "volume": float(action.volume),
        "type": _ORDER_TYPES[action.side.opposite if is_close else action.side],
        "price": on_grid(price, instrument),
        "deviation": deviation_points,
        "type_time": 0,
        "magic": magic,
        "comment": comment_of(action.kind, magic),
    }
    fillings = fillings_for(action, instrument, proven)
    return [{**deal, **_levels(action), "type_filling": _FILLINGS[filling]} for filling in fillings]


def _levels(action: ClosePosition | OpenPosition) -> dict[str, Any]:
    match action:
        case ClosePosition():
            return {"position": action.position}
        case OpenPosition():
            return {"sl": action.stop or 0.0, "tp": action.target or 0.0}
