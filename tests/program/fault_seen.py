"""What was seen of a fault: over the API, in the journal, in the logs."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

ROUTINE = frozenset({"armed", "transition", "shadow_transition", "started", "learned"})
"""Facts that come without any fault."""
SPAM_PER_MIN = 20
NUMBER = re.compile(r"[-+]?\b\d[\d.,]*(?<=\d)")
SHOWN = 4


@dataclass(slots=True, kw_only=True)
class Seen:
    """What one fault looked like; times are real seconds."""

    name: str
    command: str = ""
    fired: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why the server said that it is not ready, by how many looks showed it."""
    warnings: Counter[str] = field(default_factory=Counter)
    """What trades and status warned of, likewise."""
    unknown: Counter[str] = field(default_factory=Counter)
    facts: list[tuple[str, str | None, str]] = field(default_factory=list)
    """Kind, level of the alert, words."""
    logged: Counter[str] = field(default_factory=Counter)
    unready_s: float = 0.0
    calm_s: float = 0.0
    """How long after its end until all was calm."""
    cpu_share: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Tell it in one line."""
        parts = [
            f"happened {self.fired} times" if self.command else "",
            f"unready {self.unready_s:.1f} s ({_most(self.reasons)})" if self.reasons else "",
            f"warned: {_most(self.warnings)}" if self.warnings else "",
            f"unknown: {_most(self.unknown)}" if self.unknown else "",
            f"journal: {_most(self._told())}" if self.facts else "",
            f"log: {_most(self.logged)}" if self.logged else "",
            f"calm after {self.calm_s:.1f} s" if self.command else "",
            f"WRONG: {'; '.join(self.wrong)}" if self.wrong else "",
        ]
        return f"{self.name}: {' | '.join(filter(None, parts))}"

    def _told(self) -> Counter[str]:
        return Counter(f"{kind}{f' [{alert}]' if alert else ''}: {words}" for kind, alert, words in self.facts)

    def as_json(self) -> dict[str, Any]:
        return {item.name: _json(getattr(self, item.name)) for item in fields(self)}


def _json(value: Any) -> Any:
    return dict(value) if isinstance(value, Counter) else value


def _most(counted: Mapping[str, int]) -> str:
    ordered = sorted(counted, key=lambda text: -counted[text])
    more = f" … {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return (
        "; ".join(f"{text[:150]}{f' ×{counted[text]}' if counted[text] > 1 else ''}" for text in ordered[:SHOWN]) + more
    )


def noted(entries: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count log lines by service, level and event, without what comes without any fault."""
    found: Counter[str] = Counter()
    for entry in entries:
        level, event = str(entry.get("level", "?")), NUMBER.sub("#", str(entry.get("event", "?")))
        if not (level == "info" and event in ROUTINE):
            found[f"{entry.get('service', '?')} {level} {event}"] += 1
    return found


def spam(entries: Iterable[Mapping[str, Any]], during_s: float) -> list[str]:
    """Name what was logged too often: the same words, whatever their figures, by the clock that drives them."""
    moments: defaultdict[str, list[int]] = defaultdict(list)
    for entry in entries:
        words = NUMBER.sub("#", f"{entry.get('event')}: {entry.get('told', '')}")
        moments[words].append(int(entry.get("market_ms", 0)))
    return [
        f"logged {len(at)} times in {during_s:.0f} s: {words}"
        for words, at in moments.items()
        if len(at) > SPAM_PER_MIN * max(1.0, during_s / 60, (at[-1] - at[0]) / 60_000)
    ]
