"""A ticket's facts are a chain, and a slow pass looks at every row and every link."""

import asyncio
import random
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.verify import Place, verify_chain, verify_file
from dtms.domain.errors import StoreDamaged
from dtms.ports.store import Unit

from .builders import fact, trade
from .conftest import MakeStore
from .spoiling import change, fill, filled


def _broken(path: Path, ticket: int | None) -> list[tuple[str, str]]:
    connection = driver.connect(str(path))
    found = verify_chain(connection, ticket)
    connection.close()
    return found


def test_the_facts_of_a_ticket_are_a_chain_whoever_wrote_them(make_store: MakeStore, path: Path) -> None:
    """Two stores on one file, units that fail in between, a restart: no fact follows on the wrong one."""

    async def scenario() -> None:
        one, two = make_store(), make_store()
        await one.open()
        await two.open()
        for number in range(6):
            await one.commit(Unit(facts=(fact(1), fact(None))))
            bad = Unit(trades=(trade(9, stop=-1.0),), facts=(fact(1), fact(2)))
            good = [Unit(facts=(fact(1), fact(number % 3))) for _ in range(3)]
            answers = await asyncio.gather(*map(two.commit, [good[0], bad, *good[1:]]), return_exceptions=True)
            assert sum(isinstance(answer, Exception) for answer in answers) == 1
        await one.close()
        await two.reopen()
        await two.commit(Unit(facts=(fact(1), fact(None))))
        for ticket in (None, 0, 1, 2):
            assert await two.verify_chain(ticket) == []
        await two.close()

    asyncio.run(scenario())
    verify_file(path)
    connection = driver.connect(str(path))
    firsts = connection.execute("SELECT ticket FROM facts WHERE previous IS NULL ORDER BY ticket").fetchall()
    assert firsts == [(None,), (0,), (1,), (2,)], "one beginning for each"
    connection.close()


def test_a_fact_that_was_removed_from_the_middle_or_exchanged_is_missed(make_store: MakeStore, path: Path) -> None:
    filled(make_store)
    assert [_broken(path, ticket) for ticket in (1, 2, 3, None)] == [[], [], [], []]
    change(path, "DELETE FROM facts WHERE id = 2")
    assert _broken(path, 1) == [("facts", "6")]
    assert _broken(path, None) == []
    change(path, "UPDATE facts SET id = 99 WHERE id = 4", "UPDATE facts SET id = 4 WHERE id = 7")
    assert _broken(path, None) == [("facts", "4"), ("facts", "99")]


def test_a_chain_goes_on_from_the_archive(make_store: MakeStore, path: Path) -> None:
    filled(make_store)
    change(
        path, "INSERT INTO archived_facts SELECT * FROM facts WHERE ticket = 1", "DELETE FROM facts WHERE ticket = 1"
    )

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(facts=(fact(1),)))
        assert await store.verify_chain(1) == []
        await store.close()

    asyncio.run(scenario())
    verify_file(path)
    change(path, "DELETE FROM archived_facts WHERE id = 6")
    assert _broken(path, 1) == [("facts", "8")]


async def _pass(store: SqlStore, rows: int) -> tuple[int, list[tuple[str, str]]]:
    place: Place | None = None
    seen, found = 0, list[tuple[str, str]]()
    while True:
        report = await store.scrub(place, rows)
        assert report.rows <= rows
        seen += report.rows
        found += report.damages
        place = report.next
        if place is None:
            return seen, found


@pytest.mark.parametrize("rows", [1, 3, 500])
def test_a_slow_pass_looks_at_every_row_once_and_names_what_is_damaged(
    make_store: MakeStore, path: Path, rows: int
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await fill(store)
        assert await _pass(store, rows) == (3 + 3 + 7 + 1 + 1 + 1 + 1 + 1, [])
        change(
            path,
            "UPDATE facts SET market_ms = 1 WHERE id = 4",
            "UPDATE evaluations SET score = 9.0",
            "UPDATE intents SET token = 2 WHERE number = 3",
        )
        assert (await _pass(store, rows))[1] == [
            ("intents", "3"),
            ("facts", "4"),
            ("evaluations", "EURUSDc/BUY/900000"),
        ]
        assert store.failure is None
        change(path, "UPDATE rails SET body = '{}'")
        with pytest.raises(StoreDamaged, match="rails 1"):
            await _pass(store, rows)
        assert store.failure is not None
        await store.close()

    asyncio.run(scenario())


def test_a_slow_pass_goes_on_beside_commits(make_store: MakeStore) -> None:
    rng = random.Random(5)

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await fill(store)
        place: Place | None = None
        for number in range(100):
            await store.commit(Unit(create=(trade(100 + number),), facts=(fact(rng.randrange(5)),)))
            place = (await store.scrub(place, 7)).next
        await store.close()

    asyncio.run(scenario())
