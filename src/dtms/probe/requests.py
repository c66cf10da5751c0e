"""Raw requests to a terminal, odd ones among them, and what the codes of its answers mean to a probe."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from dtms.domain.market import Filling, Side

PREFIX = 8191
"""The upper 13 bits of a probe's magic numbers; no installation may have it."""
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MARK_LENGTH = 11
MARK_START = "DPH77"
"""How each mark begins whose magic number has the prefix."""

ORDER_TYPES = {Side.LONG: 0, Side.SHORT: 1}
FILLINGS = {Filling.FOK: 0, Filling.IOC: 1, Filling.RETURN: 2}
FILLING_BITS = {Filling.FOK: 1, Filling.IOC: 2}
DEAL, SLTP, REMOVE = 1, 6, 8
EXPERT = 3
REAL_ACCOUNT, NETTING_MODES = 2, (0, 1)
MARKET_EXECUTION = 2


class Code(IntEnum):
    """Codes that a probe knows by name."""

    NOBODY_KNOWS = 0
    BAD_ARGUMENT = -2
    PLACED = 10008
    DONE = 10009
    DONE_PARTIAL = 10010
    INVALID = 10013
    INVALID_STOPS = 10016
    NO_CHANGES = 10025
    FROZEN = 10029
    INVALID_FILL = 10030
    POSITION_CLOSED = 10036
    FIFO_CLOSE = 10045
    HEDGE_PROHIBITED = 10046


ACCEPTED = frozenset({Code.PLACED, Code.DONE, Code.DONE_PARTIAL})
NEW_PRICE = frozenset({10004, 10020, 10021})
WAIT = frozenset({10024, 10028, 10039, -10003, -10004})
UNCLEAR = frozenset({Code.NOBODY_KNOWS, 10011, 10012, 10031, -1, -4, -10000, -10001, -10002, -10005})
HOPELESS: Mapping[int, str] = {
    10017: "trading is disabled",
    10018: "the market is closed",
    10019: "there is not enough money",
    10026: "the server does not allow automated trading",
    10027: "automated trading is switched off in the terminal",
    10032: "only real accounts may trade",
    10033: "the limit of orders is reached",
    10034: "the limit of volume is reached",
    10040: "the limit of positions is reached",
    10042: "only long positions are allowed",
    10043: "only short positions are allowed",
    10044: "only closing is allowed",
    -3: "the terminal is out of memory",
    -5: "the terminal and its package do not fit together",
    -6: "the terminal is not authorised",
    -7: "the terminal does not support it",
    -8: "the Python interface is switched off in the terminal",
}
"""Where nothing more can be found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: the result's return code, or the error code behind None."""

    code: int
    text: str = ""
    order: int = 0
    deal: int = 0
    volume: float = 0.0
    price: float = 0.0

    @property
    def is_accepted(self) -> bool:
        return self.code in ACCEPTED

    @property
    def told(self) -> str:
        return f"{self.code} {self.text}".strip()


def comment_of(magic: int) -> str:
    """Write a comment in the form of dtms: thirteen characters of A to Z and 2 to 7."""
    return "DP" + "".join(_DIGITS[(magic >> (5 * place)) & 31] for place in reversed(range(_MARK_LENGTH)))


def is_marked(row: Mapping[str, Any]) -> bool:
    """Tell whether a position, order or deal carries a probe's magic number, or its mark in the comment."""
    return row["magic"] >> 40 == PREFIX or MARK_START in row["comment"]


def opening(symbol: str, side: Side, volume: float, price: float, **more: Any) -> dict[str, Any]:
    """Build a market deal."""
    return {
        "action": DEAL,
        "symbol": symbol,
        "volume": volume,
        "type": ORDER_TYPES[side],
        "price": price,
        "deviation": 100,
        "type_time": 0,
        **more,
    }


def levels(symbol: str, ticket: int, **named: float) -> dict[str, Any]:
    """Build a change of those levels that are named."""
    return {"action": SLTP, "symbol": symbol, "position": ticket, **named}
