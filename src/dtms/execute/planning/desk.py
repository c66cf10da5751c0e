"""What plans are run with, shared by all who work on them; and how their facts are worded."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.plans import Plan
from dtms.domain.trade import Mode
from dtms.execute.journal import Journal
from dtms.execute.trading.service import Executes
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.ports.store import Store
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDesk:
    """The ports, what executes, and the settings as they are now."""

    broker: Broker
    store: Store
    clock: Clock
    journal: Journal
    trading: Executes
    sources: Sources
    settings: Callable[[], Settings]
    mode: Mode
    """What the configuration says; what a person set comes before it, in the store's judgement too."""

    def fact(self, plan: Plan, told: str, kind: FactKind = FactKind.PLAN, **details: Json) -> Fact:
        """Make a fact of a plan."""
        figures: dict[str, Json] = {"plan": plan.id, "status": plan.status.value, **details}
        made = self.journal.fact(kind, told, details=figures, correlation_id=plan.correlation_id)
        return replace(made, ticket=plan.ticket, symbol=plan.symbol)

    def step(self, plan: Plan) -> Fact:
        """Make the fact that a plan took a step."""
        why = f": {plan.reason}" if plan.reason else ""
        return self.fact(plan, f"plan {plan.id} is {plan.status.value}{why}", intent=plan.intent)
