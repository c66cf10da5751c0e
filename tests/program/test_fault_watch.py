"""Faults in a running installation, as a trader sees them: a slice of ``python -m tests.program.fault_watch``.

One installation meets all of them, one after the other; at its end the terminal's books judge.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.program.fault_cases import CASES, Case
from tests.program.fault_seen import Seen
from tests.program.fault_site import Watched
from tests.program.fault_watch import goes_on, play_past
from tests.program.past import PLAYED, demo_day
from tests.program.running import Site

from dtms.terminal.simulated.recording import parse_time_ms

SHORT_PAST_MIN = 98
ACTS_MS = parse_time_ms("2017-10-25T11:44:30Z")
"""Half a minute before a stop, a part and a hedge are due."""
NEEDS_ATTENTION, CRITICAL = "needs_attention", "CRITICAL"


def brief(name: str, lasts_s: float = 1.5, **known: object) -> Case:
    case = CASES[name]
    fault = {**case.message["fault"], **known}
    return replace(case, message={"do": "add", "fault": fault}, lasts_s=lasts_s, after_s=1.0)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    past = Site(tmp_path_factory.mktemp("past"), demo_day(), **PLAYED)
    play_past(past, SHORT_PAST_MIN)
    past.close()
    watched = goes_on(past, tmp_path_factory.mktemp("watched"), acts_ms=ACTS_MS)
    try:
        watched.start()
        yield watched
    finally:
        watched.site.close()


def watch(watched: Watched, case: Case) -> Seen:
    seen = watched.watch(case)
    assert not seen.wrong, seen.line()
    return seen


def told(seen: Seen, kind: str) -> list[tuple[str | None, str]]:
    return [(alert, words) for found, alert, words in seen.facts if found == kind]


def test_a_hedge_whose_reply_is_lost_is_found_by_its_number(watched: Watched) -> None:
    seen = watch(watched, brief("lost_executed", 0))
    assert any("open hedge" in words and "unknown" in words for _, words in told(seen, "action"))
    assert any("open_hedge was executed" in words for _, words in told(seen, "intent"))


def test_a_call_that_hangs_delays_and_spoils_nothing(watched: Watched) -> None:
    watch(watched, brief("hang", 0, calls=["positions_get"], seconds=2.0, executed=False, of="any"))


def test_a_lost_connection_is_said_and_left_behind(watched: Watched) -> None:
    seen = watch(watched, brief("offline"))
    assert any("no connection to its trade server" in reason for reason in seen.reasons)
    assert seen.logged["dtms info broker_connected"] == 1
    assert 1 <= seen.logged["dtms error broker_unavailable"] <= 3


def test_a_position_that_a_list_lacks_is_asked_for_again(watched: Watched) -> None:
    seen = watch(watched, brief("partial_list", 2.5))
    assert ("WARNING" in {alert for alert, _ in told(seen, "unconfirmed")}) == bool(told(seen, "unconfirmed"))
    assert not told(seen, "closed")


def test_another_account_calls_a_person_at_once(watched: Watched) -> None:
    seen = watch(watched, brief("wrong_account"))
    assert any(reason.startswith("wrong account: Elsewhere-Live") for reason in seen.reasons)
    ((alert, words),) = told(seen, NEEDS_ATTENTION)
    assert alert == CRITICAL
    assert "stops at the broker stay" in words


def test_prices_that_are_not_numbers_open_nothing(watched: Watched) -> None:
    before = len(watched.simulate(do="ledger")["positions"])
    watch(watched, brief("nan_price"))
    assert len(watched.simulate(do="ledger")["positions"]) <= before


def test_all_books_agree_after_every_fault(watched: Watched) -> None:
    """Every request found in the ledger once, every trade a position, every invariant kept."""
    assert watched.judge(is_ordinary=True) == []
