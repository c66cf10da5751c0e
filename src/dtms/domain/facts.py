"""Facts: the journal's entries, append-only. A fact says what happened, to which trade, when, with which figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class FactKind(StrEnum):
    """What can be recorded of a trade, or of the system."""

    REGISTERED = "registered"
    PENDING = "pending"
    DISABLED = "disabled"
    ENABLED = "enabled"
    ARMED = "armed"
    TRANSITION = "transition"
    SHADOW_TRANSITION = "shadow_transition"
    ACTION = "action"
    REFUSAL = "refusal"
    HELD = "held"
    CHANGED_OUTSIDE = "changed_outside"
    UNCONFIRMED = "unconfirmed"
    CLOSED = "closed"
    ADOPTED = "adopted"
    HEDGE_GONE = "hedge_gone"
    OWNER_CHANGED = "owner_changed"
    MODE_CHANGED = "mode_changed"
    HALTED = "halted"
    RESUMED = "resumed"
    NEEDS_ATTENTION = "needs_attention"
    INTENT = "intent"
    RAIL = "rail"
    RECOVERED = "recovered"
    CYCLE_FAILED = "cycle_failed"
    LOOP_RESTARTED = "loop_restarted"
    SETTINGS_CHANGED = "settings_changed"
    STORE_REBUILT = "store_rebuilt"
    CHORE_FAILED = "chore_failed"
    LEARNED = "learned"
    AUDIT_VIOLATION = "audit_violation"
    HANDED = "handed"
    """Given, or not given, to the manager that it belongs to."""
    MANAGED = "managed"
    """Came into the hands of a manager beside DTMS."""
    UNMANAGED = "unmanaged"
    """Left the hands of a manager beside DTMS: closed, or taken out."""
    PROPOSAL = "proposal"
    """What a manager would have done, was it not for the mode."""
    PLAN = "plan"
    """A plan was made, changed, held up, or took a step."""
    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One entry; ``market_ms`` is UTC on the market's clock, ``machine_ms`` UTC on this machine's."""

    kind: FactKind
    ticket: int | None
    market_ms: int
    summary: str
    """What happened, in words a trader reads."""
    details: Mapping[str, Json] = field(default_factory=dict)
    symbol: str | None = None
    correlation_id: str | None = None
    machine_ms: int = 0
    id: int = 0
    """Given by the store, rising."""
