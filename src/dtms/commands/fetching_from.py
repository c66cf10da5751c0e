"""Where bars are fetched from: the terminal behind the gateway, or a crypto exchange through ccxt."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from dtms.adapters.clocks import TerminalClock
from dtms.adapters.flow_exchange import MALFORMED, failures_of, load_ccxt, make_client
from dtms.adapters.links import Link
from dtms.adapters.mt5 import Mt5Broker
from dtms.commands.fetching import MINUTE_MS, UNKNOWN, Row
from dtms.config import Config
from dtms.domain.errors import BrokerUnavailable, DtmsError, Misconfigured
from dtms.terminal.protocol import RATE_COLUMNS

TIMEFRAMES: Final = {1: 1, 5: 5, 15: 15, 60: 16_385}
"""Minutes to the vendor's constants."""
EXCHANGE_TIMEFRAMES: Final = {1: "1m", 5: "5m", 15: "15m", 60: "1h"}
NO_HISTORY: Final = -4
SETTLE_TRIES: Final = 6
SETTLE_S: Final = 1.0
TRIES: Final = 5
BACKOFF_S: Final = 2.0
HOLE_BARS: Final = 100
"""How many bars are passed over when a page is empty: no exchange looks at fewer in one question."""
VOLUME_UNITS: Final = 1_000
"""An exchange's volume is written in thousandths, as a recording counts whole ticks."""

Sleep = Callable[[float], Awaitable[None]]


class FromTerminal:
    """Bars of the connected terminal; ``digits`` is known once it is connected."""

    def __init__(self, link: Link, config: Config, symbol: str, minutes: int, sleep: Sleep = asyncio.sleep) -> None:
        self._link = link
        self._symbol = symbol
        self._minutes = minutes
        self._sleep = sleep
        self._clock = TerminalClock(link)
        self._broker = Mt5Broker(
            link,
            self._clock,
            magic_prefix=config.magic_prefix,
            expected_login=config.mt5.login,
            expected_server=config.mt5.server,
        )
        self.digits = 0
        self.source = "terminal"

    async def connect(self) -> int:
        """Connect, and return the terminal's time (UTC ms).

        Raises:
            DtmsError: when it is away, is another account's, or has no such symbol.
        """
        await self._clock.synchronise()
        account = await self._broker.connect()
        instrument = await self._broker.instrument(self._symbol)
        if instrument is None:
            raise DtmsError(f"the broker has no symbol {self._symbol}")
        self.digits, self.source = instrument.digits, f"terminal {account.server}"
        return self._clock.market_ms()

    async def ask(self, from_ms: int, to_ms: int) -> Sequence[Row]:
        """Fetch bars; asks again until two answers agree, because a terminal first loads its history."""
        rows = await self._once(from_ms, to_ms)
        for _ in range(SETTLE_TRIES if not self._clock.is_simulated else 0):
            await self._sleep(SETTLE_S)
            again = await self._once(from_ms, to_ms)
            if len(again) == len(rows):
                return again
            rows = again
        return rows

    async def _once(self, from_ms: int, to_ms: int) -> Sequence[Row]:
        server = self._broker.server_time
        answer = await self._link.call(
            {
                "call": "copy_rates_range",
                "symbol": self._symbol,
                "timeframe": TIMEFRAMES[self._minutes],
                "date_from": server.to_server(from_ms) // 1000,
                "date_to": server.to_server(to_ms) // 1000,
            }
        )
        columns = answer.get("value")
        if columns is None:
            code, text = answer.get("last_error") or [0, answer.get("message")]
            if code == NO_HISTORY:
                return []
            raise BrokerUnavailable(f"the terminal gave no bars of {self._symbol}: {code} {text}")
        bars = dict(zip(RATE_COLUMNS, columns, strict=True))
        times = server.to_utc_array(np.array(bars["time"], dtype=np.int64) * 1000).tolist()
        values = (bars[name] for name in ("open", "high", "low", "close", "tick_volume", "spread"))
        closed_ms = self._clock.market_ms() - self._minutes * MINUTE_MS
        return [row for row in zip(times, *values, strict=True) if row[0] <= closed_ms]


class FromExchange:
    """Bars of a crypto exchange."""

    def __init__(
        self,
        place: str,
        minutes: int,
        *,
        timeout_s: float,
        make: Callable[[str, int], Any] = make_client,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._exchange, colon, self._market = place.partition(":")
        if not (colon and self._market):
            raise Misconfigured(f"--exchange {place}: must name exchange and market, like binance:BTC/USDT")
        self._client = make(self._exchange, int(timeout_s * 1000))
        ccxt = load_ccxt("--exchange")
        self._failures = failures_of(ccxt)
        self._lasting = (ccxt.BadSymbol, ccxt.NotSupported)
        self._is_tick_size = self._client.precisionMode == ccxt.TICK_SIZE
        self._minutes = minutes
        self._sleep = sleep
        self.source = f"{self._exchange} {self._market}"
        self.digits = 0

    async def connect(self) -> int:
        """Read the market's description, and return the exchange's time as this machine has it (UTC ms).

        Raises:
            DtmsError: when the exchange does not answer, or has no such market or timeframe.
        """
        await self._try(self._client.load_markets)
        if self._market not in self._client.markets:
            raise DtmsError(f"{self._exchange} has no market {self._market}")
        if EXCHANGE_TIMEFRAMES[self._minutes] not in (self._client.timeframes or {}):
            raise DtmsError(f"{self._exchange} has no bars of {EXCHANGE_TIMEFRAMES[self._minutes]}")
        self.digits = self._digits(self._client.markets[self._market]["precision"]["price"])
        return int(self._client.milliseconds())

    def _digits(self, precision: float | None) -> int:
        if precision is None:
            return 8
        if not self._is_tick_size:
            return int(precision)
        exponent = Decimal(str(precision)).normalize().as_tuple().exponent
        return max(0, -int(exponent))

    async def ask(self, from_ms: int, to_ms: int) -> Sequence[Row]:
        """Fetch bars page by page."""
        found: dict[int, Row] = {}
        closed_ms = int(self._client.milliseconds()) - self._minutes * MINUTE_MS
        since_ms = from_ms
        while since_ms < to_ms:
            page = [_row(values) for values in await self._page(since_ms)]
            fresh = {row[0]: row for row in page if since_ms <= row[0] < to_ms and row[0] <= closed_ms}
            found |= fresh
            # Some exchanges answer a hole in their bars with nothing, though there are later ones.
            last_ms = max(fresh) if fresh else since_ms + (HOLE_BARS - 1) * self._minutes * MINUTE_MS
            since_ms = last_ms + self._minutes * MINUTE_MS
        return [found[at] for at in sorted(found)]

    async def _page(self, since_ms: int) -> Sequence[Sequence[Any]]:
        name = EXCHANGE_TIMEFRAMES[self._minutes]
        page: Sequence[Sequence[Any]] = await self._try(
            lambda: self._client.fetch_ohlcv(self._market, name, since_ms, None)
        )
        return page

    async def _try(self, question: Callable[[], Any]) -> Any:
        """Ask an exchange, again after a while when it fails.

        Raises:
            DtmsError: when it fails every time, or says that it never will.
        """
        for attempt in range(1, TRIES + 1):
            try:
                return await asyncio.to_thread(question)
            except self._failures as error:
                told = f"{self.source}: {type(error).__name__}: {error}"[:300]
                if attempt == TRIES or isinstance(error, self._lasting):
                    raise DtmsError(f"{told} (what came is kept: start again to go on)") from error
            await self._sleep(BACKOFF_S * 2 ** (attempt - 1))
        raise AssertionError("the last try returns or raises")


def _row(values: Sequence[Any]) -> Row:
    """Read ccxt's bar.

    Raises:
        DtmsError: for one that holds no figures.
    """
    try:
        at_ms, *prices, volume = values
        o, h, low, c = map(float, prices)
        return int(at_ms), o, h, low, c, max(1, round(float(volume or 0) * VOLUME_UNITS)), UNKNOWN
    except MALFORMED as error:
        raise DtmsError(f"a bar without figures: {values!r}") from error
