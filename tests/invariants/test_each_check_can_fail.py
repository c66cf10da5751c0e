"""No check is vacuous: each finds its breach in a real recorded world in which that one thing was made wrong."""

import pytest
from tests.invariants.doctors import ON_A_LIVING_TRADE, ON_AN_ENDED_TRADE, Doctor
from tests.invariants.doctors_shared import ON_A_SHARED_ACCOUNT
from tests.invariants.worlds import broken, played_world, require_sound
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, played

from dtms.audit.invariants import INVARIANTS
from dtms.audit.world import World

LIVING = next(w for w in SHIPPED if w.recording == EUR and w.rules[-1] == "recovered")
ENDED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is LONG)


@pytest.fixture(scope="module")
def living() -> World:
    return played_world(played(LIVING))


@pytest.fixture(scope="module")
def ended() -> World:
    return played_world(played(ENDED))


def test_what_was_really_played_breaks_nothing(living: World, ended: World) -> None:
    require_sound(living)
    require_sound(ended)


@pytest.mark.parametrize(("number", "doctor"), ON_A_LIVING_TRADE.values(), ids=ON_A_LIVING_TRADE.keys())
def test_a_breach_of_a_living_trade_is_found(number: int, doctor: Doctor, living: World) -> None:
    found = {violation.number for violation in broken(doctor(living))}
    assert number in found


@pytest.mark.parametrize(("number", "doctor"), ON_AN_ENDED_TRADE.values(), ids=ON_AN_ENDED_TRADE.keys())
def test_a_breach_of_an_ended_trade_is_found(number: int, doctor: Doctor, ended: World) -> None:
    found = {violation.number for violation in broken(doctor(ended))}
    assert number in found


def test_every_check_is_made_to_fail() -> None:
    """A check that no doctored world breaks would be a check that cannot fail."""
    tables = (ON_A_LIVING_TRADE, ON_AN_ENDED_TRADE, ON_A_SHARED_ACCOUNT)
    broken_here = {number for table in tables for number, _ in table.values()}
    assert broken_here == {row.number for row in INVARIANTS if row.check is not None}
