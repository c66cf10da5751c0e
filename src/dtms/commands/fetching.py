"""Downloading bars piece by piece into a recording.

The span is cut on a fixed grid, and each piece that came is kept in a folder beside the target, so that a download that
was broken off goes on where it was. A target that exists is never overwritten unasked.
"""

import json
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from dtms.domain.errors import DtmsError, Misconfigured
from dtms.terminal.simulated.recording import BarRecording, RecordingError, check, write_recording

MINUTE_MS: Final = 60_000
PIECE_BARS: Final = 10_000
UNKNOWN: Final = -1

Row = tuple[int, float, float, float, float, int, int]
"""Opening time (UTC ms), open, high, low, close (bid), tick volume and spread in points (-1 is unknown)."""
Ask = Callable[[int, int], Awaitable[Sequence[Row]]]
"""Fetches the bars that open in ``[from, to)``, UTC ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be fetched, and where it goes."""

    symbol: str
    minutes: int
    from_ms: int
    to_ms: int
    source: str
    target: Path
    digits: int

    @property
    def parts(self) -> Path:
        return self.target.with_name(f"{self.target.name}.parts")

    @property
    def about(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "timeframe_minutes": self.minutes,
            "digits": self.digits,
            "source": self.source,
            "licence": "not stated",
        }

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Cut the span on a grid that does not depend on it."""
        size_ms = PIECE_BARS * self.minutes * MINUTE_MS
        at_ms = self.from_ms
        while at_ms < self.to_ms:
            end_ms = min((at_ms // size_ms + 1) * size_ms, self.to_ms)
            yield at_ms, end_ms
            at_ms = end_ms


def refuse_overwriting(target: Path, *, force: bool) -> None:
    """Refuse a target that exists.

    Raises:
        Misconfigured: unless it was asked for.
    """
    if target.exists() and not force:
        raise Misconfigured(f"{target} is there already: use --force to replace it, or --target for another name")


async def download(order: Order, ask: Ask, tell: Callable[[str], None]) -> BarRecording:
    """Fetch what is missing, then write the recording.

    Raises:
        DtmsError: when there are no bars, or bars that no market can have; what came is kept for the next try.
    """
    _claim(order)
    pieces, rows = list(order.pieces()), dict[int, Row]()
    for number, (from_ms, to_ms) in enumerate(pieces, 1):
        kept = order.parts / f"{from_ms}_{to_ms}.json"
        is_known = kept.exists()
        found = _read(kept) if is_known else await ask(from_ms, to_ms)
        inside = [row for row in found if from_ms <= row[0] < to_ms]
        if inside and not is_known:  # nothing may mean not loaded yet, so that is asked again
            _keep(kept, inside)
        rows |= {row[0]: row for row in inside}
        how = "kept from before" if is_known else "fetched"
        tell(f"{number}/{len(pieces)}: {_day(from_ms)} to {_day(to_ms)}, {len(inside)} bars {how}")
    recording = _recording(order, [rows[at] for at in sorted(rows)])
    order.target.parent.mkdir(parents=True, exist_ok=True)
    write_recording(order.target, recording, order.digits)
    shutil.rmtree(order.parts)
    return recording


def _claim(order: Order) -> None:
    """Make the folder of pieces, or go on with one that was begun for the same."""
    label = order.parts / "about.json"
    order.parts.mkdir(parents=True, exist_ok=True)
    if not label.exists():
        _write(label, json.dumps(order.about, indent=1))
        return
    begun: Mapping[str, Any] = json.loads(label.read_text(encoding="utf-8"))
    if begun != order.about:
        told = ", ".join(f"{name} {begun.get(name)}" for name in ("symbol", "timeframe_minutes", "source"))
        raise Misconfigured(f"{order.parts} holds another download ({told}): delete it, or use another --target")


def _recording(order: Order, rows: Sequence[Row]) -> BarRecording:
    if not rows:
        raise DtmsError(f"{order.source} has no bars of {order.symbol} in that span")
    times, opens, highs, lows, closes, volumes, spreads = zip(*rows, strict=True)
    made = BarRecording(
        minutes=order.minutes,
        ms=np.array(times, dtype=np.int64),
        open=np.array(opens, dtype=np.float64),
        high=np.array(highs, dtype=np.float64),
        low=np.array(lows, dtype=np.float64),
        close=np.array(closes, dtype=np.float64),
        volume=np.array(volumes, dtype=np.int64),
        spread_points=np.array(spreads, dtype=np.int64),
        about=order.about,
    )
    try:
        check(made, order.target.name)
    except RecordingError as error:
        raise DtmsError(f"{order.source} gave what cannot be: {error}") from error
    return made


def _read(path: Path) -> list[Row]:
    return [tuple(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _keep(path: Path, rows: Sequence[Row]) -> None:
    _write(path, json.dumps(rows))


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)  # whole or not at all


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
