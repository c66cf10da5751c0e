"""Lower managers stand back while DTMS defends: a slice of the long proof, and a judge that can tell."""

from dataclasses import replace
from pathlib import Path

from tests.arbitration.books import broken
from tests.arbitration.kept import EXITS, Told, defences, facts
from tests.arbitration.standing_back import ANOTHER, judge, make_day, run

SECONDS = 18.0


def test_nobody_below_dtms_commits_a_change_of_a_trade_that_it_defends(tmp_path: Path) -> None:
    with make_day(tmp_path, SECONDS) as day:
        seen = run(day, SECONDS)
        wrong = broken(day.site, whole=False)
        journal = facts(day.site)
    assert seen.defences >= 3, seen.line()
    assert seen.done_below[EXITS] >= 20, seen.line()
    assert seen.done_below[ANOTHER] >= 10, seen.line()
    assert seen.answers["dtms_defensive"] + seen.answers["under its lease: dtms_defensive"] > 0, seen.line()
    assert seen.crossed == []
    assert wrong == []
    assert judge([*journal, _beneath_a_defence(journal)]).crossed, "the judge can tell"


def _beneath_a_defence(journal: list[Told]) -> Told:
    """Make up a trailed stop, committed while DTMS defended a trade."""
    span = next(defences(journal))
    done = next(f for f in journal if f.manager == EXITS and f.is_done)
    return replace(done, id=span.since.id + 1, ticket=span.ticket)
