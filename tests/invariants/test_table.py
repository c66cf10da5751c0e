"""The table of invariants is whole: its rows are numbered through, each judged by a check or by tests that exist."""

import ast
from pathlib import Path

import pytest

from dtms.audit.invariants import AUDITED, INVARIANTS, Invariant
from dtms.audit.world import Need

ROOT = Path(__file__).parents[2]
PRODUCTION = {1, 3, 4, 5, 7, 8, 10, 12, 14, 15, 16, 17, 20, 25, 30, 31, 32, 33}


def test_there_are_33() -> None:
    assert [row.number for row in INVARIANTS] == list(range(1, 34))


def test_each_is_judged_by_a_check_or_by_a_test() -> None:
    for row in INVARIANTS:
        assert (row.check is not None) or row.tests, row.text


def test_what_is_audited_in_production_needs_nothing_that_only_a_simulation_tells() -> None:
    assert {row.number for row in AUDITED} == PRODUCTION
    assert all(row.needs <= {Need.LOOKS} for row in AUDITED)


@pytest.mark.parametrize("row", [r for r in INVARIANTS if r.tests], ids=lambda row: str(row.number))
def test_a_test_that_judges_an_invariant_exists(row: Invariant) -> None:
    for node in row.tests:
        path, name = node.split("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {f.name for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)}, node
