"""``dtms backup``, ``dtms restore`` and ``dtms verify``, as an operator runs them."""

import asyncio
from pathlib import Path

import pytest
from tests.keeping.test_rebuilding import fill, open_store, overwrite, rows, tamper
from tests.program.running import free_port
from tests.store.builders import ManualClock
from typer.testing import CliRunner, Result

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.cli import app
from dtms.domain.errors import DtmsError

RUNNER = CliRunner()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


def dtms(path: Path, *arguments: str) -> Result:
    sets = {"store.url": f"sqlite:///{path}", "client.api_url": f"http://127.0.0.1:{free_port()}"}
    result = RUNNER.invoke(app, [*arguments, *(part for k, v in sets.items() for part in ("--set", f"{k}={v}"))])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def backup_of(path: Path, folder: Path) -> Path:
    assert "verified" in dtms(path, "backup", "--to", str(folder)).stdout
    (made,) = folder.glob("*.db")
    return made


def test_a_backup_put_back_is_the_store_that_it_was(path: Path, clock: ManualClock, tmp_path: Path) -> None:
    before = fill(path, clock, numbers=range(1, 4))
    made = backup_of(path, tmp_path / "copies")
    assert made.stat().st_mode & 0o077 == 0, "nobody else may read it"
    fill(path, clock, numbers=range(4, 6))
    assert dtms(path, "restore", str(made), "--yes").exit_code == 0
    assert rows(path) == before
    (aside,) = path.parent.glob("*.replaced-*Z")
    assert len(rows(aside)["trades"]) == 5, "what was there is kept"
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is None, "the change log of before is not taken for this store's"
    assert rows(path) == before


def test_a_damaged_backup_is_refused_and_nothing_changes(path: Path, clock: ManualClock, tmp_path: Path) -> None:
    before = fill(path, clock, numbers=range(1, 4))
    made = backup_of(path, tmp_path / "copies")
    tamper(made, "UPDATE trades SET volume = '9.99' WHERE ticket = 1")
    with pytest.raises(DtmsError, match="trades 1"):
        dtms(path, "restore", str(made), "--yes")
    overwritten = tmp_path / "garbage.db"
    overwrite(overwritten)
    with pytest.raises(DtmsError, match=r"not sound|damaged"):
        dtms(path, "restore", str(overwritten), "--yes")
    assert rows(path) == before


def test_a_store_in_use_is_not_replaced(path: Path, clock: ManualClock, tmp_path: Path) -> None:
    fill(path, clock, numbers=range(1, 4))
    made = backup_of(path, tmp_path / "copies")

    async def held() -> None:
        store = SqlStore(f"sqlite:///{path}", SystemClock())
        await store.open()
        assert await store.acquire("engine", "another-machine:1:1", 30.0) is not None
        with pytest.raises(DtmsError, match="stop it first"):
            await asyncio.to_thread(dtms, path, "restore", str(made), "--yes")
        await store.close()

    asyncio.run(held())


def test_verifying_names_what_is_damaged(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 4))
    assert "sound" in dtms(path, "verify").stdout
    tamper(path, "UPDATE trades SET stop_loss = 1.5 WHERE ticket = 3")
    with pytest.raises(DtmsError, match="trades 3"):
        dtms(path, "verify")
