"""What Intelligent Exit may try by what it knows of DTMS's state, and what is known for how long."""

from itertools import product
from math import inf

import pytest

from dtms.decide.first_look import GOOD_S, REFRESH_S, SERVES_S, DtmsLook, Looks, Rule, may_try
from dtms.domain.actions import ActionKind
from dtms.domain.trade import Owner, State

CALM = (State.HEALTHY, State.WARNING_L1, State.RECOVERING, State.CLOSED, None)
DEFENSIVE = (State.WARNING_L2, State.HEDGED)
REDUCING = (ActionKind.BREAKEVEN, ActionKind.TAKE_PARTIAL)
SERVING, BLIND = (0.0, GOOD_S, 10.1, SERVES_S), (30.1, 3_600.0, inf)


@pytest.mark.parametrize(("state", "age_s"), [*product(DEFENSIVE, (*SERVING, *BLIND))])
def test_a_trade_last_known_defensive_is_left_alone_however_old_that_is(state: State, age_s: float) -> None:
    for kind in ActionKind:
        tried = may_try(kind, Owner.DTMS, DtmsLook(state=state, age_s=age_s))

        assert (tried.is_allowed, tried.rule, tried.is_blind) == (False, Rule.DEFENSIVE, age_s in BLIND)
        assert state.value in tried.reason


@pytest.mark.parametrize(("state", "age_s"), [*product(CALM, SERVING)])
def test_a_calm_or_untracked_trade_may_be_changed_while_the_answer_serves(state: State | None, age_s: float) -> None:
    for kind in ActionKind:
        tried = may_try(kind, Owner.DTMS, DtmsLook(state=state, age_s=age_s))

        assert (tried.is_allowed, tried.is_blind, tried.rule) == (True, False, Rule.STATE)


@pytest.mark.parametrize(("state", "age_s"), [*product(CALM, BLIND)])
def test_blind_only_breakeven_and_partial_are_tried(state: State | None, age_s: float) -> None:
    for kind in ActionKind:
        tried = may_try(kind, Owner.DTMS, DtmsLook(state=state, age_s=age_s))

        assert (tried.is_allowed, tried.is_blind, tried.rule) == (kind in REDUCING, True, Rule.BLIND)


@pytest.mark.parametrize("owner", [Owner.UNIVERSAL, Owner.EXITS, Owner.NOBODY])
def test_dtms_is_asked_for_its_own_trades_alone(owner: Owner) -> None:
    for kind, state, age_s in product(ActionKind, (*CALM, *DEFENSIVE), (*SERVING, *BLIND)):
        tried = may_try(kind, owner, DtmsLook(state=state, age_s=age_s))

        assert (tried.is_allowed, tried.is_blind, tried.rule) == (True, False, Rule.NOT_ASKED)


def test_nothing_is_tried_while_the_owner_is_unknown() -> None:
    for kind, state, age_s in product(ActionKind, (*CALM, *DEFENSIVE), (*SERVING, *BLIND)):
        tried = may_try(kind, None, DtmsLook(state=state, age_s=age_s))

        assert (tried.is_allowed, tried.rule) == (False, Rule.OWNER_UNKNOWN)


@pytest.mark.parametrize(
    ("look", "words"),
    [
        (DtmsLook(), "no answer yet"),
        (DtmsLook(age_s=40.0), "not tracked, 40 s ago"),
        (DtmsLook(state=State.HEALTHY, age_s=31.0), "HEALTHY, 31 s ago"),
        (DtmsLook(state=State.HEALTHY), "HEALTHY once, overtaken since"),
    ],
)
def test_it_says_what_it_knows_and_how_old_that_is(look: DtmsLook, words: str) -> None:
    assert words in may_try(ActionKind.TRAIL, Owner.DTMS, look).reason


# --- what is known ---------------------------------------------------------------------------------------------------


def test_an_answer_ages_from_its_question() -> None:
    looks = Looks()
    looks.answered((1, 2), {1: State.HEDGED}, asked_s=100.0)

    assert looks.look(1, 104.0) == DtmsLook(state=State.HEDGED, age_s=4.0)
    assert looks.look(2, 104.0) == DtmsLook(state=None, age_s=4.0)
    assert looks.look(3, 104.0) == DtmsLook()


def test_answers_are_asked_for_again_before_they_lapse() -> None:
    looks = Looks()
    assert looks.due((1, 2), 0.0) == (1, 2)
    looks.answered((1, 2), {}, asked_s=0.0)

    assert looks.due((1, 2, 3), REFRESH_S - 0.1) == (3,)
    assert looks.due((1, 2), REFRESH_S) == (1, 2)
    assert REFRESH_S < GOOD_S


def test_a_trade_that_moved_is_unknown_and_due_at_once_but_its_last_state_is_kept() -> None:
    looks = Looks()
    looks.answered((1,), {1: State.HEDGED}, asked_s=0.0)
    looks.invalidate(1, 1.0)
    looks.invalidate(2, 1.0)

    assert looks.look(1, 1.0) == DtmsLook(state=State.HEDGED)
    assert looks.look(2, 1.0) == DtmsLook()
    assert looks.due((1, 2), 1.0) == (1, 2)


def test_an_answer_to_an_earlier_question_does_not_undo_what_was_learned_since() -> None:
    looks = Looks()
    looks.told(1, State.WARNING_L2, 5.0)
    looks.invalidate(2, 5.0)
    looks.answered((1, 2), {1: State.HEALTHY, 2: State.HEALTHY}, asked_s=4.0)

    assert looks.look(1, 5.0).is_defensive
    assert looks.look(2, 5.0).is_blind
    looks.answered((1, 2), {1: State.HEALTHY, 2: State.HEALTHY}, asked_s=5.5)
    assert not looks.look(1, 6.0).is_defensive
    assert looks.look(2, 6.0).is_good


def test_what_the_event_stream_says_counts_at_once() -> None:
    looks = Looks()
    looks.answered((1,), {1: State.HEALTHY}, asked_s=0.0)
    looks.told(1, State.HEDGED, 2.0)

    assert looks.look(1, 2.5) == DtmsLook(state=State.HEDGED, age_s=0.5)


def test_silence_is_told_once_after_half_a_minute_and_anew_after_an_answer() -> None:
    looks = Looks()
    assert looks.silence(1_000.0) is None
    for asked_s in (10.0, 15.0, 30.0):
        looks.unanswered(asked_s)

    assert looks.silence(39.9) is None
    assert "has not answered for 30 s" in (looks.silence(40.0) or "")
    assert looks.silence(41.0) is None
    looks.answered((1,), {}, asked_s=50.0)
    assert looks.silence(100.0) is None
    looks.unanswered(60.0)
    assert looks.silence(90.0) is not None


def test_closed_positions_are_forgotten() -> None:
    looks = Looks()
    looks.answered((1, 2), {1: State.HEDGED, 2: State.HEDGED}, asked_s=0.0)
    looks.keep({2})

    assert looks.look(1, 0.0) == DtmsLook()
    assert looks.look(2, 0.0).state is State.HEDGED
