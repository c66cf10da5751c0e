"""Proofs on the simulated terminal: brokers that drop numbers, fill in steps, place orders, lag."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.execute.unsteady import Scene, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, SHIPPED, SHORT, settings_of

from dtms.domain.actions import ActionKind, Intent, IntentState
from dtms.domain.facts import FactKind
from dtms.domain.trade import State
from dtms.settings import Settings
from dtms.terminal.simulated.faults import Fault, Of, When
from dtms.terminal.simulated.faults_kinds import FaultKind

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
K = FaultKind


def quick() -> Settings:
    """Look every two seconds, as a live engine does more often still."""
    settings = settings_of(HEDGED)
    return replace(settings, cadence=replace(settings.cadence, tick_poll_ms=2_000))


def with_fault(kind: FaultKind, *, of: Of = Of.OPENING, nth: int = 1, **arguments: Any) -> Callable[[Scene], Any]:
    """Put a fault of the terminal in place once the trade is registered."""

    async def begin(scene: Scene) -> None:
        fault = Fault(kind=kind, when=When(nth=nth, times=1, of=of), arguments=arguments)
        scene.terminal.simulation.faults.add(fault)

    return begin


def with_manners(fault: Callable[[Scene], Any] | None, **manners: Any) -> Callable[[Scene], Any]:
    async def begin(scene: Scene) -> None:
        for name, value in manners.items():
            setattr(scene.terminal.simulation.world.manners, name, value)
        if fault is not None:
            await fault(scene)

    return begin


def hedging(intents: dict[int, Intent]) -> list[Intent]:
    return sorted((i for i in intents.values() if i.action.kind is ActionKind.OPEN_HEDGE), key=lambda i: i.number)


def sent(scene: Scene, letter: str) -> int:
    return sum(letter_of(r) == letter for r in scene.terminal.sent)


def test_a_hedge_that_lost_its_number_and_its_words_is_known_by_what_it_is() -> None:
    """Nothing at the broker carries the intent's number: found by content, it joins the family, and there is one."""
    lost = with_fault(K.LOST_EXECUTED)
    played, scene = play(HEDGED, during=with_manners(lost, magic_kept=False, comment_mode="strip"), settings=quick())
    (intent,) = hedging(played.intents)
    assert intent.state is IntentState.CONFIRMED
    assert sum(r["action"] == 1 and "position" not in r for r in scene.terminal.sent) == 1
    told = [f.summary for f in played.facts if f.kind is FactKind.INTENT and f.details["verdict"] == "executed"]
    assert any("without a number" in summary for summary in told)
    assert tuple(f.details["rule"] for f in played.transitions)[:3] == HEDGED.rules[:3]
    (deal,) = [d for d in played.books.deals if d.entry == 0 and d.position_id != played.ticket]
    assert played.books.closing(deal.position_id)


def test_an_answered_hedge_without_its_number_is_known_by_its_order() -> None:
    """The answer came, and names the order: no search is needed."""
    played, _ = play(HEDGED, during=with_manners(None, magic_kept=False, comment_mode="strip"), settings=quick())
    (intent,) = hedging(played.intents)
    assert intent.state is IntentState.CONFIRMED
    assert not [f for f in played.facts if f.kind is FactKind.INTENT]
    assert played.of_rule("hedged")[0].details["reason"] != "confirmed late"


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost"])
def test_a_hedge_filled_in_steps_is_one_hedge_of_several_positions(lost: bool) -> None:
    """What counts is the intent and the volume: all its positions are members, and all are closed with the trade."""
    fault = with_fault(K.LOST_EXECUTED) if lost else None
    members: list[int] = []

    async def watch(scene: Scene) -> None:
        await with_manners(fault, step_fills=2)(scene)
        while (trade := await scene.trade()).machine.state is not State.HEDGED:
            await scene.on.play(0.25)
        members.append(len(trade.hedges))
        assert sum((m.volume for m in trade.hedges), Decimal(0)) == Decimal("0.1")
        assert trade.machine.hedges == 1

    played, scene = play(HEDGED, during=watch, settings=quick())
    assert members == [2]
    assert sent(scene, "H") == 1
    assert all(played.books.open_lots(p, 2**62) == 0 for p in played.books.family())


@pytest.mark.parametrize(
    ("kind", "late_s", "ends"),
    [
        (K.PLACED_LATE, 12.0, IntentState.CONFIRMED),
        (K.PLACED_LATE, 150.0, IntentState.CONFIRMED),
        (K.PLACED_NEVER, 12.0, IntentState.NOT_EXECUTED),
    ],
)
def test_a_placed_order_is_waited_for(kind: FaultKind, late_s: float, ends: IntentState) -> None:
    """PLACED is no hedge yet: while the order is live nothing is concluded, however long; then its end decides."""
    played, scene = play(HEDGED, during=with_fault(kind, late_s=late_s), settings=quick())
    first = hedging(played.intents)[0]
    assert first.state is ends
    assert first.resolved_ms is not None
    assert first.resolved_ms - first.created_ms >= late_s * 1000
    if ends is IntentState.CONFIRMED:
        assert sent(scene, "H") == len(played.books.hedges()) == 1
    assert all(played.books.open_lots(p, 2**62) == 0 for p in played.books.family())


@pytest.mark.parametrize("of", [Of.OPENING, Of.CLOSING, Of.LEVELS])
@pytest.mark.parametrize("late_s", [0.5, 7.0, 19.0])
def test_what_is_executed_late_is_found_and_done_once(of: Of, late_s: float) -> None:
    """The reply is lost and the request carried out within the settle window: adopted, and never sent anew."""
    played, scene = play(HEDGED, during=with_fault(K.LOST_LATE, of=of, late_s=late_s), settings=quick())
    assert all(i.state is not IntentState.NEEDS_HUMAN for i in played.intents.values())
    assert tuple(f.details["rule"] for f in played.transitions)[:3] == HEDGED.rules[:3]
    assert not [i for i in played.intents.values() if i.state is IntentState.NOT_EXECUTED]
    assert sent(scene, "H") == 1
    check_invariants(played.books, HEDGED.spec)


def test_lists_that_lag_behind_answers_make_nothing_happen_twice() -> None:
    """Positions, deals and history come up to three seconds late, in any order, for as long as the trade lives."""

    async def lag(scene: Scene) -> None:
        scene.terminal.simulation.faults.add(
            Fault(kind=K.LAG, when=When(times=0), arguments={"ms_min": 500, "ms_max": 3_000})
        )

    played, scene = play(HEDGED, during=lag, settings=quick())
    assert sent(scene, "H") == 1
    assert len({r["magic"] for r in scene.terminal.sent}) == len(scene.terminal.sent)
    assert all(i.state in (IntentState.CONFIRMED, IntentState.REFUSED) for i in played.intents.values())
    check_invariants(played.books, HEDGED.spec)
