"""Both managers on recorded markets, through the real programs: a slice of the long proof, and judges that can tell."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from tests.arbitration.books import broken, doubled, levels, number_in, odd_lots, sides, unlike, wrong_stops
from tests.arbitration.day import Day
from tests.arbitration.kept import EXITS, Asked, intents
from tests.arbitration.managed_for_real import EXECUTED_EVERY_S, acted, line, make_day
from tests.program.past import ledger_of
from tests.replay.judge import DONE

from dtms.terminal.simulated.ledger import Ledger

SECONDS = 14.0


@dataclass(frozen=True, slots=True)
class Traded:
    """A short day that is over."""

    day: Day
    executed: int
    wrong: list[str]


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traded]:
    with make_day(tmp_path_factory.mktemp("traded"), SECONDS) as day:
        executed = day.trade_for(SECONDS, EXECUTED_EVERY_S)
        day.settle()
        day.calm()
        yield Traded(day, executed, broken(day.site))


@pytest.fixture(scope="module")
def ledger(traded: Traded) -> Ledger:
    return ledger_of(traded.day.site.journal)


@pytest.fixture(scope="module")
def asked(traded: Traded) -> list[Asked]:
    return intents(traded.day.site)


def test_both_managers_act_by_their_rules_and_make_no_stop_worse(traded: Traded) -> None:
    assert traded.executed > 20
    done = acted(traded.day)
    for rule in ("breakeven", "trail", "partial"):
        assert any(who != EXITS and told.startswith(rule) for who, told in done), line(done)
    for rule in ("breakeven", "trail"):
        assert done[EXITS, rule] > 0, line(done)
    assert traded.wrong == []


def test_the_judge_can_tell_a_stop_that_was_loosened_or_crossed_and_a_target_that_moved(ledger: Ledger) -> None:
    position, changes = next((p, c) for p, c in levels(ledger).items() if len(c) > 1 and c[-1].tp_points)
    last, sign = changes[-1], sides(ledger)[position]
    for worse in (
        replace(last, sl_points=last.sl_points - sign),
        replace(last, sl_points=0),
        replace(last, sl_points=(last.bid_points if sign > 0 else last.ask_points) + sign),
        replace(last, tp_points=last.tp_points + 1),
    ):
        ledger.levels.append(worse)
        assert any(told.startswith(f"{position}:") for told in wrong_stops(ledger)), worse
        ledger.levels.pop()
    assert not list(wrong_stops(ledger))


def test_the_judge_can_tell_lots_off_the_grid(ledger: Ledger) -> None:
    deal = next(d for d in reversed(ledger.deals) if d.symbol)
    ledger.deals.append(replace(deal, units=deal.units + 1))
    assert list(odd_lots(ledger))
    ledger.deals.pop()


def test_the_judge_can_tell_what_was_done_twice_or_never_or_is_not_in_the_store(
    ledger: Ledger, asked: list[Asked]
) -> None:
    note = next(n for n in ledger.requests if n.retcode in DONE and number_in(n))
    ledger.requests.append(note)
    assert list(doubled(ledger))
    ledger.requests.pop()
    one = next(one for one in asked if one.number == number_in(note))
    others = [other for other in asked if other is not one]
    assert not list(unlike(ledger, asked))
    for state in ("NOT_EXECUTED", "UNKNOWN"):
        assert list(unlike(ledger, [*others, replace(one, state=state)])), state
    assert list(unlike(ledger, others)), "an intent that is not in the store"
    assert list(unlike(ledger, [*asked, replace(one, number=10**6)])), "confirmed, and never carried out"
