"""Closed trades move out of the way after a while, whole, and can still be asked for."""

import asyncio
import contextlib
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest
from tests.keeping.test_rebuilding import keeper_of, open_store, rows
from tests.store.builders import ManualClock, fact, intent, trade
from tests.store.managers import managed, ownership, plan

from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.leases import this_holder
from dtms.adapters.store_sql.verify import verify_file
from dtms.domain.actions import IntentState
from dtms.domain.facts import Fact
from dtms.domain.plans import PlanStatus
from dtms.domain.trade import Machine, State
from dtms.ports.store import Unit

CLOSED = Machine(state=State.CLOSED)
DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


async def filled(path: Path, clock: ManualClock) -> GuardedStore:
    """One trade closed long ago, one that is open, one closed with an open request, one closed just now."""
    store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock))
    await store.open()
    done = IntentState.CONFIRMED
    await store.commit(
        Unit(
            trades=(trade(1, machine=CLOSED), trade(2), trade(3, machine=CLOSED)),
            intents=(intent(1, 1, state=done), intent(2, 2, state=done), intent(3, 3, state=IntentState.UNKNOWN)),
            facts=(fact(1), fact(2), fact(1, summary="the end"), fact(None)),
        )
    )
    clock.now_ms += 90 * DAY_MS
    await store.commit(Unit(trades=(trade(4, machine=CLOSED),), intents=(intent(4, 4, state=done),), facts=(fact(4),)))
    return store


def plain(facts: list[Fact]) -> list[tuple[int, str]]:
    return [(f.id, f.summary) for f in facts]


def test_only_what_ended_long_ago_moves_and_it_can_still_be_asked_for(path: Path, clock: ManualClock) -> None:
    async def main() -> None:
        store = await filled(path, clock)
        before = (await store.trade(1), await store.intents(ticket=1), await store.facts(ticket=1))
        assert await store.archive(clock.now_ms - DAY_MS, limit=10) == 1
        assert (await store.trade(1), await store.intents(ticket=1), await store.facts(ticket=1)) == before
        assert await store.count_facts(frozenset({"transition"}), 1) == 2
        assert (await store.load()).tickets == {1, 2, 3, 4}
        await store.commit(Unit(facts=(fact(1, summary="asked about"),)))
        assert plain(list(await store.facts(ticket=1)))[-1][1] == "asked about"
        assert await store.archive(clock.now_ms - DAY_MS, limit=10) == 0
        await store.close()

    asyncio.run(main())
    assert {row[0] for row in rows(path)["trades"]} == {2, 3, 4}
    assert {row[0] for row in rows(path)["intents"]} == {2, 3, 4}
    verify_file(path)  # hashes hold, and the chain goes on from its archived end


def test_an_archived_store_is_rebuilt_as_it_was(path: Path, clock: ManualClock) -> None:
    async def main() -> None:
        store = await filled(path, clock)
        await store.archive(clock.now_ms - DAY_MS, limit=10)
        await store.close()

    asyncio.run(main())
    before = rows(path)
    path.unlink()
    store, keeper = open_store(path, clock)
    archived = asyncio.run(store.trade(1))
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before
    assert archived is not None
    assert archived.state is State.CLOSED


def test_what_ended_long_ago_of_other_managers_is_removed_and_the_rest_stays(path: Path, clock: ManualClock) -> None:
    async def main() -> tuple[list[int], list[int], list[str], list[int]]:
        store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock))
        await store.open()
        now_ms, old_ms = clock.now_ms, clock.now_ms - 91 * DAY_MS
        ended = PlanStatus.EXPIRED
        await store.commit(
            Unit(
                trades=(trade(2),),
                ownership=(ownership(1, closed_ms=old_ms), ownership(2), ownership(3, closed_ms=now_ms)),
                managed=(managed(1, closed_ms=old_ms), managed(2), managed(3, closed_ms=now_ms)),
                plans=(
                    plan("a", status=ended, status_ms=old_ms),
                    plan("b", status_ms=old_ms),
                    plan("c", status=ended, status_ms=now_ms),
                ),
                intents=(
                    intent(1, 1, state=IntentState.CONFIRMED, created_ms=old_ms),
                    intent(2, 2, state=IntentState.CONFIRMED, created_ms=old_ms),
                    intent(3, 0, state=IntentState.UNKNOWN, created_ms=old_ms),
                    intent(4, 0, state=IntentState.REFUSED, created_ms=now_ms),
                ),
            )
        )
        await store.archive(clock.now_ms - 90 * DAY_MS, limit=10)
        assert await store.intent(1) == intent(1, 1, state=IntentState.CONFIRMED, created_ms=old_ms)
        left = (
            [o.ticket for o in await store.ownerships([1, 2, 3])],
            [m.ticket for ticket in (1, 2, 3) for m in await store.managed(ticket=ticket)],
            [p.id for p in await store.plans()],
            [i.number for i in await store.intents()],
        )
        await store.close()
        return left

    assert asyncio.run(main()) == ([2, 3], [2, 3], ["b", "c"], [2, 3, 4])
    verify_file(path)
    before = rows(path)
    path.unlink()
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before


def test_leases_that_nobody_holds_are_removed_and_tokens_go_on_rising(path: Path, clock: ManualClock) -> None:
    async def main() -> None:
        store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock))
        await store.open()
        for _ in range(3):
            lease = (await store.grant("5", "here:1:1", 15.0, ticket=5)).lease
            await store.release(lease)
        held = (await store.grant("6", "another:1:1", 15.0, ticket=6)).lease
        await store.grant("8", this_holder(), -1.0, ticket=8)  # ran out, and its process may go on after a sleep
        dead = f"{this_holder().rpartition(':')[0]}:another start"
        await store.grant("9", dead, 15.0, ticket=9)
        engine = await store.acquire("engine", "another:1:1", 15.0)
        await store.archive(clock.now_ms, limit=10)
        assert await store.renew(held, 15.0) is not None
        assert await store.lease("engine") == engine
        assert (await store.grant("7", "here:1:1", 15.0, ticket=7)).lease.token == 4, "above all that were removed"
        assert (await store.grant("5", "here:1:1", 15.0, ticket=5)).lease.token == 4
        await store.release(lease)
        assert await store.lease("5") is not None, "a lease of before gives nothing back"
        await store.close()

    asyncio.run(main())
    with contextlib.closing(driver.connect(path)) as connection:
        assert connection.execute("SELECT key FROM leases ORDER BY key").fetchall() == [
            ("5",),
            ("6",),
            ("7",),
            ("8",),
            ("engine",),
        ]
