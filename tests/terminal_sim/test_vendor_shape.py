"""The terminal has the names, values and orders of the vendor's package."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT
from tests.terminal_sim.wheel import read_wheel

from dtms.terminal.simulated import infos, structs
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.calls_market import TICKS_DTYPE
from dtms.terminal.simulated.constants import Constants
from dtms.terminal.simulated.series import RATES_DTYPE
from dtms.terminal.simulated.structure import Structure

RECORDED = Path(__file__).parents[1] / "data" / "mt5_wheel.json"
WHEEL: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))


def structure(name: str) -> type[Structure]:
    found: type[Structure] = getattr(structs, name, None) or getattr(infos, name)
    return found


def test_it_has_exactly_the_vendors_223_constants() -> None:
    held = {name: value for name, value in vars(Constants).items() if name.isupper()}
    assert held == WHEEL["constants"]
    assert len(held) == 223


def test_the_constants_are_attributes_of_the_terminal(bench: MakeLab) -> None:
    terminal = bench([FLAT]).terminal
    assert all(getattr(terminal, name) == value for name, value in WHEEL["constants"].items())


@pytest.mark.parametrize("name", WHEEL["structures"])
def test_a_structure_has_the_vendors_fields_in_the_vendors_order(name: str) -> None:
    assert list(structure(name).field_names) == WHEEL["structures"][name]


def test_it_has_the_vendors_32_functions() -> None:
    assert len(WHEEL["functions"]) == 32
    assert all(callable(getattr(SimulatedTerminal, name)) for name in WHEEL["functions"])


def test_a_structure_is_a_tuple_that_gives_a_dict_and_nothing_of_namedtuple() -> None:
    level = structs.BookInfo((1, 1.5, 2, 2.0))
    assert tuple(level) == (1, 1.5, 2, 2.0)
    assert (level.price, level[1]) == (1.5, 1.5)
    assert level._asdict() == {"type": 1, "price": 1.5, "volume": 2, "volume_dbl": 2.0}
    assert not hasattr(level, "_fields")
    assert not hasattr(level, "_replace")


def test_a_structure_refuses_another_number_of_fields() -> None:
    with pytest.raises(TypeError, match="4-sequence"):
        structs.BookInfo((1, 1.5))


def test_bars_and_ticks_have_the_vendors_columns() -> None:
    assert RATES_DTYPE.names == ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
    assert TICKS_DTYPE.names == ("time", "bid", "ask", "last", "volume", "time_msc", "flags", "volume_real")


@pytest.mark.skipif(not os.environ.get("DTMS_FETCH_WHEEL"), reason="set DTMS_FETCH_WHEEL=1 to compare with the wheel")
def test_the_recorded_names_are_those_of_the_published_wheel(tmp_path: Path) -> None:
    wanted = f"{WHEEL['package']}=={WHEEL['version']}"
    options = ["--no-deps", "--only-binary=:all:", "--platform=win_amd64", "--python-version=3.11", "-d", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", wanted, *options], check=True)
    (path,) = tmp_path.glob("*.whl")
    read = read_wheel(path)
    assert read == {key: WHEEL[key] for key in ("constants", "structures", "functions")}
