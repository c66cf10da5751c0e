"""The server's clock is measured from fresh ticks in half hours, and past times keep the offset they had."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters_mt5.bench import BTCUSD, EURUSD, Desk, LocalBench, described

from dtms.adapters.server_time import HOUR_MS, QUANTUM_MS, ServerTime, is_us_summer, us_summer_ms
from dtms.domain.market import Timeframe
from dtms.ports.broker import BarRequest


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


TUESDAY, SATURDAY = ms("2017-10-03 09:00"), ms("2017-10-07 09:00")
MINUTES = st.integers(0, 60 * 24 * 365 * 30).map(lambda minutes: ms("2010-01-01") + minutes * 60_000)


def measured(offset_ms: int, utc_ms: int = TUESDAY) -> ServerTime:
    clock = ServerTime()
    clock.observe(utc_ms - 1000 + offset_ms, utc_ms - 500)
    clock.observe(utc_ms - 200 + offset_ms, utc_ms)
    return clock


@pytest.mark.parametrize(
    ("year", "start", "end"),
    [
        (2017, "2017-03-12 07:00", "2017-11-05 06:00"),
        (2024, "2024-03-10 07:00", "2024-11-03 06:00"),
        (2026, "2026-03-08 07:00", "2026-11-01 06:00"),
    ],
)
def test_summer_time_of_the_united_states_begins_and_ends_on_its_sundays(year: int, start: str, end: str) -> None:
    assert us_summer_ms(year) == (ms(start), ms(end))


@given(st.integers(-24, 28), st.integers(-110_000, 100_000))
def test_any_offset_in_half_hours_is_found_whatever_the_ticks_delay(half_hours: int, error_ms: int) -> None:
    offset = half_hours * QUANTUM_MS
    clock = ServerTime()
    clock.observe(TUESDAY + offset + error_ms - 1000, TUESDAY)
    clock.observe(TUESDAY + offset + error_ms, TUESDAY + 100)
    assert clock.is_measured
    assert clock.offset_ms(TUESDAY) == offset
    assert clock.residual_s == pytest.approx((error_ms - 100) / 1000)


def test_a_tick_that_may_be_old_measures_nothing() -> None:
    clock = ServerTime()
    clock.observe(TUESDAY, TUESDAY)
    assert not clock.is_measured
    clock.observe(TUESDAY, TUESDAY + 1000)  # the same tick again
    assert not clock.is_measured
    clock.observe(TUESDAY + 5 * HOUR_MS, TUESDAY + 5 * HOUR_MS)  # newer, but nobody looked for hours
    assert not clock.is_measured


def test_a_market_clock_that_is_wrong_shows_as_a_residual_and_changes_no_offset() -> None:
    clock = measured(3 * HOUR_MS)
    wrong_ms = TUESDAY + 10 * 60_000  # ten minutes between the machine's clock and the server's
    clock.observe(TUESDAY + 3 * HOUR_MS + 1000, wrong_ms)
    clock.observe(TUESDAY + 3 * HOUR_MS + 2000, wrong_ms + 1000)
    assert abs(clock.residual_s) == pytest.approx(599, abs=1)
    assert clock.offset_ms(TUESDAY) == 3 * HOUR_MS


def test_a_changed_offset_is_taken_when_it_was_seen_twice() -> None:
    clock = measured(3 * HOUR_MS)
    later = TUESDAY + 60_000
    clock.observe(later + 4 * HOUR_MS, later)
    assert clock.offset_ms(later) == 3 * HOUR_MS
    clock.observe(later + 4 * HOUR_MS + 1000, later + 1000)
    assert clock.offset_ms(later) == 4 * HOUR_MS


def test_at_a_weekend_the_usual_server_clock_is_assumed_until_a_tick_says_otherwise() -> None:
    friday_close = ms("2017-10-06 23:59")  # as the server writes it, 20:59 UTC
    clock = ServerTime()
    clock.observe(friday_close, SATURDAY)
    clock.assume(SATURDAY)
    assert (clock.is_measured, clock.offset_ms(SATURDAY)) == (False, 3 * HOUR_MS)
    monday = ms("2017-10-09 05:00")
    clock.observe(monday - 1000, monday - 1000)
    clock.observe(monday, monday)
    assert (clock.is_measured, clock.offset_ms(monday)) == (True, 0)


def test_in_the_week_a_recent_tick_is_better_than_the_usual_clock() -> None:
    clock = ServerTime()
    clock.observe(TUESDAY - 20_000 + HOUR_MS, TUESDAY)
    clock.assume(TUESDAY)
    assert clock.offset_ms(TUESDAY) == HOUR_MS


@given(MINUTES)
def test_on_the_usual_server_clock_each_time_has_the_offset_of_its_season(utc_ms: int) -> None:
    clock = measured(3 * HOUR_MS)
    expected = 3 * HOUR_MS if is_us_summer(utc_ms) else 2 * HOUR_MS
    assert clock.offset_ms(utc_ms) == expected
    server_ms = clock.to_server(utc_ms)
    repeated = is_us_summer(utc_ms - HOUR_MS) and not is_us_summer(utc_ms)  # the hour that autumn has twice
    assert clock.to_utc(server_ms) == utc_ms - (HOUR_MS if repeated else 0)
    assert clock.to_utc(server_ms, now_ms=utc_ms + 5000) == utc_ms  # a quote of just now is never an hour old


@given(st.lists(MINUTES, max_size=20), st.sampled_from([0, 2 * HOUR_MS, 3 * HOUR_MS, -5 * HOUR_MS]))
def test_arrays_are_converted_as_single_times_are(times: list[int], offset_ms: int) -> None:
    clock = measured(offset_ms)
    converted = clock.to_utc_array(np.array(times, dtype=np.int64))
    assert converted.tolist() == [clock.to_utc(time) for time in times]


@pytest.mark.parametrize(
    ("server_clock", "hours"), [("new_york+7", 3), ("utc+2", 2), ("utc+3", 3), ("utc", 0), ("utc-5", -5)]
)
def test_at_a_terminal_everything_comes_out_in_utc(server_clock: str, hours: int) -> None:
    async def story(desk: Desk) -> None:
        await desk.broker.connect()
        assert desk.broker.server_time.offset_ms(desk.clock.market_ms()) == hours * HOUR_MS
        assert desk.clock.market_ms() - (await desk.tick()).time_ms < 60_000
        position = await desk.open()
        assert abs(position.opened_ms - desk.clock.market_ms()) < 1000
        (bars,) = await desk.broker.bars([BarRequest(symbol=EURUSD, timeframe=Timeframe.M5, count=5)])
        assert bars.last_close_ms == Timeframe.M5.floor_ms(desk.clock.market_ms())

    LocalBench(description=described(server_clock=server_clock))(story)


def test_the_end_of_summer_time_passes_without_a_jump_in_utc() -> None:
    """A position opened in summer keeps its opening time, and bars across the change follow each other."""

    async def story(desk: Desk) -> None:
        desk.symbol = BTCUSD
        position = await desk.open(stop=1000.0, target=None)
        assert desk.broker.server_time.offset_ms(desk.clock.market_ms()) == 3 * HOUR_MS
        while desk.clock.market_ms() < ms("2017-11-05 12:00"):
            await desk.clock.sleep_market(1800)
            tick = await desk.tick()
            assert 0 <= desk.clock.market_ms() - tick.time_ms < 600_000
        assert desk.broker.server_time.offset_ms(desk.clock.market_ms()) == 2 * HOUR_MS
        later = await desk.position(position.ticket)
        assert later is not None
        assert later.opened_ms == position.opened_ms
        (bars,) = await desk.broker.bars([BarRequest(symbol=BTCUSD, timeframe=Timeframe.H1, count=20)])
        across = bars.time_ms[(bars.time_ms >= ms("2017-11-05 03:00")) & (bars.time_ms <= ms("2017-11-05 09:00"))]
        assert len(np.unique(bars.time_ms)) == len(bars)
        assert (np.diff(across) >= HOUR_MS).all()

    LocalBench(description=described(start="2017-11-04T09:00Z"))(story)
