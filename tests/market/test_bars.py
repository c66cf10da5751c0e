"""The book of one symbol: what it takes in, what it asks for, and when it calls its bars stale."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.made import MONDAY_MS, bars_of, flow_at
from tests.market.recorded import XAUUSD_2025, m15_of, recorded

from dtms.domain.market import Bars, FlowBars, Timeframe
from dtms.market.bars import FIRST_FILL, BarBook

M5_MS = Timeframe.M5.ms
FOREVER = 10**15
COLUMNS = ("time_ms", "open", "high", "low", "close", "volume", "spread")


def ms(utc: str) -> int:
    return int(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def same(a: Bars, b: Bars) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


def with_columns(bars: Bars, columns: Mapping[str, Any]) -> Bars:
    return replace(bars, **columns)


def small(count: int, start: int = 0) -> Bars:
    rng = np.random.default_rng(5)
    close = 100.0 + np.cumsum(rng.normal(size=start + count))
    return bars_of(close.tolist(), timeframe=Timeframe.M5)[start:]


def book_at(utc: str) -> BarBook:
    """Make a book that knows recorded gold up to a moment."""
    book, now_ms = BarBook("XAUUSD"), ms(utc)
    for bars in (recorded(XAUUSD_2025), m15_of(XAUUSD_2025)):
        end = int(np.searchsorted(bars.time_ms, now_ms - bars.timeframe.ms, side="right"))
        assert book.merge(bars[end - FIRST_FILL[bars.timeframe] : end], now_ms) == ()
    return book


# --- merging ---


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 10)), min_size=1, max_size=30))
def test_bars_fetched_in_overlapping_pieces_are_the_whole(pieces: list[tuple[int, int]]) -> None:
    whole = small(1_300)
    book, end = BarBook("XAUUSD"), 0
    for new, overlap in pieces:
        start, end = max(0, end - overlap), end + new
        assert book.merge(whole[start:end], FOREVER) == ()
        assert same(book.m5(), whole[:end])


def test_only_the_newest_bars_are_kept_however_many_came() -> None:
    whole = small(9_000)
    book = BarBook("XAUUSD")
    for end in range(100, 9_001, 100):
        book.merge(whole[end - 100 : end], FOREVER)
    assert same(book.m5(), whole[-2_500:])
    book = BarBook("XAUUSD")
    book.merge(whole, FOREVER)
    assert same(book.m5(), whole[-2_500:])


def test_a_corrected_bar_replaces_the_known_one_and_leaves_earlier_answers_alone() -> None:
    whole = small(50)
    book = BarBook("XAUUSD")
    book.merge(whole, FOREVER)
    before = book.m5()
    close_before = before.close.copy()
    corrected = replace(whole[-3:], close=whole[-3:].close + 0.1, high=whole[-3:].high + 0.1)
    book.merge(corrected, FOREVER)
    assert book.m5().close[-3:].tolist() == corrected.close.tolist()
    assert len(book.m5()) == 50
    assert before.close.tolist() == close_before.tolist()


def test_a_bar_that_arrives_late_is_put_in_its_place() -> None:
    whole = small(20)
    book = BarBook("XAUUSD")
    without = np.delete(np.arange(20), 17)
    book.merge(with_columns(whole, {name: getattr(whole, name)[without] for name in COLUMNS}), FOREVER)
    book.merge(whole[-5:], FOREVER)
    assert same(book.m5(), whole)


def test_bars_handed_out_cannot_be_written() -> None:
    book = BarBook("XAUUSD")
    book.merge(small(5), FOREVER)
    with pytest.raises(ValueError, match="read-only"):
        book.m5().close[0] = 1.0


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("close", float("nan"), "a price is not a positive number"),
        ("open", 0.0, "a price is not a positive number"),
        ("high", float("inf"), "a price is not a positive number"),
        ("high", 1.0, "high below low, or open or close beyond them"),
        ("low", 1_000.0, "high below low, or open or close beyond them"),
        ("volume", -1.0, "volume or spread is not a number of at least 0"),
        ("spread", float("nan"), "volume or spread is not a number of at least 0"),
        ("time_ms", MONDAY_MS + 1, "not later than the row before it"),
        ("time_ms", MONDAY_MS + 2 * M5_MS + 1, "not on the grid of M5"),
    ],
)
def test_a_row_that_cannot_be_is_rejected_with_its_reason_and_the_others_are_kept(
    column: str, value: float, reason: str
) -> None:
    whole = small(5)
    values = getattr(whole, column).copy()
    values[2] = value
    book = BarBook("XAUUSD")
    rejected = book.merge(with_columns(whole, {column: values}), FOREVER)
    assert [(r.reason, r.timeframe) for r in rejected] == [(reason, Timeframe.M5)]
    assert same(book.m5(), with_columns(whole, {n: np.delete(getattr(whole, n), 2) for n in COLUMNS}))


def test_a_bar_that_has_not_closed_is_not_taken() -> None:
    whole = small(5)
    book = BarBook("XAUUSD")
    rejected = book.merge(whole, whole.last_close_ms - 1)
    assert [r.reason for r in rejected] == ["not closed yet"]
    assert len(book.m5()) == 4
    assert book.merge(whole, whole.last_close_ms) == ()
    assert len(book.m5()) == 5


# --- asking ---


def test_an_empty_book_asks_for_its_first_fill() -> None:
    assert BarBook("XAUUSD").needs(ms("2025-09-10 12:00")) == [(Timeframe.M5, 700), (Timeframe.M15, 2_800)]


@pytest.mark.parametrize(
    ("utc", "needs"),
    [
        ("2025-09-10 12:04", []),
        ("2025-09-10 12:05", [(Timeframe.M5, 3)]),
        ("2025-09-10 12:14", [(Timeframe.M5, 4)]),
        ("2025-09-10 12:15", [(Timeframe.M5, 5), (Timeframe.M15, 3)]),
        ("2025-09-10 13:00", [(Timeframe.M5, 14), (Timeframe.M15, 6)]),
    ],
)
def test_a_filled_book_asks_for_what_can_have_closed_since_and_two_known_bars(
    utc: str, needs: list[tuple[Timeframe, int]]
) -> None:
    assert book_at("2025-09-10 12:00").needs(ms(utc)) == needs


def test_a_long_silence_asks_for_no_more_than_a_first_fill() -> None:
    assert book_at("2025-09-10 12:00").needs(ms("2025-12-10 12:00")) == [
        (Timeframe.M5, 700),
        (Timeframe.M15, 2_800),
    ]


def test_a_closed_market_is_asked_once_in_a_quarter_of_an_hour() -> None:
    book = book_at("2025-09-12 21:00")
    nothing = recorded(XAUUSD_2025)[:0]
    saturday = ms("2025-09-13 12:01")
    assert book.needs(saturday) != []
    book.merge(nothing, saturday)
    book.merge(replace(nothing, timeframe=Timeframe.M15), saturday)
    assert book.needs(saturday + 60_000) == []
    assert book.needs(saturday + 15 * 60_000) != []


def test_an_answer_without_a_known_bar_is_followed_by_one_full_question() -> None:
    whole = small(100)
    book = BarBook("XAUUSD")
    book.merge(whole[:50], FOREVER)
    now_ms = whole.last_close_ms
    book.merge(whole[90:], now_ms)
    assert (Timeframe.M5, 700) in book.needs(now_ms)
    book.merge(whole, now_ms)
    assert same(book.m5(), whole)
    assert Timeframe.M5 not in dict(book.needs(now_ms))


# --- staleness ---


@pytest.mark.parametrize(
    ("utc", "is_stale"),
    [
        ("2025-09-10 12:00", False),
        ("2025-09-10 12:10", False),  # the bar of 12:00 was due at 12:05: 300 s late and not more
        ("2025-09-10 12:10:01", True),
        ("2025-09-10 20:30", True),
        ("2025-09-10 21:30", False),  # the daily break
    ],
)
def test_bars_are_stale_when_the_next_one_is_more_than_five_minutes_overdue(utc: str, is_stale: bool) -> None:
    reason = book_at("2025-09-10 12:00").is_stale(ms(utc), 300.0)
    assert (reason is not None) is is_stale


def test_the_reason_names_the_bar_and_its_delay() -> None:
    reason = book_at("2025-09-10 12:00").is_stale(ms("2025-09-10 12:11"), 300.0)
    assert reason == "the next M5 bar of XAUUSD is 360 s overdue (more than 300 s)"


@pytest.mark.parametrize(
    ("utc", "is_stale"),
    [
        ("2025-09-13 12:00", False),
        ("2025-09-14 22:00", False),
        ("2025-09-14 22:20", False),  # the first bar is due with the end of the opening's quarter of an hour
        ("2025-09-14 22:21", True),
    ],
)
def test_a_weekend_is_not_stale_until_the_first_bar_after_it_is_overdue(utc: str, is_stale: bool) -> None:
    assert (book_at("2025-09-12 21:00").is_stale(ms(utc), 300.0) is not None) is is_stale


def test_a_book_without_bars_is_stale() -> None:
    assert BarBook("XAUUSD").is_stale(ms("2025-09-10 12:00"), 300.0) == "no M5 bars of XAUUSD are known"


def test_a_refusal_as_closed_is_no_staleness_until_a_newer_bar() -> None:
    book = book_at("2025-09-10 12:00")
    book.note_closed(ms("2025-09-10 12:20"))
    assert book.is_stale(ms("2025-09-10 13:00"), 300.0) is None
    m5 = recorded(XAUUSD_2025)
    end = int(np.searchsorted(m5.time_ms, ms("2025-09-10 12:30")))
    book.merge(m5[end - 10 : end], ms("2025-09-10 12:30"))
    assert book.is_stale(ms("2025-09-10 13:00"), 300.0) is not None


def test_m15_alone_can_be_stale() -> None:
    book = book_at("2025-09-10 12:00")
    m5 = recorded(XAUUSD_2025)
    end = int(np.searchsorted(m5.time_ms, ms("2025-09-10 12:25")))
    book.merge(m5[end - 10 : end], ms("2025-09-10 12:25"))
    reason = book.is_stale(ms("2025-09-10 12:25"), 300.0)
    assert reason == "the next M15 bar of XAUUSD is 600 s overdue (more than 300 s)"


# --- what timers and rails ask ---


def test_traded_minutes_are_those_covered_by_closed_bars_with_partial_edges() -> None:
    book = book_at("2025-09-10 12:00")
    start = ms("2025-09-10 11:02")
    assert book.traded_minutes(start, ms("2025-09-10 11:32")) == 30.0
    assert book.traded_minutes(start, ms("2025-09-10 11:04")) == 2.0
    assert book.traded_minutes(start, start) == 0.0
    assert book.traded_minutes(start, ms("2025-09-10 18:00")) == 58.0, "what is not known has not traded"


def test_a_timer_stands_still_over_the_weekend() -> None:
    book = book_at("2025-09-15 00:00")
    friday, monday = ms("2025-09-12 20:30"), ms("2025-09-14 22:30")
    m5 = recorded(XAUUSD_2025).time_ms
    bars = int(((m5 >= friday) & (m5 < monday)).sum())
    assert 8 <= bars <= 12
    assert book.traded_minutes(friday, monday) == 5.0 * bars


def test_traded_minutes_before_the_known_m5_bars_come_from_m15() -> None:
    book = book_at("2025-09-10 12:00")
    first_m5 = int(book.m5().time_ms[0])
    assert book.traded_minutes(first_m5 - 60 * 60_000, first_m5 + 60 * 60_000) == pytest.approx(120.0, abs=16.0)
    assert book.traded_minutes(ms("2025-08-25 13:00"), ms("2025-08-25 14:00")) == 60.0


def test_without_quotes_the_spread_is_guessed_from_bars_without_zeros_and_none_when_unknown() -> None:
    bars = replace(small(6), spread=np.array([0.0, 0.0, 0.1, 0.3, 0.2, 0.0]))
    book = BarBook("XAUUSD")
    assert book.median_spread() is None
    book.merge(replace(bars, spread=np.zeros(6)), FOREVER)
    assert book.median_spread() is None
    book = BarBook("XAUUSD")
    book.merge(bars, FOREVER)
    assert book.median_spread() == pytest.approx(1.5 * 0.2)


def test_the_guess_from_recorded_gold_rests_on_the_longer_of_its_bars_where_they_say_more() -> None:
    book = book_at("2025-09-10 12:00")
    spreads = book.m15().spread[book.m15().time_ms >= book.m15().last_close_ms - 30 * 24 * 3_600_000]
    assert book.median_spread() == pytest.approx(1.5 * max(np.median(spreads), np.median(book.m5().spread)))


def test_spreads_that_come_with_ticks_replace_the_guess_once_there_is_an_hour_of_them() -> None:
    book = book_at("2025-09-10 12:00")
    guess, now_ms = book.median_spread(), ms("2025-09-10 12:00")
    assert guess is not None
    few, enough = flow_at(now_ms - M5_MS, [1.0] * 11), flow_at(now_ms, [1.0] * 12)
    book.merge_flow(replace(few, spread=np.full(11, 0.05)), now_ms - M5_MS)
    assert book.median_spread() == guess
    book.merge_flow(replace(enough, spread=np.full(12, 0.05)), now_ms)
    assert book.median_spread() == pytest.approx(0.05)


def test_on_a_monday_ticks_are_asked_for_from_before_the_weekend() -> None:
    book = book_at("2025-09-08 06:00")
    asked = book.needs_flow(ms("2025-09-08 06:00"))
    assert asked is not None
    assert ms("2025-09-04 06:00") <= asked[0] <= ms("2025-09-05 06:00")
    assert book_at("2025-09-10 12:00").needs_flow(ms("2025-09-10 12:00")) is not None


# --- order flow ---


def test_flow_is_united_and_limited_to_a_day_and_a_bit() -> None:
    end = MONDAY_MS + 72 * 3_600_000
    book = BarBook("XAUUSD")
    assert book.flow() is None
    book.merge_flow(flow_at(end, [1.0] * 700))
    book.merge_flow(flow_at(end + 2 * M5_MS, [5.0, 6.0, 7.0]))
    flow = book.flow()
    assert flow is not None
    assert flow.signed[-4:].tolist() == [1.0, 5.0, 6.0, 7.0]
    assert np.diff(flow.time_ms).tolist() == [M5_MS] * (len(flow) - 1)
    assert len(flow) == 26 * 12 + 1


def test_flow_is_asked_for_from_where_it_ends() -> None:
    now_ms = MONDAY_MS + 72 * 3_600_000
    book = BarBook("XAUUSD")
    assert book.needs_flow(now_ms) == (now_ms - 26 * 3_600_000, now_ms)
    book.merge_flow(flow_at(now_ms, [1.0, 2.0]))
    assert book.needs_flow(now_ms + M5_MS - 1) is None
    assert book.needs_flow(now_ms + M5_MS) == (now_ms, now_ms + M5_MS)
    book.merge_flow(FlowBars(time_ms=np.array([], dtype=np.int64), signed=np.array([]), total=np.array([])))
    assert book.needs_flow(now_ms + M5_MS) == (now_ms, now_ms + M5_MS)


def test_a_book_kept_in_step_through_two_weeks_is_never_called_stale() -> None:
    """Merged bar by bar as they close, over weekends, daily breaks and missing bars, gold is stale at no check."""
    book, m5, m15 = book_at("2025-09-05 12:00"), recorded(XAUUSD_2025), m15_of(XAUUSD_2025)
    stale: list[str] = []
    for now_ms in range(ms("2025-09-05 12:05"), ms("2025-09-19 20:00"), M5_MS):
        for bars in (m5, m15):
            end = int(np.searchsorted(bars.time_ms, now_ms - bars.timeframe.ms, side="right"))
            book.merge(bars[end - 5 : end], now_ms)
        if reason := book.is_stale(now_ms, 300.0):
            stale.append(reason)
    assert stale == []


def test_a_span_that_was_answered_without_ticks_is_not_asked_for_again() -> None:
    now_ms = MONDAY_MS + 72 * 3_600_000
    book = BarBook("XAUUSD")
    nothing = FlowBars(time_ms=np.array([], dtype=np.int64), signed=np.array([]), total=np.array([]))
    book.merge_flow(nothing, now_ms)
    assert book.flow() is None
    assert book.needs_flow(now_ms) is None
    assert book.needs_flow(now_ms + M5_MS) == (now_ms, now_ms + M5_MS)
