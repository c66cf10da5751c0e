"""The usual spread: learned from quotes and ticks over five minutes each, so that a spike is one and a cost is none."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.market.made import MONDAY_MS

from dtms.domain.market import Floats, Ints, Tick
from dtms.market.spreads import KEEP_MS, SLOT_MS, SpreadBook
from dtms.terminal.flow import sum_flow


def quote(at_ms: int, spread: float) -> Tick:
    return Tick(MONDAY_MS + at_ms, 100.0, 100.0 + spread)


def noted(*quotes: tuple[int, float]) -> SpreadBook:
    book = SpreadBook()
    for at_ms, spread in quotes:
        book.note(quote(at_ms, spread))
    return book


def test_nothing_is_known_of_a_single_quote() -> None:
    assert noted((0, 0.5)).median() is None


def test_a_quote_weighs_by_how_long_it_stood() -> None:
    """Nine short wide quotes and one that stood for most of the five minutes: the latter is usual."""
    wide = [(n * 1_000, 3.0) for n in range(9)]
    book = noted(*wide, (9_000, 0.5), (39_000, 3.0), (40_000, 3.0), (SLOT_MS, 0.5), (SLOT_MS + 1_000, 0.5))
    assert book.median() == pytest.approx(3.0)
    book = noted(*wide, (9_000, 0.5), (60_000, 0.5), (110_000, 3.0), (SLOT_MS, 0.5), (SLOT_MS + 1_000, 0.5))
    assert book.median() == pytest.approx(0.5)


def test_the_quote_that_a_closing_market_leaves_standing_counts_for_a_minute_at_most() -> None:
    calm = [(n * 30_000, 0.5) for n in range(9)]
    monday = 48 * 3_600_000
    book = noted(*calm, (270_000, 4.0), (monday, 4.0), (monday + SLOT_MS, 4.0), (monday + SLOT_MS + 1, 4.0))
    assert book.median() == pytest.approx((0.5 + 4.0) / 2)  # two known slots: the calm one and the reopening


def test_quotes_without_a_spread_are_left_out() -> None:
    """A raw-spread account quotes zero most of the time; beside a median of zero everything would be a spike."""
    quotes = [(n * 10_000, 0.2 if n % 5 == 0 else 0.0) for n in range(60)]
    assert noted(*quotes).median() == pytest.approx(0.2)


def test_a_quote_that_is_not_newer_changes_nothing() -> None:
    book = noted((0, 0.5), (1_000, 9.0), (1_000, 9.0), (500, 9.0), (2_000, 0.5), (SLOT_MS, 0.5), (2 * SLOT_MS, 0.5))
    assert len(book) == 1


def test_what_ticks_tell_of_five_minutes_replaces_what_quotes_told() -> None:
    book = noted((0, 0.5), (60_000, 0.5), (SLOT_MS, 0.5), (SLOT_MS + 60_000, 0.5))
    book.learn(np.array([MONDAY_MS]), np.array([0.8]))
    assert book.median() == pytest.approx(0.8)


def test_spreads_older_than_thirty_days_are_forgotten() -> None:
    book = SpreadBook()
    times = MONDAY_MS + np.arange(0, 2 * KEEP_MS, SLOT_MS, dtype=np.int64)
    book.learn(times, np.where(times < MONDAY_MS + KEEP_MS, 9.0, 0.3))
    assert book.median() == pytest.approx(0.3)
    assert len(book) <= KEEP_MS // SLOT_MS + 1


@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=50))
def test_the_median_lies_among_what_was_learned(values: list[float]) -> None:
    book = SpreadBook()
    book.learn(MONDAY_MS + SLOT_MS * np.arange(len(values), dtype=np.int64), np.array(values))
    median = book.median()
    assert median is not None
    assert min(values) <= median <= max(values)


# --- recorded quotes ---


@cache
def recorded_ticks(name: str) -> tuple[Ints, Floats, Floats]:
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "ticks").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with recorded ticks")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(Path(folder) / "ticks" / f"{name}.parquet")
    times = table["time_utc"].to_numpy(zero_copy_only=False).astype("datetime64[ms]").astype(np.int64)
    return times, table["bid"].to_numpy(), table["ask"].to_numpy()


def learned(name: str) -> tuple[SpreadBook, Ints, Floats]:
    """Learn a recorded day the way the terminal's ticks are learned; returns it with all quotes."""
    times, bid, ask = recorded_ticks(name)
    rows = np.zeros(len(times), dtype=[("time_msc", "i8"), ("bid", "f8"), ("ask", "f8")])
    rows["time_msc"], rows["bid"], rows["ask"] = times, bid, ask
    slots, _, _, spread = sum_flow(rows, int(times[0]), int(times[-1]) + 1)
    book = SpreadBook()
    book.learn(np.array(slots), np.array(spread))
    return book, times, ask - bid


@pytest.mark.parametrize("name", ["EURUSD_ticks_20140502", "EURUSD_ticks_20140508", "XAUUSD_ticks_20140502"])
def test_most_of_a_recorded_day_is_no_spike(name: str) -> None:
    """Even on days of great releases: by time, not by quotes, of which the wide minutes have many."""
    book, times, spreads = learned(name)
    median = book.median()
    assert median is not None
    stood_ms = np.minimum(np.diff(times), 60_000)
    wide_ms = stood_ms[spreads[:-1] > 2.0 * median]
    assert float(wide_ms.sum() / stood_ms.sum()) < 0.02


def test_the_payrolls_minute_is_a_spike() -> None:
    """Gold on 2 May 2014 at 12:30: the recorded spread opens to 2.65, the day's median is about 0.3."""
    book, times, spreads = learned("XAUUSD_ticks_20140502")
    median = book.median()
    assert median is not None
    at = int(np.datetime64("2014-05-02T12:30", "ms").astype(np.int64))
    minute = spreads[(times >= at) & (times < at + 60_000)]
    assert float(minute.max()) > 2.0 * median
    assert float(np.mean(minute > 2.0 * median)) > 0.2


def test_polled_quotes_and_ticks_agree_on_a_recorded_day() -> None:
    times, bid, ask = recorded_ticks("EURUSD_ticks_20140508")
    from_ticks, _, _ = learned("EURUSD_ticks_20140508")
    polled = SpreadBook()
    every = np.searchsorted(times, np.arange(int(times[0]), int(times[-1]), 250), side="right") - 1
    for row in np.unique(every).tolist():
        polled.note(Tick(int(times[row]), float(bid[row]), float(ask[row])))
    a, b = polled.median(), from_ticks.median()
    assert a is not None
    assert b is not None
    assert a == pytest.approx(b, rel=0.1)
