"""How long a manager waits before it tries again, by how the last try ended."""

from dataclasses import replace

from dtms.domain.actions import ActionKind, Ending, Outcome
from dtms.domain.managed import Managed
from dtms.settings import ProtectionSettings

BACKOFF_MAX_S = 300.0
NOT_POSSIBLE_S = 900.0
"""A broker that does not allow something is asked again after a while: conditions change with the session."""
SOON_MS = 1_000
"""After a race was lost before anything was sent, and until what stands in the way is looked at again."""


def failed(managed: Managed, kind: ActionKind, outcome: Outcome, now_ms: int, settings: ProtectionSettings) -> Managed:
    """Return the memory after an action that failed: counted, unless it waits for its cause to end, and held back."""
    before = managed.failures.get(kind.value, 0)
    count = before if outcome.wait else before + 1
    until_ms = now_ms + int(_wait_s(outcome, count, settings) * 1000)
    return replace(
        managed,
        failures={**managed.failures, kind.value: count} if count else managed.failures,
        not_before_ms={**managed.not_before_ms, kind.value: until_ms},
        needs_attention=managed.needs_attention or _attention(kind, outcome, count, settings),
    )


def succeeded(managed: Managed, kind: ActionKind) -> Managed:
    """Return the memory after an action that was done: nothing of its kind failed, and nothing holds it back."""
    failures = {k: count for k, count in managed.failures.items() if k != kind.value}
    return replace(
        managed,
        failures=failures,
        not_before_ms={k: until for k, until in managed.not_before_ms.items() if k != kind.value},
        needs_attention=managed.needs_attention if failures else None,
        proposed=None,
    )


def _wait_s(outcome: Outcome, count: int, settings: ProtectionSettings) -> float:
    if outcome.ending is Ending.NOT_POSSIBLE:
        return NOT_POSSIBLE_S
    return min(BACKOFF_MAX_S, settings.failure_backoff_s * 2.0 ** max(0, min(count, 16) - 1))


def _attention(kind: ActionKind, outcome: Outcome, count: int, settings: ProtectionSettings) -> str | None:
    if count < settings.failures_max:
        return None
    return f"{kind.value} failed {count} times: {outcome.reason}"
