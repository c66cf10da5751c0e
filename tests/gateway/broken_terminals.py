"""Terminals for a gateway process, found by name in the child: one that can hang, one that cannot be loaded."""

import time
from pathlib import Path
from typing import Any

from tests.adapters_mt5.bench import described, simulated

from dtms.terminal.service import CannotLoad
from dtms.terminal.simulated.api import SimulatedTerminal


class Hanging:
    """A simulated terminal whose ``positions_total`` does not return while a file exists.

    ``order_send`` takes as long as the file ``slow`` beside it says, in seconds.
    """

    def __init__(self, terminal: SimulatedTerminal, folder: Path) -> None:
        self._terminal = terminal
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)

    def positions_total(self) -> int | None:
        while (self._folder / "hang").exists():
            time.sleep(0.05)
        slow = self._folder / "slow"
        if slow.exists():
            time.sleep(float(slow.read_text()))
        return self._terminal.positions_total()


def hanging(folder: Path) -> Hanging:
    return Hanging(simulated(described(rate=60)), folder)


def missing() -> Any:
    raise CannotLoad("there is no terminal here")
