"""Recorded markets on disk: bars or ticks, bid side, UTC.

Our own form is a gzipped CSV: a first line `#` + JSON (symbol, timeframe_minutes, source, ...), then the header
`time_utc,open,high,low,close,tick_volume,spread_points` and one row a bar; an empty field is unknown. Parquet files
with the same columns, or with `time_utc,bid,ask` for ticks, are read as they are (needs pyarrow).
"""

import csv
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BAR_COLUMNS = ("time_utc", "open", "high", "low", "close", "tick_volume", "spread_points")
PRICE_COLUMNS = BAR_COLUMNS[1:5]
UNKNOWN = -1
MINUTE_MS = 60_000

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


class RecordingError(ValueError):
    """A recording that cannot be played; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRecording:
    """Recorded bars: opening times (UTC ms), prices, tick volumes and spreads (-1 = unknown)."""

    minutes: int
    ms: Int64s
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Int64s
    spread_points: Int64s
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRecording:
    """Recorded quotes: times (UTC ms, not falling), bids and asks."""

    ms: Int64s
    bid: Floats
    ask: Floats
    about: dict[str, Any] = field(default_factory=dict)


Recording = BarRecording | TickRecording


def load_recording(path: Path) -> Recording:
    """Read a recording by its ending: .parquet, .csv.gz or .csv; RecordingError when it cannot be played."""
    made = _load_parquet(path) if path.suffix == ".parquet" else _load_csv(path)
    check(made, path.name)
    return made


def check(recording: Recording, name: str) -> None:
    """Refuse what no market can be: times that fall, prices outside their bar, crossed quotes."""
    if not len(recording.ms):
        raise RecordingError(f"{name}: no rows")
    steps = np.diff(recording.ms)
    if isinstance(recording, TickRecording):
        _refuse(name, "time falls", np.flatnonzero(steps < 0) + 1)
        _refuse(name, "ask below bid or not a price", np.flatnonzero(~(recording.ask >= recording.bid)))
        return
    _refuse(name, "time does not rise", np.flatnonzero(steps <= 0) + 1)
    _refuse(name, "time off the grid of the timeframe", np.flatnonzero(recording.ms % (recording.minutes * MINUTE_MS)))
    inside = (recording.low <= np.minimum(recording.open, recording.close)) & (
        recording.high >= np.maximum(recording.open, recording.close)
    )
    _refuse(name, "open or close outside low..high", np.flatnonzero(~(inside & (recording.low > 0))))


def _refuse(name: str, what: str, rows: NDArray[np.intp]) -> None:
    if len(rows):
        raise RecordingError(f"{name}: {what} in row {int(rows[0]) + 1} ({len(rows)} rows in all)")


def guess_minutes(ms: Int64s) -> int:
    """Give the timeframe in minutes: the commonest step between rows."""
    if len(ms) < 2:
        raise RecordingError("a timeframe cannot be told from fewer than two rows")
    steps, counts = np.unique(np.diff(ms), return_counts=True)
    return int(steps[np.argmax(counts)]) // MINUTE_MS


def _load_csv(path: Path) -> BarRecording:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        first = lines.readline()
        told = first.startswith("#")
        about = json.loads(first[1:]) if told else {}
        header = (lines.readline() if told else first).strip().split(",")
        if tuple(header) != BAR_COLUMNS:
            raise RecordingError(f"{path.name}: expected the columns {','.join(BAR_COLUMNS)}")
        columns = list(zip(*csv.reader(lines), strict=True))
    if not columns:
        raise RecordingError(f"{path.name}: no rows")
    ms = np.array([parse_time_ms(text) for text in columns[0]], dtype=np.int64)
    prices = {name: np.array(columns[i + 1], dtype=np.float64) for i, name in enumerate(PRICE_COLUMNS)}
    return BarRecording(
        minutes=int(about.get("timeframe_minutes") or guess_minutes(ms)),
        ms=ms,
        volume=_whole(columns[5]),
        spread_points=_whole(columns[6]),
        about=about,
        **prices,
    )


def _whole(texts: Iterable[str]) -> Int64s:
    return np.array([int(text) if text else UNKNOWN for text in texts], dtype=np.int64)


def parse_time_ms(text: str) -> int:
    """Read an ISO time as UTC milliseconds; a time without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _load_parquet(path: Path) -> Recording:
    import pyarrow.parquet as parquet  # only who plays parquet needs pyarrow

    table = parquet.read_table(path)
    ms = table["time_utc"].to_numpy().astype("datetime64[ms]").astype(np.int64)
    about = {"symbol": path.name.split("_")[0], "source": path.name}
    if "bid" in table.column_names:
        return TickRecording(ms=ms, bid=table["bid"].to_numpy(), ask=table["ask"].to_numpy(), about=about)
    prices = {name: table[name].to_numpy() for name in PRICE_COLUMNS}
    counts = {name: table[name].fill_null(UNKNOWN).to_numpy().astype(np.int64) for name in BAR_COLUMNS[5:]}
    return BarRecording(
        minutes=guess_minutes(ms),
        ms=ms,
        volume=counts["tick_volume"],
        spread_points=counts["spread_points"],
        about=about,
        **prices,
    )


def write_recording(path: Path, bars: BarRecording, digits: int) -> None:
    """Write our own form, always the same bytes for the same bars."""
    lines = ["#" + json.dumps(bars.about, sort_keys=True), ",".join(BAR_COLUMNS)]
    lines += [_row(bars, i, digits) for i in range(len(bars.ms))]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data, 9, mtime=0))


def _row(bars: BarRecording, i: int, digits: int) -> str:
    stamp = datetime.fromtimestamp(int(bars.ms[i]) / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
    prices = [f"{column[i]:.{digits}f}" for column in (bars.open, bars.high, bars.low, bars.close)]
    counts = ["" if column[i] < 0 else str(int(column[i])) for column in (bars.volume, bars.spread_points)]
    return ",".join([stamp, *prices, *counts])
