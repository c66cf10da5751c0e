"""Order flow from a crypto exchange, through ccxt: a thread per exchange polls trades, the engine reads their sums.

ccxt is imported only when the configuration names an exchange. Nothing is ever sent but public questions.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Protocol

import structlog

from dtms.adapters.flow_sums import ExchangeTrade, FlowSums
from dtms.config.model import FlowFrom
from dtms.domain.errors import Misconfigured
from dtms.domain.market import FlowBars
from dtms.domain.sources import SourceState, Standing

log = structlog.get_logger(__name__)

PAGES_MAX: Final = 40
"""Pages of one market in a row, so that others get their turn while one is caught up."""
PAGE_ROWS: Final[Mapping[str, int]] = {"binance": 1_000, "binanceus": 1_000}
"""Trades to ask for at once where the exchange's own default is less than it allows."""
BACKOFF_S: Final = (5.0, 15.0, 60.0, 300.0)
MALFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What ccxt raises for a body that it does not expect."""


class Client(Protocol):
    """What is used of a ccxt exchange."""

    last_http_response: str | None

    def fetch_trades(self, symbol: str, since: int | None = None, limit: int | None = None) -> list[dict[str, Any]]: ...


MakeClient = Callable[[str, int], Client]
"""Makes an exchange by its ccxt id, with a timeout in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRules:
    """When exchange flow counts as usable, all in milliseconds."""

    stale_ms: int
    span_ms: int
    backfill_ms: int


class MarketFlow:
    """One symbol's market on an exchange; written by its poller's thread, read by the engine's."""

    def __init__(self, *, symbol: str, exchange: str, market: str, rules: FlowRules) -> None:
        self.symbol = symbol
        self.market = market
        self.name = f"{exchange} {market}"
        self.failure: str | None = None
        self._rules = rules
        self._sums: FlowSums | None = None
        self._lock = threading.Lock()

    def next_question(self, now_ms: int) -> int:
        """Return from when on to ask for trades."""
        with self._lock:
            if self._sums is None:
                self._sums = FlowSums(now_ms - self._rules.backfill_ms)
            return self._sums.ask_ms

    def take(self, page: Sequence[ExchangeTrade], *, asked_ms: int, begun_ms: int) -> bool:
        """Take a page in; True when there may be more."""
        with self._lock:
            assert self._sums is not None
            return self._sums.take(page, asked_ms=asked_ms, begun_ms=begun_ms)

    def lacks(self, now_ms: int) -> str | None:
        """Say why it cannot be used now, None when it can."""
        with self._lock:
            if self._sums is None:
                return "not asked yet"
            return self._sums.lacks(now_ms, stale_ms=self._rules.stale_ms, span_ms=self._rules.span_ms)

    def usable(self, now_ms: int) -> FlowBars | None:
        """Return the sums, None while they are too old, too few or torn."""
        if self.lacks(now_ms) is not None:
            return None
        with self._lock:
            return None if self._sums is None else self._sums.bars(self.name)

    def standing(self, now_ms: int) -> Standing:
        name, lacking = f"order flow of {self.symbol}", self.lacks(now_ms)
        if lacking is None:
            return Standing(name=name, state=SourceState.OK, told=f"from {self.name}")
        told = f"{self.name}: {lacking}{f'; {self.failure}' if self.failure else ''}"
        return Standing(
            name=name, state=SourceState.STALE, told=told, warning=f"{name}: the terminal's ticks are used ({told})"
        )


class ExchangePoller:
    """Asks one exchange for the trades of its markets, in a thread of its own."""

    def __init__(
        self,
        *,
        exchange: str,
        client: Client,
        flows: Sequence[MarketFlow],
        poll_s: float,
        now_ms: Callable[[], int],
        failures: tuple[type[Exception], ...],
    ) -> None:
        self.exchange = exchange
        self.flows = flows
        self._client = client
        self._poll_s = poll_s
        self._now_ms = now_ms
        self._failures = failures
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to poll."""
        self._thread = threading.Thread(target=self._run, name=f"dtms-flow-{self.exchange}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the question in hand, which is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        failed = 0
        while not self._stopping.is_set():
            failed = 0 if self.poll() else failed + 1
            wait_s = max(self._poll_s, BACKOFF_S[min(failed, len(BACKOFF_S)) - 1]) if failed else self._poll_s
            self._stopping.wait(wait_s)

    def poll(self) -> bool:
        """Ask once for every market; False when one could not be asked."""
        answered = [self._ask(flow) for flow in self.flows]  # all of them, whatever the first one says
        return all(answered)

    def _ask(self, flow: MarketFlow) -> bool:
        try:
            self._catch_up(flow)
        except self._failures as error:
            told = f"{type(error).__name__}: {error}"[:300]
            if flow.failure != told:
                log.warning("exchange_failed", exchange=self.exchange, market=flow.market, told=told)
            flow.failure = told
            return False
        flow.failure = None
        return True

    def _catch_up(self, flow: MarketFlow) -> None:
        """Ask page by page until the present is reached."""
        for _ in range(PAGES_MAX):
            begun_ms = self._now_ms()
            asked_ms = flow.next_question(begun_ms)
            page = ask_trades(self._client, flow.market, asked_ms, PAGE_ROWS.get(self.exchange))
            if self._stopping.is_set() or not flow.take(page, asked_ms=asked_ms, begun_ms=begun_ms):
                return


def ask_trades(client: Client, market: str, since_ms: int, limit: int | None) -> list[ExchangeTrade]:
    """Ask for a page of trades.

    Raises:
        ValueError: for an answer without trades that is not an answer: a page of HTML reads as no trades.
    """
    rows = client.fetch_trades(market, since_ms, limit)
    page = read_trades(rows)
    if rows and not page:
        raise ValueError(f"none of {len(rows)} trades could be read")
    body = str(client.last_http_response or "").lstrip()
    if not rows and not body.startswith(("[", "{")):
        raise ValueError(f"an answer that is no list of trades: {body[:80]!r}")
    return page


def read_trades(rows: Iterable[Mapping[str, Any]]) -> list[ExchangeTrade]:
    """Read ccxt's trades; those without a time, a side or an amount are passed over."""
    found: list[ExchangeTrade] = []
    for row in rows:
        time_ms, side, amount = row["timestamp"], row["side"], row["amount"]
        if time_ms is None or side not in ("buy", "sell") or amount is None or not isfinite(amount) or amount <= 0:
            continue
        ident = str(row.get("id") or f"{row.get('price')} {amount} {side}")
        signed = float(amount) if side == "buy" else -float(amount)
        found.append(ExchangeTrade(time_ms=int(time_ms), ident=ident, signed=signed))
    return found


def load_ccxt(wanted_for: str) -> Any:
    """Import ccxt.

    Raises:
        Misconfigured: when it is not installed.
    """
    try:
        import ccxt  # type: ignore[import-untyped]
    except ImportError as error:
        raise Misconfigured(f"{wanted_for} needs ccxt, which is not installed: pip install 'dtms[flow]'") from error
    return ccxt


def make_client(exchange: str, timeout_ms: int) -> Any:
    """Make a ccxt client for public questions.

    Raises:
        Misconfigured: for an exchange that ccxt does not know.
    """
    ccxt = load_ccxt(f"exchange {exchange}")
    if exchange not in ccxt.exchanges:
        raise Misconfigured(f"ccxt knows no exchange {exchange!r}")
    options = {"fetchMarkets": {"types": ["spot"]}} if exchange.startswith("binance") else {}
    return getattr(ccxt, exchange)({"enableRateLimit": True, "timeout": timeout_ms, "options": options})


def failures_of(ccxt: Any) -> tuple[type[Exception], ...]:
    """Return what a question to an exchange may raise."""
    return (ccxt.BaseError, *MALFORMED)


def make_pollers(
    flow: FlowFrom, *, flow_hours: float, now_ms: Callable[[], int], make: MakeClient = make_client
) -> tuple[ExchangePoller, ...]:
    """Make a poller per exchange that the configuration names; none when it names none.

    Raises:
        Misconfigured: when ccxt is missing or does not know an exchange.
    """
    if not flow.exchanges:
        return ()
    failures = failures_of(load_ccxt("flow.exchanges"))
    rules = FlowRules(
        stale_ms=int(flow.stale_s * 1000),
        span_ms=int(flow_hours * 3_600_000),
        backfill_ms=int(flow.backfill_min * 60_000),
    )
    markets: dict[str, list[MarketFlow]] = {}
    for symbol, place in flow.exchanges.items():
        exchange, _, market = place.partition(":")
        made = MarketFlow(symbol=symbol, exchange=exchange, market=market, rules=rules)
        markets.setdefault(exchange, []).append(made)
    return tuple(
        ExchangePoller(
            exchange=exchange,
            client=make(exchange, int(flow.timeout_s * 1000)),
            flows=flows,
            poll_s=flow.poll_s,
            now_ms=now_ms,
            failures=failures,
        )
        for exchange, flows in markets.items()
    )
