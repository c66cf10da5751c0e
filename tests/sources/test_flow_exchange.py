"""Order flow from an exchange: a real ccxt client over a real socket, to an exchange that a test makes misbehave."""

import builtins
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.market.made import MONDAY_MS
from tests.sources.exchange import PATH, Exchange
from tests.sources.web import Answer, HandClock, web

from dtms.adapters.flow_exchange import ExchangePoller, MarketFlow, ask_trades, make_client, make_pollers, read_trades
from dtms.config.model import FlowFrom
from dtms.domain.errors import Misconfigured
from dtms.domain.market import FlowBars
from dtms.domain.sources import SourceState

MINUTE_MS = 60_000
BAR_MS = 5 * MINUTE_MS
NOON_MS = MONDAY_MS + 12 * 60 * MINUTE_MS
TRADES = f"{PATH}/aggTrades"


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with web() as site:
        yield Exchange(site)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOON_MS)


def poller_of(exchange: Exchange, clock: HandClock, **changes: Any) -> ExchangePoller:
    given: dict[str, Any] = {"exchanges": {"BTCUSD": "binance:BTC/USDT"}} | changes
    (made,) = make_pollers(FlowFrom(**given), flow_hours=2.0, now_ms=clock.market_ms, make=exchange.client)
    return made


def flow_of(poller: ExchangePoller) -> MarketFlow:
    (flow,) = poller.flows
    return flow


def market_of(seed: int = 1, hours: float = 3.0, per_min: int = 12) -> list[tuple[int, float, bool]]:
    """Draw trades of the hours until noon, oldest first; amounts are whole thousandths."""
    rng = np.random.default_rng(seed)
    count = int(hours * 60 * per_min)
    times = np.sort(rng.integers(NOON_MS - int(hours * 60) * MINUTE_MS, NOON_MS, count))
    amounts = rng.integers(1, 2_000, count) / 1_000
    return list(zip(times.tolist(), amounts.tolist(), (rng.random(count) < 0.5).tolist(), strict=True))


def sums_of(trades: list[tuple[int, float, bool]], from_ms: int) -> dict[int, tuple[float, float]]:
    """Sum trades the plain way: bar to (bought − sold, bought + sold), for whole bars from a moment on."""
    found: dict[int, tuple[float, float]] = {}
    for at_ms, amount, bought in trades:
        bar = at_ms - at_ms % BAR_MS
        if bar >= from_ms:
            signed, total = found.get(bar, (0.0, 0.0))
            found[bar] = signed + (amount if bought else -amount), total + amount
    return found


def assert_same(flow: FlowBars | None, expected: dict[int, tuple[float, float]]) -> None:
    assert flow is not None
    assert flow.time_ms.tolist() == sorted(expected)
    assert flow.signed == pytest.approx([expected[at][0] for at in sorted(expected)])
    assert flow.total == pytest.approx([expected[at][1] for at in sorted(expected)])


def whole(flow: MarketFlow, clock: HandClock) -> FlowBars:
    found = flow.usable(clock.now_ms)
    assert found is not None
    return found


# --- what is summed ---


def test_trades_are_signed_by_the_taker_and_summed_per_five_minutes(exchange: Exchange, clock: HandClock) -> None:
    """Two hours are caught up in pages of 100, and every trade counts once."""
    exchange.trades, exchange.page_rows = market_of(), 100
    poller = poller_of(exchange, clock)
    assert poller.poll()
    since_ms = NOON_MS - 125 * MINUTE_MS
    flow = whole(flow_of(poller), clock)
    assert flow.source == "binance BTC/USDT"
    first = next(at for at, _, _ in exchange.trades if at >= since_ms)
    assert_same(flow, sums_of(exchange.trades, first))
    assert exchange.web.count(TRADES) >= 15


def test_polling_goes_on_from_the_last_trade_and_counts_none_twice(exchange: Exchange, clock: HandClock) -> None:
    """Many trades share their milliseconds, and the exchange answers from the asked moment on, inclusive."""
    exchange.trades = market_of()
    poller = poller_of(exchange, clock)
    poller.poll()
    for second in range(0, 600, 5):
        at_ms = NOON_MS + second * 1_000
        exchange.trades += [(at_ms, 0.5, True), (at_ms, 0.5, True), (at_ms, 0.25, False), (at_ms + 3_000, 1.0, False)]
        clock.now_ms = at_ms + 1_000
        poller.poll()
    clock.now_ms = NOON_MS + 601_000
    poller.poll()
    flow = whole(flow_of(poller), clock)
    at = flow.time_ms.tolist().index(NOON_MS)
    assert flow.signed[at : at + 2] == pytest.approx([60 * (0.75 - 1.0)] * 2)
    assert flow.total[at : at + 2] == pytest.approx([60 * 2.25] * 2)


def test_a_quiet_market_is_covered_without_a_trade(exchange: Exchange, clock: HandClock) -> None:
    """The last trade came 100 minutes ago; the exchange looks no further than an hour with each question."""
    exchange.trades = [t for t in market_of(hours=4) if t[0] < NOON_MS - 100 * MINUTE_MS]
    poller = poller_of(exchange, clock, backfill_min=200.0)
    assert poller.poll()
    assert flow_of(poller).lacks(clock.now_ms) is None
    clock.advance(30)
    exchange.trades.append((clock.now_ms - 10, 1.0, True))
    assert poller.poll()
    assert whole(flow_of(poller), clock).signed[-1] == 1.0


# --- gaps ---


def test_missed_trades_tear_their_bars_and_too_many_make_it_unusable(exchange: Exchange, clock: HandClock) -> None:
    """An exchange that gives only its newest 20 trades: an outage of twelve minutes cannot be caught up."""
    exchange.trades, exchange.ignores_since = market_of(per_min=4), True
    exchange.page_rows = 20_000
    poller = poller_of(exchange, clock)
    assert poller.poll()
    flow = flow_of(poller)
    before = whole(flow, clock).time_ms.tolist()
    exchange.page_rows = 20
    exchange.trades += [(NOON_MS + n * 5_000, 1.0, True) for n in range(12)]
    clock.advance(61)
    assert poller.poll()
    assert NOON_MS in whole(flow, clock).time_ms.tolist()  # twelve of the newest twenty: nothing missed
    exchange.trades += [(NOON_MS + n * 5_000, 1.0, True) for n in range(13, 156)]
    clock.now_ms = NOON_MS + 13 * MINUTE_MS
    assert poller.poll()
    assert "trades were missed in 3 of the last 24 bars" in str(flow.lacks(clock.now_ms))
    assert flow.usable(clock.now_ms) is None
    assert flow.standing(clock.now_ms).state is SourceState.STALE
    # Two hours later the tear lies behind, and its bars stay left out.
    for minute in range(13, 150):
        exchange.trades.append((NOON_MS + minute * MINUTE_MS, 1.0, True))
        clock.now_ms = NOON_MS + (minute + 1) * MINUTE_MS
        poller.poll()
    times = whole(flow, clock).time_ms.tolist()
    assert set(before) <= set(times) | {t for t in before if t < min(times)}
    assert not {NOON_MS, NOON_MS + BAR_MS, NOON_MS + 2 * BAR_MS} & set(times)
    assert NOON_MS + 3 * BAR_MS in times


def test_an_outage_is_caught_up_where_the_exchange_gives_old_trades(exchange: Exchange, clock: HandClock) -> None:
    exchange.trades = market_of()
    poller = poller_of(exchange, clock)
    poller.poll()
    exchange.trades += [(NOON_MS + n * 1_000, 0.5, n % 3 == 0) for n in range(1, 1_500)]
    clock.now_ms = NOON_MS + 1_500_000
    exchange.broken = [Answer(b"", 503)] * 3
    assert not poller.poll()
    flow = flow_of(poller)
    assert "nothing newer for 1500 s" in str(flow.lacks(clock.now_ms))
    assert "503" in str(flow.standing(clock.now_ms).warning)
    exchange.broken = []
    assert poller.poll()
    first = int(whole(flow, clock).time_ms[0])
    assert_same(whole(flow, clock), sums_of(exchange.trades, first))
    assert flow.standing(clock.now_ms).state is SourceState.OK
    assert flow.standing(clock.now_ms).warning is None


def test_until_two_hours_are_known_it_is_not_used(exchange: Exchange, clock: HandClock) -> None:
    exchange.trades, exchange.ignores_since = market_of(hours=1), True
    poller = poller_of(exchange, clock)
    poller.poll()
    flow = flow_of(poller)
    assert flow.usable(clock.now_ms) is None
    assert "of 120 minutes known so far" in str(flow.lacks(clock.now_ms))


# --- an exchange that refuses ---


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b'{"code":-1003,"msg":"Too many requests."}', 429), "Too many requests"),
        (Answer(b'{"code":-1003,"msg":"Way too many requests; IP banned."}', 418), "banned"),
        (Answer(b"", 500), "500"),
        (Answer(b"<html>maintenance</html>", 503), "503"),
        (Answer(b'{"code":0,"msg":"restricted location"}', 451), "restricted location"),
        (Answer(b"<html>hello</html>", 200), ""),
        (Answer(b'{"unexpected": true}', 200), ""),
        (Answer(b"[]", 200, stall_s=5.0), "RequestTimeout"),
    ],
    ids=["429", "418", "500", "503", "451", "page", "object", "silence"],
)
def test_an_answer_that_is_none_is_told_and_the_next_good_one_heals(
    exchange: Exchange, clock: HandClock, answer: Answer, said: str
) -> None:
    exchange.trades, exchange.broken = market_of(), [answer] * 10
    poller = poller_of(exchange, clock, timeout_s=1.0)
    assert not poller.poll()
    flow = flow_of(poller)
    assert flow.usable(clock.now_ms) is None
    assert said in str(flow.failure)
    exchange.broken = []
    assert poller.poll()
    assert flow.failure is None
    assert len(whole(flow, clock)) >= 24


def test_rows_that_hold_no_trades_are_not_taken_for_a_quiet_market(exchange: Exchange, clock: HandClock) -> None:
    """ccxt drops rows without a time, so that nothing seems to have been traded."""
    exchange.broken = [Answer(b'[{"a": 1}]')] * 10
    poller = poller_of(exchange, clock)
    poller.poll()
    assert flow_of(poller).usable(clock.now_ms) is None
    assert "no trade in 120 minutes" in str(flow_of(poller).standing(clock.now_ms).warning)
    assert "none of 1 trades could be read" in str(_raised([{"timestamp": 1, "side": None, "amount": 1.0}]))


def _raised(rows: list[dict[str, Any]]) -> ValueError:
    class Odd:
        last_http_response: str | None = "[]"

        def fetch_trades(self, *_: Any) -> list[dict[str, Any]]:
            return rows

    with pytest.raises(ValueError, match="trades") as caught:
        ask_trades(Odd(), "BTC/USDT", 0, None)
    return caught.value


def test_a_market_that_the_exchange_has_not_is_told(exchange: Exchange, clock: HandClock) -> None:
    poller = poller_of(exchange, clock, exchanges={"BTCUSD": "binance:BTC/XYZ", "ETHUSD": "binance:ETH/USDT"})
    assert not poller.poll()
    btc, eth = poller.flows
    assert "BTC/XYZ" in str(btc.failure)
    assert eth.failure is None


def test_one_client_polls_all_markets_of_an_exchange(exchange: Exchange, clock: HandClock) -> None:
    poller = poller_of(exchange, clock, exchanges={"BTCUSD": "binance:BTC/USDT", "ETHUSD": "binance:ETH/USDT"})
    assert poller.poll()
    assert {query["symbol"] for path, query in exchange.web.asked if path == TRADES} == {"BTCUSDT", "ETHUSDT"}
    assert exchange.web.count(f"{PATH}/exchangeInfo") == 1


def test_trades_without_side_time_or_amount_are_passed_over() -> None:
    sound: dict[str, Any] = {"timestamp": 1, "side": "buy", "amount": 2.0, "id": "7"}
    odd: list[dict[str, Any]] = [
        {"timestamp": None},
        {"side": None},
        {"amount": None},
        {"amount": float("nan")},
        {"amount": -1.0},
    ]
    assert [t.ident for t in read_trades([sound, *(sound | change for change in odd)])] == ["7"]


# --- the thread ---


def until(condition: Any, seconds: float = 10.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not come to that in time"
        time.sleep(0.01)


def test_the_thread_polls_by_itself_and_ends_at_once(exchange: Exchange, clock: HandClock) -> None:
    exchange.trades = market_of()
    poller = poller_of(exchange, clock, poll_s=1.0)
    poller.start()
    until(lambda: flow_of(poller).usable(clock.now_ms) is not None)
    asked = exchange.web.count(TRADES)
    until(lambda: exchange.web.count(TRADES) > asked)
    began_s = time.monotonic()
    poller.stop()
    assert time.monotonic() - began_s < 0.5


# --- what is not there ---


def test_without_the_extra_a_configured_exchange_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *args: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "ccxt":
            raise ImportError(name)
        return real_import(name, *args, **named)

    monkeypatch.delitem(sys.modules, "ccxt", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    flow = FlowFrom(exchanges={"BTCUSD": "binance:BTC/USDT"})
    with pytest.raises(Misconfigured, match=r"flow.exchanges needs ccxt, .* pip install 'dtms\[flow\]'"):
        make_pollers(flow, flow_hours=2.0, now_ms=lambda: 0)
    assert make_pollers(FlowFrom(), flow_hours=2.0, now_ms=lambda: 0) == ()


def test_an_exchange_that_ccxt_does_not_know_is_one_clear_message() -> None:
    pytest.importorskip("ccxt")
    with pytest.raises(Misconfigured, match="ccxt knows no exchange 'binanze'"):
        make_client("binanze", 1_000)
