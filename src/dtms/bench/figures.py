"""Figures: what was measured, how often, how it spread, and the limit that it must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from statistics import median

from dtms.domain.facts import Json


class Better(StrEnum):
    """On which side of its limit a figure is good."""

    LOWER = "at most"
    HIGHER = "at least"


@dataclass(frozen=True, slots=True)
class Limit:
    better: Better
    value: float

    def holds(self, figure: float) -> bool:
        return figure <= self.value if self.better is Better.LOWER else figure >= self.value


def at_most(value: float) -> Limit:
    return Limit(Better.LOWER, value)


def at_least(value: float) -> Limit:
    return Limit(Better.HIGHER, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity: a value per run, of which the median counts."""

    name: str
    unit: str
    runs: tuple[float, ...]
    limit: Limit | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.runs)

    @property
    def is_within(self) -> bool:
        return self.limit is None or self.limit.holds(self.median)

    def as_json(self) -> Mapping[str, Json]:
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "lowest": min(self.runs),
            "highest": max(self.runs),
            "runs": len(self.runs),
            "limit": None if self.limit is None else f"{self.limit.better.value} {self.limit.value:g}",
            "within": self.is_within,
            "note": self.note,
        }


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
