"""Further timeframes: fetched only for whoever wants them, in the same call, and fresh or missing."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from tests.decide.builders import instrument
from tests.market.recorded import XAUUSD_2025, aggregate, recorded

from dtms.domain.market import Bars, FlowBars, Timeframe
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.feeds import Feeds, Fresh
from dtms.market.bars import EXTRA_FILL, FIRST_FILL, BarBook
from dtms.market.levels import LevelsBook
from dtms.ports.broker import BarRequest
from dtms.settings import Settings

SETTINGS = Settings()
M1, M5, M15, H1 = Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1
XAUUSD_M1 = "XAUUSD_M1_20251203_20260318"
AT = "2026-01-14T14:00:00"


def ms(utc: str) -> int:
    return int(np.datetime64(utc, "ms").astype(np.int64))


def bars_of(timeframe: Timeframe) -> Bars:
    return {M1: recorded(XAUUSD_M1), M5: recorded(XAUUSD_2025)}.get(timeframe) or aggregate(
        recorded(XAUUSD_2025), timeframe
    )


def closed(timeframe: Timeframe, at_ms: int, count: int) -> Bars:
    bars = bars_of(timeframe)
    end = int(np.searchsorted(bars.time_ms, at_ms - timeframe.ms, side="right"))
    return bars[max(0, end - count) : end]


class Recorded:
    """Answers with recorded gold, and remembers what it was asked for in each call."""

    def __init__(self) -> None:
        self.now_ms = ms(AT)
        self.calls: list[list[tuple[str, Timeframe, int]]] = []

    def market_ms(self) -> int:
        return self.now_ms

    async def bars(self, requests: Sequence[BarRequest]) -> list[Bars]:
        self.calls.append([(r.symbol, r.timeframe, r.count) for r in requests])
        return [closed(r.timeframe, self.now_ms, r.count) for r in requests]

    async def flow(self, *_: object) -> Any:
        return FlowBars(time_ms=np.zeros(0, dtype=np.int64), signed=np.zeros(0), total=np.zeros(0))

    async def commit(self, _: object) -> None: ...


def feeding() -> tuple[Feeds, Recorded]:
    world = Recorded()
    some = cast(Any, world)
    return Feeds(broker=some, store=some, clock=some, journal=some, book=Book()), world


def fetched(feeds: Feeds, symbols: list[SymbolWatch]) -> list[Fresh]:
    return asyncio.run(feeds.bars(symbols, SETTINGS))


def watch(name: str, *wanted: Timeframe) -> SymbolWatch:
    return SymbolWatch(name=name, instrument=instrument(), bars=BarBook(name), wanted=set(wanted))


def test_whoever_wants_nothing_more_is_asked_for_as_ever() -> None:
    book, at_ms = BarBook("XAUUSD"), ms(AT)
    assert book.needs(at_ms) == list(FIRST_FILL.items())
    for timeframe in (M5, M15):
        book.merge(closed(timeframe, at_ms, FIRST_FILL[timeframe]), at_ms)
    book.merge(closed(M1, at_ms, EXTRA_FILL[M1]), at_ms)
    assert book.needs(at_ms) == []
    assert book.needs(at_ms + M1.ms) == [], "M1 bars that somebody once wanted are not fetched for ever"
    assert book.needs(at_ms + M1.ms, [M1]) == [(M1, 3)]
    assert book.needs(at_ms + M5.ms, [M1, M5]) == [(M5, 3), (M1, 7)]


def test_further_timeframes_travel_in_the_same_call_for_all_symbols() -> None:
    feeds, world = feeding()
    symbols = [watch("A", M1), watch("B"), watch("C", M1, H1)]
    fetched(feeds, symbols)
    assert len(world.calls) == 1
    assert {(name, timeframe) for name, timeframe, _ in world.calls[0]} == {
        *((name, timeframe) for name in "ABC" for timeframe in (M5, M15)),
        ("A", M1),
        ("C", M1),
        ("C", H1),
    }


def test_an_m1_bar_alone_reads_no_view_anew() -> None:
    feeds, world = feeding()
    symbol = watch("XAUUSD", M1)
    assert fetched(feeds, [symbol])
    view = symbol.view
    world.now_ms += M1.ms
    assert fetched(feeds, [symbol]) == []
    assert symbol.view is view
    assert world.calls[-1] == [("XAUUSD", M1, 3)]


def test_levels_are_those_of_the_bars_that_closed_and_are_read_once() -> None:
    feeds, world = feeding()
    symbol = watch("XAUUSD", M1, H1)
    fetched(feeds, [symbol])
    levels = feeds.levels(symbol, (M1, M5, M15, H1), SETTINGS)
    assert {tf: read.close_ms for tf, read in levels.items()} == dict.fromkeys((M1, M5, M15, H1), world.now_ms)
    assert feeds.levels(symbol, (M5,), SETTINGS)[M5] is levels[M5]
    world.now_ms += M1.ms
    fetched(feeds, [symbol])
    later = feeds.levels(symbol, (M1, M5), SETTINGS)
    assert later[M1].close_ms == levels[M1].close_ms + M1.ms
    assert later[M5] is levels[M5]


def test_a_timeframe_whose_bars_are_too_few_or_too_old_is_missing() -> None:
    feeds, world = feeding()
    symbol = watch("XAUUSD")
    fetched(feeds, [symbol])
    assert feeds.levels(symbol, (M1, M5, M15), SETTINGS).keys() == {M5, M15}
    world.now_ms += M5.ms + int(SETTINGS.cadence.stale_s * 1000) + 1
    assert feeds.levels(symbol, (M1, M5, M15), SETTINGS).keys() == {M15}


def test_bars_of_a_market_that_is_closed_are_not_too_old() -> None:
    book, friday = BarBook("XAUUSD"), ms("2026-01-16T21:40:00")
    for timeframe in (M5, M15):
        book.merge(closed(timeframe, friday, FIRST_FILL[timeframe]), friday)
    saturday = friday + 24 * 3_600_000
    assert LevelsBook().fresh(book, (M5, M15), saturday, SETTINGS).keys() == {M5, M15}


@pytest.mark.parametrize("timeframe", [M1, H1])
def test_a_wanted_timeframe_that_was_never_answered_is_stale(timeframe: Timeframe) -> None:
    book = BarBook("XAUUSD")
    assert book.stale_on(timeframe, ms(AT), 300.0) == f"no {timeframe.name} bars of XAUUSD are known"
    assert len(book.bars(timeframe)) == 0
