"""Times and figures as they are shown: RFC 3339 in UTC, epoch seconds, plain numbers."""

from datetime import UTC, datetime


def rfc3339(at_ms: int) -> str:
    """Write UTC milliseconds as RFC 3339, to the millisecond."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return f"{moment[:-6]}Z"


def rfc3339_or_none(at_ms: int | None) -> str | None:
    """Write a time; 0 and None are never."""
    return rfc3339(at_ms) if at_ms else None


def epoch_s(at_ms: int | None) -> float | None:
    return at_ms / 1000 if at_ms else None


def span(seconds: float) -> str:
    """Say a span in words: ``2 h 05 min``, ``3 min``, ``12 s``."""
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes else f"{whole} s"


def signed(value: float | None, unit: str = "", digits: int = 2) -> str:
    """Say a figure with its sign, or that it is unknown."""
    return "unknown" if value is None else f"{value:+.{digits}f}{unit}"
