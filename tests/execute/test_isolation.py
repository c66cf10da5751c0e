"""One trade's trouble stays with it; what all stand on, store and authority, is mended before anything is done."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.execute.unsteady import Request, Send, letter_of
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.errors import BrokerUnavailable, StoreFailed
from dtms.domain.facts import FactKind
from dtms.domain.trade import State
from dtms.execute.service import RefusalCode, Refused, Registration

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def with_another(lives: Lives) -> int:
    """Open and register a second trade beside the window's."""
    ticket = lives.open_as("SELL", 0.1, stop=1.2400)
    await lives.on.engine.register(Registration(ticket=ticket))
    return ticket


def deaf_for(lives: Lives, ticket: int) -> Any:
    """Let the history of one position fail, and of no other."""
    deals = lives.on.broker.deals

    async def deals_of(*, position: int | None = None, **window: Any) -> Any:
        if position == ticket:
            raise BrokerUnavailable("history: made to fail")
        return await deals(position=position, **window)

    lives.on.broker.deals = deals_of  # type: ignore[method-assign]
    return deals


@pytest.mark.parametrize("when", ["watching", "restart"])
def test_a_trade_whose_history_fails_holds_up_nobody(when: str, tmp_path: Path) -> None:
    """It is held and told once; the others pass through their rows; when the history is back it ends as it did."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        other = await with_another(lives)
        if when == "watching":
            deals = deaf_for(lives, other)
            lives.close_by_hand(other)
        else:
            await lives.on.engine.stop()
            lives.close_by_hand(other)
            lives.renew()
            deals = deaf_for(lives, other)
            await lives.on.engine.start()
        await lives.until(lambda t: t.machine.state is State.WARNING_L1)
        assert lives.on.engine.health().ready
        assert (await lives.trade(other)).is_active
        held = [f for f in await lives.news() if f.kind is FactKind.HELD and f.ticket == other]
        assert len([f for f in held if "does not answer for this trade" in f.summary]) == 1
        lives.on.broker.deals = deals  # type: ignore[method-assign]
        await lives.on.play(2)
        assert (await lives.trade(other)).machine.state is State.CLOSED
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_trade_whose_check_breaks_is_told_and_read_anew(tmp_path: Path) -> None:
    """What its broken cycle left in memory is not believed: the row is the store's, and the others go on."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        other = await with_another(lives)
        before = await lives.trade(other)
        step = lives.on.engine.monitor._cycle.step

        async def broken(watch: Any, symbol: Any, **known: Any) -> bool:
            if watch.ticket != other:
                return await step(watch, symbol, **known)
            watch.trade = replace(watch.trade, stop=float("nan"))  # half-made, and no store would take it
            raise ValueError("made to fail")

        lives.on.engine.monitor._cycle.step = broken  # type: ignore[method-assign]
        await lives.until(lambda t: t.machine.state is State.WARNING_L1)
        after = await lives.trade(other)
        assert after.needs_attention == "its cycle failed: ValueError: made to fail"
        assert (after.stop, after.machine.state) == (before.stop, before.machine.state)
        assert lives.on.engine.health().ready
        assert [f.ticket for f in await lives.news() if f.kind is FactKind.CYCLE_FAILED].count(lives.ticket) == 0
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_failed_store_is_reopened_before_anything_is_acknowledged(tmp_path: Path) -> None:
    """The commit after a send fails: not ready, reopened, read anew; the request is known, and its fate found."""
    failing = [False]
    reopened: list[int] = []

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        store: Any = lives.on.store
        commit, reopen = store.commit, store.reopen

        async def fails(unit: Any) -> Any:
            if failing[0]:
                raise StoreFailed("made to fail")
            return await commit(unit)

        async def reopens() -> None:
            reopened.append(lives.on.clock.market_ms())
            await reopen()
            failing[0] = len(reopened) < 3

        def break_after(request: Request, send: Send) -> Any:
            failing[0] = failing[0] or (letter_of(request) == "H" and not reopened)
            return send(request)

        store.commit, store.reopen = fails, reopens
        lives.terminal.spoil = break_after
        while not failing[0]:
            await lives.on.play(0.5)
        assert not lives.on.engine.health().store_ok
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=lives.ticket))
        assert refused.value.code is RefusalCode.NOT_READY
        trade = await lives.until(lambda t: t.machine.state is State.HEDGED)
        assert len(reopened) == 3
        assert lives.on.engine.health().ready
        hedges = [i for i in await lives.on.store.intents() if i.action.kind.value == "open_hedge"]
        assert [i.state for i in hedges] == [IntentState.CONFIRMED]
        assert len(trade.hedges) == 1
        assert [letter_of(r) for r in lives.terminal.sent].count("H") == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_store_failure_met_by_a_request_makes_the_engine_recover(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        store: Any = lives.on.store
        reopen, reopened = store.reopen, asyncio.Event()

        async def reopens() -> None:
            await reopen()
            reopened.set()

        store.reopen = reopens
        lives.on.engine.note_store_failure(StoreFailed("met by a request"))
        assert not lives.on.engine.health().ready
        await lives.on.play(1)
        assert reopened.is_set()
        assert lives.on.engine.health().ready
        await lives.on.engine.stop()

    run_virtual(main())


def test_without_the_authority_nothing_is_looked_at_and_the_store_is_mended(tmp_path: Path) -> None:
    """The lease cannot be renewed for a minute: no cycle runs once it is over; then it is had back, and all goes on."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        store: Any = lives.on.store
        renew, reopen, reopened = store.renew, store.reopen, list[int]()

        async def reopens() -> None:
            reopened.append(lives.on.clock.market_ms())
            await reopen()

        async def fails(*_: Any) -> Any:
            raise StoreFailed("made to fail")

        store.renew, store.reopen = fails, reopens
        await lives.on.clock.sleep_machine(30)
        cycles = lives.on.engine.monitor.counts.cycles
        await lives.on.clock.sleep_machine(30)
        assert lives.on.engine.monitor.counts.cycles == cycles
        assert reopened
        assert not lives.on.engine.health().ready
        store.renew = renew
        await lives.on.clock.sleep_machine(60)
        assert lives.on.engine.health().ready
        assert lives.on.engine.monitor.counts.cycles > cycles
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_trade_of_a_symbol_that_the_broker_lost_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """It is told loudly, once; when the symbol is known again it is watched."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        other = await with_another(lives)
        await lives.on.engine.stop()
        lives.renew()
        broker: Any = lives.on.broker
        instrument = broker.instrument

        async def unknown(symbol: str, **known: Any) -> Any:
            return None

        broker.instrument = unknown
        await lives.on.engine.start()
        assert lives.on.engine.live_trades() == []
        alerts = [f for f in await lives.news() if f.kind is FactKind.NEEDS_ATTENTION]
        assert {f.ticket for f in alerts} == {lives.ticket, other}
        broker.instrument = instrument
        await lives.on.clock.sleep_machine(120)
        live = {live.trade.ticket: live.trade for live in lives.on.engine.live_trades()}
        assert live.keys() == {lives.ticket, other}
        assert all(trade.needs_attention is None for trade in live.values())
        await lives.on.engine.stop()

    run_virtual(main())
