"""The vendor's functions about symbols, bars and ticks."""

import numpy as np
from numpy.typing import NDArray

from dtms.terminal.simulated import views
from dtms.terminal.simulated.answers import CALL_FAILED, INVALID_PARAMS, NOT_FOUND, bad_argument
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.infos import SymbolInfo
from dtms.terminal.simulated.records import Selection
from dtms.terminal.simulated.series import TIMEFRAMES, Rates
from dtms.terminal.simulated.session import Session, in_group, server_seconds
from dtms.terminal.simulated.structs import BookInfo, Tick

TICKS_DTYPE = np.dtype(
    [
        ("time", "<i8"),
        ("bid", "<f8"),
        ("ask", "<f8"),
        ("last", "<f8"),
        ("volume", "<u8"),
        ("time_msc", "<i8"),
        ("flags", "<u4"),
        ("volume_real", "<f8"),
    ]
)
Ticks = NDArray[np.void]
BAD_FIRST, BAD_SECOND, BAD_THIRD = (bad_argument(f"Invalid {nth} unnamed argument") for nth in ("1st", "2nd", "3rd"))


class MarketCalls(Session):
    """Symbols, bars and ticks."""

    def symbols_total(self) -> int | None:
        """Count the symbols."""
        return len(self._world.specs) if self._begin() else None

    def symbols_get(self, *args: object, group: str | None = None) -> tuple[SymbolInfo, ...] | None:
        """Give all symbols, or those of a group."""
        if not self._begin():
            return None
        pattern = args[0] if args else group
        if pattern is not None and not isinstance(pattern, str):
            self._fail(bad_argument('Invalid "group" argument'))
            return None
        specs = self._world.specs.values()
        return tuple(
            views.symbol_info(self._world, spec) for spec in specs if pattern is None or in_group(spec.name, pattern)
        )

    def symbol_info(self, symbol: str, /) -> SymbolInfo | None:
        """Give a symbol's conditions and quote."""
        if not self._begin() or not self._known(symbol):
            return None
        return views.symbol_info(self._world, self._world.specs[symbol])

    def symbol_info_tick(self, symbol: str, /) -> Tick | None:
        """Give a symbol's last quote; a symbol outside Market Watch has none."""
        if not self._begin() or not self._known(symbol):
            return None
        quote = self._world.quote(symbol) if self._world.ledger.selected.get(symbol) else None
        if quote is None:
            self._fail(NOT_FOUND)
            return None
        return views.tick(self._world, self._world.specs[symbol], quote)

    def symbol_select(self, symbol: str, enable: bool = True, /) -> bool:
        """Put a symbol into Market Watch or take it out; not one with open positions or orders."""
        if not self._begin() or not self._known(symbol):
            return False
        if not enable and symbol in set(self._world.ledger.busy_symbols()):
            self._fail(CALL_FAILED)
            return False
        if self._world.ledger.selected.get(symbol, False) != bool(enable):
            self._world.ledger.apply(Selection(symbol, bool(enable)))
            self._write()
        return True

    def market_book_add(self, symbol: str, /) -> bool:
        """Subscribe to the depth of market."""
        if not self._begin() or not self._known(symbol):
            return False
        self._books.add(symbol)
        return True

    def market_book_release(self, symbol: str, /) -> bool:
        """End a subscription to the depth of market."""
        if not self._begin() or not self._known(symbol):
            return False
        self._books.discard(symbol)
        return True

    def market_book_get(self, symbol: str, /) -> tuple[BookInfo, ...] | None:
        """Give the depth of market: these symbols have none, so a subscriber gets an empty book."""
        if not self._begin() or not self._known(symbol):
            return None
        if symbol in self._books:
            return ()
        self._fail(CALL_FAILED)
        return None

    def copy_rates_from(self, symbol: str, timeframe: int, date_from: object, count: int, /) -> Rates | None:
        """Give up to `count` bars that opened at or before a server time."""
        moment = server_seconds(date_from)
        if not self._begin() or not self._ranged(symbol, timeframe, moment, count):
            return None
        assert moment is not None
        return self._world.series[symbol].before(timeframe, self._world.now_ms, moment, self._count(count))

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start_pos: int, count: int, /) -> Rates | None:
        """Give `count` bars back from a position; 0 is the newest, still forming."""
        if not self._begin() or not self._ranged(symbol, timeframe, start_pos, count):
            return None
        return self._world.series[symbol].last(timeframe, self._world.now_ms, start_pos, self._count(count))

    def copy_rates_range(self, symbol: str, timeframe: int, date_from: object, date_to: object, /) -> Rates | None:
        """Give the bars that opened within a span of server time, both ends included."""
        start, stop = server_seconds(date_from), server_seconds(date_to)
        if not self._begin() or not self._ranged(symbol, timeframe, start, 1):
            return None
        if start is None or stop is None:
            self._fail(INVALID_PARAMS)
            return None
        return self._world.series[symbol].between(timeframe, self._world.now_ms, start, stop)

    def copy_ticks_from(self, symbol: str, date_from: object, count: int, flags: int, /) -> Ticks | None:
        """Give up to `count` ticks from a server time on."""
        start = server_seconds(date_from)
        if not self._begin() or not self._known(symbol):
            return None
        if start is None or not isinstance(count, int) or count <= 0:
            self._fail(INVALID_PARAMS)
            return None
        return self._ticks(symbol, start * 1000, self._world.clock.to_server(self._world.now_ms), count, flags)

    def copy_ticks_range(self, symbol: str, date_from: object, date_to: object, flags: int, /) -> Ticks | None:
        """Give the ticks within a span of server time, both ends included."""
        start, stop = server_seconds(date_from), server_seconds(date_to)
        if not self._begin() or not self._known(symbol):
            return None
        if start is None or stop is None:
            self._fail(INVALID_PARAMS)
            return None
        return self._ticks(symbol, start * 1000, stop * 1000, None, flags)

    def _known(self, symbol: object) -> bool:
        """Tell whether a symbol exists, setting the error when it does not."""
        if not isinstance(symbol, str):
            self._fail(BAD_FIRST)
        elif symbol not in self._world.specs:
            self._fail(NOT_FOUND)
        return isinstance(symbol, str) and symbol in self._world.specs

    def _ranged(self, symbol: object, timeframe: object, start: object, count: object) -> bool:
        """Check the arguments of a copy of bars, setting the error of the first that is wrong."""
        if not self._known(symbol):
            return False
        whole = isinstance(start, int) and isinstance(count, int)
        if timeframe not in TIMEFRAMES or not whole or count <= 0 or start < 0:  # type: ignore[operator]
            self._fail(INVALID_PARAMS)
            return False
        return True

    def _count(self, count: int) -> int:
        return min(count, views.MAX_BARS)

    def _ticks(self, symbol: str, from_ms: int, to_ms: int, count: int | None, flags: int) -> Ticks:
        """Give the ticks within a span of server time in ms; quotes have no trades, so TRADE gives none."""
        clock, scale = self._world.clock, self._world.specs[symbol].scale
        first, last = clock.to_utc(from_ms), min(clock.to_utc(to_ms), self._world.now_ms)
        parts: list[Ticks] = [np.empty(0, TICKS_DTYPE)]
        held = 0
        spans = () if flags == MT5.COPY_TICKS_TRADE else self._world.feeds[symbol].spans(first - 1, last)
        for block, start, stop in spans:
            rows = np.zeros(stop - start, TICKS_DTYPE)
            rows["time_msc"] = clock.to_server_many(block.ms[start:stop])
            rows["time"] = rows["time_msc"] // 1000
            rows["bid"], rows["ask"] = block.bid[start:stop] / scale, block.ask[start:stop] / scale
            rows["flags"] = views.QUOTE_FLAGS
            parts.append(rows)
            held += len(rows)
            if count is not None and held >= count:
                break
        return np.concatenate(parts)[:count]
