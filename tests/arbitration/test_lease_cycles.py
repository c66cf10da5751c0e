"""Real processes that compete for leases: one holder at a time, and tokens that only rise."""

from collections import defaultdict
from itertools import pairwise

import pytest
from tests.arbitration.lease_cycles import Cycle, quantile, run


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> list[Cycle]:
    return run(tmp_path_factory.mktemp("leases"), processes=4, cycles=150, tickets=3, pause_ms=0.0)


def _by_ticket(cycles: list[Cycle]) -> dict[int, list[Cycle]]:
    found = defaultdict(list)
    for cycle in sorted(cycles, key=lambda c: c.granted_s):
        found[cycle.ticket].append(cycle)
    return found


def test_no_two_processes_hold_a_lease_at_once(cycles: list[Cycle]) -> None:
    for ticket, held in _by_ticket(cycles).items():
        for before, after in pairwise(held):
            assert before.released_s <= after.granted_s, f"{ticket}: {before} and {after}"
    assert sum(cycle.refused for cycle in cycles) > 0, "nobody ever competed"


def test_tokens_rise_by_one_with_every_grant_of_a_ticket_whoever_has_it(cycles: list[Cycle]) -> None:
    assert len(cycles) == 4 * 150
    for held in _by_ticket(cycles).values():
        assert [cycle.token for cycle in held] == list(range(1, len(held) + 1))


def test_everybody_gets_a_turn_soon(cycles: list[Cycle]) -> None:
    """No figure of the machine: it only shows that nobody starves. Figures come from the module itself."""
    assert quantile([cycle.took_ms for cycle in cycles], 0.99) < 500.0
