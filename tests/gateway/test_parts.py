"""Long answers travel in parts and arrive whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.terminal.protocol import ROWS_PER_PART, decode_parts, encode_parts

ROWS = st.lists(st.lists(st.integers(), max_size=2), max_size=3)


@given(first=ROWS, second=ROWS, times=st.integers(0, 2 * ROWS_PER_PART))
def test_whatever_is_sent_arrives(first: list[Any], second: list[Any], times: int) -> None:
    """An answer comes out as it went in, whichever of its lists are long."""
    answer = {"value": {"positions": first * times, "orders": second, "terminal": [1, True]}, "last_error": [1, "ok"]}
    head, *rest = encode_parts(answer)
    parts = iter(rest)
    assert decode_parts(head, lambda: next(parts)) == answer
    assert next(parts, None) is None


def test_no_part_is_long() -> None:
    """A reader that shares its interpreter with others is never busy with one message for long."""
    messages = encode_parts({"value": {"positions": [[n] * 19 for n in range(10_000)]}})
    assert len(messages) == 1 + 10_000 // ROWS_PER_PART
    assert max(map(len, messages)) < 40_000


def test_what_is_no_part_breaks_the_line() -> None:
    """A message where a part should be is an error of the line, which ends as an unknown outcome."""
    head, *_ = encode_parts({"value": {"positions": [[1]] * (ROWS_PER_PART + 1)}})
    with pytest.raises(KeyError):
        decode_parts(head, lambda: b'{"value": 1}')
