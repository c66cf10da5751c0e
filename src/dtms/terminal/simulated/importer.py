"""Reading the bars that a MetaTrader terminal exports, and writing them as a recording.

Two forms: the tab-separated one with a header (`<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>`;
days and longer have no `<TIME>`), and the older comma form without one (`2017.01.02,00:00,o,h,l,c,volume`). Exports
carry the server's clock; recordings are UTC.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dtms.terminal.simulated.recording import (
    MINUTE_MS,
    UNKNOWN,
    BarRecording,
    RecordingError,
    check,
    guess_minutes,
    write_recording,
)
from dtms.terminal.simulated.server_time import ServerClock

OLD_FORM = ("DATE", "TIME", "OPEN", "HIGH", "LOW", "CLOSE", "TICKVOL")
NEEDED = OLD_FORM[:6]
TIME_FORMATS = ("%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M")
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb": "utf-8-sig"}
TIMEFRAMES_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the export does not say: the symbol, its digits, the server's clock, and where the data may be used."""

    symbol: str
    digits: int
    server_clock: str = "new_york+7"
    licence: str = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One exported bar: server time in ms, open high low close, tick volume and spread (-1 = not exported)."""

    server_ms: int
    prices: tuple[float, float, float, float]
    volume: int
    spread_points: int


def import_export(source: Path, target: Path, options: ImportOptions) -> BarRecording:
    """Read an export and write it as a recording (.csv.gz); RecordingError names the line of the first bad row."""
    bars = read_export(source, options)
    write_recording(target, bars, options.digits)
    return bars


def read_export(source: Path, options: ImportOptions) -> BarRecording:
    """Read an export as UTC bars."""
    rows = list(_rows(_text(source).splitlines(), source.name))
    if not rows:
        raise RecordingError(f"{source.name}: no bars")
    server_ms = np.array([row.server_ms for row in rows], dtype=np.int64)
    minutes = guess_minutes(server_ms)
    if minutes not in TIMEFRAMES_MINUTES:
        raise RecordingError(f"{source.name}: bars of {minutes} minutes cannot be played, export M1 to H1")
    clock = ServerClock(options.server_clock)
    prices = np.array([row.prices for row in rows], dtype=np.float64)
    bars = BarRecording(
        minutes=minutes,
        ms=np.array([clock.to_utc(row.server_ms) for row in rows], dtype=np.int64),
        open=prices[:, 0],
        high=prices[:, 1],
        low=prices[:, 2],
        close=prices[:, 3],
        volume=np.array([row.volume for row in rows], dtype=np.int64),
        spread_points=np.array([row.spread_points for row in rows], dtype=np.int64),
        about={
            "symbol": options.symbol,
            "timeframe_minutes": minutes,
            "digits": options.digits,
            "source": source.name,
            "server_clock": options.server_clock,
            "licence": options.licence,
        },
    )
    check(bars, source.name)
    return bars


def _text(source: Path) -> str:
    """Read a file in the encodings that terminals write: UTF-16 or UTF-8, with or without their marks."""
    data = source.read_bytes()
    try:
        return data.decode(MARKS.get(data[:2], "utf-8"))
    except UnicodeDecodeError as error:
        raise RecordingError(f"{source.name}: not text ({error.reason} at byte {error.start})") from error


def _rows(lines: list[str], name: str) -> Iterable[Row]:
    columns, separator, first = _layout(lines, name)
    previous_ms = None
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        try:
            row = _row(dict(zip(columns, line.strip().split(separator), strict=False)))
        except (ValueError, KeyError) as error:
            raise RecordingError(f"{name}: line {number}: {_said(error)}: {line.strip()!r}") from error
        if previous_ms is not None and row.server_ms <= previous_ms:
            raise RecordingError(f"{name}: line {number}: time does not rise: {line.strip()!r}")
        previous_ms = row.server_ms
        yield row


def _said(error: ValueError | KeyError) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _layout(lines: list[str], name: str) -> tuple[tuple[str, ...], str, int]:
    """Give the columns, what separates them, and the index of the first bar."""
    head = lines[0] if lines else ""
    separator = "\t" if "\t" in head else ","
    if not head.startswith("<"):
        return OLD_FORM, separator, 0
    columns = tuple(part.strip().strip("<>") for part in head.split(separator))
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        raise RecordingError(f"{name}: line 1: <{missing[0]}> is missing; export bars of M1 to H1")
    return columns, separator, 1


def _row(cells: dict[str, str]) -> Row:
    """Read one bar; ValueError or KeyError says what is wrong with it."""
    o, h, low, c = (float(cells[column]) for column in ("OPEN", "HIGH", "LOW", "CLOSE"))
    if not all(math.isfinite(price) and price > 0 for price in (o, h, low, c)):
        raise ValueError("a price that is none")
    if low > min(o, c) or h < max(o, c):
        raise ValueError("open or close outside low..high")
    return Row(
        server_ms=_server_ms(f"{cells['DATE']} {cells['TIME']}"),
        prices=(o, h, low, c),
        volume=int(cells.get("TICKVOL", UNKNOWN)),
        spread_points=int(cells.get("SPREAD", UNKNOWN)),
    )


def _server_ms(text: str) -> int:
    for form in TIME_FORMATS:
        try:
            moment = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        ms = int(moment.timestamp() * 1000)
        if ms % MINUTE_MS:
            raise ValueError("a bar that does not open on a minute")
        return ms
    raise ValueError(f"a time that is none: {text!r}")
