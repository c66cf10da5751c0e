"""An intent's number survives its way through magic number and comment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5_requests import KIND_LETTERS, Numbering, comment_of, mark_of, read_comment
from dtms.domain.actions import ActionKind
from dtms.domain.errors import Misconfigured

PREFIXES = st.integers(1, 2**13 - 1)
NUMBERS = st.integers(1, 2**40 - 1)


@given(PREFIXES, NUMBERS, st.sampled_from(ActionKind))
def test_number_and_kind_come_back_out_of_magic_and_comment(prefix: int, number: int, kind: ActionKind) -> None:
    numbering = Numbering(prefix)
    magic = numbering.magic_of(number)
    assert 0 < magic < 2**53
    assert numbering.intent_of(magic) == number
    comment = comment_of(kind, magic)
    assert read_comment(comment) == (kind, magic)
    assert len(comment) <= 16
    assert set(comment) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


@given(PREFIXES, PREFIXES, NUMBERS)
def test_another_installations_numbers_are_not_ours(ours: int, theirs: int, number: int) -> None:
    found = Numbering(ours).intent_of(Numbering(theirs).magic_of(number))
    assert (found == number) is (ours == theirs)


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_different_magic_numbers_have_different_marks(one: int, other: int) -> None:
    assert (mark_of(one) == mark_of(other)) is (one == other)


@given(st.text(max_size=31))
def test_a_strangers_comment_is_not_read_as_ours(comment: str) -> None:
    read = read_comment(comment)
    assert read is None or comment_of(*read) == comment[:13]


def test_kinds_have_letters_of_their_own() -> None:
    assert set(KIND_LETTERS) == set(ActionKind)
    assert len(set(KIND_LETTERS.values())) == len(ActionKind)


def test_numbers_and_prefixes_that_do_not_fit_are_refused() -> None:
    for prefix in (0, 2**13, -1):
        with pytest.raises(Misconfigured):
            Numbering(prefix)
    for number in (0, 2**40):
        with pytest.raises(ValueError, match="intent number"):
            Numbering(1).magic_of(number)
