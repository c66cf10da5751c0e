"""Readers find what was committed, page by page, and never wait for the writer."""

import asyncio
import time
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest

from dtms.domain.actions import IntentState
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import FactKind
from dtms.domain.trade import Machine, State
from dtms.ports.store import Unit

from .builders import evaluation, fact, intent, trade
from .conftest import MakeStore

CLOSED = Machine(state=State.CLOSED)


def test_trades_page_by_rising_registration(make_store: MakeStore) -> None:
    """Tickets of the same moment come in order; a page says where the next one starts."""
    moments = {5: 10, 3: 20, 8: 20, 1: 30, 2: 40}
    trades = [trade(ticket, registered_ms=at) for ticket, at in moments.items()]

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=trades))
        seen, cursors, after = [], [], None
        for _ in range(3):
            page = await store.trades(after=after, limit=2)
            seen += [t.ticket for t in page.trades]
            after = page.next_cursor
            cursors.append(after)
        assert (seen, cursors) == ([5, 3, 8, 1, 2], [3, 1, None])
        assert (await store.trades(limit=5)).next_cursor is None
        await store.close()

    asyncio.run(scenario())


def test_trades_are_filtered_by_state_symbol_and_ticket(make_store: MakeStore) -> None:
    trades = [
        trade(1),
        trade(2, symbol="XAUUSDc"),
        trade(3, machine=Machine(state=State.HEDGED)),
        trade(4, machine=CLOSED),
        trade(5, disabled=True),
    ]

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=trades))

        async def tickets(**query: object) -> list[int]:
            return [t.ticket for t in (await store.trades(**query)).trades]  # type: ignore[arg-type]

        assert await tickets() == [1, 2, 3]
        assert await tickets(states=frozenset({State.CLOSED, State.HEDGED})) == [3, 4]
        assert await tickets(states=frozenset(State)) == [1, 2, 3, 4, 5]
        assert await tickets(symbol="XAUUSDc") == [2]
        assert await tickets(tickets=[3, 4, 99]) == [3]
        assert await tickets(tickets=[]) == []
        assert await store.trade(99) is None
        await store.close()

    asyncio.run(scenario())


def test_facts_are_found_by_ticket_kind_time_and_place(make_store: MakeStore) -> None:
    kinds = [FactKind.REGISTERED, FactKind.TRANSITION, FactKind.ACTION, FactKind.TRANSITION, FactKind.STARTED]
    facts = [fact(1 + n % 2, kind, market_ms=100 * n) for n, kind in enumerate(kinds)]

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(facts=facts))

        async def ids(**query: object) -> list[int]:
            return [f.id for f in await store.facts(**query)]  # type: ignore[arg-type]

        assert await ids() == [1, 2, 3, 4, 5]
        assert await ids(ticket=1) == [1, 3, 5]
        assert await ids(kinds=frozenset({"transition", "started"})) == [2, 4, 5]
        assert await ids(since_ms=100, until_ms=300) == [2, 3, 4]
        assert await ids(after=3) == [4, 5]
        assert await ids(limit=2) == [1, 2]
        assert await ids(limit=2, newest=True) == [4, 5]
        assert await store.count_facts(frozenset({"transition"})) == 2
        assert await store.count_facts(frozenset({"transition"}), ticket=1) == 0
        await store.close()

    asyncio.run(scenario())


def test_evaluations_are_found_by_symbol_side_and_time(make_store: MakeStore) -> None:
    unit = Unit(evaluations=[evaluation(bar_ms=n) for n in range(6)] + [evaluation("XAUUSDc", 3)])

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(unit)

        async def bars(limit: int = 9, *, newest: bool = False) -> list[int]:
            found = await store.evaluations("EURUSDc", "BUY", from_ms=1, to_ms=4, limit=limit, newest=newest)
            return [e.bar_ms for e in found]

        assert await bars() == [1, 2, 3, 4]
        assert await bars(limit=2) == [1, 2]
        assert await bars(limit=2, newest=True) == [3, 4]
        assert await store.evaluations("EURUSDc", "SELL", from_ms=0, to_ms=9) == []
        await store.close()

    asyncio.run(scenario())


def test_intents_are_open_until_they_are_resolved(make_store: MakeStore) -> None:
    intents = [intent(n, ticket=1 + n % 2, state=state) for n, state in enumerate(IntentState, start=1)]

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(intents=intents))
        unresolved = [i.state for i in await store.intents(open_only=True)]
        assert unresolved == ["PLANNED", "SENDING", "UNKNOWN", "NEEDS_HUMAN"]
        assert (await store.load()).intents == [i for i in intents if i.state.is_open]
        assert [i.number for i in await store.intents(ticket=1)] == [2, 4, 6]
        await store.close()

    asyncio.run(scenario())


def test_readers_do_not_wait_for_a_writer(make_store: MakeStore, path: Path) -> None:
    """While another process holds the write lock, reads answer at once, with what was committed before."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),)))
        other = driver.connect(str(path), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM trades")
        begun = time.perf_counter()
        assert await store.trade(1) == trade(1)
        assert (await store.load()).trades == [trade(1)]
        assert time.perf_counter() - begun < 1.0
        other.execute("ROLLBACK")
        other.close()
        await store.close()

    asyncio.run(scenario())


def test_many_readers_and_writers_go_on_together(threaded: MakeStore) -> None:
    async def scenario() -> None:
        store = threaded()
        await store.open()
        await store.commit(Unit(create=[trade(n) for n in range(100)]))
        writes = [store.commit(Unit(trades=(trade(n, version=1),))) for n in range(100)]
        reads = [store.trade(n) for n in range(100)]
        _, read = await asyncio.gather(asyncio.gather(*writes), asyncio.gather(*reads))
        assert all(found in (trade(n), trade(n, version=1)) for n, found in enumerate(read))
        assert {t.version for t in (await store.load()).trades} == {1}
        await store.close()

    asyncio.run(scenario())


def test_what_was_committed_is_read_at_once(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        for version in range(50):
            await store.commit(Unit(trades=(trade(1, version=version),)))
            assert await store.trade(1) == trade(1, version=version)
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("column", "value"), [("memory", "'{'"), ("memory", "'{}'"), ("state", "state"), ("direction", "direction")]
)
def test_a_row_that_makes_no_sense_is_an_error_and_not_a_trade(
    make_store: MakeStore, path: Path, column: str, value: str
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),)))
        connection = driver.connect(str(path))
        connection.execute(f"UPDATE trades SET {column} = {value}, owner = 'somebody'")
        connection.commit()
        connection.close()
        with pytest.raises(StoreFailed):
            await store.trade(1)
        await store.close()

    asyncio.run(scenario())
