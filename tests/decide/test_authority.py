"""Who may change a position: every cell of the table, for every state of DTMS, with and without breakeven."""

import itertools

import pytest

from dtms.decide.authority import refuse
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner, State

OWNERS = (*Owner, None)
STATES = (*State, None)
DEFENSIVE = (State.WARNING_L2, State.HEDGED)

UNIVERSAL, EXITS, DTMS, NOBODY = Owner.UNIVERSAL, Owner.EXITS, Owner.DTMS, Owner.NOBODY


def may(
    asker: Asker, owner: Owner | None, state: State | None, *, breakeven: bool = False, to: State | None = None
) -> bool:
    return refuse(asker, owner, state, breakeven=breakeven, to_state=to) is None


def expected(asker: Asker, owner: Owner | None, *, defensive: bool, breakeven: bool) -> bool:
    """The table as it is specified, written a second time and otherwise."""
    if asker is Asker.PERSON:
        return True
    if owner is None or asker is Asker.EXECUTION:
        return False
    if asker is Asker.DTMS:
        return owner in (DTMS, NOBODY) or defensive
    if asker is Asker.UNIVERSAL:
        return owner is UNIVERSAL and not defensive
    if owner is NOBODY:
        return True
    if owner is UNIVERSAL:
        return not breakeven and not defensive
    return not defensive


@pytest.mark.parametrize("asker", Asker)
def test_every_cell_of_the_table(asker: Asker) -> None:
    for owner, state, breakeven in itertools.product(OWNERS, STATES, (False, True)):
        defensive = state in DEFENSIVE
        assert may(asker, owner, state, breakeven=breakeven) is expected(
            asker, owner, defensive=defensive, breakeven=breakeven
        ), (asker, owner, state, breakeven)


@pytest.mark.parametrize("owner", [UNIVERSAL, EXITS])
@pytest.mark.parametrize("to", State)
def test_dtms_counts_as_defensive_by_the_state_it_moves_to(owner: Owner, to: State) -> None:
    assert may(Asker.DTMS, owner, State.WARNING_L1, to=to) is to.is_defensive
    assert may(Asker.DTMS, owner, State.HEDGED, to=to), "the state that it leaves counts as well"


def test_where_another_moves_to_means_nothing() -> None:
    assert may(Asker.EXITS, DTMS, State.HEALTHY, to=State.HEDGED)
    assert not may(Asker.UNIVERSAL, UNIVERSAL, State.HEDGED, to=State.HEALTHY)


@pytest.mark.parametrize(
    ("asker", "owner", "state", "breakeven", "rule", "words"),
    [
        (Asker.EXITS, DTMS, State.HEDGED, False, "dtms_defensive", "HEDGED"),
        (Asker.EXITS, UNIVERSAL, None, True, "owned_by_other_manager", "breakeven was reached"),
        (Asker.UNIVERSAL, DTMS, State.HEALTHY, False, "owned_by_other_manager", "dtms_manager"),
        (Asker.UNIVERSAL, NOBODY, None, False, "owned_by_other_manager", "nobody"),
        (Asker.DTMS, None, State.HEDGED, False, "owned_by_other_manager", "not known"),
        (Asker.DTMS, UNIVERSAL, State.HEALTHY, False, "owned_by_other_manager", "not defensive"),
    ],
)
def test_who_is_refused_is_told_why(
    asker: Asker, owner: Owner | None, state: State | None, breakeven: bool, rule: str, words: str
) -> None:
    denied = refuse(asker, owner, state, breakeven=breakeven)
    assert denied is not None
    assert denied.rule == rule
    assert words in denied.reason
