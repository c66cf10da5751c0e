"""What was acknowledged survives a crash; after a store error nothing is acknowledged before it was verified."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.migrate import migrate
from dtms.adapters.store_sql.numbers import BLOCK
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.adapters.store_sql.writer import Committer, Transaction
from dtms.adapters.store_sql.writers import InlineWriter, ThreadWriter, Writer
from dtms.domain.errors import InvariantBroken, StoreDamaged, StoreFailed
from dtms.ports.store import Unit

from .builders import ManualClock, fact, intent, trade
from .conftest import MakeStore

HERE = Path(__file__).parent
SIZE = 4096
"""Of a page."""


def _run_until_killed(url: str, first: int, lines: int) -> list[tuple[int, ...]]:
    """Kill a committing process in the middle of its work, and return all that it was told is stored."""
    command = [sys.executable, str(HERE / "crashing.py"), url, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line for line in told if line.endswith("\n")]
    return [tuple(map(int, line.split())) for line in whole]


def test_a_killed_process_loses_nothing_that_was_acknowledged_and_gives_no_number_twice(path: Path) -> None:
    url = f"sqlite:///{path}"
    told: list[tuple[int, ...]] = []
    for turn in range(2):
        told += _run_until_killed(url, first=1 + 1_000_000 * turn, lines=250)
    assert len(told) >= 500

    async def scenario() -> None:
        store = SqlStore(url, ManualClock())
        await store.open()
        loaded = await store.load()
        kept = {t.ticket: t for t in loaded.trades}
        intents = {i.number: i for i in loaded.intents}
        facts = {f.id: f for f in await store.facts(limit=10**6)}
        for ticket, number, fact_id in told:
            assert kept[ticket] == trade(ticket)
            assert intents[number] == intent(number, ticket)
            assert facts[fact_id].ticket == ticket
        # Each unit is there whole, acknowledged or not.
        assert len(kept) == len(intents) == len(facts)
        assert (await store.next_intent_numbers(1))[0] > max(intents)
        await store.close()

    asyncio.run(scenario())


def test_intent_numbers_are_never_given_twice(make_store: MakeStore) -> None:
    """A second process and a restart each take a block of their own; what a block has left is skipped."""

    async def scenario() -> None:
        one, two = make_store(), make_store()
        await one.open()
        await two.open()
        given = [await one.next_intent_numbers(1), await two.next_intent_numbers(3)]
        given += [await one.next_intent_numbers(BLOCK - 1), await one.next_intent_numbers(2)]
        given += await asyncio.gather(*(one.next_intent_numbers(7) for _ in range(40)))
        given += [await two.next_intent_numbers(10 * BLOCK)]
        await one.close()
        again = make_store()
        await again.open()
        given += [await again.next_intent_numbers(5)]
        numbers = [number for each in given for number in each]
        assert len(set(numbers)) == len(numbers)
        assert min(numbers) == 1
        assert min(given[-1]) > max(number for each in given[:-1] for number in each)
        await two.close()
        await again.close()

    asyncio.run(scenario())


def test_numbers_beyond_the_magic_number_are_not_given(make_store: MakeStore, path: Path) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        connection = driver.connect(str(path))
        connection.execute("INSERT INTO counters VALUES ('intents', 1099511627775 - 64)")
        connection.commit()
        connection.close()
        last = await store.next_intent_numbers(64)
        assert last[-1] == 2**40 - 1
        with pytest.raises(InvariantBroken, match="used up"):
            await store.next_intent_numbers(1)
        await store.close()

    asyncio.run(scenario())


def _move(path: Path, to: str) -> Path:
    return path.rename(path.with_name(to))


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _committer(path: Path) -> Committer:
    database = SqliteDatabase(path)
    database.make_file()
    migrate(database.engine)
    return Committer(database)


def _make_full(tx: Transaction) -> None:
    """Let this connection's database grow no further; the next connection knows nothing of it."""
    tx.cursor.execute("PRAGMA max_page_count = 1")
    tx.cursor.fetchall()


def _fill(tx: Transaction) -> int:
    tx.cursor.execute("CREATE TABLE IF NOT EXISTS ballast (content BLOB)")
    tx.cursor.execute("INSERT INTO ballast VALUES (zeroblob(1000000))")
    return 1


def _count(tx: Transaction) -> int:
    return tx.count_up("test", 1)[0]


@pytest.mark.parametrize("kind", [InlineWriter, ThreadWriter])
def test_a_full_disk_fails_the_commit_and_all_that_follow_until_a_reopening(path: Path, kind: type[Writer]) -> None:
    async def scenario() -> None:
        writer = kind(_committer(path))  # type: ignore[call-arg]
        assert await writer.submit(_count) == 1
        await writer.submit(_make_full)
        with pytest.raises(StoreFailed, match="full"):
            await writer.submit(_fill)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="not reopened yet"):
                await writer.submit(_count)
        await writer.stop()
        again = kind(_committer(path))  # type: ignore[call-arg]
        assert await again.submit(_count) == 2
        assert await again.submit(_fill) == 1
        await again.stop()

    asyncio.run(scenario())


def test_after_a_store_error_everything_that_shared_the_commit_fails_and_nothing_of_it_is_kept(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def full(tx: Transaction) -> None:
        _make_full(tx)
        begun.set()
        assert go_on.wait(10)

    async def scenario() -> None:
        writer = ThreadWriter(_committer(path))
        first = asyncio.create_task(writer.submit(full))
        await asyncio.to_thread(begun.wait)
        shared = [asyncio.create_task(writer.submit(work)) for work in (_count, _fill, _count)]
        await asyncio.sleep(0)
        go_on.set()
        await first
        answers = await asyncio.gather(*shared, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreFailed] * 3
        await writer.stop()
        again = ThreadWriter(_committer(path))
        assert await again.submit(_count) == 1
        await again.stop()

    asyncio.run(scenario())


def test_nothing_is_acknowledged_or_read_while_the_file_cannot_be_verified(make_store: MakeStore, path: Path) -> None:
    """The file is gone, comes back damaged, and comes back sound."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=[trade(n) for n in range(100)], facts=(fact(),)))
        await store.reopen()  # all of it is in the main file now
        _move(path, "elsewhere")
        with pytest.raises(StoreFailed, match=r"gone while the store is open|unable to open"):
            await store.commit(Unit(create=(trade(200),)))
        with pytest.raises(StoreFailed, match="not reopened yet"):
            await store.trade(1)
        assert store.failure is not None
        await store.close()
        sound = path.with_name("elsewhere").read_bytes()
        _put(path, sound[:-SIZE] + b"\xa5" * SIZE)
        for _ in range(2):
            with pytest.raises(StoreFailed, match="not sound"):
                await store.reopen()
            with pytest.raises(StoreFailed, match="not open"):
                await store.load()
        _put(path, sound)
        await store.reopen()
        assert len((await store.load()).trades) == 100
        await store.commit(Unit(create=(trade(201),)))
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [None, b""], ids=["vanished", "emptied"])
def test_a_vanished_or_emptied_file_is_not_taken_for_the_store_again(
    make_store: MakeStore, path: Path, left: bytes | None
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),), facts=(fact(),)))
        _move(path, "elsewhere")
        if left is not None:
            _put(path, left)
        with pytest.raises(StoreFailed):
            await store.commit(Unit(create=(trade(2),)))
        with pytest.raises(StoreFailed, match=r"its last commit is 0, and 1 was acknowledged"):
            await store.reopen()
        with pytest.raises(StoreFailed, match="not open"):
            await store.trades()
        await store.close()

    asyncio.run(scenario())


def test_another_store_in_the_files_place_is_not_taken_for_it(make_store: MakeStore, path: Path) -> None:
    async def scenario() -> None:
        other = make_store()
        await other.open()
        for number in range(5):
            await other.commit(Unit(create=(trade(100 + number),), facts=(fact(100 + number),)))
        await other.close()
        _move(path, "other")
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),), facts=(fact(1),)))
        _move(path, "elsewhere")
        _move(path.with_name("other"), path.name)
        with pytest.raises(StoreFailed, match="replaced by another file"):
            await store.trade(1)
        with pytest.raises(StoreDamaged, match="fact 1 that was acknowledged is not in it"):
            await store.reopen()
        await store.close()
        asides = [p for p in path.parent.iterdir() if "-wal.aside-" in p.name]
        assert len(asides) == 1, "the log of the file that was moved away must not be read into the other"

    asyncio.run(scenario())


def test_another_writers_long_lock_fails_the_commit_and_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtms.adapters.store_sql.sqlite.BUSY_TIMEOUT_MS", 50)
    committer = _committer(path)
    assert committer.apply((_count,))[0].value == 1
    other = driver.connect(str(path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (refused,) = committer.apply((_count,))
    assert isinstance(refused.error, StoreFailed)
    other.execute("COMMIT")
    other.close()
    assert committer.apply((_count,))[0].value == 2
    committer.close()


def test_a_defect_in_a_work_ends_the_writer_and_nobody_waits_for_ever(path: Path) -> None:
    def defect(tx: Transaction) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        heard: list[object] = []
        hook, threading.excepthook = threading.excepthook, lambda args: heard.append(args.exc_type)
        writer = ThreadWriter(_committer(path))
        with pytest.raises(StoreFailed, match="has ended"):
            await asyncio.wait_for(writer.submit(defect), 5)
        with pytest.raises(StoreFailed, match="closed"):
            await writer.submit(_count)
        await writer.stop()
        threading.excepthook = hook
        assert heard == [ZeroDivisionError]

    asyncio.run(scenario())


def test_real_write_errors_fail_the_commit_and_a_reopened_store_goes_on(path: Path) -> None:
    """The system refuses to let the file grow, then allows it again."""
    pytest.importorskip("resource", reason="file size limits are POSIX's")
    command = [sys.executable, str(HERE / "limited.py"), str(path)]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert seen.split("\n")[:3] == ["stored", "failed failed failed", "stored 1 4"]


def test_a_unit_that_failed_with_the_store_can_be_committed_again(threaded: MakeStore, path: Path) -> None:
    async def scenario() -> None:
        store = threaded()
        await store.open()
        await store.commit(Unit(create=(trade(1),), facts=(fact(1),)))
        other = driver.connect(str(path), isolation_level=None)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        await store.commit(Unit(create=(trade(2),), facts=(fact(2),)))
        assert [f.ticket for f in await store.facts()] == [1, 2]
        await store.close()

    asyncio.run(scenario())
