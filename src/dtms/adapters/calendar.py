"""The economic calendar: a CSV or JSON file of releases, read once at start."""

import csv
import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from dtms.domain.calendar import Release
from dtms.domain.errors import Misconfigured

FIELDS = ("time_utc", "currency", "impact", "event")


def read_calendar(path: Path) -> tuple[Release, ...]:
    """Read releases, oldest first; columns or keys are time_utc, currency, impact, event.

    Raises:
        Misconfigured: naming the file and what is wrong in it.
    """
    try:
        text = _text(path)
        rows: Iterable[Mapping[str, str]] = (
            json.loads(text) if ".json" in path.suffixes else csv.DictReader(text.splitlines())
        )
        return tuple(sorted((_release(row) for row in rows), key=lambda release: release.time_ms))
    except OSError as error:
        raise Misconfigured(f"calendar {path}: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise Misconfigured(f"calendar {path}: every entry needs {', '.join(FIELDS)} ({error})") from error


def _text(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def _release(row: Mapping[str, str]) -> Release:
    moment = datetime.fromisoformat(row["time_utc"])
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Release(
        time_ms=int(moment.timestamp() * 1000),
        currency=row["currency"].strip().upper(),
        impact=row["impact"].strip().lower(),
        event=row["event"].strip(),
    )
