"""Registrations on their way to DTMS: none is lost, none is sent for ever, and nobody waits."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from tests.virtual_time import LoopClock, run_virtual

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import PeerAway
from dtms.domain.facts import Fact, Json
from dtms.domain.trade import State
from dtms.execute.handing.outbox import Outbox
from dtms.execute.journal import Journal
from dtms.ports.peer import Answered
from dtms.ports.store import KeptKind

T = TypeVar("T")


class Script:
    """A DTMS server that answers each ticket as it is told to; None is no answer."""

    def __init__(self) -> None:
        self.answers: dict[int, list[int | None]] = {}
        self.asked: list[int] = []
        self.bodies: list[Mapping[str, Json]] = []

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> Answered:
        assert (method, path, query, correlation_id) == ("POST", "/dtms/trade/enable", "", None)
        assert body is not None
        ticket = int(str(body["ticket"]))
        self.asked.append(ticket)
        self.bodies.append(body)
        told = self.answers[ticket]
        status = told.pop(0) if len(told) > 1 else told[0]
        if status is None:
            raise PeerAway("DTMS does not answer: refused")
        return Answered(status=status, body=json.dumps({"message": f"said {status}"}).encode())

    async def states(self, tickets: Sequence[int]) -> Mapping[int, State]:
        raise PeerAway(f"nobody asks for {tickets}")

    async def close(self) -> None:
        """Nothing is open."""


class World:
    """An outbox on a real store, in virtual time."""

    def __init__(self, path: Path) -> None:
        self.clock, self.peer = LoopClock(start_ms=1_506_927_600_000), Script()
        self.store = SqlStore(f"sqlite:///{path}", self.clock, inline=True)
        self.outbox = self.made()

    def made(self) -> Outbox:
        return Outbox(store=self.store, peer=self.peer, clock=self.clock, journal=Journal(self.clock))

    async def run_for(self, seconds: float) -> None:
        running = asyncio.create_task(self.outbox.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def kept(self) -> list[int]:
        return [int(kept.key) for kept in await self.store.kept(KeptKind.REGISTRATION)]

    async def facts(self) -> list[Fact]:
        return list(await self.store.facts(limit=100))


def play(path: Path, work: Callable[[World], Awaitable[T]]) -> T:
    async def run() -> T:
        world = World(path)
        await world.store.open()
        try:
            return await work(world)
        finally:
            await world.store.close()

    return run_virtual(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dtms_trades.db"


def test_what_dtms_took_is_not_sent_again(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [200]
        await world.outbox.queue(7, {"symbol": "EURUSD", "source": "position_watcher"})
        await world.run_for(120)
        assert world.peer.asked == [7]
        assert world.peer.bodies[0] == {
            "ticket": 7,
            "symbol": "EURUSD",
            "source": "position_watcher",
            "allow_pending": True,
        }
        assert await world.kept() == []
        assert await world.facts() == []

    play(path, work)


def test_a_queued_registration_outlives_its_process(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [200]
        await world.outbox.queue(7, {})
        world.outbox = world.made()
        await world.run_for(1)
        assert world.peer.asked == [7]
        assert await world.kept() == []

    play(path, work)


def test_while_dtms_is_away_it_is_tried_ever_less_often_and_delivered_when_it_is_back(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.answers = {7: [None], 8: [None]}
        await world.outbox.queue(7, {})
        await world.outbox.queue(8, {})
        await world.run_for(120)
        assert set(world.peer.asked) == {7}, "one that does not answer is not asked for each ticket"
        assert 10 <= len(world.peer.asked) <= 13
        assert world.outbox.away is not None
        world.peer.answers = {7: [200], 8: [200]}
        await world.run_for(16)
        assert world.outbox.away is None
        assert await world.kept() == []
        assert world.peer.asked[-2:] == [7, 8], "in their order"

    play(path, work)


def test_a_server_that_is_away_for_five_minutes_is_an_alert_once(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [None]
        await world.outbox.queue(7, {})
        await world.run_for(290)
        assert await world.facts() == []
        await world.run_for(600)
        (fact,) = await world.facts()
        assert fact.details["alert"] == "CRITICAL"

    play(path, work)


@pytest.mark.parametrize("status", [503, 500, 502])
def test_a_server_that_is_not_ready_is_asked_again(path: Path, status: int) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [status, status, 200]
        await world.outbox.queue(7, {})
        await world.run_for(30)
        assert world.peer.asked == [7, 7, 7]
        assert await world.kept() == []

    play(path, work)


@pytest.mark.parametrize("status", [202, 404])
def test_a_position_that_never_turns_up_is_given_up_and_told(path: Path, status: int) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [status]
        await world.outbox.queue(7, {})
        await world.run_for(59)
        assert await world.kept() == [7]
        await world.run_for(60)
        assert await world.kept() == []
        (fact,) = await world.facts()
        assert "does not list it" in fact.summary

    play(path, work)


@pytest.mark.parametrize(("status", "alert"), [(409, None), (422, "ERROR"), (403, "ERROR")])
def test_what_dtms_refuses_for_good_is_told_and_not_sent_again(path: Path, status: int, alert: str | None) -> None:
    async def work(world: World) -> None:
        world.peer.answers[7] = [status]
        await world.outbox.queue(7, {})
        await world.run_for(300)
        assert world.peer.asked == [7]
        assert await world.kept() == []
        (fact,) = await world.facts()
        assert fact.details["alert"] == alert
        assert f"said {status}" in fact.summary

    play(path, work)


def test_one_that_waits_holds_no_other_up(path: Path) -> None:
    async def work(world: World) -> None:
        world.peer.answers = {7: [202], 8: [200]}
        await world.outbox.queue(7, {})
        await world.outbox.queue(8, {})
        await world.run_for(1)
        assert await world.kept() == [7]

    play(path, work)
