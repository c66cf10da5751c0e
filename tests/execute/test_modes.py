"""Modes and the kill switch: what is only watched sends nothing, and what is halted stays halted."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.execute.restarting import Lives
from tests.execute.unsteady import Scene, play
from tests.replay.judge import is_ours
from tests.replay.windows import BTC, SHIPPED, SHORT, played

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode, State
from dtms.replay import Stage

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
STOPPED = next(w for w in SHIPPED if w.rules[-1] == "position_gone" and w.side is SHORT)


def shadows(facts: Any) -> list[Fact]:
    return [f for f in facts if f.kind is FactKind.SHADOW_TRANSITION]


async def until_held(on: Stage) -> None:
    """Play until the kill switch has held back an action, and two minutes more."""
    for _ in range(300):
        if await on.store.facts(kinds=frozenset({FactKind.HELD.value})):
            break
        await on.play(0.5)
    else:
        raise AssertionError("nothing was ever held back")
    await on.play(2)


def test_observe_steps_a_shadow_and_sends_nothing() -> None:
    """The shadow takes the rows that the trade would take, and tells what it would send; nothing of ours is sent."""
    watched, scene = play(HEDGED, mode=Mode.OBSERVE)
    acted = played(HEDGED)
    rules = [f.details["rule"] for f in shadows(watched.facts)]
    assert rules == [f.details["rule"] for f in acted.transitions]
    assert scene.terminal.sent == []
    assert not any(is_ours(n.request.get("magic", 0)) for n in watched.ledger.requests)
    assert watched.trade.machine.state is State.HEALTHY
    assert watched.trade.shadow is not None
    assert watched.trade.shadow.state is State.CLOSED
    told = str(shadows(watched.facts)[2].details["moves"])
    assert "open hedge: BUY" in told
    assert all(f.details["score"] is not None for f in shadows(watched.facts))


def test_a_position_gone_ends_an_observed_trade_whatever_its_shadow() -> None:
    """Even when the shadow is CLOSED, the real end is recorded with the deals' figures."""
    closed: list[bool] = []

    async def close(scene: Scene) -> None:
        await scene.on.play(HEDGED.hours * 60)
        trade = await scene.trade()
        assert trade.shadow.state is State.CLOSED
        lives = Lives(HEDGED, "", scene.on, scene.terminal, scene.ticket)
        lives.close_by_hand(scene.ticket)
        await scene.on.play(2)
        closed.append(scene.on.engine.live(scene.ticket) is None)

    watched, scene = play(HEDGED, mode=Mode.OBSERVE, during=close, hours=0)
    assert closed == [True]
    assert watched.trade.machine.state is State.CLOSED
    assert watched.trade.close_price is not None
    assert len(scene.terminal.sent) == 1  # the trader's own


def test_switching_to_auto_starts_afresh_from_healthy() -> None:
    """The shadow is forgotten, and the trade is driven from HEALTHY on."""

    async def switch(scene: Scene) -> None:
        while not (await scene.trade()).shadow or (await scene.trade()).shadow.state is not State.HEDGED:
            await scene.on.play(1)
        await scene.on.engine.set_mode(Mode.AUTO, None, None)
        trade = await scene.trade()
        assert trade.shadow is None
        assert trade.machine.state is State.HEALTHY
        await scene.on.play(17)

    result, scene = play(HEDGED, mode=Mode.OBSERVE, during=switch, hours=0)
    assert scene.terminal.sent
    assert result.transitions[0].details["rule"] == "warned"


def test_one_trade_can_be_observed_alone() -> None:
    async def switch(scene: Scene) -> None:
        await scene.on.engine.set_mode(Mode.OBSERVE, scene.ticket, None)

    result, scene = play(HEDGED, during=switch)
    assert scene.terminal.sent == []
    assert shadows(result.facts)


def test_the_kill_switch_stops_actions_at_once() -> None:
    """Halted before the shock, nothing is sent and the state stays; lifted by hand, the trade is driven at once."""
    states: list[State] = []

    async def halt(scene: Scene) -> None:
        await scene.on.engine.halt("a test", None)
        await until_held(scene.on)
        assert scene.terminal.sent == []
        states.append((await scene.trade()).machine.state)
        await scene.on.engine.resume(None)
        await scene.on.play(2)
        states.append((await scene.trade()).machine.state)

    result, scene = play(HEDGED, during=halt, hours=0)
    assert states[0] is State.HEALTHY
    assert states[1] is not State.HEALTHY
    assert scene.terminal.sent
    waits = [f for f in result.facts if f.kind is FactKind.HELD and "kill switch" in f.summary]
    assert len(waits) == 1


def test_the_kill_switch_holds_between_two_actions_of_one_check() -> None:
    """Halted while a check is sending, its next action is not permitted any more."""
    scenes: list[Scene] = []

    def halt_at_first(request: Any, send: Any) -> Any:
        answer = send(request)
        if len(scenes[0].terminal.sent) == 1:
            coroutine = scenes[0].on.engine.halt("in between", None)
            with suppress(StopIteration):  # a store that works inline answers at once
                coroutine.send(None)
        return answer

    async def keep(scene: Scene) -> None:
        scenes.append(scene)

    result, scene = play(HEDGED, halt_at_first, during=keep)
    assert len(scene.terminal.sent) == 1
    assert result.trade.machine.state is State.WARNING_L1


def test_the_kill_switch_survives_a_crash(tmp_path: Path) -> None:
    """Dropped while halted, the next engine is halted too, until it is lifted by hand."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        await lives.on.engine.halt("a test", None)
        await lives.restart(crash=True)
        assert lives.on.engine.status().halted
        await until_held(lives.on)
        assert lives.terminal.sent == []
        await lives.on.engine.resume(None)
        await lives.on.play(2)
        assert lives.terminal.sent
        await lives.restart(crash=False)
        assert not lives.on.engine.status().halted
        await lives.on.engine.stop()

    run_virtual(main())
