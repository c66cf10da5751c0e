"""Two managers on one position: a slice of the long proof, and a judge that can tell."""

from pathlib import Path

from tests.arbitration.contested import Judged, judge, run

from dtms.domain.actions import Ending


def test_of_two_managers_that_decide_at_once_one_wins_and_the_other_knows_why(tmp_path: Path) -> None:
    told, journal, ticket = run(tmp_path, 120)
    judged = judge(told, journal, ticket)
    assert told.unexplained == []
    assert told.endings[Ending.DONE.value] + sum(told.rules.values()) == 240
    assert told.endings[Ending.DONE.value] >= 120, "somebody wins every tick"
    assert judged == Judged(changes=told.endings[Ending.DONE.value], loosened=0, stale=0)

    # The judge is no rubber stamp: had one change been decided on another stop, it would say so.
    decided_on, wanted = told.done[7]
    told.done[7] = (decided_on - 0.00001, wanted)
    assert judge(told, journal, ticket).stale == 1
