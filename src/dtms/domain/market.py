"""What the market says: sides, timeframes, instruments, ticks and closed bars."""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import NewType

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UtcMs = NewType("UtcMs", int)
"""Milliseconds since 1970 in UTC, on the market's clock."""


class Side(Enum):
    """The side of a position; ``sign`` turns a price change into profit."""

    LONG = 1
    SHORT = -1

    @property
    def sign(self) -> int:
        return self.value

    @property
    def opposite(self) -> "Side":
        return Side.SHORT if self is Side.LONG else Side.LONG

    @property
    def direction(self) -> str:
        """The word used at the edges: BUY or SELL."""
        return "BUY" if self is Side.LONG else "SELL"

    @classmethod
    def of_direction(cls, direction: str) -> "Side":
        """Read BUY or SELL in any case.

        Raises:
            ValueError: for any other word.
        """
        try:
            return {"BUY": cls.LONG, "SELL": cls.SHORT}[direction.strip().upper()]
        except KeyError:
            raise ValueError(f"direction must be BUY or SELL, not {direction!r}") from None


class Timeframe(IntEnum):
    """A bar's length, in minutes."""

    M1 = 1
    M5 = 5
    M15 = 15
    M30 = 30
    H1 = 60
    H4 = 240
    D1 = 1440

    @property
    def ms(self) -> int:
        return self.value * 60_000

    def floor_ms(self, at_ms: int) -> int:
        """Return the opening time of the bar that contains ``at_ms``.

        Not beyond H1: longer bars begin with the day of the trade server, not with that of UTC.
        """
        return at_ms - at_ms % self.ms


class TradeMode(StrEnum):
    """What the broker lets one do with a symbol."""

    DISABLED = "disabled"
    LONG_ONLY = "long_only"
    SHORT_ONLY = "short_only"
    CLOSE_ONLY = "close_only"
    FULL = "full"


class Filling(StrEnum):
    """How an order may be filled."""

    FOK = "fok"
    IOC = "ioc"
    RETURN = "return"


class Lifetime(StrEnum):
    """How long a pending order may wait."""

    GTC = "gtc"
    """Until it is removed."""
    DAY = "day"
    SPECIFIED = "specified"
    SPECIFIED_DAY = "specified_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A symbol as this broker trades it; ``stops_level_points`` and ``freeze_level_points`` are as given."""

    symbol: str
    digits: int
    point: float
    tick_size: float
    tick_value: float
    """Account currency per tick size and lot."""
    contract_size: float
    volume_min: Decimal
    volume_max: Decimal
    volume_step: Decimal
    stops_level_points: int
    freeze_level_points: int
    trade_mode: TradeMode
    fillings: tuple[Filling, ...]
    currency_base: str
    currency_profit: str
    lifetimes: tuple[Lifetime, ...] = (Lifetime.GTC,)
    """Those that pending orders may have."""

    @property
    def stops_level(self) -> float:
        """The minimum distance of a stop from the closing price, as a price difference."""
        return self.stops_level_points * self.point

    @property
    def freeze_level(self) -> float:
        return self.freeze_level_points * self.point


@dataclass(frozen=True, slots=True)
class Tick:
    """One quote; ``time_ms`` is UTC."""

    time_ms: int
    bid: float
    ask: float

    @property
    def spread(self) -> float:
        return self.ask - self.bid

    @property
    def is_sound(self) -> bool:
        """Whether both prices are positive finite numbers and not crossed."""
        return 0.0 < self.bid <= self.ask < float("inf")

    def closing(self, side: Side) -> float:
        """Return the price at which a position of ``side`` is closed."""
        return self.bid if side is Side.LONG else self.ask

    def opening(self, side: Side) -> float:
        """Return the price at which a position of ``side`` is opened."""
        return self.ask if side is Side.LONG else self.bid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """Closed bars of one symbol and timeframe, oldest first; arrays of one shape ``(n,)``.

    ``time_ms`` is each bar's opening time in UTC; prices are bids; ``spread`` is a price difference, 0 when unknown;
    ``volume`` is the tick volume. Bars without a trade are absent, so consecutive rows can be further apart in time.
    """

    symbol: str
    timeframe: Timeframe
    time_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    spread: Floats

    def __len__(self) -> int:
        return len(self.time_ms)

    def __getitem__(self, rows: slice) -> "Bars":
        return Bars(
            symbol=self.symbol,
            timeframe=self.timeframe,
            time_ms=self.time_ms[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
            spread=self.spread[rows],
        )

    @property
    def last_close_ms(self) -> int:
        """The closing time of the newest bar, in UTC; 0 without bars."""
        return int(self.time_ms[-1]) + self.timeframe.ms if len(self) else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlowBars:
    """Signed volume per M5 bar, oldest first; shape ``(n,)``.

    Out of a terminal's ticks ``signed`` is up-ticks minus down-ticks of the mid, out of an exchange's trades what was
    bought minus what was sold at the market; ``total`` is both together.
    """

    time_ms: Ints
    signed: Floats
    total: Floats
    spread: Floats | None = None
    """Median quoted spread (price difference), 0 where unknown; None when nobody looked."""
    source: str | None = None
    """Whose trades these are; None for the terminal's own ticks."""

    def __len__(self) -> int:
        return len(self.time_ms)
