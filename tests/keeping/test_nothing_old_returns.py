"""What a rebuilt or restored store must never do: give a number again, bring back what ended, lift a kill switch."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest
from tests.keeping.test_archive import DAY_MS, filled
from tests.keeping.test_rebuilding import fill, keeper_of, open_store, overwrite, remove, rows
from tests.store.builders import ManualClock, fact, intent, trade

from dtms.adapters.store_sql.backup import back_up, backups, change_number, folder_of
from dtms.adapters.store_sql.changelog import ChangeLog
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.rebuild import restore
from dtms.adapters.store_sql.segments import changes, segments
from dtms.adapters.store_sql.verify import verify_file
from dtms.ports.store import Unit


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


def given(store: GuardedStore) -> tuple[int, int]:
    """Take a lease and a number, and send a request by them."""

    async def main() -> tuple[int, int]:
        lease = await store.acquire("engine", "here:1:1", 15.0)
        assert lease is not None
        number = (await store.next_intent_numbers(1)).start
        await store.commit(Unit(intents=(intent(number, token=lease.token),)))
        await store.close()
        return number, lease.token

    return asyncio.run(main())


def test_a_store_that_is_rebuilt_twice_gives_no_number_again(path: Path, clock: ManualClock) -> None:
    """Each time its file is gone, and the second time the backups since the first are spoilt as well."""
    store, keeper = open_store(path, clock)
    keeper.back_up()
    seen = [given(store)]
    for _ in range(2):
        remove(path)
        for late in backups(folder_of(path))[1:]:
            overwrite(late.path)
        store, _ = open_store(path, clock)
        seen.append(given(store))
    numbers, tokens = zip(*seen, strict=True)
    assert sorted(set(numbers)) == list(numbers)
    assert sorted(set(tokens)) == list(tokens)


def test_a_restored_store_gives_no_number_of_the_history_that_it_replaced(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 3))
    old = back_up(path, path.parent / "copies", clock.now_ms, verify_file).path
    remove(path)  # rebuilt: numbers leap
    store, _ = open_store(path, clock)
    number, token = given(store)
    restore(path, old, clock.now_ms, verify_file)
    store, _ = open_store(path, clock)
    later_number, later_token = given(store)
    assert later_number > number
    assert later_token > token


def test_a_restored_store_that_is_damaged_is_not_made_the_one_that_it_replaced(path: Path, clock: ManualClock) -> None:
    older = fill(path, clock, numbers=range(1, 3))
    old = back_up(path, path.parent / "copies", clock.now_ms, verify_file).path
    fill(path, clock, numbers=range(3, 6), backup_after=5)
    remove(path)
    store, _ = open_store(path, clock)  # the replaced history has leapt, and a backup of it has high numbers
    asyncio.run(store.close())
    restore(path, old, clock.now_ms, verify_file)
    store, keeper = open_store(path, clock)
    keeper.back_up()
    asyncio.run(store.close())
    overwrite(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path)["trades"] == older["trades"]


def test_an_old_copy_in_its_place_brings_no_archived_trade_back(path: Path, clock: ManualClock) -> None:
    async def main() -> None:
        store = await filled(path, clock)
        await store.close()
        shutil.copy(path, path.with_suffix(".old"))
        store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock))
        await store.open()
        await store.archive(clock.now_ms - DAY_MS, limit=10)
        await store.close()

    asyncio.run(main())
    before = rows(path)
    shutil.copy(path.with_suffix(".old"), path)
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before


def test_a_kill_switch_holds_beyond_a_gap_in_the_log(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 5), backup_after=2)  # halts at its end
    first, last = segments(folder_of(path))
    assert first.after < last.after
    lines = last.path.read_bytes().splitlines(keepends=True)
    last.path.write_bytes(b"".join(lines[:1]))
    log = ChangeLog(folder_of(path))
    log.open(90)
    with contextlib.closing(driver.connect(path)) as connection:
        connection.row_factory = driver.Row
        (controls,) = [dict(row) for row in connection.execute("SELECT * FROM controls")]
    log.hear(91, [("controls", [controls])])
    log.close()
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path)["controls"][0][1] == 1


def test_a_file_that_was_emptied_is_noticed_by_its_backups_alone(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 5), backup_after=4)
    for segment in segments(folder_of(path)):
        segment.path.unlink()
    path.write_bytes(b"")
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert len(rows(path)["trades"]) == 4


def test_looking_at_a_file_leaves_its_log_to_be_verified(path: Path, clock: ManualClock) -> None:
    """A log that is settled by whoever only looks could not be seen to lack commits any more."""

    async def main() -> None:
        store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock), inline=True)
        await store.open()
        await store.commit(Unit(trades=(trade(1),), facts=(fact(1),)))
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), path.with_name(f"copy-{name}"))
        await store.close()

    asyncio.run(main())
    copied = path.with_name(f"copy-{path.name}")
    before = copied.read_bytes(), copied.with_name(f"{copied.name}-wal").read_bytes()
    assert change_number(copied) > 0
    back_up(copied, path.parent / "copies", clock.now_ms, verify_file)
    assert (copied.read_bytes(), copied.with_name(f"{copied.name}-wal").read_bytes()) == before


def test_a_folder_that_cannot_be_made_stops_no_start_and_a_backup_stays_due(path: Path, clock: ManualClock) -> None:
    path.parent.mkdir(parents=True)
    folder_of(path).write_text("in the way")
    store, keeper = open_store(path, clock)
    asyncio.run(store.commit(Unit(trades=(trade(1),))))
    assert keeper.log.failure is not None
    assert keeper.is_backup_due
    folder_of(path).unlink()
    keeper.back_up()
    assert not keeper.is_backup_due
    asyncio.run(store.close())


def test_a_commit_that_is_told_late_does_not_end_a_segment_begun_after_it(tmp_path: Path) -> None:
    log = ChangeLog(tmp_path)
    log.begin_segment(lambda: 5)
    log.hear(5, [("trades", [])])
    log.hear(6, [("trades", [])])
    assert log.failure is None
    log.close()
    assert [change.number for change in changes(tmp_path, 5)] == [6]


def test_what_cannot_be_spelt_ends_the_log_and_not_the_writer(tmp_path: Path) -> None:
    log = ChangeLog(tmp_path)
    log.open(0)
    log.hear(1, [("trades", [{"ticket": object()}])])
    assert log.failure is not None
    assert "cannot be written down" in log.failure


def test_after_a_log_that_failed_backup_and_log_make_the_store_again(path: Path, clock: ManualClock) -> None:
    """What was committed while the copy was made is in the log, though the log had failed before."""
    keeper = keeper_of(path, clock)
    store = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(store.open())
    keeper.log._fail("a test")

    def verify(copy: Path) -> None:
        asyncio.run(store.commit(Unit(trades=(trade(7),))))  # meanwhile
        verify_file(copy)

    keeper._verify = verify
    keeper.back_up()
    assert not keeper.is_backup_due
    asyncio.run(store.close())
    before = rows(path)
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before
