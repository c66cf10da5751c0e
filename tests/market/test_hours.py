"""Trading hours are learned from four weeks of bars, and stay right across the change of summer time."""

from datetime import datetime

import numpy as np
import pytest
from tests.market.recorded import recorded

from dtms.market.hours import SLOT_MS, WEEKS, TradingHours, new_york_ms

GOLD = "XAUUSD_M15_20220303_20260529"
EURUSD = "EURUSD_M15_20220523_20260601"
WEEK_MS = 7 * 24 * 3_600_000


def ms(utc: str) -> int:
    return int(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def learned(name: str, utc: str) -> TradingHours:
    bars = recorded(name)
    return TradingHours.learn(bars.time_ms[: np.searchsorted(bars.time_ms, ms(utc))])


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        ("2025-03-09 06:59", "2025-03-09 01:59"),
        ("2025-03-09 07:00", "2025-03-09 03:00"),
        ("2025-11-02 05:59", "2025-11-02 01:59"),
        ("2025-11-02 06:00", "2025-11-02 01:00"),
        ("2024-07-01 12:00", "2024-07-01 08:00"),
        ("2024-01-01 02:00", "2023-12-31 21:00"),
    ],
)
def test_new_york_changes_its_clock_on_the_second_sunday_of_march_and_the_first_of_november(
    utc: str, local: str
) -> None:
    assert new_york_ms(ms(utc)) == ms(local)


@pytest.mark.parametrize(
    ("utc", "is_open"),
    [
        ("2025-09-10 12:00", True),
        ("2025-09-10 20:30", True),
        ("2025-09-10 21:15", False),  # gold's daily break
        ("2025-09-10 22:30", True),
        ("2025-09-12 20:30", True),
        ("2025-09-12 22:30", False),  # Friday evening
        ("2025-09-13 12:00", False),
        ("2025-09-14 21:30", False),
        ("2025-09-14 22:30", True),
    ],
)
def test_gold_has_its_daily_break_and_its_weekend(utc: str, is_open: bool) -> None:
    assert learned(GOLD, "2025-09-08 00:00").is_open(ms(utc)) is is_open


@pytest.mark.parametrize("name", [GOLD, EURUSD])
@pytest.mark.parametrize("monday", ["2024-03-11", "2024-11-04", "2025-03-10", "2025-06-02", "2025-11-03"])
def test_the_week_after_is_foretold_even_when_summer_time_has_just_changed(name: str, monday: str) -> None:
    """At most one slot in a hundred differs from what traded in the following week."""
    start = ms(f"{monday} 00:00")
    hours = learned(name, f"{monday} 00:00")
    traded = set(recorded(name).time_ms.tolist())
    slots = range(start, start + WEEK_MS, SLOT_MS)
    wrong = sum(hours.is_open(slot) is not (slot in traded) for slot in slots)
    assert wrong <= len(slots) // 100


def test_a_slot_seen_in_half_of_the_weeks_is_open_and_in_fewer_is_not() -> None:
    first = ms("2025-06-02 10:00")
    half = np.array([first, first + 2 * WEEK_MS, first + 3 * WEEK_MS + SLOT_MS])
    assert TradingHours.learn(half).is_open(first + 4 * WEEK_MS)
    once = np.array([first, first + 3 * WEEK_MS + SLOT_MS])
    assert not TradingHours.learn(once).is_open(first + 4 * WEEK_MS)


def test_slots_that_never_came_round_count_as_open() -> None:
    first = ms("2025-06-02 10:00")
    hours = TradingHours.learn(np.array([first, first + 2 * SLOT_MS]))
    assert hours.is_open(first + 10 * SLOT_MS)
    assert not hours.is_open(first + SLOT_MS)
    assert TradingHours.learn(np.array([], dtype=np.int64)).is_open(first)


def test_weeks_before_the_last_four_are_forgotten() -> None:
    first = ms("2025-06-02 10:00")
    old = np.arange(first, first + 10 * SLOT_MS, SLOT_MS)
    recent = np.arange(first, first + WEEKS * WEEK_MS, SLOT_MS) + WEEKS * WEEK_MS
    recent = recent[(recent - first) % WEEK_MS != 0]
    assert not TradingHours.learn(np.concatenate((old, recent))).is_open(first + 9 * WEEK_MS)


def test_the_next_opening_after_friday_is_sunday_evening() -> None:
    hours = learned(GOLD, "2025-09-08 00:00")
    assert hours.next_open(ms("2025-09-12 21:07")) == ms("2025-09-14 22:00")
    assert hours.next_open(ms("2025-09-10 12:03")) == ms("2025-09-10 12:03")


def test_an_opening_is_traced_back_to_its_first_slot() -> None:
    hours = learned(GOLD, "2025-09-08 00:00")
    assert hours.open_since(ms("2025-09-10 12:03"), 0) == ms("2025-09-09 22:00")
    assert hours.open_since(ms("2025-09-10 12:03"), ms("2025-09-10 11:50")) == ms("2025-09-10 11:50")


def test_a_symbol_that_never_trades_never_opens() -> None:
    assert TradingHours(np.zeros(7 * 96, dtype=np.bool_)).next_open(0) is None
