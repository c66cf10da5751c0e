"""The audit beside the running engine: silent over what is sound, one alert for each breach, and never in the way."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.replay.windows import EUR, LONG, SHIPPED, Window, collected, config_of, registered, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.audit.invariants import AUDITED
from dtms.audit.watch import Auditor, AuditResult
from dtms.audit.world import Look
from dtms.domain.actions import ActionKind, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode, State, Trade
from dtms.ports.store import KeptKind, Unit
from dtms.replay import Stage, stage
from dtms.terminal.simulated.records import Reason

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
INTERVAL_S = 60.0


@dataclass(slots=True)
class Audited:
    """An engine that protects a trade, and the audit of it."""

    on: Stage
    auditor: Auditor
    ticket: int

    async def trade(self) -> Trade:
        trade = await self.on.store.trade(self.ticket)
        assert trade is not None
        return trade

    async def until_hedged(self) -> Trade:
        for _ in range(600):
            if (trade := await self.trade()).machine.state is State.HEDGED:
                return trade
            await self.on.play(0.5)
        raise AssertionError("never hedged")

    async def alerts(self) -> list[Fact]:
        return list(await self.on.store.facts(kinds=frozenset({FactKind.AUDIT_VIOLATION.value}), limit=1_000))

    def send(self, reason: Reason, **request: Any) -> None:
        """Send a request to the trade server, as somebody who is not dtms."""
        answer = self.on.terminal.simulation.send_as(request, reason)
        assert answer.retcode == 10009, answer

    def deal(self, reason: Reason, *, lots: float, sells: bool, magic: int = 0, position: int = 0) -> None:
        tick = self.on.terminal.symbol_info_tick(WINDOW.symbol)
        assert tick is not None
        price = {"type": int(sells), "price": tick.bid if sells else tick.ask, "deviation": 1_000}
        named = {"position": position} if position else {}
        self.send(reason, action=1, symbol=WINDOW.symbol, volume=lots, magic=magic, type_filling=0, **price, **named)

    def set_stop(self, stop: float, *, magic: int = 0, reason: Reason = Reason.EXPERT) -> None:
        self.send(reason, action=6, symbol=WINDOW.symbol, position=self.ticket, sl=stop, tp=0.0, magic=magic)


def make_auditor(on: Stage, looks: Callable[[], Mapping[int, Look]] | None = None) -> Auditor:
    def looked_at() -> Mapping[int, Look]:
        return {
            live.trade.ticket: Look(at_ms=live.last_fast_ms, interval_s=INTERVAL_S) for live in on.engine.live_trades()
        }

    return Auditor(
        broker=on.broker,
        store=on.store,
        clock=on.clock,
        settings=lambda: on.engine.settings,
        mode=lambda: Mode.AUTO,
        looks=looks or looked_at,
    )


def audited(act: Callable[[Audited], Awaitable[None]], window: Window = WINDOW) -> Audited:
    """Run an engine with its audit on a virtual loop while ``act`` does what it does."""

    async def main() -> Audited:
        on = stage(config_of(window), settings=settings_of(window))
        await on.engine.start()
        scene = Audited(on, make_auditor(on), await registered(on))
        auditing = asyncio.create_task(scene.auditor.run())
        await act(scene)
        auditing.cancel()
        await asyncio.gather(auditing, return_exceptions=True)
        await on.engine.stop()
        return scene

    return run_virtual(main())


def found(result: AuditResult | None) -> list[int]:
    assert result is not None
    assert result.failed is None, result.failed
    return [violation.number for violation in result.violations]


def test_a_sound_life_is_audited_in_silence() -> None:
    """Through hedge, recovery and re-add every audit judges all that it can, and finds and writes nothing."""
    results: list[AuditResult | None] = []

    async def act(scene: Audited) -> None:
        for _ in range(int(WINDOW.hours * 60 / 5)):
            await scene.on.play(5)
            results.append(scene.auditor.last)
        assert not await scene.alerts()
        assert not await scene.on.store.kept(KeptKind.WORK, "audit")

    audited(act)
    done = [result for result in results if result is not None]
    assert len(done) > 40
    assert not any(found(result) for result in done)
    assert all(result.judged == tuple(row.number for row in AUDITED) for result in done)


def test_the_audit_changes_nothing_of_what_the_engine_does() -> None:
    """The same facts and requests with the audit beside it as without."""

    def played(is_audited: bool) -> tuple[Sequence[Fact], Sequence[Any]]:
        async def main() -> tuple[Sequence[Fact], Sequence[Any]]:
            on = stage(config_of(WINDOW), settings=settings_of(WINDOW))
            await on.engine.start()
            ticket = await registered(on)
            auditing = asyncio.create_task(make_auditor(on).run()) if is_audited else None
            await on.play(WINDOW.hours * 60)
            result = await collected(WINDOW, on, ticket)
            if auditing is not None:
                auditing.cancel()
                await asyncio.gather(auditing, return_exceptions=True)
            await on.engine.stop()
            return result.facts, result.ledger.requests

        return run_virtual(main())

    assert played(is_audited=True) == played(is_audited=False)


async def _second_hedge(scene: Audited) -> None:
    """By hand, with the magic number of the first: one intent, two hedges."""
    trade = await scene.until_hedged()
    assert trade.hedge is not None
    scene.deal(Reason.CLIENT, lots=0.1, sells=True, magic=scene.on.broker.magic_of(trade.hedge.intent))


async def _number_of_nobody(scene: Audited) -> None:
    scene.deal(Reason.EXPERT, lots=0.1, sells=False, magic=scene.on.broker.magic_of(12_345))


async def _rogue_loosens(scene: Audited) -> None:
    await scene.on.play(6)
    stop = (await scene.trade()).stop
    assert stop is not None
    scene.set_stop(round(stop - 0.001, 5), magic=777)


async def _stop_removed(scene: Audited) -> None:
    await scene.on.play(6)
    scene.set_stop(0.0, reason=Reason.MOBILE)


async def _robot_closes_the_hedge(scene: Audited) -> None:
    trade = await scene.until_hedged()
    assert trade.hedge is not None
    scene.deal(Reason.EXPERT, lots=0.1, sells=False, magic=777, position=trade.hedge.ticket)


async def _ended_on_nothing(scene: Audited) -> None:
    """The row says CLOSED, and the position is there."""
    trade = await scene.trade()
    machine = replace(trade.machine, state=State.CLOSED)
    fact = Fact(kind=FactKind.CLOSED, ticket=trade.ticket, market_ms=scene.on.clock.market_ms(), summary="made")
    await scene.on.store.commit(Unit(trades=(replace(trade, machine=machine),), facts=(fact,)))


async def _intent_forgotten(scene: Audited) -> None:
    """A request whose outcome nobody looks for any more."""
    await scene.until_hedged()
    intents = await scene.on.store.intents(ticket=scene.ticket)
    hedge = next(i for i in intents if i.action.kind is ActionKind.OPEN_HEDGE)
    lost = replace(hedge, state=IntentState.UNKNOWN, resolved_ms=None)
    await scene.on.store.commit(Unit(intents=(lost,)))
    await scene.on.play(8)


TAMPERINGS: dict[str, tuple[int, Callable[[Audited], Awaitable[None]]]] = {
    "a second hedge by hand with our magic": (5, _second_hedge),
    "a position with a number that no intent has": (12, _number_of_nobody),
    "another program closes the hedge": (17, _robot_closes_the_hedge),
    "closed in the store, open at the broker": (4, _ended_on_nothing),
    "an intent that nobody resolves": (14, _intent_forgotten),
}


@pytest.mark.parametrize(("number", "tamper"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_tampering_raises_one_alert(number: int, tamper: Callable[[Audited], Awaitable[None]]) -> None:
    """Within two audits there is a critical fact that names the invariant; the next audits add none for it."""

    async def act(scene: Audited) -> None:
        await tamper(scene)
        await scene.on.play(11)
        alerts = [fact for fact in await scene.alerts() if fact.details["invariant"] == number]
        assert alerts, f"{scene.auditor.last}"
        assert {fact.details["alert"] for fact in alerts} == {"CRITICAL"}
        await scene.on.play(11)
        later = [fact for fact in await scene.alerts() if fact.details["invariant"] == number]
        assert [fact.details["about"] for fact in later] == [fact.details["about"] for fact in alerts]
        assert len({fact.details["about"] for fact in later}) == len(later)

    audited(act)


@pytest.mark.parametrize("change", [_rogue_loosens, _stop_removed])
def test_a_stop_that_somebody_loosens_is_told_once(change: Callable[[Audited], Awaitable[None]]) -> None:
    """The engine sees it first and tells it with an alert; the audit adds none."""

    async def act(scene: Audited) -> None:
        await change(scene)
        await scene.on.play(11)
        kinds = frozenset({FactKind.CHANGED_OUTSIDE.value})
        told = [fact for fact in await scene.on.store.facts(kinds=kinds) if fact.details.get("alert")]
        assert len(told) == 1
        assert not await scene.alerts()

    audited(act)


def test_a_breach_is_told_once_though_the_audit_starts_anew() -> None:
    """What was told is kept in the store, so a restart does not tell it again."""

    async def act(scene: Audited) -> None:
        await _ended_on_nothing(scene)
        await scene.on.play(6)
        told = len(await scene.alerts())
        assert told
        again = await make_auditor(scene.on).audit()
        assert 4 in found(again)
        assert len(await scene.alerts()) == told

    audited(act)


def test_what_is_half_way_is_no_breach() -> None:
    """A difference that is gone at the second look is not told."""

    async def act(scene: Audited) -> None:
        trade = await scene.trade()
        closed = replace(trade, machine=replace(trade.machine, state=State.CLOSED))
        fact = Fact(kind=FactKind.CLOSED, ticket=trade.ticket, market_ms=scene.on.clock.market_ms(), summary="made")
        await scene.on.store.commit(Unit(trades=(closed,), facts=(fact,)))
        auditing = asyncio.create_task(make_auditor(scene.on).audit())
        await scene.on.clock.sleep_machine(5)
        await scene.on.store.commit(Unit(trades=(trade,)))
        assert found(await auditing) == []
        assert not await scene.alerts()

    audited(act)


def test_a_broker_that_is_away_fails_the_audit_and_nothing_else() -> None:
    """No answer is no breach: the result says why, and the next audit is a whole one."""

    async def act(scene: Audited) -> None:
        faults: Any = scene.on.terminal.simulation.faults
        faults.add({"kind": "offline"})
        await scene.on.play(6)
        assert scene.auditor.last is not None
        assert scene.auditor.last.failed is not None
        faults.clear()
        await scene.on.play(6)
        assert found(scene.auditor.last) == []
        assert not await scene.alerts()

    audited(act)


def test_a_defect_of_the_audit_is_its_result_and_does_not_end_it() -> None:
    async def act(scene: Audited) -> None:
        def broken() -> Mapping[int, Look]:
            raise KeyError("made")

        result = await make_auditor(scene.on, looks=broken).audit()
        assert result.failed is not None
        assert "KeyError" in result.failed
        assert result.as_json()["failed"] == result.failed

    audited(act)


def test_a_trade_that_nobody_looks_at_raises_an_alert() -> None:
    """Invariant 3: the audit hears from the engine when each trade was looked at last."""

    async def act(scene: Audited) -> None:
        def silent() -> Mapping[int, Look]:
            return {scene.ticket: Look(at_ms=scene.on.clock.market_ms() - 181_000, interval_s=INTERVAL_S)}

        await scene.on.play(10)
        assert found(await make_auditor(scene.on, looks=silent).audit()) == [3]

    audited(act)
