"""The store's double: rows in memory, read with the promises of the port."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dtms.domain.actions import Intent
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Fact
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership, Standing
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Owner, State, Trade
from dtms.ports.store import Controls, Evaluation, Grant, Kept, KeptKind, Lease, Loaded, Page, Unit

ACTIVE = frozenset(State) - {State.CLOSED}


@dataclass
class MemoryStore:
    """A store whose rows are in memory; ``broken`` makes every call fail."""

    rows: dict[int, Trade] = field(default_factory=dict)
    journal: list[Fact] = field(default_factory=list)
    scored: list[Evaluation] = field(default_factory=list)
    kept_values: dict[tuple[KeptKind, str], Kept] = field(default_factory=dict)
    commits: list[Unit] = field(default_factory=list)
    broken: bool = False
    reads: int = 0
    wall_ms: int = 0

    def _check(self) -> None:
        self.reads += 1
        if self.broken:
            raise StoreFailed("disk I/O error on /var/secret/path.db")

    def add(self, fact: Fact) -> None:
        self.journal.append(replace(fact, id=len(self.journal) + 1))

    async def open(self) -> None:
        self._check()

    async def close(self) -> None: ...

    async def reopen(self) -> None:
        self._check()

    async def kept(self, kind: KeptKind, key: str | None = None) -> Sequence[Kept]:
        self._check()
        found = [k for (of, name), k in self.kept_values.items() if of is kind and key in (None, name)]
        return [k for k in found if k.expires_ms is None or k.expires_ms > self.wall_ms]

    async def load(self) -> Loaded:
        return Loaded(
            trades=tuple(self.rows.values()), intents=(), controls=Controls(), rails={}, tickets=frozenset(self.rows)
        )

    async def commit(self, unit: Unit) -> Sequence[int]:
        """Write a unit whole."""
        if self.broken:
            raise StoreFailed("disk I/O error on /var/secret/path.db")
        self.commits.append(unit)
        self.rows |= {trade.ticket: trade for trade in (*unit.create, *unit.trades)}
        self.kept_values |= {(kept.kind, kept.key): kept for kept in unit.keep}
        return ()

    async def next_intent_numbers(self, count: int) -> range:
        raise NotImplementedError("the HTTP program never writes")

    async def trade(self, ticket: int) -> Trade | None:
        self._check()
        return self.rows.get(ticket)

    async def trades(
        self,
        *,
        states: frozenset[State] | None = None,
        symbol: str | None = None,
        tickets: Sequence[int] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Page:
        self._check()
        found = [
            (place, t)
            for place, t in enumerate(self.rows.values(), start=1)
            if t.state in (states or ACTIVE)
            and (states is not None or not t.disabled)
            and symbol in (None, t.symbol)
            and (tickets is None or t.ticket in tickets)
            and place > (after or 0)
        ]
        more = found[limit - 1][0] if len(found) > limit else None
        return Page(trades=[t for _, t in found[:limit]], next_cursor=more)

    async def intents(self, *, ticket: int | None = None, open_only: bool = False) -> Sequence[Intent]:
        return ()

    async def facts(
        self,
        *,
        ticket: int | None = None,
        kinds: frozenset[str] | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        after: int | None = None,
        limit: int = 100,
        newest: bool = False,
    ) -> Sequence[Fact]:
        self._check()
        found = [
            f
            for f in self.journal
            if ticket in (None, f.ticket)
            and (kinds is None or f.kind in kinds)
            and (since_ms is None or f.market_ms >= since_ms)
            and (until_ms is None or f.market_ms <= until_ms)
            and f.id > (after or 0)
        ]
        return found[-limit:] if newest else found[:limit]

    async def count_facts(self, kinds: frozenset[str], ticket: int | None = None) -> int:
        self._check()
        return sum(f.kind in kinds and ticket in (None, f.ticket) for f in self.journal)

    async def evaluations(
        self, symbol: str, direction: str, *, from_ms: int, to_ms: int, limit: int = 1000, newest: bool = False
    ) -> Sequence[Evaluation]:
        self._check()
        found = [
            e for e in self.scored if (e.symbol, e.direction) == (symbol, direction) and from_ms <= e.bar_ms <= to_ms
        ]
        return found[-limit:] if newest else found[:limit]

    async def acquire(self, key: str, holder: str, ttl_s: float) -> Lease | None:
        return None

    async def lease(self, key: str) -> Lease | None:
        return None

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        return None

    async def release(self, lease: Lease) -> None: ...

    async def grant(
        self, key: str, holder: str, ttl_s: float, *, ticket: int | None, superseding: int | None = None
    ) -> Grant:
        raise NotImplementedError("the HTTP program changes no position")

    async def standing(self, ticket: int) -> Standing:
        self._check()
        return Standing(ticket=ticket, trade=self.rows.get(ticket))

    async def states(self, tickets: Sequence[int] | None = None) -> Mapping[int, State]:
        self._check()
        watched = {t.ticket: t.state for t in self.rows.values() if t.is_active}
        return watched if tickets is None else {t: watched[t] for t in tickets if t in watched}

    async def ownerships(self, tickets: Sequence[int] | None = None) -> Sequence[Ownership]:
        return ()

    async def managed(self, *, manager: Owner | None = None, ticket: int | None = None) -> Sequence[Managed]:
        return ()

    async def plans(self, *, statuses: frozenset[PlanStatus] | None = None, limit: int = 1000) -> Sequence[Plan]:
        return ()

    async def plan(self, plan_id: str) -> Plan | None:
        return None

    async def intent(self, number: int) -> Intent | None:
        return None
