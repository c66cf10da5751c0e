"""Two processes with one store: one keeps it, and the other takes nothing from it."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.keeping.test_commands import backup_of, dtms
from tests.keeping.test_rebuilding import fill, keeper_of, open_store, overwrite, remove, rows, tamper
from tests.store.builders import ManualClock, fact, trade

from dtms.adapters.store_sql.backup import backups, folder_of
from dtms.adapters.store_sql.changelog import changes, last_number, segments
from dtms.adapters.store_sql.claim import Claim
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.domain.errors import DtmsError, StoreFailed
from dtms.ports.store import Controls, Unit


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


def test_the_kill_switch_of_a_second_process_is_in_the_next_backup(path: Path, clock: ManualClock) -> None:
    """What another process commits is not heard: the log says so, and a backup makes it good."""
    keeper = keeper_of(path, clock)
    first = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
    asyncio.run(first.open())
    keeper.back_up()
    second = inline(path, clock)
    asyncio.run(second.commit(Unit(controls=Controls(halted=True, halt_reason="stop"))))
    commit(first, 1)
    assert keeper.log.failure is not None
    assert keeper.is_backup_due
    keeper.back_up()
    assert not keeper.is_backup_due
    commit(first, 2)
    asyncio.run(second.close())
    asyncio.run(first.close())
    before = rows(path)
    remove(path)
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    assert rows(path) == before
