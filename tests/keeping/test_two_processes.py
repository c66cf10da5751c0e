"""Two processes with one store: one keeps it and its log, the other leaves for it what it commits."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest
from tests.keeping.test_commands import backup_of, dtms
from tests.keeping.test_rebuilding import fill, keeper_of, open_store, overwrite, remove, rows, tamper
from tests.store.builders import ManualClock, fact, trade

from dtms.adapters.store_sql.backup import backups, change_number, folder_of
from dtms.adapters.store_sql.claim import Claim
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.segments import changes, last_number, segments
from dtms.adapters.store_sql.upkeep import Upkeep
from dtms.domain.errors import DtmsError, StoreFailed
from dtms.ports.store import Controls, Unit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


def commit(store: GuardedStore, ticket: int) -> None:
    asyncio.run(store.commit(Unit(create=(trade(ticket),), facts=(fact(ticket),))))


def inline(path: Path, clock: ManualClock) -> GuardedStore:
    store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock), inline=True)
    asyncio.run(store.open())
    return store


def test_a_second_server_that_starts_leaves_the_first_ones_change_log_alone(path: Path, clock: ManualClock) -> None:
    first = inline(path, clock)
    for ticket in (1, 2):
        commit(first, ticket)
    size = segments(folder_of(path))[-1].path.stat().st_size
    second = inline(path, clock)
    assert segments(folder_of(path))[-1].path.stat().st_size == size
    asyncio.run(second.close())
    for ticket in (3, 4):
        commit(first, ticket)
    asyncio.run(first.close())
    before = rows(path)
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before, "no change of the first server was lost"


def test_a_second_server_keeps_the_store_once_the_first_is_gone(path: Path, clock: ManualClock) -> None:
    first, keeper = inline(path, clock), keeper_of(path, clock)
    second = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(second.open())
    assert keeper.is_backup_due
    assert keeper.back_up() is None, "the first one does it"
    asyncio.run(first.close())
    assert keeper.back_up() is not None
    commit(second, 1)
    asyncio.run(second.close())
    before = rows(path)
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before


@pytest.mark.parametrize("damage", [remove, overwrite], ids=["removed", "overwritten"])
def test_a_file_that_another_process_works_with_is_not_taken_away_from_it(
    path: Path, clock: ManualClock, damage: object
) -> None:
    fill(path, clock, numbers=range(1, 4))
    claim = Claim(path)
    assert claim.take()
    assert callable(damage)
    damage(path)
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(StoreFailed, match="another process"):
        open_store(path, clock)
    assert sorted(p.name for p in path.parent.iterdir()) == before
    claim.give_back()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_the_claim_ends_with_its_process(path: Path) -> None:
    child = os.fork()
    if child == 0:
        held = Claim(path)
        held.take()
        path.with_name("taken").touch()
        time.sleep(60)
        os._exit(0)
    while not path.with_name("taken").exists():
        time.sleep(0.01)
    claim = Claim(path)
    assert not claim.take()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert claim.take()
    claim.give_back()


def test_a_store_that_a_server_keeps_is_not_replaced_whatever_its_lease_says(
    path: Path, clock: ManualClock, tmp_path: Path
) -> None:
    fill(path, clock, numbers=range(1, 4))
    made = backup_of(path, tmp_path / "copies")
    store, _ = open_store(path, clock)
    with pytest.raises(DtmsError, match="stop it first"):
        dtms(path, "restore", str(made), "--yes")
    commit(store, 9)
    asyncio.run(store.close())
    assert 9 in {row[0] for row in rows(path)["trades"]}


def test_a_backup_by_command_beside_a_server_breaks_no_log(path: Path, clock: ManualClock) -> None:
    store = inline(path, clock)
    commit(store, 1)
    assert "verified" in dtms(path, "backup").stdout
    commit(store, 2)
    asyncio.run(store.close())
    before = rows(path)
    tamper(path, "UPDATE trades SET stop_loss = 1.5 WHERE ticket = 1")
    (made,) = backups(folder_of(path))
    assert len(list(changes(folder_of(path), made.number))) == last_number(folder_of(path)) - made.number  # type: ignore[operator]
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before


def rebuilt(path: Path, clock: ManualClock) -> None:
    """See that a store made anew has every row of the one that is removed."""
    before = rows(path)
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before


def test_what_a_second_process_commits_is_in_the_first_ones_log_in_its_order(path: Path, clock: ManualClock) -> None:
    keeper = keeper_of(path, clock)
    first = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(first.open())
    second = inline(path, clock)
    asyncio.run(second.commit(Unit(controls=Controls(halted=True, halt_reason="stop"))))
    commit(first, 1)
    for ticket in (2, 3, 4):
        commit(second, ticket)
        asyncio.run(first.commit(Unit(trades=(trade(1, stop=1.08 + ticket / 1e4),))))
    commit(second, 5)
    assert keeper.write_down() > 0
    assert keeper.log.failure is None
    asyncio.run(second.close())
    asyncio.run(first.close())
    rebuilt(path, clock)
    assert len(rows(path)["controls"]) == 1


def test_what_was_left_is_removed_once_it_is_in_the_log_on_the_disk(path: Path, clock: ManualClock) -> None:
    keeper = keeper_of(path, clock)
    first = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(first.open())
    second = inline(path, clock)
    upkeep = Upkeep(first, keeper, clock, backup_every_h=6, archive_after_days=90)
    for ticket in (1, 2):
        commit(second, ticket)
    assert left_in(path) == 2
    asyncio.run(upkeep.sync_log())
    assert left_in(path) == 0
    assert last_number(folder_of(path)) == change_number(path)
    commit(first, 3)
    assert left_in(path) == 0, "what the keeper hears itself is not left"
    asyncio.run(second.close())
    asyncio.run(first.close())


def left_in(path: Path) -> int:
    with contextlib.closing(driver.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM pending_changes").fetchone()[0])


@pytest.mark.parametrize(
    "spoil",
    ["DELETE FROM pending_changes", "UPDATE pending_changes SET body = replace(body, '1.08025', '1.09025')"],
    ids=["missing", "damaged"],
)
@pytest.mark.parametrize("heard", [True, False], ids=["with our next commit", "with the next look"])
def test_a_change_that_was_not_left_as_it_was_ends_the_log_and_a_backup_makes_it_good(
    path: Path, clock: ManualClock, spoil: str, heard: bool
) -> None:
    """As a program of the version before does, which leaves nothing."""
    keeper = keeper_of(path, clock)
    first = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(first.open())
    keeper.back_up()
    second = inline(path, clock)
    commit(second, 1)
    tamper(path, spoil)
    commit(second, 2)
    if heard:
        commit(first, 3)
    else:
        keeper.write_down()
        assert keeper.log.failure is None, "it may be one of ours that is not heard of yet"
        keeper.write_down()
    assert keeper.log.failure == f"change {change_number(path) - (2 if heard else 1)} was not heard of"
    assert keeper.is_backup_due
    keeper.back_up()
    assert not keeper.is_backup_due
    commit(second, 4)
    commit(first, 5)
    asyncio.run(second.close())
    asyncio.run(first.close())
    rebuilt(path, clock)


def start(path: Path, name: str, count: int, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.keeping.committing", str(path), name, str(count), *more]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def end(process: "subprocess.Popen[str]") -> str:
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return told


def test_two_programs_that_commit_all_the_time_have_every_row_of_both_in_the_log(
    path: Path, clock: ManualClock
) -> None:
    """Real processes at once; when the one that keeps the log ends, the other goes on with it."""
    first = start(path, "1", 60)
    second = start(path, "2", 120)
    go(first)
    go(second)
    assert "log ok" in end(first)
    assert "log ok" in end(second)
    assert backups(folder_of(path)) == []
    found = list(changes(folder_of(path), 0))
    assert found[-1].number == change_number(path)
    for name, count in (("1", 60), ("2", 120)):
        tickets = [row["ticket"] for c in found for table, rows in c.written if table == "trades" for row in rows]
        assert [t - int(name) * 1000 for t in tickets if t // 1000 == int(name)] == list(range(count))
    rebuilt(path, clock)


def test_when_the_keeper_is_killed_the_other_takes_the_log_over(path: Path, clock: ManualClock) -> None:
    first = start(path, "1", 100_000)
    second = start(path, "2", 60, "backs-up")
    go(first)
    assert first.stdout is not None
    while first.stdout.readline() != "50\n":
        pass
    first.kill()
    first.communicate()
    go(second)
    assert "keeps it log ok" in end(second)
    rebuilt(path, clock)
