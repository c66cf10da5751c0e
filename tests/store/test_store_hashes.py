"""A stored row is what was written, or it is not believed."""

import asyncio
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.hashes import LAYOUTS
from dtms.adapters.store_sql.verify import verify_file
from dtms.domain.errors import StoreDamaged, StoreFailed
from dtms.domain.trade import State
from dtms.ports.store import Controls, KeptKind, Permission, Unit

from .builders import fact, intent, trade
from .conftest import MakeStore
from .spoiling import change, fill, filled

KEYS = {
    "trades": "ticket = 1",
    "intents": "number = 1",
    "facts": "id = 2",
    "evaluations": "bar_ms = 900000",
    "controls": "id = 1",
    "rails": "id = 1",
    "leases": "key = 'engine'",
    "kept": "key = 'a'",
}
COLUMNS = [
    (table, column)
    for table, layout in LAYOUTS.items()
    if table in KEYS
    for column in (*layout.kinds, *([layout.text] if layout.text else []), "hash")
    if (table, column) not in {("facts", "previous"), ("controls", "id"), ("rails", "id"), ("kept", "expires_ms")}
]

ASKED_BY = {("evaluations", "symbol"), ("evaluations", "direction"), ("kept", "kind")}
"""Columns by which a row is asked for: nobody gets it any more, and only a pass over all rows finds it."""


def _flipped(value: Any, column: str) -> Any:
    """Return a value with one bit flipped, as the disk would show it."""
    if column in ("ticket", "number", "id"):
        return value ^ 64  # the smallest one would be another row's key
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    if isinstance(value, float):
        return value + 0.01
    return 1 if value is None else int(value) ^ 1


async def _read_everything(store: SqlStore) -> None:
    """Read what a start reads, and what somebody may ask for."""
    await store.load()
    await store.trades(states=frozenset(State))
    await store.intents()
    await store.facts()
    await store.kept(KeptKind.ANSWER)
    await store.evaluations("EURUSDc", "BUY", from_ms=0, to_ms=10**9)


@pytest.fixture
def inline(path: Path, clock: Any, world: Any) -> MakeStore:
    return lambda: SqlStore(f"sqlite:///{path}", clock, inline=True, world=world)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_one_changed_value_in_any_column_is_found_and_named(
    inline: MakeStore, path: Path, table: str, column: str
) -> None:
    filled(inline)
    connection = driver.connect(str(path))
    (value,) = connection.execute(f'SELECT "{column}" FROM {table} WHERE {KEYS[table]}').fetchone()
    connection.close()
    changed = _flipped(value, column)
    spelt = "'" + changed.replace("'", "''") + "'" if isinstance(changed, str) else changed
    change(path, f'UPDATE {table} SET "{column}" = {spelt} WHERE {KEYS[table]}')

    async def read() -> None:
        store = inline()
        await store.open()
        try:
            await _read_everything(store)
        finally:
            await store.close()

    if (table, column) in ASKED_BY:
        asyncio.run(read())
    else:
        with pytest.raises(StoreDamaged) as failed:
            asyncio.run(read())
        assert {name for name, _ in failed.value.rows} == {table}
    with pytest.raises(StoreDamaged, match=f"the store is damaged: .*{table}"):
        verify_file(path)


def test_a_row_moved_to_another_key_is_not_believed(inline: MakeStore, path: Path) -> None:
    """The stop of trade 2 for trade 1, hash and all."""
    filled(inline)
    columns = [name for name in (*LAYOUTS["trades"].kinds, "memory", "hash") if name != "ticket"]
    taken = ", ".join(f"{name} = (SELECT {name} FROM trades WHERE ticket = 2)" for name in columns)
    change(path, f"UPDATE trades SET {taken} WHERE ticket = 1")
    with pytest.raises(StoreDamaged, match="trades 1"):
        asyncio.run(inline().open())


def test_damage_of_what_is_acted_on_stops_the_start_and_changes_nothing(make_store: MakeStore, path: Path) -> None:
    filled(make_store)
    change(path, "UPDATE trades SET stop_loss = 1.09025 WHERE ticket IN (1, 2)", "UPDATE controls SET halted = 0")
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"damaged: trades 1, trades 2, controls 1: restore a backup, or rebuild it"):
        asyncio.run(make_store().open())
    assert path.read_bytes() == before


def test_damage_of_what_is_over_stops_no_start_and_is_never_shown(make_store: MakeStore, path: Path) -> None:
    """A closed trade and its facts decide on nothing any more; who asks for them is told, others are served."""
    filled(make_store)
    change(path, "UPDATE trades SET stop_loss = 1.09 WHERE ticket = 3", "UPDATE facts SET summary = 'x' WHERE id = 5")

    async def scenario() -> None:
        store = make_store()
        await store.open()
        for _ in range(2):
            with pytest.raises(StoreDamaged, match="trades 3"):
                await store.trade(3)
            with pytest.raises(StoreDamaged, match="facts 5"):
                await store.facts(ticket=3)
            assert [t.ticket for t in (await store.load()).trades] == [1, 2]
            await store.commit(Unit(facts=(fact(1),)))
        assert store.failure is None
        await store.close()

    asyncio.run(scenario())


def test_damage_that_shows_while_running_ends_the_trust_of_readers_and_writer(
    make_store: MakeStore, path: Path
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await fill(store)
        change(path, "UPDATE trades SET stop_loss = 1.09025 WHERE ticket = 1")
        with pytest.raises(StoreDamaged, match="trades 1"):
            await store.trade(1)
        for attempt in (store.trade(2), store.commit(Unit(facts=(fact(),))), store.renew(lease, 5.0), store.load()):
            with pytest.raises(StoreFailed, match="not reopened yet: the store is damaged: trades 1"):
                await attempt
        with pytest.raises(StoreDamaged, match="trades 1"):
            await store.reopen()
        await store.close()

    lease: Any = None
    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("halted", "damage", "named"),
    [
        (True, "UPDATE controls SET halted = 0", "controls 1"),
        (False, "UPDATE leases SET token = token + 1", "leases 1"),
        (False, "UPDATE trades SET owner = 'dtms_managers' WHERE ticket = 1", "trades 1"),
    ],
    ids=["halt", "lease", "owner"],
)
def test_a_permission_is_not_judged_by_a_damaged_row(
    make_store: MakeStore, path: Path, halted: bool, damage: str, named: str
) -> None:
    """A bit that lifts the kill switch lets nothing through: the whole commit fails, and all that shares it."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),), controls=Controls(halted=halted)))
        lease = await store.acquire("1", "here:1:1", 15.0)
        assert lease is not None
        change(path, damage)
        may = Permission(key="1", holder=lease.holder, token=lease.token, ticket=1, states=frozenset(State))
        with pytest.raises(StoreDamaged, match=named):
            await store.commit(Unit(intents=(intent(),), permission=may))
        with pytest.raises(StoreFailed, match="not reopened yet"):
            await store.intents()
        await store.close()

    asyncio.run(scenario())
