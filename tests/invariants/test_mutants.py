"""The table of deliberate bugs fits the source, and each bug is caught by each test that it names."""

import pytest
from tools import mutants
from tools.mutants import MUTANTS, ROOT, Mutant, mutated


def test_there_are_fifteen() -> None:
    assert [mutant.number for mutant in MUTANTS] == list(range(1, 16))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_a_bug_can_be_put_in(mutant: Mutant) -> None:
    """Each piece of source is found exactly once, and what stands there instead is still Python."""
    texts: dict[str, str] = {}
    for edit in mutant.edits:
        text = texts.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
        texts[edit.path] = mutated(text, edit, mutant.number)
    for path, text in texts.items():
        compile(text, path, "exec")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_bug_is_caught() -> None:
    assert mutants.main([]) == 0
