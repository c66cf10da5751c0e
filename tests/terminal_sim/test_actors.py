"""Outside traders act at their times, through the same rules as everybody."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, price

from dtms.terminal.simulated.actors import EntryPlan, random_entries
from dtms.terminal.simulated.api import stepped_terminal
from dtms.terminal.simulated.config import SHIPPED, load_config

OPEN: dict[str, Any] = {"at": "2024-01-16T10:01:30Z", "name": "a", "symbol": "EURUSD", "side": "SELL", "lots": 0.3}


def test_a_person_opens_changes_and_closes_by_script(bench: MakeLab) -> None:
    lab = bench(
        [FLAT] * 10,
        actors=[
            OPEN | {"sl": {"price": price(60)}, "tp": {"points": 80}, "comment": "phone", "reason": "mobile"},
            {"at": "2024-01-16T10:03:00Z", "kind": "modify", "name": "a", "symbol": "EURUSD", "sl": {"points": 40}},
            {"at": "2024-01-16T10:05:00Z", "kind": "close", "name": "a", "symbol": "EURUSD", "lots": 0.1},
            {"at": "2024-01-16T10:06:00Z", "kind": "close", "name": "a", "symbol": "EURUSD"},
        ],
    )
    lab.minute(1)
    assert lab.terminal.positions_get() == ()
    lab.minute(2)
    (opened,) = lab.terminal.positions_get() or ()
    assert (opened.type, opened.volume, opened.magic, opened.reason) == (1, 0.3, 0, 1)
    assert (opened.sl, opened.tp, opened.comment) == (price(60), price(-80), "phone")
    lab.minute(4)
    (changed,) = lab.terminal.positions_get() or ()
    assert (changed.sl, changed.tp) == (price(42), price(-80))
    lab.minute(5.5)
    (rest,) = lab.terminal.positions_get() or ()
    assert rest.volume == 0.2
    lab.minute(7)
    assert lab.terminal.positions_get() == ()
    reasons = [deal.reason for deal in lab.terminal.history_deals_get(position=opened.ticket) or ()]
    assert reasons == [1, 0, 0]


def test_an_act_that_the_rules_refuse_is_noted_and_not_repeated(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, actors=[OPEN | {"lots": 0.005}])
    lab.minute(5)
    assert lab.terminal.positions_get() == ()
    assert [note.retcode for note in lab.terminal.simulation.ledger.requests] == [10014]


def test_a_distance_in_atr_is_measured_when_the_act_happens() -> None:
    path = str(SHIPPED / "EURUSD_H1_2017.csv.gz")
    act = {"at": "2017-10-03T09:00Z", "name": "a", "symbol": "EURUSD", "side": "BUY", "lots": 0.1, "sl": {"atr": 3}}
    given = {"start": "2017-10-03T08:59Z", "symbols": [{"name": "EURUSD", "recording": path}], "actors": [act]}
    terminal, clock = stepped_terminal(load_config(given))
    assert terminal.initialize()
    clock.advance(60)
    (position,) = terminal.positions_get() or ()
    rows = terminal.copy_rates_from_pos("EURUSD", terminal.TIMEFRAME_M15, 1, 15)
    assert rows is not None
    ranges = [
        max(row["high"], before["close"]) - min(row["low"], before["close"]) for before, row in itertools.pairwise(rows)
    ]
    assert position.price_open - position.sl == pytest.approx(3 * sum(ranges) / 14, abs=3e-5)


def test_random_entries_repeat_with_their_seed_and_fall_into_open_hours() -> None:
    path = str(SHIPPED / "EURUSD_H1_2017.csv.gz")
    config = load_config({"start": "2017-10-03T08:59Z", "symbols": [{"name": "EURUSD", "recording": path}]})
    world = stepped_terminal(config)[0].simulation.world
    end_ms = config.start_ms + 14 * 86_400_000
    plan = EntryPlan(seed=1, count=50, symbols=("EURUSD",), from_ms=config.start_ms, to_ms=end_ms)
    drawn = [random_entries(replace(plan, seed=seed), world) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert all(world.feeds["EURUSD"].is_open(act.at_ms) for act in drawn[0])
    assert {act.side for act in drawn[0]} == {"BUY", "SELL"}
