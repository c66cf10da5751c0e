"""DTMS's states, asked for before they lapse; silence is told once, and what was known serves for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.handing.test_outbox import Script
from tests.virtual_time import LoopClock, run_virtual

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import PeerAway
from dtms.domain.trade import State
from dtms.execute.handing.asking import FirstLooks
from dtms.execute.journal import Journal


class States(Script):
    """A DTMS server that tells states, or does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, State] | None = {}
        self.asked_s: list[tuple[float, tuple[int, ...]]] = []
        self.clock: LoopClock | None = None

    async def states(self, tickets: Sequence[int]) -> Mapping[int, State]:
        assert self.clock is not None
        self.asked_s.append((self.clock.machine_s(), tuple(tickets)))
        if self.known is None:
            raise PeerAway("DTMS does not answer")
        return {t: s for t, s in self.known.items() if t in tickets}


class World:
    def __init__(self, path: Path) -> None:
        self.clock, self.peer, self.wanted = LoopClock(start_ms=1_506_927_600_000), States(), {7, 8}
        self.peer.clock = self.clock
        self.store = SqlStore(f"sqlite:///{path}", self.clock, inline=True)
        self.looks = FirstLooks(
            peer=self.peer,
            store=self.store,
            clock=self.clock,
            journal=Journal(self.clock),
            wanted=lambda: self.wanted,
        )


def play(path: Path, work: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        world = World(path)
        await world.store.open()
        asking = asyncio.create_task(world.looks.run())
        try:
            await work(world)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await world.store.close()

    run_virtual(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dtms_trades.db"


def test_many_positions_are_one_question_and_it_is_asked_again_before_the_answer_lapses(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.known = {7: State.HEDGED}
        await asyncio.sleep(0.1)
        assert world.looks.look(7).is_defensive
        assert world.looks.look(8).state is None, "not tracked is not defensive"
        assert world.looks.look(8).is_good
        await asyncio.sleep(60)
        assert all(tickets == (7, 8) for _, tickets in world.peer.asked_s)
        gaps = [b - a for (a, _), (b, _) in zip(world.peer.asked_s, world.peer.asked_s[1:], strict=False)]
        assert gaps
        assert all(5 <= gap < 10 for gap in gaps), gaps

    play(path, work)


def test_what_was_known_serves_while_dtms_is_away_and_silence_is_told_once(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.known = {7: State.HEALTHY}
        await asyncio.sleep(0.1)
        world.peer.known = None
        await asyncio.sleep(25)
        assert world.looks.look(7).state is State.HEALTHY
        assert not world.looks.look(7).is_blind
        await asyncio.sleep(10)
        assert world.looks.look(7).is_blind
        await asyncio.sleep(600)
        (fact,) = await world.store.facts(limit=10)
        assert fact.details["alert"] == "ERROR"
        world.peer.known = {7: State.WARNING_L2}
        await asyncio.sleep(2)
        assert world.looks.look(7).is_defensive

    play(path, work)


def test_nobody_is_asked_while_nobody_wants_to_know(path: Path) -> None:
    async def work(world: World) -> None:
        world.wanted = set()
        world.peer.known = None
        await asyncio.sleep(120)
        assert world.peer.asked_s == []
        assert list(await world.store.facts(limit=10)) == []

    play(path, work)
