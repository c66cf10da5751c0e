"""An exchange on this machine that speaks Binance's public REST protocol, and a real ccxt client that talks to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.sources.web import Answer, Web

from dtms.adapters.flow_exchange import make_client

HOUR_MS = 3_600_000
PATH = "/api/v3"


def market(symbol: str, base: str, quote: str) -> dict[str, Any]:
    """Describe one market as the exchange does."""
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.0", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
        ],
    }


@dataclass(slots=True)
class Exchange:
    """Its trades as (ms, amount, taker bought), and how it misbehaves."""

    web: Web
    trades: list[tuple[int, float, bool]] = field(default_factory=list)
    page_rows: int = 1_000
    ignores_since: bool = False
    broken: list[Answer] = field(default_factory=list)
    """Given instead of the next answers."""
    candles: list[tuple[int, float, float, float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.web.pages[f"{PATH}/exchangeInfo"] = self._info
        self.web.pages[f"{PATH}/aggTrades"] = self._agg_trades
        self.web.pages[f"{PATH}/klines"] = self._klines

    def _info(self, _: Mapping[str, str]) -> Answer:
        markets = [market("BTCUSDT", "BTC", "USDT"), market("ETHUSDT", "ETH", "USDT")]
        return _json({"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": markets})

    def _agg_trades(self, query: Mapping[str, str]) -> Answer:
        if self.broken:
            return self.broken.pop(0)
        start, limit = int(query.get("startTime", 0)), min(int(query.get("limit", 500)), self.page_rows)
        end = int(query.get("endTime", 2**62))
        numbered = list(enumerate(self.trades, 1))
        if self.ignores_since:
            found = numbered[-limit:]
        else:
            found = [(n, t) for n, t in numbered if start <= t[0] <= end][:limit]
        rows = [
            {"a": n, "p": "60000.00", "q": f"{amount:.5f}", "f": n, "l": n, "T": at_ms, "m": not bought, "M": True}
            for n, (at_ms, amount, bought) in found
        ]
        return _json(rows)

    def _klines(self, query: Mapping[str, str]) -> Answer:
        if self.broken:
            return self.broken.pop(0)
        start, limit = int(query.get("startTime", 0)), min(int(query.get("limit", 500)), self.page_rows)
        end = int(query.get("endTime", 2**62))
        found = [row for row in self.candles if start <= row[0] <= end][:limit]
        return _json([[at, *map(str, prices), at + 299_999, "0", 1, "0", "0", "0"] for at, *prices in found])

    def client(self, _: str = "binance", timeout_ms: int = 2_000) -> Any:
        """Make a real ccxt client whose addresses are this machine's; skip the test without ccxt."""
        pytest.importorskip("ccxt")
        made = make_client("binance", timeout_ms)
        made.urls["api"]["public"] = f"{self.web.url}{PATH}"
        made.rateLimit = 1
        return made


def _json(value: object) -> Answer:
    return Answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})
