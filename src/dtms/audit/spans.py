"""Stretches of market time."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtms.domain.facts import Fact, FactKind


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of market time, both ends included."""

    from_ms: int
    to_ms: int

    def overlap_ms(self, from_ms: int, to_ms: int) -> int:
        return max(0, min(self.to_ms, to_ms) - max(self.from_ms, from_ms))

    def __contains__(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms <= self.to_ms


def halted_spans(facts: Sequence[Fact], known: Span, *, is_halted: bool) -> list[Span]:
    """Read from the journal when the kill switch was on; from how it stands now where the journal does not tell."""
    switches = [f for f in facts if f.kind in (FactKind.HALTED, FactKind.RESUMED)]
    is_on = (bool(switches) and switches[0].kind is FactKind.RESUMED) or (not switches and is_halted)
    since, spans = known.from_ms, list[Span]()
    for fact in switches:
        if is_on and fact.kind is FactKind.RESUMED:
            spans.append(Span(since, fact.market_ms))
        if not is_on:
            since = fact.market_ms
        is_on = fact.kind is FactKind.HALTED
    return [*spans, Span(since, known.to_ms)] if is_on else spans
