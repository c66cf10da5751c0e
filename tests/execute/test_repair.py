"""After an outage on a running book: what was answered meanwhile stays, and nobody is served before all is matched."""

import asyncio
from typing import Any

from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.trade import Mode
from dtms.execute.service import Refused, Registration

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def opened(lives: Lives) -> int:
    """Let time pass until the trader has opened his position."""
    while not (found := lives.terminal.positions_get()):
        await lives.on.play(0.25)
    return int(found[0].ticket)


async def slowly(lives: Lives, name: str, seconds: float) -> asyncio.Event:
    """Let a call of the broker or the store take its time after it was answered; the event tells that it was."""
    owner: Any = lives.on.store if name == "load" else lives.on.broker
    call, begun = getattr(owner, name), asyncio.Event()

    async def slow(*arguments: Any, **named: Any) -> Any:
        answer = await call(*arguments, **named)
        begun.set()
        await asyncio.sleep(seconds)
        return answer

    setattr(owner, name, slow)
    return begun


def test_a_registration_during_a_repair_is_refused_or_watched(tmp_path: Any) -> None:
    """The store failed once: whoever registers while the engine recovers is refused, or his trade is watched after."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, register=False)
        engine = lives.on.engine
        ticket = await opened(lives)
        connecting = await slowly(lives, "connect", 5.0)
        engine._life.store_ok = False
        await connecting.wait()
        try:
            await engine.register(Registration(ticket=ticket))
        except Refused:
            assert not engine.health().ready
        else:
            await lives.on.clock.sleep_machine(10)
            assert engine.live(ticket) is not None
        await engine.stop()

    run_virtual(main())


def test_a_registration_that_began_before_the_outage_stays_watched(tmp_path: Any) -> None:
    """It is committed while the engine reads the store anew: the reading knows nothing of it, and it is watched."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, register=False)
        engine = lives.on.engine
        ticket = await opened(lives)
        looking = await slowly(lives, "positions", 120.0)
        answer = asyncio.create_task(engine.register(Registration(ticket=ticket)))
        await looking.wait()
        await slowly(lives, "load", 300.0)
        engine._life._broker_ok = False
        await answer
        await lives.on.clock.sleep_machine(900)
        assert engine.health().ready
        assert engine.live(ticket) is not None
        await engine.stop()

    run_virtual(main())


def test_a_mode_set_during_a_repair_stays(tmp_path: Any) -> None:
    """Observe, set while the store is read anew, is not undone by what was read."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        engine = lives.on.engine
        reading = await slowly(lives, "load", 5.0)
        engine._life.store_ok = False
        await reading.wait()
        await engine.set_mode(Mode.OBSERVE, lives.ticket, None)
        await engine.halt("a person says so", None)
        await lives.on.clock.sleep_machine(20)
        live = engine.live(lives.ticket)
        assert live is not None
        assert live.trade.mode is Mode.OBSERVE
        assert engine.status().halted
        await engine.stop()

    run_virtual(main())


def test_what_an_earlier_engine_did_while_its_successor_waited_is_known(tmp_path: Any) -> None:
    """The successor reads the store when it holds the authority, so it knows trades registered meanwhile."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, register=False)
        first, ticket = lives.on, await opened(lives)
        successor = asyncio.create_task(lives.go_on())
        await asyncio.sleep(2)  # not so long that the first renews its lease: then the second would give up
        await first.engine.register(Registration(ticket=ticket))
        await first.engine.stop()
        await successor
        assert lives.on.engine.live(ticket) is not None
        await lives.on.engine.stop()

    run_virtual(main())
