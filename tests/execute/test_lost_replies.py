"""A slice of the lost replies, and that their judge sees what it is there to see."""

from typing import Any

import pytest
from tests.execute import lost_replies
from tests.execute.lost_replies import FATES, LETTERS, faults_of, lose, play

from dtms.decide import proof
from dtms.decide.proof import NotExecuted
from dtms.settings import IntentSettings

SLICE, WHOLE = 200, 10_000


def test_nothing_is_done_twice_however_replies_get_lost() -> None:
    """No second hedge beside a first, no part closed twice, nothing left behind, every intent resolved."""
    total = lose(SLICE)
    assert total.wrong == []
    assert {kind for kind, _ in total.lost} == set(LETTERS.values())
    assert {fate for _, fate in total.lost} == {fate.name for fate in FATES}
    assert set(total.states) <= {"CONFIRMED", "REFUSED", "NOT_EXECUTED"}


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_nothing_is_done_twice_in_ten_thousand_lost_replies() -> None:
    assert lose(WHOLE).wrong == []


def test_the_judge_sees_requests_that_are_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes the first look without a trace for a proof, and sends anew at once, is found out."""

    def rash(question: Any, looks: Any) -> Any:
        return NotExecuted("nothing in the first look")

    eager = lost_replies.eager

    def careless() -> Any:
        settings = eager()
        object.__setattr__(settings, "intents", IntentSettings(quarantine_s=0.0))
        return settings

    monkeypatch.setattr(proof, "judge", rash)
    monkeypatch.setattr(lost_replies, "eager", careless)
    wrong = [told for seed in (1, 2) for told in faults_of(play(seed))]
    assert any("has hedge" in told for told in wrong)
    assert any("closed" in told for told in wrong)
    assert any("counts as not" in told for told in wrong)
