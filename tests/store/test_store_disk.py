"""Whatever a disk does, nothing is acknowledged that is not kept, nothing doubtful is read, nothing is deleted."""

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pysqlite3.dbapi2 as driver
import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.verify import verify_file
from dtms.adapters.store_sql.wal import read_log
from dtms.domain.errors import StoreDamaged, StoreFailed
from dtms.ports.store import Unit

from .builders import ManualClock, fact, trade
from .conftest import MakeStore

FRAME = 24 + 4096
HERE = Path(__file__).parent


def _run(shim: Path, path: Path, kind: str) -> list[str]:
    environ = os.environ | {"LD_PRELOAD": str(shim), "DISK_FAULT": str(path.with_name("fault"))}
    command = [sys.executable, str(HERE / "failing.py"), str(path), kind]
    path.parent.mkdir(exist_ok=True)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("sync", "disk I/O error"),
        ("lost", "disk I/O error"),
        ("write", "disk I/O error"),
        ("full", "database or disk is full"),
    ],
)
def test_a_disk_that_fails_is_believed_again_only_after_a_verified_reopening(
    shim: Path, path: Path, kind: str, reason: str
) -> None:
    """A commit fails; from then on all does, also when the disk is well again, until the store was reopened."""
    told = _run(shim, path, kind)
    assert told[:5] == [f"commit {n} done" for n in range(1, 6)]
    assert told[5] == f"commit 6 failed: the store could not write: {reason}"
    assert told[6:8] == [f"{what} failed: the store failed and was not reopened yet: {reason}" for what in LATER]
    assert told[8].startswith("reopening failed: ")
    assert [line.partition(":")[0] for line in told[9:11]] == ["commit 8 failed", "reading failed"]
    assert told[11:13] == ["reopening done", "commit 9 done"]
    has = set(told[13].split()[1:])
    # What was refused may have come through all the same: nobody was told either way.
    assert {"1", "2", "3", "4", "5", "9"} <= has <= {"1", "2", "3", "4", "5", "6", "9"}
    verify_file(path)


LATER = ("commit 7", "reading")


def test_pages_that_cannot_be_read_end_the_trust_too(shim: Path, path: Path) -> None:
    told = _run(shim, path, "read")
    assert told[5] == "commit 6 failed: the store could not be read: disk I/O error"
    assert told[6].startswith("a start failed: ")
    assert "disk I/O error" in told[6]
    assert told[7:9] == [f"{what} failed: the store failed and was not reopened yet: disk I/O error" for what in LATER]
    assert told[12:14] == ["reopening done", "commit 9 done"]
    assert told[14] == "has 1 2 3 4 5 9"
    verify_file(path)


# --- files that change under an open store -------------------------------------------------------------------------


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _cut(file: Path, size: int) -> None:
    os.truncate(file, size)


def _write_over(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as content:
        content.seek(12288)
        content.write(b"garbage " * ((size - 12288) // 8))


async def _some(store: SqlStore, first: int, count: int = 20) -> None:
    for ticket in range(first, first + count):
        await store.commit(Unit(create=(trade(ticket),), facts=(fact(ticket),)))


POSIX = pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is open cannot be removed or replaced")


@POSIX
def test_a_log_that_was_removed_is_noticed_and_what_was_committed_is_kept(make_store: MakeStore, path: Path) -> None:
    """It would go on being written under no name, and all of it be gone with the process."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await _some(store, 1)
        _log(path).unlink()
        with pytest.raises(StoreFailed, match="-wal is gone while the store is open"):
            await store.commit(Unit(create=(trade(100),), facts=(fact(100),)))
        with pytest.raises(StoreFailed, match="not reopened yet"):
            await store.load()
        await store.reopen()
        tickets = {t.ticket for t in (await store.load()).trades}
        assert {*range(1, 21)} <= tickets <= {*range(1, 21), 100}
        await _some(store, 200)
        await store.close()

    asyncio.run(scenario())
    verify_file(path)


@POSIX
@pytest.mark.parametrize("share", [0.0, 0.5], ids=["emptied", "cut in half"])
def test_a_log_that_was_cut_is_noticed_and_its_loss_is_not_believed(
    make_store: MakeStore, path: Path, share: float
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await _some(store, 1)
        whole = _log(path).read_bytes()
        _cut(_log(path), int(len(whole) * share))
        with pytest.raises(StoreFailed):
            await store.commit(Unit(create=(trade(100),)))
        with pytest.raises(StoreDamaged, match=r"its last commit is \d+, and 20 was acknowledged|not sound"):
            await store.reopen()
        await store.close()

    asyncio.run(scenario())


@POSIX
@pytest.mark.parametrize("damage", [lambda path: _cut(path, 8192), _write_over], ids=["cut", "written over"])
def test_a_main_file_that_is_spoilt_while_it_is_open_is_not_believed(
    make_store: MakeStore, path: Path, damage: Callable[[Path], None]
) -> None:
    """At the latest at the next reopening; a log that may be needed is left."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await _some(store, 1)
        await store.reopen()
        await _some(store, 50, 3)
        damage(path)
        with contextlib.suppress(StoreFailed):
            await _some(store, 100, 3)
            await store.load()
        for _ in range(2):
            with pytest.raises(StoreDamaged):
                await store.reopen()
        with pytest.raises(StoreFailed):
            await store.load()
        await store.close()

    asyncio.run(scenario())
    assert path.exists()


# --- what a crash left -----------------------------------------------------------------------------------------------


def _crashed(path: Path, steps: str = "cccccccccc") -> bytes:
    """Leave a store as a crash does, with a log of commits (c) and grants of a lease (l); return the log."""
    script = (
        "import asyncio, os, sys\n"
        "from builders import ManualClock, fact, trade\n"
        "from dtms.adapters.store_sql import SqlStore\n"
        "from dtms.ports.store import Unit\n"
        "async def main():\n"
        "    store = SqlStore(sys.argv[1], ManualClock())\n"
        "    await store.open()\n"
        "    n = 0\n"
        "    for step in sys.argv[2]:\n"
        "        n = n + (step == 'c')\n"
        "        if step == 'c':\n"
        "            await store.commit(Unit(create=(trade(n),), facts=(fact(n),)))\n"
        "        else:\n"
        "            await store.grant('5', 'here:1:1', 15.0, ticket=5)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", script, f"sqlite:///{path}", steps], cwd=HERE, check=True, timeout=60)
    return _log(path).read_bytes()


def _start(path: Path) -> int:
    """Return the highest ticket that a start finds."""

    async def scenario() -> int:
        store = SqlStore(f"sqlite:///{path}", ManualClock())
        await store.open()
        try:
            return max((t.ticket for t in (await store.load()).trades), default=0)
        finally:
            await store.close()

    return asyncio.run(scenario())


def test_a_torn_end_of_the_log_loses_at_most_what_nobody_was_told(path: Path) -> None:
    log = _crashed(path)
    read = read_log(log)
    assert read.believed == read.commits[-1] == (len(log) - 32) // FRAME
    _cut(_log(path), len(log) - 100)
    assert _start(path) == 9


def test_a_log_damaged_before_its_end_stops_the_start_and_is_left_as_it_is(path: Path) -> None:
    """SQLite alone would drop all that follows the damage, acknowledged or not, and say nothing."""
    log = _crashed(path)
    commits = read_log(log).commits
    spoilt = bytearray(log)
    spoilt[32 + (commits[-5] - 1) * FRAME + 2000] ^= 4
    _log(path).write_bytes(spoilt)
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=r"the log of .* is not sound after frame \d+, at least 4 committed"):
            _start(path)
        assert _log(path).read_bytes() == bytes(spoilt)
    _log(path).write_bytes(log)
    assert _start(path) == 10


@pytest.mark.parametrize(
    ("steps", "spoilt", "lost"),
    [
        ("ccllll", 3, None),  # of the grants nobody waited to see one on the disk
        ("cclllc", 3, None),  # nor was the commit that would have taken them there answered
        ("cclllcl", 3, 1),  # it was: another commit began
        ("cclcll", 4, 1),
        ("cclccl", 4, 2),
    ],
)
def test_after_a_power_cut_grants_may_be_missing_and_commits_may_not(
    path: Path, steps: str, spoilt: int, lost: int | None
) -> None:
    """The commit of the step with this number (from 1) is not on the disk as it was, and all that follow are."""
    log = _crashed(path, steps)
    commits = read_log(log).commits
    assert len(commits) == len(steps)
    torn = bytearray(log)
    torn[32 + (commits[spoilt - 1] - 1) * FRAME + 2000] ^= 4
    _log(path).write_bytes(torn)
    if lost is None:
        assert _start(path) == steps[: spoilt - 1].count("c")
    else:
        with pytest.raises(StoreDamaged, match=f"at least {lost} committed"):
            _start(path)


def test_how_far_a_log_is_whole_is_told_as_the_database_tells_it(tmp_path: Path) -> None:
    """Any single damaged byte, in either byte order of the checksums, ends the belief where SQLite's ends."""
    path = tmp_path / "plain.db"
    connection = driver.connect(str(path), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
    for number in range(30):
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * (number * 300)))
    log, main = _log(path).read_bytes(), path.read_bytes()
    for at in range(40, len(log), 4099):
        spoilt = bytearray(log)
        spoilt[at] ^= 1
        copy = tmp_path / f"{at}.db"
        copy.write_bytes(main)
        _log(copy).write_bytes(spoilt)
        judge = driver.connect(str(copy), isolation_level=None)
        _, believed, _ = judge.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        judge.close()
        assert read_log(bytes(spoilt)).believed == max(believed, 0)
    connection.close()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_that_was_cut_at_rest_stops_the_start_and_is_left(
    make_store: MakeStore, path: Path, share: float
) -> None:
    async def fill() -> None:
        store = make_store()
        await store.open()
        await _some(store, 1)
        await store.close()

    asyncio.run(fill())
    _cut(path, int(path.stat().st_size * share))
    left = path.read_bytes()
    with pytest.raises(StoreDamaged, match=r"dtms_trades\.db is not sound"):
        asyncio.run(make_store().open())
    assert path.read_bytes() == left


# --- rights ----------------------------------------------------------------------------------------------------------


@POSIX
def test_rights_that_others_have_are_taken_away_at_the_start(make_store: MakeStore, path: Path) -> None:
    _crashed(path)
    for file in path.parent.iterdir():
        file.chmod(0o666)

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await _some(store, 50, 1)
        assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
        await store.close()

    asyncio.run(scenario())


@POSIX
def test_a_file_that_may_only_be_read_is_refused_in_one_line() -> None:
    """Its rights are left as they are."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "readonly.py"), str(Path(folder) / "dtms_trades.db")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second = ended.stdout.splitlines()
    assert "dtms_trades.db cannot be used: attempt to write a readonly database" in first
    assert second == "0o400"
