"""Quotes, ticks, bars and clocks that lie; the trade server fills at its own prices all the same."""

import math
from typing import Any

import numpy as np
import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import Lab, Minute

from dtms.terminal.simulated.constants import MT5

WAVES: list[Minute] = [(0, 40, -40, 20), (20, 60, 10, 30), (30, 35, -20, -10), (-10, 50, -15, 45)] * 4


@pytest.fixture
def lab(bench: MakeLab) -> Lab:
    made = bench(WAVES)
    made.minute(6.5)
    return made


def fault(lab: Lab, kind: str, **more: Any) -> None:
    lab.terminal.simulation.faults.add({"kind": kind, **more})


def tick(lab: Lab) -> Any:
    found = lab.terminal.symbol_info_tick(lab.symbol)
    assert found is not None
    return found


def prices(lab: Lab) -> tuple[float, float]:
    found = tick(lab)
    return found.bid, found.ask


def times(lab: Lab) -> list[int]:
    bars = lab.terminal.copy_rates_from_pos(lab.symbol, 1, 0, 6)
    assert bars is not None
    return [int(row) for row in bars["time"]]


class TestQuotes:
    @pytest.mark.parametrize(
        ("kind", "more", "spoiled"),
        [
            ("zero_price", {}, lambda bid, ask: (0.0, 0.0)),
            ("negative_price", {}, lambda bid, ask: (-bid, -ask)),
            ("crossed_price", {"points": 7}, lambda bid, ask: (ask + 0.00007, ask)),
            ("wide_spread", {"factor": 30}, lambda bid, ask: (bid, bid + (ask - bid) * 30)),
            ("spike", {}, lambda bid, ask: (bid * 10, ask * 10)),
            ("gap", {"points": -500}, lambda bid, ask: (bid - 0.005, ask - 0.005)),
        ],
    )
    def test_one_quote_is_spoiled_and_the_next_is_sound(self, lab: Lab, kind: str, more: Any, spoiled: Any) -> None:
        sound = prices(lab)
        fault(lab, kind, **more)
        assert prices(lab) == pytest.approx(spoiled(*sound), abs=1e-9)
        assert prices(lab) == sound

    def test_a_quote_is_no_number(self, lab: Lab) -> None:
        fault(lab, "nan_price")
        assert all(math.isnan(value) for value in prices(lab))

    def test_a_quote_has_digits_that_the_symbol_has_not(self, lab: Lab) -> None:
        fault(lab, "wrong_digits")
        points = prices(lab)[0] * 1e5
        assert abs(points - round(points)) > 0.3

    def test_a_symbols_conditions_carry_the_spoiled_quote_too(self, lab: Lab) -> None:
        fault(lab, "spike", calls=["symbol_info"])
        info = lab.terminal.symbol_info(lab.symbol)
        assert info is not None
        assert info.bid == pytest.approx(10 * prices(lab)[0])

    def test_the_trade_server_fills_at_its_own_price(self, lab: Lab) -> None:
        sound = prices(lab)
        fault(lab, "spike", times=0)
        result = lab.market(0)
        assert (result.retcode, result.price) == (MT5.TRADE_RETCODE_DONE, sound[1])

    def test_the_tick_before_comes_once_more(self, lab: Lab) -> None:
        last = tick(lab)
        fault(lab, "repeated_tick")
        before = tick(lab)
        known = lab.terminal.copy_ticks_range(lab.symbol, before.time - 60, last.time + 1, MT5.COPY_TICKS_ALL)
        assert known is not None
        assert [int(row) for row in known["time_msc"][-2:]] == [before.time_msc, last.time_msc]
        assert before.bid == known["bid"][-2]

    def test_an_older_tick_comes_after_a_newer_one(self, lab: Lab) -> None:
        last = tick(lab)
        fault(lab, "older_tick", seconds=60)
        assert 60_000 <= last.time_msc - tick(lab).time_msc < 75_000
        assert tick(lab) == last

    def test_the_quotes_clock_stands_while_prices_go_on(self, lab: Lab) -> None:
        fault(lab, "frozen_clock")
        first = tick(lab)
        seen = []
        for minute in (7, 8, 9):
            lab.minute(minute)
            seen.append((tick(lab).time_msc, tick(lab).bid))
        assert {ms for ms, _ in seen} == {first.time_msc}
        assert len({bid for _, bid in seen}) > 1

    def test_the_whole_quote_stands(self, lab: Lab) -> None:
        fault(lab, "frozen_quote")
        first = tick(lab)
        lab.minute(9)
        assert tick(lab) == first
        lab.terminal.simulation.faults.clear()
        assert tick(lab).time_msc > first.time_msc


class TestTicks:
    def rows(self, lab: Lab) -> Any:
        found = lab.terminal.copy_ticks_from(lab.symbol, 0, 50, MT5.COPY_TICKS_ALL)
        assert found is not None
        return found

    @pytest.mark.parametrize(("kind", "spoiled"), [("zero_price", 0.0), ("negative_price", None), ("nan_price", None)])
    def test_the_last_of_several_ticks_is_spoiled(self, lab: Lab, kind: str, spoiled: float | None) -> None:
        sound = self.rows(lab)
        fault(lab, kind)
        rows = self.rows(lab)
        assert (rows[:-1] == sound[:-1]).all()
        bad = float(rows["bid"][-1])
        assert bad == 0.0 if spoiled is not None else (math.isnan(bad) or bad < 0)

    def test_rows_come_twice_or_out_of_order(self, lab: Lab) -> None:
        sound = self.rows(lab)
        fault(lab, "repeated_tick")
        twice = self.rows(lab)
        assert (len(twice), twice[-1]) == (len(sound) + 1, twice[-2])
        fault(lab, "older_tick")
        swapped = self.rows(lab)
        assert (swapped[-1], swapped[-2]) == (sound[-2], sound[-1])

    def test_times_stop_where_the_clock_froze(self, lab: Lab) -> None:
        fault(lab, "frozen_clock", calls=["ticks"])
        now = tick(lab).time
        first = lab.terminal.copy_ticks_range(lab.symbol, now - 600, now + 600, MT5.COPY_TICKS_ALL)
        lab.minute(9)
        later = lab.terminal.copy_ticks_range(lab.symbol, now - 600, now + 600, MT5.COPY_TICKS_ALL)
        assert first is not None
        assert later is not None
        assert len(later) > len(first)
        assert later["time_msc"].max() == first["time_msc"][-1]


class TestBars:
    def bars(self, lab: Lab) -> Any:
        found = lab.terminal.copy_rates_from_pos(lab.symbol, 1, 0, 6)
        assert found is not None
        return found

    @pytest.mark.parametrize("back", [0, 1, 3])
    @pytest.mark.parametrize("kind", ["nan_bar", "zero_bar", "spike_bar"])
    def test_one_bar_is_spoiled_and_the_others_are_sound(self, lab: Lab, kind: str, back: int) -> None:
        sound = self.bars(lab)
        fault(lab, kind, back=back)
        bars = self.bars(lab)
        bad = bars[-1 - back]
        assert (np.delete(bars, 5 - back) == np.delete(sound, 5 - back)).all()
        told = {
            "nan_bar": math.isnan(bad["open"]) and math.isnan(bad["low"]),
            "zero_bar": bad["high"] == bad["close"] == 0,
            "spike_bar": bad["high"] == pytest.approx(10 * sound["high"][-1 - back]),
        }
        assert told[kind]
        assert (self.bars(lab) == sound).all()

    def test_a_bar_comes_twice_too_early_or_not_at_all(self, lab: Lab) -> None:
        sound = times(lab)
        fault(lab, "repeated_bar", back=2)
        assert times(lab) == [*sound[:4], sound[3], *sound[4:]]
        fault(lab, "disordered_bars", back=2)
        assert times(lab) == [*sound[:2], sound[3], sound[2], *sound[4:]]
        fault(lab, "missing_bar", back=2)
        assert times(lab) == [*sound[:3], *sound[4:]]

    def test_a_request_for_too_few_bars_is_left_alone(self, lab: Lab) -> None:
        fault(lab, "nan_bar", back=1, times=0)
        bars = lab.terminal.copy_rates_from_pos(lab.symbol, 1, 0, 1)
        assert bars is not None
        assert bars["open"][0] > 1


def jump(lab: Lab, minutes: int) -> None:
    """Let the server's clock jump now: it does at the first call."""
    fault(lab, "clock_jump", minutes=minutes)
    lab.terminal.positions_total()


class TestServerClock:
    @pytest.mark.parametrize("minutes", [60, -60, 30, -30])
    def test_it_jumps_and_everything_new_is_labelled_by_it(self, lab: Lab, minutes: int) -> None:
        first = lab.opened(0)
        before, bars = tick(lab), times(lab)
        jump(lab, minutes)
        lab.minute(8.5)
        after = tick(lab)
        assert abs(after.time - before.time - minutes * 60 - 120) < 30
        second = lab.opened(0)
        opened = {p.ticket: p.time for p in lab.terminal.positions_get() or ()}
        assert abs(opened[second] - opened[first] - minutes * 60 - 120) <= 1
        assert times(lab)[-1] == bars[-1] + minutes * 60 + 120
        info = lab.terminal.symbol_info(lab.symbol)
        assert info is not None
        assert info.time == after.time

    def test_what_was_labelled_before_keeps_its_labels(self, lab: Lab) -> None:
        first = lab.opened(0)
        bars = times(lab)
        (deal,) = lab.terminal.history_deals_get(position=first) or ()
        jump(lab, 60)
        lab.minute(9)
        found = lab.terminal.copy_rates_range(lab.symbol, 1, bars[0], bars[-2])
        assert found is not None
        assert [int(row) for row in found["time"]] == bars[:-1]
        assert lab.terminal.history_deals_get(position=first) == (deal,)

    def test_the_history_is_asked_for_in_the_new_time(self, lab: Lab) -> None:
        jump(lab, 60)
        lab.minute(7)
        ticket = lab.opened(0)
        now = tick(lab).time
        found = lab.terminal.history_deals_get(now - 120, now + 120)
        assert [deal.position_id for deal in found or ()] == [ticket]
