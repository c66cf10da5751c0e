"""Several managers over one account break nothing, and what they could break is found, breach by breach."""

from dataclasses import replace

import pytest
from tests.invariants.doctors import Doctor, with_intent
from tests.invariants.doctors_shared import ON_A_SHARED_ACCOUNT, defended, hedged_ms, last_trail, led
from tests.invariants.shared import shared
from tests.invariants.worlds import broken, require_sound

from dtms.audit.standings import Standings, Stood
from dtms.audit.world import World
from dtms.domain.actions import ActionKind
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner, State


@pytest.fixture(scope="module")
def account() -> World:
    return shared().world


def test_what_was_really_played_has_all_managers_in_it_and_breaks_nothing(account: World) -> None:
    require_sound(account)
    acted = {intent.asker for intent in account.books.intents}
    assert acted == set(Asker)
    kinds = {intent.action.kind for intent in account.books.intents if intent.asker is Asker.UNIVERSAL}
    assert kinds == {ActionKind.TRAIL, ActionKind.TAKE_PARTIAL}
    assert [t.state for t in account.books.trades] == [State.HEDGED, State.HEDGED]


@pytest.mark.parametrize(("number", "doctor"), ON_A_SHARED_ACCOUNT.values(), ids=ON_A_SHARED_ACCOUNT.keys())
def test_a_breach_is_found(number: int, doctor: Doctor, account: World) -> None:
    assert number in {violation.number for violation in broken(doctor(account))}


def test_a_person_may_act_on_a_hedged_trade(account: World) -> None:
    """What would be a manager's breach is a person's right."""
    trail, ticket = last_trail(account), defended(account).ticket
    late = replace(trail, ticket=ticket, asker=Asker.PERSON, created_ms=hedged_ms(account, ticket) + 2_000)
    assert not {16, 17} & {violation.number for violation in broken(with_intent(account, late))}


def test_what_programs_clocks_may_differ_by_is_no_breach(account: World) -> None:
    """A manager's intent of the very second in which DTMS turned defensive may have been committed before it did."""
    trail, ticket = last_trail(account), defended(account).ticket
    for after_ms, is_breach in ((account.slack_ms // 2, False), (account.slack_ms * 2, True)):
        at_ms = defensive_ms(account, ticket) + after_ms
        late = replace(trail, ticket=ticket, asker=Asker.EXITS, created_ms=at_ms)
        found = {violation.number for violation in broken(with_intent(account, late))}
        assert (17 in found) is is_breach


def test_one_defence_goes_on_from_state_to_state(account: World) -> None:
    """Between WARNING_L2 and HEDGED there is no moment at which a manager may slip through."""
    trail, ticket = last_trail(account), defended(account).ticket
    late = replace(trail, ticket=ticket, asker=Asker.EXITS, created_ms=hedged_ms(account, ticket))
    assert 17 in {violation.number for violation in broken(with_intent(account, late))}


def defensive_ms(world: World, ticket: int) -> int:
    (first, *_) = Standings(world).defensive(ticket)
    return first.from_ms


def test_what_held_is_read_from_the_journal(account: World) -> None:
    """Owner, state and breakeven flag of each position, at moments of its life."""
    standings, ticket = Standings(account), led(account)
    part = next(i for i in account.books.intents if i.action.kind is ActionKind.TAKE_PARTIAL)
    assert standings.around(ticket, part.created_ms) == [Stood(Owner.UNIVERSAL, None, True)]
    trade = defended(account)
    assert standings.around(trade.ticket, account.now_ms) == [Stood(Owner.DTMS, State.HEDGED, False)]
    assert [s.state for s in standings.around(trade.ticket, trade.registered_ms - 60_000)] == [None]
