"""Positions that no trade knows: given to whom they belong at a start, after a reconnect, and while dtms watches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.execute.unsteady import Lost, Request, Send, letter_of
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import State
from dtms.execute.service import Registered, Registration
from dtms.ports.store import Unit

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
WHEN = pytest.mark.parametrize("when", ["watching", "restart", "crash"])


async def adopted(lives: Lives) -> list[Fact]:
    return [f for f in await lives.news() if f.kind is FactKind.ADOPTED]


async def come_back(lives: Lives, when: str) -> None:
    """Let dtms look at the broker: in its loop, or at its next start."""
    if when != "watching":
        await lives.restart(crash=when == "crash")
    await lives.on.play(1.5)


def in_state(state: State) -> Any:
    return lambda trade: trade.machine.state is state


@WHEN
def test_a_position_with_a_number_that_nobody_knows_is_watched_and_told(when: str, tmp_path: Path) -> None:
    """It carries our number and no request is known by it: it is adopted as a trade of its own, once."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        ticket = lives.open_as("SELL", 0.1, magic=lives.on.broker.magic_of(123_456), stop=1.2100)
        await come_back(lives, when)
        trade = await lives.trade(ticket)
        assert trade.is_active
        assert trade.by_watcher
        (told,) = await adopted(lives)
        assert (told.ticket, told.details["alert"]) == (ticket, "ERROR")
        await lives.restart(crash=True)
        await lives.on.play(1.5)
        assert len(await adopted(lives)) == 1
        await lives.on.engine.stop()

    run_virtual(main())


@WHEN
def test_a_hedge_that_memory_lost_joins_its_trade_again(when: str, tmp_path: Path) -> None:
    """The row does not know the hedge that its own request opened: it is attached, and the trade stays HEDGED."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(in_state(State.HEDGED))
        (hedge,) = before.hedges
        forgot = replace(before, members=())
        if when == "watching":
            watch = lives.on.engine.book.watches[lives.ticket]
            await lives.on.engine._desk.commit(watch, forgot, [])
        else:
            await lives.on.engine.stop()
            await lives.on.store.open()
            await lives.on.store.commit(Unit(trades=(forgot,)))
            await lives.on.store.close()
            await lives.go_on()
        await lives.on.play(1.5)
        after = await lives.trade()
        assert [m.ticket for m in after.hedges] == [hedge.ticket]
        assert after.machine.state is State.HEDGED
        assert len(await adopted(lives)) == 1
        await lives.on.engine.stop()

    run_virtual(main())


@WHEN
def test_a_hedge_that_was_executed_after_its_trade_closed_is_closed(when: str, tmp_path: Path) -> None:
    """Its answer was lost, the trade was closed by hand, and the broker got to it a minute later."""
    hidden: list[Request] = []
    late: list[Any] = []

    def hold_back(request: Request, send: Send) -> Any:
        if letter_of(request) == "H" and not hidden:
            hidden.append(request)
            late.append(send)
            return Lost()
        return send(request)

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        lives.terminal.spoil = hold_back
        while not hidden:
            await lives.on.play(0.25)
        lives.close_by_hand(lives.ticket)
        await lives.on.play(0.1)
        if when == "crash":
            await lives.die()
        elif when == "restart":
            await lives.on.engine.stop()
        await lives.on.clock.sleep_market(60)
        tick = lives.terminal.symbol_info_tick(WINDOW.symbol)
        late[0]({**hidden[0], "price": tick.bid})
        assert len(lives.held()) == 1
        if when != "watching":
            await lives.go_on()
        await lives.on.play(3)
        assert lives.held() == {}
        played = await lives.end()
        assert played.trade.machine.state is State.CLOSED
        assert played.trade.members == ()
        assert len(played.books.hedges()) == 1

    run_virtual(main())


@WHEN
def test_a_hedge_that_shows_up_although_it_counted_as_not_executed_is_closed(when: str, tmp_path: Path) -> None:
    """The proof was wrong: what appears is surplus, told loudly, and closed; its request counts as executed."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(in_state(State.HEDGED))
        (hedge,) = before.hedges
        number = hedge.intent
        lives.close_by_hand(hedge.ticket)
        await lives.until(lambda t: not t.hedges)
        (intent,) = [i for i in await lives.on.store.intents() if i.number == number]
        await lives.on.store.commit(Unit(intents=(replace(intent, state=IntentState.NOT_EXECUTED),)))
        lives.open_as("SELL", 0.1, magic=lives.on.broker.magic_of(number), stop=1.2100)
        await come_back(lives, when)
        await lives.on.play(2)
        (intent,) = [i for i in await lives.on.store.intents() if i.number == number]
        assert intent.state is IntentState.CONFIRMED
        (told,) = [f for f in await adopted(lives) if f.details["intent"] == number]
        assert told.details["alert"] == "ERROR"
        magic = lives.on.broker.magic_of(number)
        assert not [p for p in lives.held().values() if p.magic == magic]
        await lives.on.engine.stop()

    run_virtual(main())


def test_an_old_list_brings_no_hedge_back(tmp_path: Path) -> None:
    """For minutes after the hedge was closed lists still show it: nothing joins, and nothing is sent for it."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        hedged = await lives.until(in_state(State.HEDGED))
        (hedge,) = hedged.hedges
        lives.close_by_hand(hedge.ticket)
        await lives.until(lambda t: not t.hedges)
        lives.fault("stale_list", calls="positions_get", age_s=120.0, times=0, probability=0.5, seed=3)
        await lives.on.play(2)
        assert await adopted(lives) == []
        await lives.on.engine.stop()

    run_virtual(main())


@WHEN
def test_a_closed_trade_whose_position_refills_is_watched_again(when: str, tmp_path: Path) -> None:
    """The rest of its order fills after the close: the same trade, its R and initial stop, an alert; and it ends."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, register=False)
        await lives.on.play(5)
        for name, value in (("fill_lots_max", 0.4), ("partial_rest", "refills"), ("refill_delay_ms", 20 * 60_000)):
            lives.do("set", name=f"manners.{name}", value=value)
        lives.ticket = lives.open_as("BUY", 0.5, stop=WINDOW.stop)
        registered = await lives.on.engine.register(Registration(ticket=lives.ticket))
        assert isinstance(registered, Registered)
        before = registered.trade
        assert float(before.volume) == 0.4
        lives.close_by_hand(lives.ticket)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        if when == "watching":
            await lives.on.play(20)
        else:
            await lives.restart(crash=when == "crash", away_min=20)
            await lives.on.play(1)
        after = await lives.trade()
        assert after.is_active
        assert (after.risk, after.initial_stop) == (before.risk, before.initial_stop)
        assert float(after.volume) == pytest.approx(0.1)
        assert [f.details["alert"] for f in await adopted(lives)] == ["ERROR"]
        lives.close_by_hand(lives.ticket)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        await lives.on.engine.stop()

    run_virtual(main())
