"""The economic calendar: CSV or JSON with a release per row, as a file or as a service sends it."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dtms.domain.calendar import Release
from dtms.domain.errors import Misconfigured

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "time_utc": ("time_utc", "datetime", "date", "time"),
    "currency": ("currency", "country"),
    "impact": ("impact", "importance"),
    "event": ("event", "title", "name"),
}
"""What a release needs, and the names under which it may stand, in the order in which they are tried."""
_GZIP: Final = b"\x1f\x8b"
_NOT_TEXT: Final = (OSError, EOFError, zlib.error, UnicodeDecodeError)


def read_calendar(path: str | Path) -> tuple[Release, ...]:
    """Read a calendar file.

    Raises:
        Misconfigured: naming the file and what is wrong in it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise Misconfigured(f"calendar {path}: {error.strerror or error}") from error
    return parse_calendar(data, str(path))


def parse_calendar(data: bytes, name: str) -> tuple[Release, ...]:
    """Read releases, oldest first; a time without a zone is UTC.

    Raises:
        Misconfigured: naming the calendar, the row and what is wrong in it.
    """
    releases: list[Release] = []
    for number, row in enumerate(_rows(data, name), 1):
        try:
            releases.append(_release(row))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            raise Misconfigured(
                f"calendar {name}: entry {number}: {said}; every entry needs {', '.join(NAMES)}"
            ) from error
    if not releases:
        raise Misconfigured(f"calendar {name}: it has no entries; every entry needs {', '.join(NAMES)}")
    return tuple(sorted(releases, key=lambda release: release.time_ms))


def _rows(data: bytes, name: str) -> Iterable[Any]:
    """Give the rows of JSON (a list, or an object with one under ``events``) or of CSV with a header."""
    text = text_of(data, f"calendar {name}")
    if not text.lstrip().startswith(("[", "{")):
        try:
            return list(csv.DictReader(text.splitlines()))
        except csv.Error as error:
            raise Misconfigured(f"calendar {name}: not valid CSV: {error}") from error
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misconfigured(f"calendar {name}: not valid JSON: {error}") from error
    rows = tree.get("events") if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise Misconfigured(f"calendar {name}: neither a list of entries nor an object with a list under 'events'")
    return rows


def text_of(data: bytes, name: str) -> str:
    """Decode a file, unpacked where it is packed.

    Raises:
        Misconfigured: when it is not text.
    """
    try:
        return (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
    except _NOT_TEXT as error:
        raise Misconfigured(f"{name}: not text ({error})") from error


def _release(row: Mapping[str, Any]) -> Release:
    given = {str(name).strip().lower(): value for name, value in row.items()}
    moment = datetime.fromisoformat(_cell(given, "time_utc"))
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Release(
        time_ms=int(moment.timestamp() * 1000),
        currency=_cell(given, "currency").upper(),
        impact=_cell(given, "impact").split()[0].lower(),  # some services write "High Impact Expected"
        event=_cell(given, "event"),
    )


def _cell(row: Mapping[str, Any], name: str) -> str:
    """Return what stands under one of a name's spellings.

    Raises:
        KeyError: when nothing does.
    """
    found = next((row[spelling] for spelling in NAMES[name] if row.get(spelling)), None)
    if found is None:
        raise KeyError(name)
    return str(found).strip()
