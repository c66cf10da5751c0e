"""A lost answer: the request stays unknown, is not sent again, and is adopted with its transition when it shows."""

from dataclasses import dataclass

import pytest
from tests.execute.unsteady import Request, Scene, Spoiling, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, SHORT, Window

from dtms.domain.actions import ActionKind, Intent, IntentState
from dtms.domain.facts import FactKind
from dtms.domain.trade import State

HEDGED = next(w for w in SHIPPED if w.rules[-1] == "given_up_hedged" and w.side is SHORT)
RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
GIVEN_UP = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is LONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of action, the letter of its comment, and a window in which it occurs."""

    kind: ActionKind
    letter: str
    window: Window
    rule: str


CASES = [
    Case(kind=ActionKind.TIGHTEN, letter="S", window=HEDGED, rule="warned"),
    Case(kind=ActionKind.CLOSE_PART, letter="P", window=HEDGED, rule="worsened"),
    Case(kind=ActionKind.OPEN_HEDGE, letter="H", window=HEDGED, rule="hedged"),
    Case(kind=ActionKind.CLOSE_HEDGE, letter="X", window=RECOVERED, rule="turned"),
    Case(kind=ActionKind.READD, letter="R", window=RECOVERED, rule="recovered"),
    Case(kind=ActionKind.CLOSE, letter="C", window=GIVEN_UP, rule="given_up_hedged"),
]


def of_kind(intents: dict[int, Intent], kind: ActionKind) -> list[Intent]:
    return sorted((i for i in intents.values() if i.action.kind is kind), key=lambda i: i.number)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.value)
def test_an_executed_request_without_an_answer_is_adopted(case: Case) -> None:
    """It is sent once, found at the broker, confirmed late, and makes its transition with the deal's time."""
    lost = Spoiling(case.letter, executes=True)
    played, scene = play(case.window, lost)
    (request,) = lost.spoiled
    intent = played.intents[request["magic"]]
    assert intent.action.kind is case.kind
    assert intent.state is IntentState.CONFIRMED
    assert [r["magic"] for r in scene.terminal.sent].count(request["magic"]) == 1
    late = [f for f in played.facts if f.kind is FactKind.ACTION and f.details["reason"] == "confirmed late"]
    assert [f.details["intent"] for f in late] == [intent.number]
    check_invariants(played.books, case.window.spec)
    if case.kind.changes_exposure:
        deal = next(d for d in played.books.deals if d.magic == request["magic"])
        (made, *_) = played.of_rule(case.rule)
        assert made.details["reason"] == "confirmed late"
        same = [i for i in of_kind(played.intents, case.kind) if i.number > intent.number]
        assert all(i.created_ms > deal.ms + 1_000 for i in same)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind.value)
def test_the_rows_are_the_same_with_a_lost_answer(case: Case) -> None:
    """Losing one answer changes when the states are entered, and not which (a trade closed by it apart)."""
    played, _ = play(case.window, Spoiling(case.letter, executes=True))
    rules = [str(f.details["rule"]) for f in played.transitions]
    expected = list(case.window.rules)
    if case.kind is ActionKind.CLOSE:  # its hedge is left, so cleaning up ends it
        expected[-1] = "position_gone"
    assert rules == expected


def test_a_late_hedge_counts_its_timer_from_the_deal() -> None:
    """HEDGED is entered at the time of the deal that opened the hedge, and the flat timer runs from it."""
    lost = Spoiling("H", executes=True)
    seen: list[tuple[State, int, int | None]] = []

    async def watch(scene: Scene) -> None:
        while not lost.spoiled or (await scene.trade()).machine.state is not State.HEDGED:
            await scene.on.play(0.25)
        machine = (await scene.trade()).machine
        seen.append((machine.state, machine.entered_ms, machine.flat_since_ms))

    played, _ = play(HEDGED, lost, during=watch, hours=0)
    deal = next(d for d in played.books.hedges())
    assert seen == [(State.HEDGED, deal.ms, deal.ms)]


async def intent_of(scene: Scene, request: Request) -> Intent:
    number = scene.on.broker.intent_of(request["magic"])
    return next(i for i in await scene.on.store.intents() if i.number == number)


@pytest.mark.parametrize("letter", ["H", "P", "R"])
def test_what_was_not_executed_is_proven_so_and_decided_anew(letter: str) -> None:
    """Two looks after the settle window agree that nothing of it is there; a minute after it was sent it goes out anew,
    as another intent."""
    case = next(c for c in CASES if c.letter == letter)
    lost = Spoiling(letter, executes=False)
    states: list[tuple[IntentState, bool]] = []

    async def watch(scene: Scene) -> None:
        while not lost.spoiled:
            await scene.on.play(0.25)
        for _ in range(16):
            states.append(((await intent_of(scene, lost.spoiled[0])).state, (await scene.trade()).reduce_only))
            await scene.on.play(0.25)

    played, _ = play(case.window, lost, during=watch, hours=0.2)
    assert states[0] == (IntentState.UNKNOWN, True)
    assert states[-1] == (IntentState.NOT_EXECUTED, False)
    intent = played.intents[lost.spoiled[0]["magic"]]
    assert intent.sent_ms is not None
    assert intent.resolved_ms is not None
    assert 20_000 <= intent.resolved_ms - intent.sent_ms <= 90_000
    anew = [i for i in of_kind(played.intents, case.kind) if i.number > intent.number]
    assert anew
    assert anew[0].created_ms - intent.sent_ms >= 60_000
    told = [f for f in played.facts if f.kind is FactKind.INTENT and f.details["intent"] == intent.number]
    assert told[-1].details["verdict"] == "not executed"
    assert "two looks" in told[-1].summary
    check_invariants(played.books, case.window.spec)


@pytest.mark.parametrize("letter", ["H", "P", "R"])
@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
def test_what_nobody_can_tell_calls_a_person_and_is_still_looked_for(letter: str, executed: bool) -> None:
    """While the history cannot be read: unknown, after ``escalate_s`` a person; never sent again; resolved when it can
    be read at last."""
    case = next(c for c in CASES if c.letter == letter)
    lost = Spoiling(letter, executes=executed)
    after: list[tuple[IntentState, bool, str | None]] = []

    async def watch(scene: Scene) -> None:
        while not lost.spoiled:
            await scene.on.play(0.25)
            scene.terminal.withholds = bool(lost.spoiled)
        for minutes in (1.0, 6.0):
            await scene.on.play(minutes)
            intent, trade = await intent_of(scene, lost.spoiled[0]), await scene.trade()
            after.append((intent.state, trade.reduce_only, trade.needs_attention))
        assert sum(r["magic"] == lost.spoiled[0]["magic"] for r in scene.terminal.sent) == 1
        assert not [
            r for r in scene.terminal.sent[scene.terminal.sent.index(lost.spoiled[0]) + 1 :] if letter_of(r) in "HPR"
        ]
        scene.terminal.withholds = False
        await scene.on.play(2.0)
        intent, trade = await intent_of(scene, lost.spoiled[0]), await scene.trade()
        after.append((intent.state, trade.reduce_only, trade.needs_attention))

    played, _ = play(case.window, lost, during=watch, hours=0)
    (early, blocked, _), (late, still_blocked, attention), (resolved, lifted, calmed) = after
    assert (early, blocked) == (IntentState.UNKNOWN, True)
    assert (late, still_blocked) == (IntentState.NEEDS_HUMAN, True)
    assert attention is not None
    assert "look at the terminal" in attention
    assert resolved is (IntentState.CONFIRMED if executed else IntentState.NOT_EXECUTED)
    assert (lifted, calmed) == (False, None)
    check_invariants(played.books, case.window.spec)


@pytest.mark.parametrize("case", [c for c in CASES if not c.kind.changes_exposure], ids=lambda case: case.kind.value)
def test_a_target_state_request_that_never_showed_is_decided_anew(case: Case) -> None:
    """A stop move or a close that did not happen ends as not executed after the settle window and is sent anew."""
    lost = Spoiling(case.letter, executes=False)
    played, _ = play(case.window, lost)
    intent = played.intents[lost.spoiled[0]["magic"]]
    assert intent.state is IntentState.NOT_EXECUTED
    assert intent.resolved_ms is not None
    assert intent.resolved_ms - intent.created_ms >= 20_000
    anew = [i for i in of_kind(played.intents, case.kind) if i.number > intent.number]
    assert anew
    assert anew[0].created_ms >= intent.resolved_ms
    assert tuple(f.details["rule"] for f in played.transitions)[: len(case.window.rules)] == case.window.rules
    check_invariants(played.books, case.window.spec)
