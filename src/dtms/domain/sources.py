"""What comes from outside the terminal, and how each source of it stands."""

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000


class SourceState(StrEnum):
    """Whether a source can be used."""

    OK = "ok"
    ABSENT = "absent"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one source stands, in words; ``warning`` is what a person should know of it, None when all is well."""

    name: str
    state: SourceState
    told: str
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vix:
    """The volatility index as it was known at ``at_ms`` (market UTC)."""

    value: float
    at_ms: int
    source: str

    def age_days(self, now_ms: int) -> float:
        return (now_ms - self.at_ms) / DAY_MS
