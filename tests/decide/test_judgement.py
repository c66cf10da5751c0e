"""The one judgement of a ticket's standing: what is refused early is what the committing transaction refuses."""

from dataclasses import replace
from typing import Any

import pytest
from tests.store.builders import trade
from tests.store.managers import ownership

from dtms.decide.authority import judge
from dtms.domain.owners import Asker, Standing
from dtms.domain.trade import Machine, Owner, State, Trade

CLOSED = frozenset({State.CLOSED})


def standing(state: State, owner: str | None = None, **changes: Any) -> Standing:
    """What holds for a trade of DTMS; ``owner`` is who the registry names."""
    kept: Trade = replace(trade(1), machine=Machine(state=state), **changes)
    return Standing(ticket=1, trade=kept, ownership=None if owner is None else ownership(1, owner=owner))


def rule(at: Standing, asker: Asker = Asker.DTMS, states: frozenset[State] | None = None) -> str | None:
    denied = judge(at, asker, states=states)
    return None if denied is None else denied.rule


@pytest.mark.parametrize("owner", [None, *Owner, "a later manager"])
def test_what_is_left_of_a_closed_trade_is_dtms_own_whoever_the_registry_names(owner: str | None) -> None:
    """A hedge beside a trade that has ended is closed; but only by who says that the trade is closed."""
    assert rule(standing(State.CLOSED, owner), states=CLOSED) is None
    assert rule(standing(State.CLOSED, owner)) == "dtms_state"


@pytest.mark.parametrize("state", State)
def test_for_a_disabled_trade_dtms_is_refused_in_every_state(state: State) -> None:
    assert rule(standing(state, disabled=True), states=frozenset(State)) == "disabled"


@pytest.mark.parametrize("owner", [Owner.UNIVERSAL, Owner.EXITS])
def test_beside_an_owner_dtms_acts_when_it_was_registered_so_and_is_defensive(owner: Owner) -> None:
    assert rule(standing(State.HEDGED, owner)) == "owned_by_other_manager"
    assert rule(standing(State.HEDGED, owner, alongside=True)) is None
    assert rule(standing(State.HEALTHY, owner, alongside=True)) == "owned_by_other_manager"


def test_what_is_not_registered_and_what_left_its_state_is_refused() -> None:
    assert rule(Standing(ticket=1)) == "not_registered"
    assert rule(standing(State.HEALTHY), states=frozenset({State.WARNING_L2})) == "dtms_state"
    assert rule(standing(State.HEDGED), Asker.EXITS, frozenset({State.HEALTHY})) == "dtms_state"
