"""Child processes that end with their parent's Ctrl-C, on Windows and POSIX alike."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

STOP_S = 12.0
TAIL_LINES = 15


@dataclass(slots=True, eq=False)
class Child:
    """One running program of dtms, and the last lines that it wrote."""

    name: str
    process: "subprocess.Popen[str]"
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


def start(
    name: str, arguments: Sequence[str], *, environ: Mapping[str, str], heard: Callable[[str, str], None]
) -> Child:
    """Start ``python -m dtms`` with ``arguments``; every line that it writes goes to ``heard(name, line)``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dtms", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=dict(environ),
        # A group of its own: Ctrl-C reaches the parent, which then stops its children in order.
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        start_new_session=os.name != "nt",
    )
    child = Child(name=name, process=process)
    assert process.stdout is not None
    threading.Thread(target=_listen, args=(child, process.stdout, heard), daemon=True).start()
    return child


def _listen(child: Child, lines: IO[str], heard: Callable[[str, str], None]) -> None:
    for line in lines:
        child.tail.append(line.rstrip())
        try:
            heard(child.name, line.rstrip())
        except Exception as error:  # noqa: BLE001 - a child whose lines nobody reads stands still when the pipe is full
            child.tail.append(f"(this line could not be told: {type(error).__name__}: {error})")


def stop(child: Child, within_s: float = STOP_S) -> int:
    """Ask a child to stop, and kill it when it does not; return its exit code."""
    if not child.has_ended:
        child.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        try:
            child.process.wait(within_s)
        except subprocess.TimeoutExpired:
            child.process.kill()
    return child.process.wait()
