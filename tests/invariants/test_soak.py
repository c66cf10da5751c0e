"""Seeded lives among faults, crashes and failing commits keep every invariant, and replay to the byte."""

from collections import Counter

import pytest
from tests.invariants.soak import SORTS, Ending, plan_of, soak

IN_CI = range(10)
FOUND: tuple[int, ...] = ()
"""Seeds that once broke something."""
AT_NIGHT = range(10, 400)


@pytest.mark.parametrize("seed", [*IN_CI, *FOUND])
def test_a_life_keeps_every_invariant(seed: int) -> None:
    result = soak(plan_of(seed))
    assert result.is_sound, result.told()


def test_a_seed_replays_to_the_byte() -> None:
    """The same plan, the same journal: what is found once can be looked at again."""
    seed = 3
    assert plan_of(seed) == plan_of(seed)
    once, again = soak(plan_of(seed)), soak(plan_of(seed))
    assert once.journal == again.journal
    assert len(once.journal) > 10
    assert once.fired == again.fired


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hundreds_of_lives_reach_every_fault_and_break_nothing() -> None:
    """Every kind of fault, way to end and failing commit is met by some seed."""
    fired: Counter[str] = Counter()
    broken: list[str] = []
    for seed in AT_NIGHT:
        result = soak(plan_of(seed))
        fired += result.fired + result.endings
        broken += [] if result.is_sound else [result.told()]
    assert not broken, "\n".join(broken)
    wanted = {kind.value for sort in SORTS for kind in sort} | {ending.name for ending in Ending} | {"commit"}
    assert wanted <= fired.keys()
