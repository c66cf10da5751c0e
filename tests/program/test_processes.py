"""Child processes: whatever is done with their lines, they are read to the end."""

import subprocess
import sys
import time
from typing import Any

import pytest
from rich.console import Console

from dtms.ops import processes
from dtms.ops.demo import Teller

LINES = 40_000


def test_a_child_goes_on_when_nobody_could_tell_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads is full after some thousand lines, and its writer stands still."""
    code = f"for n in range({LINES}): print('line', n)"
    real = subprocess.Popen

    def talking(_: Any, **named: Any) -> Any:
        return real([sys.executable, "-c", code], **named)

    monkeypatch.setattr(subprocess, "Popen", talking)

    def deaf(name: str, line: str) -> None:
        raise KeyError(f"{name}: {line}")

    child = processes.start("talker", [], environ={}, heard=deaf)
    until = time.monotonic() + 20
    while not child.has_ended:
        assert time.monotonic() < until, "it stands still"
        time.sleep(0.05)
    assert child.process.returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        '{"ticket": 7, "told": "something", "event": "handed"}',
        '{"ticket": 7, "told": "something", "event": "action", "symbol": "EURUSD", "market_ms": 1506927600000}',
        '{"level": "error", "event": "x"}',
        "not [json]",
        "",
    ],
)
def test_any_line_can_be_told(line: str) -> None:
    Teller(Console(quiet=True)).hear("main", line)
