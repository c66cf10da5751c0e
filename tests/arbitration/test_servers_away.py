"""A program that is killed leaves the other acting, and comes back to everything as it was: a slice of the long proof.

The slice is too short for what Intelligent Exit may not do after 30 s; ``servers_away`` shows that in its long form.
"""

from dataclasses import replace
from pathlib import Path

from tests.arbitration.books import broken
from tests.arbitration.kept import EXITS, Told, managed
from tests.arbitration.servers_away import Away, judge_exits, judge_kept, make_day, without_dtms, without_main

MOMENT = Told(
    id=1,
    kind="action",
    ticket=7,
    market_ms=0,
    machine_ms=100_000,
    summary="",
    details={"manager": EXITS, "rule": "trail", "ending": "done"},
)


def test_each_program_does_without_the_other_and_comes_back_to_what_it_left(tmp_path: Path) -> None:
    with make_day(tmp_path, 60.0) as day:
        day.trade_for(3.0, 0.3)
        without_server = without_dtms(day, 6.0)
        without_managers = without_main(day, 3.0)
        wrong = broken(day.site, whole=False)
        rows = managed(day.site)
    assert without_server.wrong == [], without_server.line()
    assert without_server.figures["executed"] >= 2
    assert without_managers.wrong == [], without_managers.line()
    assert without_managers.figures["plans"] >= 1
    assert wrong == []

    was = next(row for row in rows if row.body["breakeven_done"])
    forgetful = replace(was, body={**was.body, "breakeven_done": False, "rules": {}})
    told = Away(what="main", outage_s=0.0)
    judge_kept([was], [forgetful], told)
    named = f"{was.ticket}: "
    assert {f"{named}rules changed", f"{named}breakeven_done undone"} <= set(told.wrong), "the judge can tell"


def test_the_judge_can_tell_what_intelligent_exit_may_not_do_while_dtms_is_away() -> None:
    late = replace(MOMENT, machine_ms=MOMENT.machine_ms + 32_000)
    blind = replace(late, details={**late.details, "rule": "breakeven"})
    for fact, state, wrong in (
        (MOMENT, "HEALTHY", False),
        (late, "HEALTHY", True),
        (blind, "HEALTHY", False),
        (MOMENT, "HEDGED", True),
        (blind, "WARNING_L2", True),
    ):
        away = Away(what="server", outage_s=40.0)
        judge_exits([fact], MOMENT.machine_ms, {7: state}, {}, away)
        assert bool(away.wrong) is wrong, (fact, state)
