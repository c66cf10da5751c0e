"""A store opens sound and current, or says in one line why not, and touches nothing that it does not know."""

import asyncio
import os
import stat
import threading
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest
from sqlalchemy import create_engine

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.migrate import NEEDED_TABLE, VERSION_TABLE, migrate
from dtms.adapters.store_sql.schema import metadata
from dtms.adapters.store_sql.sqlite import SqliteDatabase, path_of, prepare_writer, require_library
from dtms.domain.errors import Misconfigured, StoreFailed
from dtms.ports.store import Store, Unit

from .builders import ManualClock, fact, trade
from .conftest import MakeStore


def _open_and_close(store: Store) -> None:
    async def scenario() -> None:
        await store.open()
        await store.close()

    asyncio.run(scenario())


def _sql(path: Path) -> dict[str, str]:
    connection = driver.connect(str(path))
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {name: "".join(sql.split()) for name, sql in rows}


def test_a_new_store_is_made_with_its_folder_for_its_owner_alone(make_store: MakeStore, path: Path) -> None:
    _open_and_close(make_store())
    assert path.exists()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_log_and_its_index_are_for_the_owner_alone_too(make_store: MakeStore, path: Path) -> None:
    async def scenario() -> list[int]:
        store = make_store()
        await store.open()
        await store.commit(Unit(facts=(fact(),)))
        modes = [stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()]
        await store.close()
        return modes

    modes = asyncio.run(scenario())
    assert len(modes) == 3
    if os.name == "posix":
        assert set(modes) == {0o600}


def test_the_migrations_make_the_schema_that_the_code_uses(make_store: MakeStore, path: Path, tmp_path: Path) -> None:
    """Table by table and index by index, every type and check included."""
    _open_and_close(make_store())
    direct = tmp_path / "direct.db"
    engine = create_engine(f"sqlite:///{direct}", module=driver)
    metadata.create_all(engine)
    engine.dispose()
    migrated = _sql(path)
    del migrated[VERSION_TABLE], migrated[NEEDED_TABLE]
    assert migrated == _sql(direct)


def test_opening_again_changes_nothing(make_store: MakeStore, path: Path) -> None:
    async def scenario() -> None:
        for expected in ([], [trade(1)], [trade(1)]):
            store = make_store()
            await store.open()
            assert (await store.load()).trades == expected
            if not expected:
                await store.commit(Unit(create=(trade(1),)))
            await store.close()

    asyncio.run(scenario())


def test_starts_at_once_migrate_once(path: Path, clock: ManualClock) -> None:
    failures: list[Exception] = []

    def start() -> None:
        try:
            _open_and_close(SqlStore(f"sqlite:///{path}", clock))
        except (StoreFailed, Misconfigured) as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_every_commit_is_synchronised(path: Path) -> None:
    database = SqliteDatabase(path)
    database.make_file()
    connection = database.connect()
    prepare_writer(connection)
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    connection.close()
    assert found == ["wal", 2]


def test_the_table_of_an_earlier_system_stays_as_it_is(make_store: MakeStore, path: Path) -> None:
    path.parent.mkdir()
    connection = driver.connect(str(path))
    connection.execute("CREATE TABLE dtms_trades (ticket INTEGER PRIMARY KEY, state TEXT)")
    connection.execute("INSERT INTO dtms_trades VALUES (5, 'HEDGED')")
    connection.commit()
    connection.close()
    _open_and_close(make_store())
    connection = driver.connect(str(path))
    assert connection.execute("SELECT * FROM dtms_trades").fetchall() == [(5, "HEDGED")]
    connection.close()


def test_a_newer_schema_stops_the_start(make_store: MakeStore, path: Path) -> None:
    _open_and_close(make_store())
    connection = driver.connect(str(path))
    connection.execute(f"UPDATE {NEEDED_TABLE} SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(Misconfigured, match=r"schema 9999, newer than this program's \d+: start the newer version"):
        _open_and_close(make_store())


def test_a_migration_that_fails_leaves_nothing_behind(path: Path) -> None:
    """All of it is one transaction: here a foreign table stands in the way of the last one."""
    database = SqliteDatabase(path)
    database.make_file()
    connection = database.connect()
    connection.execute("CREATE TABLE counters (other INTEGER)")
    before = _sql(path)
    with pytest.raises(StoreFailed, match="already exists"), database.named():
        migrate(database.engine)
    assert _sql(path) == before
    connection.close()


def test_an_old_library_stops_the_start() -> None:
    require_library((3, 51, 3))
    require_library((3, 53, 0))
    with pytest.raises(Misconfigured, match=r"SQLite 3\.51\.2 .* 3\.51\.3 or newer"):
        require_library((3, 51, 2))


@pytest.mark.parametrize("content", [b"this is not a database" * 100, b"SQLite format 3\x00" + b"\x00" * 5000])
def test_a_file_that_is_no_database_is_refused_and_kept(make_store: MakeStore, path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreFailed, match=r"dtms_trades\.db is not sound"):
        _open_and_close(make_store())
    assert path.read_bytes() == content


def test_a_damaged_page_is_found_before_anything_is_served(make_store: MakeStore, path: Path) -> None:
    async def fill() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=[trade(n) for n in range(200)]))
        await store.close()

    asyncio.run(fill())
    content = bytearray(path.read_bytes())
    connection = driver.connect(str(path))
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'trades'").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content[(root - 1) * size : root * size] = b"\xa5" * size
    path.write_bytes(content)
    with pytest.raises(StoreFailed, match="is not sound"):
        _open_and_close(make_store())
    assert path.read_bytes() == content


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://host/db", "data.db"])
def test_a_store_url_of_another_kind_is_refused(url: str, clock: ManualClock) -> None:
    with pytest.raises(Misconfigured, match="store"):
        SqlStore(url, clock)


def test_a_store_url_names_its_file() -> None:
    assert path_of("sqlite:///data/dtms_trades.db") == Path("data/dtms_trades.db")
    assert path_of("sqlite://") is None
    assert path_of("sqlite:///:memory:") is None


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="cannot be opened"):
        _open_and_close(SqlStore(f"sqlite:///{tmp_path}/file/x.db", clock))
