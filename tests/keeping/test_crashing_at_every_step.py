"""A process that dies at any step of a backup, a rebuilding or a restore leaves a store that opens with all it had.

Each run is a forked process that ends, without any clean-up, before its nth operation on files.
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.keeping.test_rebuilding import Rows, fill, keeper_of, open_store, overwrite, rows, tamper
from tests.store.builders import ManualClock

from dtms.adapters.store_sql.backup import back_up, backups, folder_of
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.rebuild import restore
from dtms.adapters.store_sql.segments import segments
from dtms.adapters.store_sql.verify import verify_file

if sys.platform == "win32":
    pytest.skip("needs fork", allow_module_level=True)

DIED, DONE, FAILED = 77, 0, 1
STEPS_MAX = 200


def dies_at(step: int) -> None:
    """End this process before its nth operation: names that change, files that are made or synchronised."""
    left = [step]

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os._exit(DIED)
            return operation(*given, **named)

        return call

    for where, name in ((Path, "replace"), (Path, "unlink"), (os, "fsync"), (os, "open")):
        setattr(where, name, counted(getattr(where, name)))


def run(step: int, work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 1)
        code = FAILED
        try:
            dies_at(step)
            work()
            code = DONE
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_every_step(folder: Path, work: Callable[[], object], see: Callable[[int], None]) -> int:
    """Run from the same beginning, dying one step later each time; return how many steps there are."""
    beginning = folder.with_name("beginning")
    shutil.copytree(folder, beginning)
    for step in range(1, STEPS_MAX):
        shutil.rmtree(folder)
        shutil.copytree(beginning, folder)
        code = run(step, work)
        assert code in (DIED, DONE), f"step {step} ended with {code}"
        see(step)
        if code == DONE:
            return step - 1
    raise AssertionError("it never came to its end")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


def reopened(path: Path, clock: ManualClock) -> Rows:
    clock.now_ms += 60_000
    store, _ = open_store(path, clock)
    asyncio.run(store.close())
    return rows(path)


def opened(path: Path, clock: ManualClock) -> None:
    store = GuardedStore(f"sqlite:///{path}", clock, keeper_of(path, clock), inline=True)
    asyncio.run(store.open())


def what_is_acted_on(found: Rows) -> Rows:
    return {name: found[name] for name in ("trades", "intents", "facts", "controls")}


def test_a_rebuilding_loses_nothing_not_even_what_only_the_damaged_file_has(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 4), backup_after=2)
    before = what_is_acted_on(fill(path, clock, numbers=range(4, 6)))
    newest = segments(folder_of(path))[-1].path
    newest.write_bytes(b"".join(newest.read_bytes().splitlines(keepends=True)[:-2]))
    tamper(path, "UPDATE trades SET risk = risk * 2 WHERE ticket = 1")

    def see(step: int) -> None:
        assert what_is_acted_on(reopened(path, clock)) == before, f"after dying at step {step}"
        left = {p.name for p in path.parent.iterdir() if ".re" in p.name}
        assert not left, f"left over after dying at step {step}"

    assert at_every_step(path.parent, lambda: opened(path, clock), see) > 10


def test_a_restore_puts_all_of_the_backup_there_or_leaves_what_was(path: Path, clock: ManualClock) -> None:
    older = what_is_acted_on(fill(path, clock, numbers=range(1, 4)))
    made = back_up(path, path.parent.parent / "copies", clock.now_ms, verify_file).path
    newer = what_is_acted_on(fill(path, clock, numbers=range(4, 6)))
    seen = []

    def see(step: int) -> None:
        found = what_is_acted_on(reopened(path, clock))
        assert found in (older, newer), f"after dying at step {step}"
        seen.append(found == older)

    assert at_every_step(path.parent, lambda: restore(path, made, clock.now_ms, verify_file), see) > 5
    assert seen == sorted(seen), "from one step on it is done"
    assert set(seen) == {False, True}


def test_a_backup_harms_neither_store_nor_log_nor_the_backups_before_it(path: Path, clock: ManualClock) -> None:
    before = fill(path, clock, numbers=range(1, 6), backup_after=2)

    def work() -> None:
        keeper = keeper_of(path, clock)
        store = GuardedStore(f"sqlite:///{path}", clock, keeper, inline=True)
        asyncio.run(store.open())
        clock.now_ms += 1_000
        keeper.back_up()

    def see(step: int) -> None:
        for made in backups(folder_of(path)):
            verify_file(made.path)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + "-wal").unlink()
        overwrite(path)  # so that all of it must come from backups and log
        assert reopened(path, clock) == before, f"after dying at step {step}"
        assert not list(folder_of(path).glob("*.unfinished*")), f"left over after dying at step {step}"

    assert at_every_step(path.parent, work, see) > 10
