"""Scheduled economic releases."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A scheduled economic release."""

    time_ms: int
    currency: str
    impact: str
    event: str
