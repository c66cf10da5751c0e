"""What the main program's managers act with and under, shared by all that acts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dtms.decide.guards import RailState
from dtms.domain.account import MarginMode
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import lease_key
from dtms.domain.trade import Mode
from dtms.execute.carrying import Carrier
from dtms.execute.journal import Journal
from dtms.execute.leases import Leases
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.ports.store import Store
from dtms.settings import Settings


@dataclass(slots=True)
class Bench:
    """Ports, settings and switches; those that a person sets change between cycles."""

    broker: Broker
    store: Store
    clock: Clock
    journal: Journal
    carrier: Carrier
    """The managers' own: waits for nobody for long, so that one position does not hold up the others."""
    leases: Leases
    requests: Carrier
    """Of what people and programs ask; it waits as long as one may, under a holder of its own."""
    claims: Leases
    """The leases of these."""
    sources: Sources
    settings: Settings
    rails: RailState
    configured: Mode
    """What the configuration says; what a person set comes before it, in the store's judgement too."""
    mode: Mode
    """The account's."""
    account: tuple[int, str] = (0, "")
    """Login and server of the connected account."""
    margin_mode: MarginMode = MarginMode.HEDGING
    halted: bool = False
    done: Counter[str] = field(default_factory=Counter)
    """Actions since the program's start, by manager, rule and how they ended."""
    lost: Counter[str] = field(default_factory=Counter)
    """Proposals that were not sent, by manager and reason: the owner, DTMS's state, a changed stop, a held lease."""

    @property
    def carriers(self) -> tuple[Carrier, Carrier]:
        return self.carrier, self.requests

    def key(self, ticket: int, symbol: str) -> str:
        """Return the key of the lease under which a position is changed."""
        return lease_key(ticket, symbol, self.margin_mode)

    def fact(
        self,
        kind: FactKind,
        summary: str,
        managed: Managed,
        details: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> Fact:
        """Make a fact of a managed position, which names its manager."""
        told = {"manager": managed.manager.value, **(details or {})}
        fact = self.journal.fact(kind, summary, details=told, correlation_id=correlation_id)
        return replace(fact, ticket=managed.ticket, symbol=managed.symbol)
