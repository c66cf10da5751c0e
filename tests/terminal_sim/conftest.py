"""Benches for the simulated terminal."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.terminal_sim.lab import Lab, make_lab

MakeLab = Callable[..., Lab]


@pytest.fixture
def bench(tmp_path: Path) -> MakeLab:
    """Build benches in the test's own folder."""

    def make(minutes: list[tuple[int, int, int, int] | None], **options: object) -> Lab:
        return make_lab(tmp_path, minutes, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Give the folder of real market data."""
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real market data is not here: set DTMS_DATA_DIR to its folder")
    return Path(folder)
