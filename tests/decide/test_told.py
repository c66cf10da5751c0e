"""What others' intents explain of a change is told as theirs; what they do not explain is a person's, and alarms."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.decide.builders import NOW, TICKET, position, trade

from dtms.decide.recovery import match
from dtms.decide.told import attributed, is_bared_by
from dtms.domain.actions import Action, ActionKind, ClosePosition, Intent, IntentState, MoveStop, SetLevels
from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.owners import Asker

SIDE = Side.LONG
TRADE = trade(SIDE)
POSITION = replace(position(TICKET, SIDE, str(TRADE.volume)), stop=TRADE.stop, target=TRADE.target, entry=TRADE.entry)
STOP = 1.0950


def intent(number: int, action: Action, *, asker: Asker = Asker.EXITS, **known: object) -> Intent:
    base = Intent(
        number=number,
        ticket=TICKET,
        action=action,
        serves=None,
        state=IntentState.CONFIRMED,
        token=1,
        created_ms=NOW,
        asker=asker,
    )
    return replace(base, **known)  # type: ignore[arg-type]


def moved(stop: float | None = STOP, target: float | None = None) -> SetLevels:
    return SetLevels(
        kind=ActionKind.SET_LEVELS,
        position=TICKET,
        symbol="EURUSD",
        side=SIDE,
        stop=stop,
        target=target,
        expected_stop=TRADE.stop,
        expected_target=TRADE.target,
    )


def part(lots: str, of: str) -> ClosePosition:
    return ClosePosition(
        kind=ActionKind.TAKE_PARTIAL,
        position=TICKET,
        symbol="EURUSD",
        side=SIDE,
        volume=Decimal(lots),
        expected_volume=Decimal(of),
    )


def details(intents: list[Intent], **now: object) -> dict[str, Json]:
    """Return what is told of a position that changed so."""
    there = replace(POSITION, **now)  # type: ignore[arg-type]
    (note,) = attributed(TRADE, match(TRADE, {TICKET: there}, {}), intents).notes
    return dict(note.details)


def test_a_stop_that_another_moved_is_its_own() -> None:
    told = details([intent(7, moved(target=TRADE.target))], stop=STOP)
    assert (told["by"], told["intents"], "alert" in told) == ([Asker.EXITS.value], [7], False)


@pytest.mark.parametrize(
    "intents",
    [
        [],
        [intent(7, moved(STOP - 0.0001))],
        [intent(7, moved(), asker=Asker.DTMS)],
        [intent(7, moved(), state=IntentState.NOT_EXECUTED)],
        [intent(7, replace(moved(), position=TICKET + 1))],
    ],
)
def test_a_stop_that_no_ones_request_explains_alarms(intents: list[Intent]) -> None:
    told = details(intents, stop=STOP)
    assert told["alert"] == "WARNING"
    assert "by" not in told


def test_all_that_changed_must_be_explained() -> None:
    told = details([intent(7, moved())], stop=STOP, volume=TRADE.volume - Decimal("0.1"))
    assert told["alert"] == "WARNING"


def test_parts_are_followed_from_the_lots_that_were() -> None:
    """Two parts one after the other, and the first filled only in part."""
    of, after = TRADE.volume, TRADE.volume - Decimal("0.1")
    parts = [
        intent(8, part("0.1", str(after)), filled=Decimal("0.05")),
        intent(7, part("0.1", str(of)), filled=Decimal("0.1")),
    ]
    told = details(parts, volume=after - Decimal("0.05"))
    assert (told["intents"], "alert" in told) == ([8], False)
    assert details(parts, volume=after - Decimal("0.08"))["alert"] == "WARNING"


def test_a_stop_that_was_removed_by_request_is_not_lost() -> None:
    """Until somebody set one again; DTMS's own stops count, too."""
    removed, stop = intent(7, moved(None), asker=Asker.PERSON), replace(TRADE, stop=None)
    assert is_bared_by([removed], TICKET) == removed
    again = MoveStop(
        kind=ActionKind.TIGHTEN,
        position=TICKET,
        symbol="EURUSD",
        side=SIDE,
        stop=STOP,
        target=None,
        expected_stop=stop.stop,
    )
    assert is_bared_by([removed, intent(8, again, asker=Asker.DTMS)], TICKET) is None
    assert is_bared_by([removed, intent(8, moved())], TICKET) is None
    assert is_bared_by([], TICKET) is None
