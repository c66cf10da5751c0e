"""The benchmarks measure what they claim, small, and report it; how fast anything is, is no test's business."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dtms.bench import acts, leases, managers, passes, plans, registration, report, storage, suite, terminals
from dtms.bench.figures import Figure, at_least, at_most, quantile
from dtms.bench.measure import CannotMeasure
from dtms.bench.preload import write_positions
from dtms.bench.rig import make_rig
from dtms.domain.trade import State
from dtms.terminal.simulated.journal import read_journal
from dtms.terminal.simulated.records import Position


def silent(told: str) -> None:
    """Take progress lines and drop them."""


def named(figures: list[Figure]) -> set[str]:
    assert all(figure.median > 0 for figure in figures)
    return {figure.name for figure in figures}


def test_the_median_counts_against_the_limit() -> None:
    assert Figure(name="a", unit="ms", runs=(9.0, 1.0, 2.0), limit=at_most(2.0)).is_within
    assert not Figure(name="a", unit="/s", runs=(9.0, 1.0, 2.0), limit=at_least(2.1)).is_within


def test_quantiles_are_of_the_nearest_rank() -> None:
    assert quantile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert quantile([3.0, 1.0], 0.5) == 1.0


def test_a_rig_watches_trades_of_every_state_on_views_of_recorded_bars() -> None:
    async def look() -> None:
        rig = await make_rig(200, 2)
        assert len(rig.book.watches) == 200
        assert {w.trade.state for w in rig.book.watches.values()} == set(State) - {State.CLOSED}
        assert all(s.view is not None for s in rig.symbols)
        await rig.monitor.deep_pass(rig.tickets)
        await rig.monitor.fast_pass(rig.tickets, rig.snapshot)
        assert (rig.monitor.counts.deep, rig.monitor.counts.fast) == (200, 200)
        assert all(w.last_deep_price is not None for w in rig.book.watches.values())
        rig.require_quiet()
        await rig.store.close()

    asyncio.run(look())


def test_a_rig_in_which_something_was_done_gives_no_figures() -> None:
    async def look() -> None:
        rig = await make_rig(20, 2)
        rig.desk.transitions += 1
        with pytest.raises(CannotMeasure, match="not quiet"):
            rig.require_quiet()
        await rig.store.close()

    asyncio.run(look())


def test_passes_and_views_are_measured() -> None:
    figures = asyncio.run(passes._passes(40, 2, symbols=2, runs=2)) + asyncio.run(passes._brink(40, 1, 2, 1))
    assert "deep pass, 40 trades on 2 symbols: p99" in named(figures)
    assert "views of 2 symbols at an M15 close" in named(asyncio.run(passes._views(40, 2, 1)))


def test_commits_steps_and_replay_are_measured() -> None:
    assert len(named(list(storage.measure_store(silent, 1, 5)))) == 3
    assert len(named(list(terminals.measure_steps(silent, 1, 30)))) == 4
    assert len(named(list(terminals.measure_replay(silent, 1, 0.1)))) == 1


def test_a_pass_of_the_managers_is_measured_where_each_judges_and_nothing_is_wanted() -> None:
    assert len(named(list(managers.measure_managers(silent, 80, 2, 1)))) == 6


def test_positions_on_which_something_is_to_be_done_give_no_figures() -> None:
    async def look() -> None:
        rig = await managers.make_rig(80, 2)
        charge = next(c for c in rig.charges if c.managed.trailing_active)
        position = rig.snapshot.positions[charge.managed.ticket]
        loose = replace(position, stop=position.entry - position.side.sign * charge.managed.risk)
        rig.parts.managers.floor.take(replace(rig.snapshot, positions={loose.ticket: loose}))
        with pytest.raises(CannotMeasure, match="something is to be done"):
            await rig.look()
        await rig.parts.store.close()

    asyncio.run(look())


def test_rounds_over_plans_are_measured_where_each_is_judged_and_none_is_due() -> None:
    figures = named(list(plans.measure_plans(silent, 60, 2, 1)))
    assert "round just after an M5 close, 60 plans on 2 symbols" in figures


def test_leases_and_whole_acts_are_measured_on_real_processes() -> None:
    assert len(named(list(leases.measure_leases(silent, 1, 2, 5)))) == 8
    assert len(named(list(acts.measure_acts(silent, 1, 3)))) == 2


def test_a_preloaded_terminal_holds_its_positions(tmp_path: Path) -> None:
    write_positions(tmp_path / "j", symbols=2, positions=7)
    resumed = read_journal(tmp_path / "j")
    assert resumed is not None
    assert sum(isinstance(change, Position) for change in resumed.changes) == 7


def test_registrations_are_measured_on_real_processes() -> None:
    """Every one that is counted was answered 200, and found in the file after the server was killed."""
    figures = named(list(registration.measure_registration(silent, runs=1, positions=130)))
    assert "registration, durable, against that route" in figures


def test_a_missed_limit_fails_the_run_and_is_told() -> None:
    def slow(_: suite.Say) -> Iterator[Figure]:
        yield Figure(name="slow thing", unit="ms", runs=(50.0,), limit=at_most(30.0))

    def broken(_: suite.Say) -> Iterator[Figure]:
        raise CannotMeasure("no reason")

    figures, failures = suite.measure(["broken", "slow"], {"slow": slow, "broken": broken}, silent)
    assert failures == ["broken: could not be measured: no reason", "slow thing: 50 ms, must be at most 30"]
    told = json.loads(report.as_json({"cores": 2}, figures, failures))
    assert told["failures"] == failures
    assert told["figures"][0]["within"] is False
