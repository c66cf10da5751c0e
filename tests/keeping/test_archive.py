"""Closed trades move out of the way after a while, whole, and can still be asked for."""

import asyncio
from pathlib import Path

import pytest
from tests.keeping.test_rebuilding import keeper_of, open_store, rows
from tests.store.builders import ManualClock, fact, intent, trade

from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.verify import verify_file
from dtms.domain.actions import IntentState
from dtms.domain.facts import Fact
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
