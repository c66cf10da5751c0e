"""`dtms data fetch`: bars of a terminal and of an exchange become recordings, also after being broken off."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.adapters_mt5.faulty import Faulty
from tests.program.running import EURUSD, Site, market, wait_until
from tests.replay.windows import EUR, SHORT, Window, config_of
from tests.sources.exchange import PATH, Exchange
from tests.sources.web import Answer, web
from typer.testing import CliRunner

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.commands.data import app
from dtms.commands.fetching import MINUTE_MS, Order, Row, download
from dtms.commands.fetching_from import FromExchange, FromTerminal
from dtms.config import Given, load
from dtms.config.model import Config
from dtms.domain.errors import DtmsError, Misconfigured
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.recording import BarRecording, load_recording

WINDOW = Window(recording=EUR, at="2017-10-02T09:00Z", side=SHORT, stop=1.3, hours=1, rules=())


def ms(utc: str) -> int:
    return int(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def order_of(target: Path, **changes: Any) -> Order:
    made = Order(
        symbol="EURUSD",
        minutes=5,
        from_ms=ms("2017-08-20"),
        to_ms=ms("2017-10-01"),
        source="somewhere",
        target=target,
        digits=5,
    )
    return replace(made, **changes)


def bars_between(from_ms: int, to_ms: int) -> list[Row]:
    """Make one bar per five minutes, whose price tells its time."""
    rows: list[Row] = []
    for at_ms in range(-(-from_ms // 300_000) * 300_000, to_ms, 300_000):
        price = 1.0 + at_ms % 1_000_000_000 / 1e10
        rows.append((at_ms, price, price + 0.001, price - 0.001, price, 7, 2))
    return rows


class Somewhere:
    """A source that counts its questions, and can break off."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked: list[tuple[int, int]] = []
        self._fails_at = fails_at

    async def ask(self, from_ms: int, to_ms: int) -> list[Row]:
        self.asked.append((from_ms, to_ms))
        if len(self.asked) == self._fails_at:
            raise DtmsError("the line broke")
        return bars_between(from_ms, to_ms)


def fetched(order: Order, source: Somewhere) -> tuple[BarRecording, list[str]]:
    told: list[str] = []
    return asyncio.run(download(order, source.ask, told.append)), told


# --- pieces ---


def test_a_download_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    order = order_of(tmp_path / "a.csv.gz", from_ms=ms("2017-06-01"))
    whole = len(list(order.pieces()))
    assert whole >= 4
    broken = Somewhere(fails_at=3)
    with pytest.raises(DtmsError, match="the line broke"):
        fetched(order, broken)
    assert not order.target.exists()
    again = Somewhere()
    recording, told = fetched(order, again)
    assert again.asked == list(order.pieces())[2:]
    assert [("kept from before" in line) for line in told] == [True, True] + [False] * (whole - 2)
    assert recording.ms.tolist() == list(range(order.from_ms, order.to_ms, 300_000))
    loaded = load_recording(order.target)
    assert isinstance(loaded, BarRecording)
    assert np.array_equal(loaded.ms, recording.ms)
    assert loaded.close == pytest.approx(recording.close, abs=1e-5)
    assert loaded.about["source"] == "somewhere"
    assert not order.parts.exists()


def test_pieces_that_were_kept_serve_a_longer_span_too(tmp_path: Path) -> None:
    order = order_of(tmp_path / "a.csv.gz", from_ms=ms("2017-06-01"))
    with pytest.raises(DtmsError):
        fetched(order, Somewhere(fails_at=4))
    longer, again = replace(order, to_ms=ms("2017-10-05")), Somewhere()
    fetched(longer, again)
    first, second, *_ = order.pieces()
    assert not {first, second} & set(again.asked)


def test_pieces_of_another_download_are_not_mixed_in(tmp_path: Path) -> None:
    order = order_of(tmp_path / "a.csv.gz")
    with pytest.raises(DtmsError):
        fetched(order, Somewhere(fails_at=2))
    with pytest.raises(Misconfigured, match="holds another download"):
        fetched(replace(order, source="elsewhere"), Somewhere())


def test_a_source_without_bars_and_one_with_impossible_bars_write_nothing(tmp_path: Path) -> None:
    class Empty(Somewhere):
        async def ask(self, from_ms: int, to_ms: int) -> list[Row]:
            return []

    class Odd(Somewhere):
        async def ask(self, from_ms: int, to_ms: int) -> list[Row]:
            return [(from_ms, 1.0, 0.5, 0.9, 1.0, 1, 1)]

    for source, message in ((Empty(), "no bars of EURUSD"), (Odd(), "gave what cannot be")):
        order = order_of(tmp_path / f"{message[:3]}.csv.gz")
        with pytest.raises(DtmsError, match=message):
            fetched(order, source)
        assert not order.target.exists()


# --- a terminal ---


def config_with(tmp_path: Path, **keys: str) -> Config:
    overrides = {"data_dir": str(tmp_path / "data")} | keys
    return load(Given(path=tmp_path / "none.json", required=False, environ={}, overrides=overrides))


class StillLoading(Faulty):
    """A real terminal that has only part of its history at first."""

    simulation: Any = None

    def __init__(self, terminal: SimulatedTerminal) -> None:
        super().__init__(terminal)
        self.missing = 3

    def copy_rates_range(self, *arguments: Any) -> Any:
        found = self._terminal.copy_rates_range(*arguments)
        self.missing = max(0, self.missing - 1)
        assert found is not None
        return found[len(found) * self.missing // 3 :]


def bars_of_terminal(tmp_path: Path, wrap: Any = None) -> tuple[list[Row], SimulatedTerminal, int]:
    """Fetch two days of M5 bars from a simulated terminal, which keeps its server's clock."""

    async def main() -> tuple[list[Row], SimulatedTerminal, int]:
        config = config_of(WINDOW)
        clock = LoopClock(config.start_ms)
        terminal = SimulatedTerminal(config, clock)
        module: Any = wrap(terminal) if wrap else terminal
        link = LocalLink(Gateway(module, instance=1, now=clock.machine_s, utc_ms=clock.market_ms))
        source = FromTerminal(link, config_with(tmp_path), WINDOW.symbol, 5, sleep=_no_sleep)
        await source.connect()
        rows = await source.ask(ms("2017-09-28"), ms("2017-09-30"))
        return list(rows), terminal, source.digits

    return asyncio.run(main())


async def _no_sleep(_: float) -> None:
    """Wait for nothing."""


def test_bars_of_a_terminal_come_in_utc_with_their_spread(tmp_path: Path) -> None:
    rows, terminal, digits = bars_of_terminal(tmp_path)
    assert digits == 5
    assert [rows[0][0], rows[-1][0]] == [ms("2017-09-28"), ms("2017-09-29T20:55")]
    assert len({row[0] % 300_000 for row in rows}) == 1
    own = terminal.copy_rates_range(WINDOW.symbol, 5, (ms("2017-09-28T03:00")) // 1000, ms("2017-09-28T03:00") // 1000)
    assert own is not None
    assert rows[0][1:] == tuple(own[0][["open", "high", "low", "close", "tick_volume", "spread"]].tolist())


def test_a_terminal_that_is_still_loading_its_history_is_asked_until_two_answers_agree(tmp_path: Path) -> None:
    rows, _, _ = bars_of_terminal(tmp_path, wrap=StillLoading)
    assert rows == bars_of_terminal(tmp_path)[0]


def test_a_symbol_that_the_broker_has_not_is_one_clear_message(tmp_path: Path) -> None:
    async def main() -> None:
        config = config_of(WINDOW)
        clock = LoopClock(config.start_ms)
        link = LocalLink(Gateway(SimulatedTerminal(config, clock), instance=1, now=clock.machine_s))
        await FromTerminal(link, config_with(tmp_path), "NOPE", 5).connect()

    with pytest.raises(DtmsError, match="the broker has no symbol NOPE"):
        asyncio.run(main())


# --- an exchange ---


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with web() as site:
        yield Exchange(site)


def candles(from_ms: int, count: int) -> list[tuple[int, float, float, float, float, float]]:
    return [
        (from_ms + n * 300_000, 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 0.0125 if n % 9 == 0 else 1.5)
        for n in range(count)
    ]


def bars_of_exchange(exchange: Exchange, from_ms: int, to_ms: int, place: str = "binance:BTC/USDT") -> list[Row]:
    async def main() -> list[Row]:
        source = FromExchange(place, 5, timeout_s=2.0, make=exchange.client, sleep=_no_sleep)
        await source.connect()
        assert source.digits == 2
        return list(await source.ask(from_ms, to_ms))

    return asyncio.run(main())


def test_bars_of_an_exchange_come_page_by_page_across_holes(exchange: Exchange) -> None:
    """Pages of 100; for five days in the middle nothing was traded, and the exchange gives empty pages there."""
    start = ms("2026-01-01")
    exchange.page_rows = 100
    early, late = candles(start, 350), candles(start + 6 * 86_400_000, 120)
    exchange.candles = early + late

    real = exchange.web.pages[f"{PATH}/klines"]

    def narrow(query: Any) -> Answer:
        """Look no further than a day, as some exchanges do."""
        return real(dict(query) | {"endTime": str(int(query["startTime"]) + 86_400_000)})

    exchange.web.pages[f"{PATH}/klines"] = narrow
    rows = bars_of_exchange(exchange, start, start + 7 * 86_400_000)
    assert [row[0] for row in rows] == [candle[0] for candle in exchange.candles]
    assert rows[0][1:] == (100.0, 102.0, 99.0, 101.0, 12, -1)
    assert rows[1][5] == 1_500


def test_an_exchange_that_fails_for_a_while_is_asked_again_and_one_that_does_not_heal_is_told(
    exchange: Exchange,
) -> None:
    start = ms("2026-01-01")
    exchange.candles = candles(start, 10)
    exchange.broken = [Answer(b'{"code":-1003,"msg":"Too many requests."}', 429), Answer(b"", 502)]
    assert len(bars_of_exchange(exchange, start, start + 3_000_000)) == 10
    exchange.broken = [Answer(b"", 502)] * 20
    with pytest.raises(DtmsError, match=r"binance BTC/USDT: .*502.*start again to go on"):
        bars_of_exchange(exchange, start, start + 3_000_000)


def test_a_market_or_an_exchange_that_is_none_is_told(exchange: Exchange) -> None:
    with pytest.raises(DtmsError, match="binance has no market BTC/XYZ"):
        bars_of_exchange(exchange, 0, 1, "binance:BTC/XYZ")
    with pytest.raises(Misconfigured, match="--exchange binance: must name exchange and market"):
        bars_of_exchange(exchange, 0, 1, "binance")


def test_the_bar_that_still_forms_is_left_out(exchange: Exchange) -> None:
    pytest.importorskip("ccxt")
    now_ms = int(exchange.client().milliseconds())
    forming = now_ms // 300_000 * 300_000
    exchange.candles = candles(forming - 600_000, 3)
    rows = bars_of_exchange(exchange, forming - 600_000, forming + 300_000)
    assert [row[0] for row in rows][:2] == [forming - 600_000, forming - 300_000]
    assert all(row[0] + 300_000 <= now_ms + 5 * MINUTE_MS for row in rows)
    assert len(rows) in (2, 3)  # three when the bar closed while this ran


# --- the command ---


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_command_fetches_from_a_running_terminal_and_overwrites_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", market("2017-10-02T07:00Z", rate=60))
    try:
        site.start_terminal()
        wait_until(lambda: _listens(site), "the gateway")
        sets = ["--set", f"terminal.port={site.gateway_port}", "--set", f"data_dir={site.data}"]
        span = ["--from", "2017-09-25", "--to", "2017-09-30", "--timeframe", "M15"]
        done = run("fetch", EURUSD, *span, *sets)
        assert done.exit_code == 0, done.output + str(done.exception)
        (target,) = (site.data / "recordings").glob("*.csv.gz")
        assert target.name == f"{EURUSD}_M15_20170925_20170930.csv.gz"
        recording = load_recording(target)
        assert isinstance(recording, BarRecording)
        assert (recording.minutes, len(recording.ms)) == (15, (4 * 24 + 21) * 4)
        stamp = target.stat().st_mtime_ns
        refused = run("fetch", EURUSD, *span, *sets)
        assert isinstance(refused.exception, Misconfigured)
        assert "use --force" in str(refused.exception)
        assert target.stat().st_mtime_ns == stamp
        assert run("fetch", EURUSD, *span, *sets, "--force").exit_code == 0
        assert target.stat().st_mtime_ns != stamp
    finally:
        site.close()


def _listens(site: Site) -> bool:
    try:
        with site.trader():
            return True
    except (OSError, EOFError):
        return False


def test_the_command_fetches_calendar_and_vix_where_urls_are_configured(tmp_path: Path) -> None:
    with web() as pages:
        news = '[{"time_utc": "2026-01-13T13:30Z", "currency": "USD", "impact": "high", "event": "CPI"}]'
        sets = ["--set", f"data_dir={tmp_path / 'data'}"]
        sets += ["--set", f"calendar={pages.serve('/news.json', Answer(news.encode()))}"]
        sets += ["--set", f"vix.source={pages.serve('/vix.csv', Answer(b'date,close' + os.linesep.encode()))}"]
        done = run("fetch", *sets)
        assert done.exit_code == 1
        assert "calendar: fetched from" in done.output
        assert "VIX http://127.0.0.1" in done.output
        assert "it has no figures" in done.output
        pages.serve("/vix.csv", Answer(b"date,close\n2026-01-12,15.12\n"))
        assert run("fetch", *sets).exit_code == 0
        assert pages.count("/news.json") == 2
    assert sorted(p.name for p in (tmp_path / "data" / "sources").glob("*.data")) == ["calendar.data", "vix.data"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["EURUSD", "--timeframe", "M3"], "--timeframe M3: must be one of M1, M5, M15, H1"),
        (["EURUSD", "--from", "soon"], "soon: must be a day or time"),
        (["--set", "calendar"], "--set calendar: must be KEY=VALUE"),
    ],
)
def test_what_cannot_be_fetched_is_one_clear_message(arguments: list[str], message: str) -> None:
    done = run("fetch", *arguments)
    assert isinstance(done.exception, Misconfigured)
    assert message in str(done.exception)
