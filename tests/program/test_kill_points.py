"""kill -9 at single steps of registration, intents and recovery, on real programs: a slice of what
``python -m tests.program.kill_points`` goes through whole."""

from collections.abc import Iterator

import pytest
from tests.program.kill_points import play_at
from tests.program.past import PLAYED, demo_day, play_past
from tests.program.running import Site

SLICE = ("unit:3:during", "unit:4:after", "call:5:after", "send:2:before", "send:2:after")
"""Recovery's first writes, the registration's commit, and the close of a hedge."""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("past"), demo_day(), **PLAYED)
    play_past(site)
    yield site
    site.close()


@pytest.mark.parametrize("point", SLICE)
def test_a_kill_at_a_single_step_breaks_no_promise(past: Site, point: str) -> None:
    assert play_at(past, point), "the kill came"
