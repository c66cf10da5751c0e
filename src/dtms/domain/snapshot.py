"""What one look at the broker answers, taken together."""

from collections.abc import Mapping
from dataclasses import dataclass

from dtms.domain.account import Account
from dtms.domain.market import Tick
from dtms.domain.position import Deal, Order, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The account, every open position and order, and the quotes asked for, read in one gateway call.

    A snapshot exists only when each part was answered by the expected, connected account: an absent list raises
    instead of looking empty. ``taken_ms`` is market time (UTC).
    """

    taken_ms: int
    account: Account
    positions: Mapping[int, Position]
    """By ticket."""
    orders: tuple[Order, ...]
    ticks: Mapping[str, Tick]
    """By symbol; a symbol without a quote is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that one look at the broker shows of an intent's symbol, and of whatever carries the intent's number.

    It exists only when each part was answered by the expected account, connected before and after. ``begun_ms`` is
    market time (UTC) at which the look began.
    """

    begun_ms: int
    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    """Live ones."""
    past_orders: tuple[Order, ...]
    deals: tuple[Deal, ...]
