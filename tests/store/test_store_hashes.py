"""A stored row is what was written, or it is not believed; a ticket's facts are a chain; every row gets its hash."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.hashes import LAYOUTS
from dtms.adapters.store_sql.verify import Place, verify_chain, verify_file
from dtms.domain.actions import IntentState
from dtms.domain.errors import StoreDamaged, StoreFailed
from dtms.domain.trade import Machine, Mode, State
from dtms.ports.store import Controls, Kept, KeptKind, Permission, Unit

from .builders import evaluation, fact, intent, trade
from .conftest import MakeStore

CLOSED = Machine(state=State.CLOSED)
WHOLE = Unit(
    create=(trade(1, target=1.1, initial_stop=1.07, mode=Mode.AUTO), trade(2), trade(3, machine=CLOSED)),
    intents=(intent(1), intent(2, 2), intent(3, 3, state=IntentState.CONFIRMED)),
    facts=tuple(fact(ticket, details={"n": n}) for n, ticket in enumerate((1, 1, 2, None, 3, 1, None))),
    evaluations=(evaluation(),),
    controls=Controls(halted=True, halt_reason="by hand", halted_ms=5, mode=Mode.AUTO),
    rails={"day": 1},
    keep=(Kept(kind=KeptKind.ANSWER, key="a", body={"status": 200}, at_ms=1, expires_ms=None),),
)
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


async def _fill(store: SqlStore) -> None:
    await store.commit(WHOLE)
    assert await store.acquire("engine", "here:1:1", 15.0) is not None


def _filled(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await _fill(store)
        await store.close()

    asyncio.run(scenario())


def _change(path: Path, *statements: str) -> None:
    """Write as a damaged disk does: no trigger, no check."""
    connection = driver.connect(str(path), isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


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
    _filled(inline)
    connection = driver.connect(str(path))
    (value,) = connection.execute(f'SELECT "{column}" FROM {table} WHERE {KEYS[table]}').fetchone()
    connection.close()
    changed = _flipped(value, column)
    spelt = "'" + changed.replace("'", "''") + "'" if isinstance(changed, str) else changed
    _change(path, f'UPDATE {table} SET "{column}" = {spelt} WHERE {KEYS[table]}')

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
    _filled(inline)
    columns = [name for name in (*LAYOUTS["trades"].kinds, "memory", "hash") if name != "ticket"]
    taken = ", ".join(f"{name} = (SELECT {name} FROM trades WHERE ticket = 2)" for name in columns)
    _change(path, f"UPDATE trades SET {taken} WHERE ticket = 1")
    with pytest.raises(StoreDamaged, match="trades 1"):
        asyncio.run(inline().open())


def test_damage_of_what_is_acted_on_stops_the_start_and_changes_nothing(make_store: MakeStore, path: Path) -> None:
    _filled(make_store)
    _change(path, "UPDATE trades SET stop_loss = 1.09025 WHERE ticket IN (1, 2)", "UPDATE controls SET halted = 0")
    before = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"damaged: trades 1, trades 2, controls 1: restore a backup, or rebuild it"):
        asyncio.run(make_store().open())
    assert path.read_bytes() == before


def test_damage_of_what_is_over_stops_no_start_and_is_never_shown(make_store: MakeStore, path: Path) -> None:
    """A closed trade and its facts decide on nothing any more; who asks for them is told, others are served."""
    _filled(make_store)
    _change(path, "UPDATE trades SET stop_loss = 1.09 WHERE ticket = 3", "UPDATE facts SET summary = 'x' WHERE id = 5")

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
        await _fill(store)
        _change(path, "UPDATE trades SET stop_loss = 1.09025 WHERE ticket = 1")
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
        _change(path, damage)
        may = Permission(key="1", holder=lease.holder, token=lease.token, ticket=1, states=frozenset(State))
        with pytest.raises(StoreDamaged, match=named):
            await store.commit(Unit(intents=(intent(),), permission=may))
        with pytest.raises(StoreFailed, match="not reopened yet"):
            await store.intents()
        await store.close()

    asyncio.run(scenario())


# --- chains ------------------------------------------------------------------------------------------------------


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
    _filled(make_store)
    assert [_broken(path, ticket) for ticket in (1, 2, 3, None)] == [[], [], [], []]
    _change(path, "DELETE FROM facts WHERE id = 2")
    assert _broken(path, 1) == [("facts", "6")]
    assert _broken(path, None) == []
    _change(path, "UPDATE facts SET id = 99 WHERE id = 4", "UPDATE facts SET id = 4 WHERE id = 7")
    assert _broken(path, None) == [("facts", "4"), ("facts", "99")]


def test_a_chain_goes_on_from_the_archive(make_store: MakeStore, path: Path) -> None:
    _filled(make_store)
    _change(
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
    _change(path, "DELETE FROM archived_facts WHERE id = 6")
    assert _broken(path, 1) == [("facts", "8")]


# --- rows without a hash -----------------------------------------------------------------------------------------

TO_0001 = (
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


def test_a_store_of_the_first_revision_gets_its_hashes_and_loses_nothing(make_store: MakeStore, path: Path) -> None:
    _filled(make_store)

    async def loaded() -> tuple[object, ...]:
        store = make_store()
        await store.open()
        read = (await store.load(), await store.facts(), await store.trade(3), await store.lease("engine"))
        await store.close()
        return read

    before = asyncio.run(loaded())
    connection = driver.connect(str(path), isolation_level=None)
    for statement in TO_0001:
        connection.execute(statement)
    assert connection.execute("SELECT version_num FROM dtms_schema").fetchall() == [("0001",)]
    connection.close()
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
    _filled(make_store)
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
    _filled(make_store)
    _change(path, "UPDATE trades SET hash = NULL, memory = '{\"machine\": 5}' WHERE ticket = 2")
    with pytest.raises(StoreDamaged, match="trades 2"):
        asyncio.run(make_store().open())


def test_a_counter_that_fell_behind_gives_no_number_twice(make_store: MakeStore, path: Path) -> None:
    _filled(make_store)
    _change(path, "UPDATE counters SET value = 1")

    async def scenario() -> None:
        store = make_store()
        await store.open()
        assert (await store.next_intent_numbers(1))[0] == 4
        assert list(await store.commit(Unit(facts=(fact(),)))) == [8]
        await store.close()

    asyncio.run(scenario())


# --- the slow pass -----------------------------------------------------------------------------------------------


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
        await _fill(store)
        assert await _pass(store, rows) == (3 + 3 + 7 + 1 + 1 + 1 + 1 + 1, [])
        _change(
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
        _change(path, "UPDATE rails SET body = '{}'")
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
        await _fill(store)
        place: Place | None = None
        for number in range(100):
            await store.commit(Unit(create=(trade(100 + number),), facts=(fact(rng.randrange(5)),)))
            place = (await store.scrub(place, 7)).next
        await store.close()

    asyncio.run(scenario())
