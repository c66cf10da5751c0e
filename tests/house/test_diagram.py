"""The diagram in the documentation is the state machine's own table."""

from dataclasses import replace

import pytest
from tools.state_diagram import BEGIN, END, PAGE, generated, mermaid, table

from dtms.decide.trade_state import TABLE
from dtms.domain.trade import State


def test_the_committed_page_is_as_generated() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert generated(page) == page


def test_an_edited_diagram_is_written_anew_and_the_rest_is_kept() -> None:
    assert generated(f"before\n{BEGIN}by hand\n{END}after\n") == (
        f"before\n{BEGIN}\n{mermaid(TABLE)}\n{table(TABLE)}\n{END}after\n"
    )


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        generated("# no markers here\n")


def test_every_row_is_drawn_from_each_state_that_it_leaves() -> None:
    arrows = [line.split(" : ")[0].strip() for line in mermaid(TABLE).splitlines() if " : " in line]
    leaving = {state for state in State if state is not State.CLOSED}
    wanted = [
        f"{source.value} --> {row.to.value}"
        for row in TABLE
        for source in ([row.source] if row.source else sorted(leaving, key=list(State).index))
    ]
    assert arrows == wanted


def test_a_changed_row_changes_the_page() -> None:
    changed = (*TABLE[:-1], replace(TABLE[-1], to=State.HEALTHY))
    assert mermaid(changed) != mermaid(TABLE)
    assert table(changed) != table(TABLE)
