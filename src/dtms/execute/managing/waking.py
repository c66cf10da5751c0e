"""The price at which a manager next has something to do: a quote that reaches it is looked at before its time."""

from dtms.decide.exits_sight import way_to_target
from dtms.domain.managed import ExitRules, Managed, UniversalRules
from dtms.settings import Settings


def universal_waits_at(managed: Managed, settings: Settings) -> float | None:
    """Return the nearer of breakeven's and the partial's price; the partial's at the earliest that it can be due."""
    rules = managed.rules
    if not isinstance(rules, UniversalRules):
        return None
    due = [] if managed.breakeven_done else [rules.breakeven_r]
    if rules.partial_r is not None and not managed.partial_done:
        due.append(rules.partial_r * min(1.0, settings.universal.early_partial_factor))
    return managed.entry + managed.side.sign * min(due) * managed.risk if due else None


def exits_wait_at(managed: Managed, settings: Settings) -> float | None:
    """Return the nearest of breakeven's, the partial's and the first trailing stop's price."""
    rules = managed.rules
    if not isinstance(rules, ExitRules):
        return None
    way = way_to_target(managed) or 2.0 * managed.risk  # without a target progress is half the R-multiple
    due = [] if managed.breakeven_done else [rules.breakeven_progress * way]
    if not managed.partial_done:
        due.append(rules.partial_progress * way)
    if not (managed.trailing_active or managed.breakeven_done):
        due.append(settings.exits.active_r * managed.risk)
    return managed.entry + managed.side.sign * min(due) if due else None
