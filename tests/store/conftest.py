"""A store on a real file, in each of its two ways of working."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dtms.adapters.store_sql import LeaseWorld, SqlStore

from .builders import ManualClock

MakeStore = Callable[[], SqlStore]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


@pytest.fixture
def gone() -> set[str]:
    """Holders whose process is gone."""
    return set()


@pytest.fixture
def world(clock: ManualClock, gone: set[str]) -> LeaseWorld:
    return LeaseWorld(
        monotonic_s=clock.machine_s, boot="boot-1", host="here", process_alive=lambda holder: holder not in gone
    )


@pytest.fixture(params=["threads", "inline"])
def make_store(request: pytest.FixtureRequest, path: Path, clock: ManualClock, world: LeaseWorld) -> MakeStore:
    """Make stores on one file, as a restart does."""
    return lambda: SqlStore(f"sqlite:///{path}", clock, inline=request.param == "inline", world=world)


@pytest.fixture
def threaded(path: Path, clock: ManualClock, world: LeaseWorld) -> MakeStore:
    return lambda: SqlStore(f"sqlite:///{path}", clock, world=world)


@pytest.fixture(scope="package")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the library whose calls fail on demand."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("failing calls need Linux and a C compiler")
    made = tmp_path_factory.mktemp("shim") / "faulty_disk.so"
    source = str(Path(__file__).parent / "faulty_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), source, "-ldl"], check=True, timeout=60)
    return made
