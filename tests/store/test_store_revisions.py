"""A program of the first revision and this one work on one store; rows without a hash get theirs at the next start."""

import asyncio
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql.hashes import LAYOUTS
from dtms.adapters.store_sql.verify import verify_file
from dtms.domain.errors import StoreDamaged
from dtms.ports.store import Unit

from .builders import fact
from .conftest import MakeStore
from .spoiling import change, filled

TO_0002 = (
    *(f"DROP TABLE {table}" for table in ("ownership", "managed", "plans", "pending_changes")),
    "UPDATE dtms_revision SET version_num = '0002'",
)
"""Back to the second revision."""
TO_0001 = (
    *TO_0002,
    *(f"DROP INDEX ix_{table}_unhashed" for table in ("trades", "intents", "facts", "evaluations")),
    *(f"DROP TRIGGER {table}_unhashed" for table in ("trades", "intents", "controls", "rails", "leases")),
    *(
        f"ALTER TABLE {table} DROP COLUMN hash"
        for table in ("trades", "intents", "facts", "evaluations", "controls", "rails", "leases")
    ),
    "ALTER TABLE facts DROP COLUMN previous",
    *(f"DROP TABLE {table}" for table in ("kept", "archived_trades", "archived_intents", "archived_facts")),
    "DROP TABLE dtms_revision",
)
"""Back to the first revision."""


def _unhashed(path: Path) -> int:
    connection = driver.connect(str(path))
    tables = [name for name in LAYOUTS if not name.startswith("archived")]
    found = sum(connection.execute(f"SELECT count(*) FROM {t} WHERE hash IS NULL").fetchone()[0] for t in tables)
    connection.close()
    return int(found)


@pytest.mark.parametrize("back", [TO_0001, TO_0002], ids=["0001", "0002"])
def test_a_store_of_an_earlier_revision_gets_what_it_lacks_and_loses_nothing(
    make_store: MakeStore, path: Path, back: tuple[str, ...]
) -> None:
    filled(make_store)

    async def loaded() -> tuple[object, ...]:
        store = make_store()
        await store.open()
        read = (await store.load(), await store.facts(), await store.trade(3), await store.lease("engine"))
        await store.close()
        return read

    before = asyncio.run(loaded())
    connection = driver.connect(str(path), isolation_level=None)
    for statement in back:
        connection.execute(statement)
    assert connection.execute("SELECT version_num FROM dtms_schema").fetchall() == [("0001",)]
    connection.close()
    if back is TO_0002:
        verify_file(path)  # a backup of then is still one
    assert asyncio.run(loaded()) == before
    assert _unhashed(path) == 0
    verify_file(path)


PUT_TRADE = (
    "INSERT INTO trades (ticket, identifier, login, server, symbol, direction, entry_price, volume, initial_volume,"
    " risk, state, owner, disabled, registered_at, last_updated, version, memory, stop_loss)"
    " SELECT {ticket}, identifier, login, server, symbol, direction, entry_price, volume, initial_volume,"
    " risk, state, owner, disabled, registered_at, last_updated, version + 1, memory, 1.06 FROM trades WHERE ticket = 1"
    " ON CONFLICT (ticket) DO UPDATE SET stop_loss = excluded.stop_loss, version = excluded.version"
)


def test_a_program_of_the_first_revision_goes_on_with_the_store_and_the_next_start_protects_what_it_wrote(
    make_store: MakeStore, path: Path
) -> None:
    """Its statements name no hash: rows that it adds have none, rows that it changes lose theirs."""
    filled(make_store)
    connection = driver.connect(str(path), isolation_level=None)
    assert connection.execute("SELECT version_num FROM dtms_schema").fetchall() == [("0001",)]
    for ticket in (1, 5):
        connection.execute(PUT_TRADE.format(ticket=ticket))
    connection.execute("UPDATE controls SET halted = 0, halt_reason = NULL")
    connection.execute("UPDATE leases SET token = 7")
    connection.execute(
        "INSERT INTO facts (id, kind, ticket, market_ms, machine_ms, summary, details)"
        " VALUES (8, 'transition', 1, 5, 5, 'by the one before', '{}')"
    )
    connection.execute("UPDATE counters SET value = 8 WHERE name = 'facts'")
    connection.close()
    assert _unhashed(path) == 5

    async def scenario() -> None:
        store = make_store()
        await store.open()
        loaded = await store.load()
        assert {t.ticket: t.stop for t in loaded.trades} == {1: 1.06, 2: 1.08025, 5: 1.06}
        assert not loaded.controls.halted
        lease = await store.lease("engine")
        assert lease is not None
        assert lease.token == 7
        await store.commit(Unit(facts=(fact(1),)))
        assert await store.verify_chain(1) == []
        await store.close()

    asyncio.run(scenario())
    assert _unhashed(path) == 0
    verify_file(path)


def test_a_row_without_a_hash_that_cannot_be_read_is_damaged(make_store: MakeStore, path: Path) -> None:
    filled(make_store)
    change(path, "UPDATE trades SET hash = NULL, memory = '{\"machine\": 5}' WHERE ticket = 2")
    with pytest.raises(StoreDamaged, match="trades 2"):
        asyncio.run(make_store().open())


def test_a_counter_that_fell_behind_gives_no_number_twice(make_store: MakeStore, path: Path) -> None:
    filled(make_store)
    change(path, "UPDATE counters SET value = 1")

    async def scenario() -> None:
        store = make_store()
        await store.open()
        assert (await store.next_intent_numbers(1))[0] == 4
        assert list(await store.commit(Unit(facts=(fact(),)))) == [8]
        await store.close()

    asyncio.run(scenario())
