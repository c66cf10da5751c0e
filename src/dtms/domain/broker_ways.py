"""What was proven of a broker where its interface says nothing: words, magic numbers, stops, delays, fillings.

Without proof each value is what does no harm: dtms sends its comments and learns from a refusal, believes the stops
level that is declared, and waits as long as it always does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtms.domain.facts import Json
from dtms.domain.market import Filling

COMMENT_CHARS_MAX = 31
DUE_AFTER_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolWays:
    """What was proven of one symbol."""

    stops_points_min: int = 0
    """The distance that stops need beyond what the symbol declares; 0 where the declared one is true."""
    fillings: tuple[Filling, ...] = ()
    """Those that were really accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerWays:
    """What was proven of a server and account."""

    comment_on_open: bool = True
    """Whether an opening may carry a comment; likewise a close."""
    comment_on_close: bool = True
    comment_chars: int = COMMENT_CHARS_MAX
    """How many characters of a comment come back unchanged; 0 where it is replaced or stripped."""
    magic_kept: bool = True
    lag_ms: int = 0
    """How long, at the 99th percentile, what was done takes to be listed."""
    symbols: Mapping[str, SymbolWays] = field(default_factory=dict)

    def of(self, symbol: str) -> SymbolWays:
        """Return what was proven of a symbol."""
        return self.symbols.get(symbol, UNPROVEN_SYMBOL)

    def as_json(self) -> dict[str, Json]:
        symbols: dict[str, Json] = {
            name: {"stops_points_min": one.stops_points_min, "fillings": [str(filling) for filling in one.fillings]}
            for name, one in self.symbols.items()
        }
        return {
            "comment_on_open": self.comment_on_open,
            "comment_on_close": self.comment_on_close,
            "comment_chars": self.comment_chars,
            "magic_kept": self.magic_kept,
            "lag_ms": self.lag_ms,
            "symbols": symbols,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Json]) -> "BrokerWays":
        """Read what was kept; what is missing or of another kind is unproven."""
        symbols = body.get("symbols")
        return cls(
            comment_on_open=body.get("comment_on_open") is not False,
            comment_on_close=body.get("comment_on_close") is not False,
            comment_chars=_whole(body.get("comment_chars"), COMMENT_CHARS_MAX),
            magic_kept=body.get("magic_kept") is not False,
            lag_ms=_whole(body.get("lag_ms"), 0),
            symbols={name: _symbol(one) for name, one in symbols.items() if isinstance(one, dict)}
            if isinstance(symbols, dict)
            else {},
        )


UNPROVEN_SYMBOL = SymbolWays()
UNPROVEN = BrokerWays()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What was proven, with which build of the terminal, and when (UTC ms of the machine's clock)."""

    ways: BrokerWays
    build: int
    at_ms: int


def why_due(proven: Proven | None, now_ms: int, build: int) -> str | None:
    """Say why the broker should be probed again, or None: never done, a week old, or another build since."""
    if proven is None:
        return "this broker was never probed: run `dtms probe` on a demo account"
    if build and proven.build != build:
        return f"the broker was probed with build {proven.build}, the terminal has {build}: run `dtms probe` again"
    age_days = (now_ms - proven.at_ms) // 86_400_000
    if now_ms - proven.at_ms >= DUE_AFTER_MS:
        return f"the broker was probed {age_days} days ago: run `dtms probe` again"
    return None


def is_due(proven: Proven | None, now_ms: int, build: int) -> bool:
    """Tell whether the broker should be probed again."""
    return why_due(proven, now_ms, build) is not None


def _whole(value: Json, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _symbol(body: Mapping[str, Json]) -> SymbolWays:
    named = body.get("fillings")
    fillings = tuple(filling for filling in Filling if isinstance(named, list) and str(filling) in named)
    return SymbolWays(stops_points_min=_whole(body.get("stops_points_min"), 0), fillings=fillings)
