"""Every time that the terminal tells or is told is its server's, labelled as an epoch."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, MINUTE_MS, utc_ms

from dtms.terminal.simulated.clock import AcceleratedClock, SteppedClock
from dtms.terminal.simulated.server_time import HOUR_MS, ServerClock

NEW_YORK = ServerClock("new_york+7")


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        ("2024-01-16T10:00Z", 2),
        ("2024-03-10T06:59:59Z", 2),
        ("2024-03-10T07:00:00Z", 3),  # 02:00 in New York on the second Sunday of March
        ("2024-07-01T00:00Z", 3),
        ("2024-11-03T05:59:59Z", 3),
        ("2024-11-03T06:00:00Z", 2),  # 02:00 summer time in New York on the first Sunday of November
        ("2026-03-08T07:00:00Z", 3),
    ],
)
def test_new_york_plus_seven_follows_the_summer_time_of_the_united_states(moment: str, hours: int) -> None:
    ms = utc_ms(moment)
    assert NEW_YORK.offset_ms(ms) == hours * HOUR_MS
    assert NEW_YORK.to_server_many(np.array([ms]))[0] == ms + hours * HOUR_MS


@given(st.integers(utc_ms("1995-01-01T00:00Z"), utc_ms("2055-01-01T00:00Z")), st.sampled_from(["new_york+7", "utc-5"]))
def test_server_time_comes_back_but_for_the_hour_that_occurs_twice(ms: int, zone: str) -> None:
    clock = ServerClock(zone)
    assert clock.to_utc(clock.to_server(ms)) in (ms, ms + HOUR_MS)
    midnight = clock.next_midnight_utc(ms)
    assert 0 < midnight - ms <= 25 * HOUR_MS
    assert clock.to_server(midnight) % (24 * HOUR_MS) == 0


@pytest.mark.parametrize("zone", ["utc+", "utc+2.5", "cet", "utc+15", ""])
def test_an_unknown_clock_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="server clock"):
        ServerClock(zone)


@pytest.mark.parametrize(("zone", "hours"), [("utc", 0), ("utc+2", 2), ("utc-4", -4), ("new_york+7", 2)])
def test_ticks_bars_positions_and_history_all_carry_server_time(bench: MakeLab, zone: str, hours: int) -> None:
    lab = bench([FLAT] * 5, server_clock=zone)
    ticket = lab.opened(0)
    now_s = (lab.begin_ms - 30_000) // 1000 + hours * 3600
    tick, position = lab.terminal.symbol_info_tick(lab.symbol), lab.position(ticket)
    rates = lab.terminal.copy_rates_from_pos(lab.symbol, lab.terminal.TIMEFRAME_M1, 0, 1)
    assert tick is not None
    assert position is not None
    assert rates is not None
    assert 0 <= now_s - tick.time <= 4
    assert tick.time_msc // 1000 == tick.time
    assert (position.time, position.time_msc) == (now_s, now_s * 1000)
    assert rates["time"][0] == now_s // 60 * 60
    inside, outside = (now_s - 1, now_s + 1), (now_s - 60, now_s - 1)
    assert len(lab.terminal.history_deals_get(*inside) or ()) == 2
    assert lab.terminal.history_deals_get(*outside) == ()
    assert lab.terminal.history_orders_total(*inside) == 1


def test_a_window_may_be_given_as_aware_datetimes(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(0)
    labelled = datetime.fromtimestamp(lab.begin_ms / 1000, UTC) + timedelta(hours=2)
    assert lab.terminal.history_deals_total(labelled - timedelta(minutes=1), labelled) == 2
    rates = lab.terminal.copy_rates_range(lab.symbol, 1, labelled - timedelta(minutes=5), labelled)
    assert rates is not None
    assert len(rates) == 5


def test_days_begin_at_the_servers_midnight(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, begin="2024-01-16T21:58Z")
    lab.minute(5)
    days = lab.terminal.copy_rates_from_pos(lab.symbol, lab.terminal.TIMEFRAME_D1, 0, 5)
    assert days is not None
    begun = [datetime.fromtimestamp(int(t), UTC).isoformat() for t in days["time"]]
    assert begun == ["2024-01-16T00:00:00+00:00", "2024-01-17T00:00:00+00:00"]


def test_a_stepped_clock_moves_forward_only() -> None:
    clock = SteppedClock(1_000)
    clock.advance(2.5)
    assert clock.now_ms() == 3_500
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(3_499)


def test_an_accelerated_clock_runs_at_its_rate() -> None:
    real = [100.0]
    clock = AcceleratedClock(MINUTE_MS, 60.0, lambda: real[0])
    real[0] += 1.5
    assert clock.now_ms() == MINUTE_MS + 90_000
