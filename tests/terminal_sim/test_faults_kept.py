"""A terminal that was restarted goes on with what is left of its faults: what happened does not happen again."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab

from dtms.terminal.simulated.faults_kinds import FaultKind

JOURNAL = "journal.jsonl"
BUY: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "type": 0, "volume": 0.1, "type_filling": 0}
LOST = {"kind": "lost_executed", "times": 2}


def started(bench: MakeLab, faults: list[dict[str, Any]] | None = None) -> Lab:
    return bench([FLAT] * 10, journal=JOURNAL, faults=faults or [])


def is_lost(lab: Lab) -> bool:
    return lab.terminal.order_send(BUY) is None


def test_configured_faults_are_there_from_the_start(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, faults=[LOST])
    assert [is_lost(lab) for _ in range(3)] == [True, True, False]


def test_a_fault_that_happened_before_the_restart_is_counted(bench: MakeLab) -> None:
    assert is_lost(started(bench, [LOST]))
    again = started(bench, [LOST])
    assert [is_lost(again) for _ in range(2)] == [True, False]
    assert again.terminal.simulation.faults.fired == {FaultKind.LOST_EXECUTED: 2}
    assert not is_lost(started(bench, [LOST]))


def test_a_call_that_hung_until_the_end_hangs_no_more_though_the_terminals_time_went_back(
    bench: MakeLab, tmp_path: Path
) -> None:
    """What is on disk while the call hangs is all that the next process finds."""
    path = tmp_path / f"{JOURNAL}.faults.json"
    at_death: list[bytes] = []
    hang = {"kind": "hang", "calls": ["positions_get"]}
    before = started(bench)
    before.terminal.simulation.faults._site.sleep = lambda _: at_death.append(path.read_bytes())
    before.terminal.simulation.faults.add(hang)
    hung_ms = before.terminal.simulation.utc_ms()
    before.terminal.positions_get()
    held = json.loads(at_death[0])
    assert held["armed"][0]["since_ms"] == hung_ms
    held["armed"][0]["since_ms"] += 60_000
    path.write_text(json.dumps(held), encoding="utf-8")
    after = started(bench)
    after.terminal.simulation.faults._site.sleep = lambda _: pytest.fail("it hangs again")
    assert after.terminal.positions_get() == ()
    assert after.terminal.simulation.faults.fired == {FaultKind.HANG: 1}


def test_what_was_put_in_place_while_running_is_kept_as_well(bench: MakeLab) -> None:
    started(bench).terminal.simulation.faults.add(LOST)
    lab = started(bench)
    assert is_lost(lab)
    lab.terminal.simulation.faults.clear()
    assert not is_lost(started(bench))


def test_a_request_that_waits_is_carried_out_after_the_restart_once(bench: MakeLab) -> None:
    before = started(bench)
    before.terminal.simulation.faults.add({"kind": "lost_late", "late_s": 30})
    assert is_lost(before)
    for _ in range(2):
        after = started(bench)
        assert after.terminal.positions_get() == ()
    after.clock.advance(31)
    assert len(after.terminal.positions_get() or ()) == 1
    last = started(bench)
    last.clock.advance(60)
    assert len(last.terminal.positions_get() or ()) == 1


def test_a_server_clock_that_jumped_stays_there(bench: MakeLab) -> None:
    before = started(bench)
    before.terminal.simulation.faults.add({"kind": "clock_jump", "minutes": 60})
    shown = [before.terminal.symbol_info_tick("EURUSD"), before.opened(0), before.terminal.positions_get()]
    after = started(bench)
    assert [after.terminal.symbol_info_tick("EURUSD"), shown[1], after.terminal.positions_get()] == shown


def test_other_configured_faults_begin_anew(bench: MakeLab) -> None:
    assert is_lost(started(bench, [LOST]))
    lab = started(bench, [{**LOST, "times": 1}])
    assert [is_lost(lab) for _ in range(2)] == [True, False]


def test_without_a_journal_nothing_is_written(bench: MakeLab, tmp_path: Path) -> None:
    lab = bench([FLAT] * 10, faults=[LOST])
    assert is_lost(lab)
    assert [path.name for path in tmp_path.iterdir()] == ["market.csv.gz"]
