"""The one adapter to the broker: dtms' words on one side, the MetaTrader 5 interface behind a gateway on the other."""

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack

from dtms.adapters import mt5_read
from dtms.adapters.links import Link
from dtms.adapters.mt5_session import Expected, Mt5Settings
from dtms.adapters.mt5_trading import Mt5Trading
from dtms.adapters.mt5_ways import searched_mark
from dtms.domain.market import Bars, FlowBars, Tick
from dtms.domain.position import Deal, Order, Position
from dtms.domain.snapshot import Evidence, Snapshot
from dtms.ports.broker import BarRequest
from dtms.ports.clock import Clock

_DAY_MS = 86_400_000
_SET_BACK_MS = 15 * 60_000
"""A quote older by less is out of its order; by more, the server's clock was set back."""
_ROWS_AT_ONCE = 64


class Mt5Broker(Mt5Trading):
    """Fulfil the ``Broker`` port through a link to a gateway."""

    def __init__(self, link: Link, clock: Clock, *, magic_prefix: int, **expected: Unpack[Expected]) -> None:
        """Take ``expected`` as ``Mt5Session`` does: the account, the settings, and what recalls its broker's ways."""
        super().__init__(link, clock, magic_prefix=magic_prefix, **expected)
        self._newest_ticks: dict[str, Tick] = {}

    async def snapshot(self, symbols: Iterable[str]) -> Snapshot:
        await self._ready()
        begun_ms = self._clock.market_ms()  # what settles an intent is a look that began after its window
        value = await self._ask({"call": "snapshot", "symbols": list(symbols)})
        account = self._checked(value)
        return Snapshot(
            taken_ms=begun_ms,
            account=account,
            positions=await self._positions_of(value["positions"]),
            orders=tuple(mt5_read.to_order(row, self.server_time) for row in value["orders"]),
            ticks=self._ticks(value["ticks"]),
        )

    async def _positions_of(self, rows: Sequence[Any]) -> dict[int, Position]:
        """Read positions, letting others run in between: an account can hold thousands."""
        found: dict[int, Position] = {}
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            for row in rows[start : start + _ROWS_AT_ONCE]:
                position = mt5_read.to_position(row, self.server_time)
                found[position.ticket] = position
        return found

    async def positions(self, tickets: Sequence[int]) -> Mapping[int, Position]:
        await self._ready()
        rows = await self._ask({"call": "positions", "tickets": list(tickets)})
        found = [mt5_read.to_position(row, self.server_time) for row in rows]
        return {position.ticket: position for position in found}

    async def quotes(self, symbols: Iterable[str]) -> Mapping[str, Tick]:
        await self._ready()
        return self._ticks(await self._ask({"call": "quotes", "symbols": list(symbols)}))

    def _ticks(self, rows: Mapping[str, Any]) -> dict[str, Tick]:
        given = {symbol: row for symbol, row in rows.items() if row is not None}
        newest_ms = max((mt5_read.tick_server_ms(row) for row in given.values()), default=0)
        now_ms = self._clock.market_ms()
        self.server_time.observe(newest_ms, now_ms)
        read = {symbol: mt5_read.to_tick(row, self.server_time, now_ms) for symbol, row in given.items()}
        return {symbol: self._newest(symbol, tick) for symbol, tick in read.items() if tick is not None}

    def _newest(self, symbol: str, tick: Tick) -> Tick:
        """Keep the quote that is known where a terminal comes with one from before it; a set-back clock is believed."""
        known = self._newest_ticks.get(symbol)
        if known is not None and 0 < known.time_ms - tick.time_ms < _SET_BACK_MS:
            return known
        self._newest_ticks[symbol] = tick
        return tick

    async def bars(self, requests: Sequence[BarRequest]) -> Sequence[Bars]:
        await self._ready()
        points = [await self._point(request.symbol) for request in requests]
        # One more than wanted: the newest may still be forming.
        wanted = [[request.symbol, int(request.timeframe), request.count + 1] for request in requests]
        answers = await self._ask({"call": "rates", "requests": wanted})
        return [
            self._closed(mt5_read.to_bars(columns, one.symbol, one.timeframe, point, self.server_time), one.count)
            for columns, one, point in zip(answers, requests, points, strict=True)
        ]

    def _closed(self, bars: Bars, count: int) -> Bars:
        if len(bars) and bars.last_close_ms > self._clock.market_ms():
            bars = bars[:-1]
        return bars[max(0, len(bars) - count) :]

    async def _point(self, symbol: str) -> float:
        instrument = await self.instrument(symbol)
        return instrument.point if instrument else 0.0

    async def flow(self, symbol: str, from_ms: int, to_ms: int) -> FlowBars:
        await self._ready()
        window = {"from_ms": self.server_time.to_server(from_ms), "to_ms": self.server_time.to_server(to_ms)}
        return mt5_read.to_flow(await self._ask({"call": "flow", "symbol": symbol, **window}), self.server_time)

    async def deals(
        self, *, position: int | None = None, from_ms: int | None = None, to_ms: int | None = None
    ) -> Sequence[Deal]:
        await self._ready()
        search = {"position": position} if position is not None else self._window(from_ms or 0, to_ms)
        found = mt5_read.to_deals(await self._ask({"call": "history", **search}), self.server_time)
        end_ms = math.inf if to_ms is None else to_ms
        return [deal for deal in found if (from_ms or 0) <= deal.time_ms < end_ms]

    async def find_by_magic(
        self, magic: int, since_ms: int
    ) -> tuple[Sequence[Position], Sequence[Order], Sequence[Deal]]:
        found = await self._searched(magic, since_ms)
        past = [order for order in found.past_orders if mt5_read.came_to_something(order)]
        return list(found.positions), [*found.orders, *past], list(found.deals)

    async def evidence(self, number: int, symbol: str, since_ms: int, *, order: int | None = None) -> Evidence:
        named = {} if order is None else {"order": order}
        return await self._searched(self.magic_of(number), since_ms, symbol=symbol, **named)

    async def _searched(self, magic: int, since_ms: int, **also: str | int) -> Evidence:
        await self._ready()
        begun_ms = self._clock.market_ms()
        mark = searched_mark(magic, self.ways)
        search = {"call": "evidence", "magic": magic, "mark": mark, **self._window(since_ms, None), **also}
        found = await self._ask(search)
        return Evidence(
            begun_ms=begun_ms,
            positions=tuple(mt5_read.to_position(row, self.server_time) for row in found["positions"]),
            orders=tuple(mt5_read.to_order(row, self.server_time) for row in found["orders"]),
            past_orders=tuple(mt5_read.to_order(row, self.server_time) for row in found["past_orders"]),
            deals=tuple(mt5_read.to_deals(found["deals"], self.server_time)),
        )

    def _window(self, from_ms: int, to_ms: int | None) -> dict[str, int]:
        """Return a window in server seconds, a day wider on each side: the offset may be off, and clocks differ."""
        end_ms = self._clock.market_ms() if to_ms is None else to_ms
        return {
            "date_from": max(0, self.server_time.to_server(from_ms) - _DAY_MS) // 1000,
            "date_to": (self.server_time.to_server(end_ms) + _DAY_MS) // 1000,
        }

    def server_offset_ms(self, at_ms: int) -> int:
        return self.server_time.offset_ms(at_ms)


__all__ = ["Mt5Broker", "Mt5Settings"]
