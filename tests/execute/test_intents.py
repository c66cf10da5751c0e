"""An intent is known from before it is sent until its outcome is committed, and beside an open one nothing is added."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.faulty import Answering
from tests.execute.restarting import Lives
from tests.execute.unsteady import Lost, Request, Scene, Send, Spoiling, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, SHORT, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, IntentState
from dtms.domain.errors import PermissionGone, StoreFailed
from dtms.domain.facts import FactKind
from dtms.domain.trade import Owner, State, Visit
from dtms.execute.authority import ENGINE
from dtms.ports.store import Unit
from dtms.terminal.simulated.constants import MT5

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


def failing_once(on: Any, fails: Callable[[Unit], bool]) -> list[Unit]:
    """Let the store fail the first commit that ``fails`` picks; returns where it is noted."""
    commit, failed = on.store.commit, list[Unit]()

    async def picky(unit: Unit) -> Any:
        if not failed and fails(unit):
            failed.append(unit)
            raise StoreFailed("made to fail")
        return await commit(unit)

    on.store.commit = picky
    return failed


@pytest.mark.parametrize("kind", [ActionKind.OPEN_HEDGE, ActionKind.CLOSE_PART, ActionKind.TIGHTEN])
def test_a_store_that_fails_after_the_send_leaves_the_intent_known(kind: ActionKind, tmp_path: Path) -> None:
    """Sent and done, and its outcome could not be kept: it is open, nothing like it is sent, and then it is adopted."""
    seen: list[tuple[list[IntentState], bool]] = []

    async def fail(scene: Scene) -> None:
        failed = failing_once(
            scene.on, lambda u: any(i.action.kind is kind and i.state is IntentState.CONFIRMED for i in u.intents)
        )
        watch = scene.on.engine.book.watches[scene.ticket]
        while not failed:
            await scene.on.play(0.05)
        seen.append(([i.state for i in watch.open_intents.values()], scene.on.engine.health().store_ok))

    url = f"sqlite:///{(tmp_path / 'store.db').as_posix()}"
    played, scene = play(HEDGED, during=fail, store_url=url)
    ((states, store_ok),) = seen
    assert states == [IntentState.SENDING]
    assert not store_ok
    sent = [r["magic"] for r in scene.terminal.sent]
    assert len(sent) == len(set(sent))
    intent = next(i for i in sorted(played.intents.values(), key=lambda i: i.number) if i.action.kind is kind)
    assert (intent.state, intent.filled is None) == (IntentState.CONFIRMED, kind is ActionKind.TIGHTEN)
    assert tuple(f.details["rule"] for f in played.transitions)[:3] == HEDGED.rules[:3]
    check_invariants(played.books, HEDGED.spec)


@pytest.mark.parametrize("executed", [False, True], ids=["not executed", "executed"])
@pytest.mark.parametrize("letter", ["H", "P", "S"])
def test_work_that_is_cut_off_in_the_middle_of_a_send_leaves_the_intent_known(letter: str, executed: bool) -> None:
    """A request that somebody cancels while it waits for the broker: nobody forgets that something may be out."""
    seen: list[list[IntentState]] = []

    async def cut(scene: Scene) -> None:
        send, was_cut = scene.on.broker.send, list[int]()

        async def cut_off(action: Any, **how: Any) -> Any:
            first = action.kind.value in _KINDS[letter] and not was_cut
            if first:
                was_cut.append(how["number"])
            if not first or executed:
                answer = await send(action, **how)
                if not first:
                    return answer
            raise RuntimeError("cut off")

        broker: Any = scene.on.broker
        broker.send = cut_off
        while not was_cut:
            await scene.on.play(0.05)
        watch = scene.on.engine.book.watches[scene.ticket]
        seen.append([i.state for i in watch.open_intents.values()])

    played, scene = play(HEDGED, during=cut)
    assert seen == [[IntentState.SENDING]]
    first = next(i for i in sorted(played.intents.values(), key=lambda i: i.number) if i.action.kind in _KINDS[letter])
    assert first.state is (IntentState.CONFIRMED if executed else IntentState.NOT_EXECUTED)
    assert len({r["magic"] for r in scene.terminal.sent}) == len(scene.terminal.sent)
    check_invariants(played.books, HEDGED.spec)


_KINDS = {"H": ["open_hedge"], "P": ["close_part"], "S": ["tighten_stop"]}


def test_an_open_intent_that_memory_lost_still_bars_the_way() -> None:
    """Memory is a cache: the store knows that a hedge is unresolved, so no other one goes out."""
    lost = Spoiling("H", executes=False)
    states: list[list[IntentState]] = []

    async def forget(scene: Scene) -> None:
        while not lost.spoiled:
            await scene.on.play(0.05)
        watch = scene.on.engine.book.watches[scene.ticket]
        scene.terminal.withholds = True  # so that it stays unresolved
        watch.open_intents.clear()
        watch.trade = replace(watch.trade, reduce_only=False, retry=None)
        watch.last_deep_ms = None
        scene.on.engine.monitor.scan_soon()
        await scene.on.play(2)
        states.append([i.state for i in watch.open_intents.values()])
        assert sum(letter_of(r) == "H" for r in scene.terminal.sent) == 1
        scene.terminal.withholds = False

    played, _ = play(HEDGED, lost, during=forget, hours=0.5)
    assert states == [[IntentState.UNKNOWN]]
    check_invariants(played.books, HEDGED.spec)


def test_a_hedge_that_was_not_executed_is_not_sent_anew_before_a_minute_has_passed() -> None:
    """Found not executed after half a minute and carried out after three quarters: it is adopted, and there is one."""
    late: list[tuple[Request, Send]] = []

    def hold_back(request: Request, send: Send) -> Any:
        if letter_of(request) == "H" and not late:
            late.append((request, send))
            return Lost()
        return send(request)

    states: list[IntentState] = []

    async def wait(scene: Scene) -> None:
        while not late:
            await scene.on.play(0.05)
        await scene.on.play(0.75)
        (request, send) = late[0]
        number = scene.on.broker.intent_of(request["magic"])
        states.extend(i.state for i in await scene.on.store.intents() if i.number == number)
        tick = scene.terminal.symbol_info_tick(HEDGED.symbol)
        send({**request, "price": tick.ask})
        await scene.on.play(1.5)
        states.append((await scene.trade()).machine.state)

    settings = settings_of(HEDGED)
    settings = replace(settings, cadence=replace(settings.cadence, tick_poll_ms=2_000))
    played, scene = play(HEDGED, hold_back, during=wait, hours=0, settings=settings)
    assert states == [IntentState.NOT_EXECUTED, State.HEDGED]
    assert sum(letter_of(r) == "H" for r in scene.terminal.sent) == 1
    (deal,) = played.books.hedges()
    (made,) = played.of_rule("hedged")
    assert made.details["reason"] == "confirmed late"
    assert played.trade.machine.flat_since_ms == deal.ms
    assert played.intents[late[0][0]["magic"]].state is IntentState.CONFIRMED
    check_invariants(played.books, HEDGED.spec)


def test_the_same_action_waits_ten_seconds_across_a_restart(tmp_path: Path) -> None:
    """When an action was last done is part of the trade, and so of what a crash leaves."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        while not (await lives.trade()).hedges:
            await lives.on.play(0.5)
        before = await lives.trade()
        hedge = next(i for i in await lives.on.store.intents() if i.action.kind is ActionKind.OPEN_HEDGE)
        assert before.acted_ms["open_hedge"] >= hedge.created_ms
        assert set(before.acted_ms) == {"tighten_stop", "close_part", "open_hedge"}
        await lives.restart(crash=True)
        assert (await lives.trade()).acted_ms == before.acted_ms
        await lives.on.engine.stop()

    run_virtual(main())


@dataclass(slots=True)
class InPart:
    """Fill half of the first close of a part, and say so."""

    fills: float | None = None
    """Lots; half of what was asked for when it is not said."""
    cut: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, send: Send) -> Any:
        if letter_of(request) != "P" or self.cut:
            return send(request)
        self.cut.append(request)
        part = self.fills or round(request["volume"] / 2, 2)
        did = send({**request, "volume": part})
        retcode = MT5.TRADE_RETCODE_DONE_PARTIAL
        return Answering(retcode, volume=part, price=did.price, order=did.order, deal=did.deal)


def test_a_part_that_is_filled_in_part_is_finished_and_no_more() -> None:
    """DONE_PARTIAL on closing half: the rest of that half is closed in the same check, and the visit is marked once."""
    part = InPart()
    played, scene = play(HEDGED, part, hours=0.7)
    volumes = [r["volume"] for r in scene.terminal.sent if letter_of(r) == "P"]
    assert volumes == [0.2, 0.1]
    assert played.trade.closed_by_dtms == Decimal("0.2")
    assert played.trade.part_left is None
    assert Visit.HALVED in played.trade.machine.done
    (worsened,) = played.of_rule("worsened")
    assert "close_part: done" in str(worsened.details["moves"])
    check_invariants(played.books, HEDGED.spec)


def test_a_rest_of_a_part_that_is_too_small_to_close_ends_it() -> None:
    """0.07 of 0.10 lots were filled, and less than 0.05 cannot be closed: done, marked, and not begun anew."""
    window = replace(HEDGED, lots=0.2)
    part = InPart(fills=0.07)
    played, scene = play(window, part, hours=0.5, changes={"volume_min_lots": 0.05})
    assert [r["volume"] for r in scene.terminal.sent if letter_of(r) == "P"] == [0.1]
    assert played.trade.closed_by_dtms == Decimal("0.07")
    assert played.trade.part_left is None
    assert Visit.HALVED in played.trade.machine.done
    assert played.of_rule("worsened")


def test_a_part_whose_first_half_was_lost_is_finished_after_a_crash(tmp_path: Path) -> None:
    """What is left of a part is stored with the intent that begins it: no crash makes it begin anew."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        cut: list[Request] = []

        def half_and_die(request: Request, send: Send) -> Any:
            if letter_of(request) != "P" or cut:
                return send(request)
            cut.append(request)
            send({**request, "volume": 0.1})
            raise asyncio.CancelledError

        lives.terminal.spoil = half_and_die
        while not cut:
            await lives.on.play(0.25)
        await lives.die()
        assert (await lives.trade()).part_left == Decimal("0.2")
        await lives.go_on()
        await lives.on.play(3)
        trade = await lives.trade()
        assert trade.closed_by_dtms == Decimal("0.2")
        assert trade.part_left is None
        assert [r["volume"] for r in lives.terminal.sent if letter_of(r) == "P"][:2] == [0.2, 0.1]
        played = await lives.end()
        check_invariants(played.books, HEDGED.spec)

    run_virtual(main())


def test_an_engine_that_lost_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    """Another process took the lease over: no row of the first one's is committed, and its cycle ends cleanly."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        engine: Any = lives.on.engine
        engine._life._keeper.cancel()  # as in a process that was stopped for longer than its lease
        lease = engine._life._lease.lease
        await lives.on.store.release(lease)
        taken = await lives.on.store.acquire(ENGINE, "another:1:0", 1e9)
        assert taken is not None
        before = await lives.trade()
        watch = engine.book.watches[lives.ticket]
        with pytest.raises(PermissionGone):
            await engine._desk.commit(watch, replace(before, needs_attention="too late"), [])
        await lives.on.play(60)
        assert await lives.trade() == before
        assert lives.terminal.sent == []
        told = [f for f in await lives.on.store.facts(limit=10_000) if f.kind is FactKind.CYCLE_FAILED]
        assert told == []
        assert not engine.health().ready
        await lives.die()

    run_virtual(main())


def test_a_trade_that_another_manager_took_over_is_not_acted_on() -> None:
    """The owner is part of what permits an intent, judged in the transaction that would commit it."""

    async def give_away(scene: Scene) -> None:
        while not (trade := await scene.trade()).machine.armed:
            await scene.on.play(0.5)
        await scene.on.store.commit(Unit(trades=(replace(trade, owner=Owner.UNIVERSAL),)))
        while not (held := await scene.on.store.facts(kinds=frozenset({FactKind.HELD.value}))):
            await scene.on.play(0.5)
        assert "universal_sl_tp_manager" in held[0].summary
        assert scene.terminal.sent == []

    play(HEDGED, during=give_away, hours=0)
