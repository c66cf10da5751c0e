"""Ended at its Nth write or send, wherever that is, an engine that goes on loses nothing and does nothing twice.

One trade through warning, halving, hedge, recovery and re-add; ``-m slow`` goes through every point, and crashes the
recovery as well.
"""

from pathlib import Path

import pytest
from tests.execute.crashing import crash_at, judge
from tests.execute.test_restart import RECOVERED

SLICE = range(4, 140, 9)
POINTS_MAX = 1_000


@pytest.mark.parametrize("point", SLICE)
def test_a_crash_at_a_single_point_costs_nothing(point: int, tmp_path: Path) -> None:
    ended = crash_at(RECOVERED, tmp_path, point)
    assert ended.cuts, "the crash came"
    judge(ended, RECOVERED)


@pytest.mark.parametrize(("point", "again"), [(58, 3), (61, 6), (83, 5), (84, 9)])
def test_a_recovery_that_is_crashed_is_begun_anew(point: int, again: int, tmp_path: Path) -> None:
    ended = crash_at(RECOVERED, tmp_path, point, again)
    assert len(ended.cuts) == 2, "both crashes came"
    judge(ended, RECOVERED)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_every_point_until_the_scenario_runs_through_untouched(tmp_path: Path) -> None:
    for point in range(1, POINTS_MAX):
        folder = tmp_path / str(point)
        folder.mkdir()
        ended = crash_at(RECOVERED, folder, point)
        judge(ended, RECOVERED)
        if not ended.cuts:
            return
    raise AssertionError("the scenario never ran through")


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("point", [40, 58, 60, 61, 83, 84, 100])
def test_every_point_of_a_recovery(point: int, tmp_path: Path) -> None:
    """Crashed once in the market, and again at every one of the next engine's first points."""
    for again in range(1, 16):
        folder = tmp_path / str(again)
        folder.mkdir()
        judge(crash_at(RECOVERED, folder, point, again), RECOVERED)
