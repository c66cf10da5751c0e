"""The faults' own memory on disk, beside the journal of the books: what happened once does not happen again.

A call that hangs for ever ends with the process that made it; the next one goes on with what is left of the faults,
with the requests that still wait, and with the jumps of the server's clock. It is one small file, written whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dtms.terminal.simulated.faults import Fault, described, parse_fault
from dtms.terminal.simulated.faults_call import Armed
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_late import Waiting

Jump = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is left of the faults, what waits, what happened, and when the server's clock jumped (UTC ms, minutes)."""

    armed: tuple[Armed, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    fired: Mapping[FaultKind, int]
    clock_jumps: tuple[Jump, ...] = ()


class FaultFile:
    """The file of one terminal; without a path nothing is kept."""

    def __init__(self, journal: Path | None) -> None:
        self._path = journal.with_name(f"{journal.name}.faults.json") if journal else None
        self._configured: list[dict[str, Any]] = []

    def read(self, configured: tuple[Fault, ...]) -> Kept | None:
        """Read what was kept; None when nothing was, or when other faults are configured now."""
        self._configured = json.loads(json.dumps([described(fault) for fault in configured]))
        if self._path is None or not self._path.exists():
            return None
        held: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return _kept(held) if held["configured"] == self._configured else None

    def write(self, kept: Kept) -> None:
        """Write what there is, in place of what was."""
        if self._path is None:
            return
        text = json.dumps({"configured": self._configured, **_plain(kept)}, indent=1)
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(self._path)


def _plain(kept: Kept) -> dict[str, Any]:
    return {
        "armed": [
            {"fault": described(a.fault), "matched": a.matched, "fired": a.fired, "since_ms": a.since_ms}
            for a in kept.armed
        ],
        "waiting": [asdict(late) for late in kept.waiting],
        "fired": {str(kind): count for kind, count in kept.fired.items()},
        "clock_jumps": kept.clock_jumps,
    }


def _kept(held: Mapping[str, Any]) -> Kept:
    return Kept(
        armed=tuple(Armed(**{**entry, "fault": parse_fault(entry["fault"])}) for entry in held["armed"]),
        waiting=tuple(Waiting(**entry) for entry in held["waiting"]),
        fired={FaultKind(name): count for name, count in held["fired"].items()},
        clock_jumps=tuple((at_ms, minutes) for at_ms, minutes in held["clock_jumps"]),
    )
