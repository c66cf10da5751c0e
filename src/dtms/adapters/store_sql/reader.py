"""The reading side: queries over connections of their own, which the writer never blocks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Select, bindparam, func, or_, select, union_all
from sqlalchemy.exc import SQLAlchemyError

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.permitted import standing_of
from dtms.adapters.store_sql.queries import (
    ARCHIVED,
    BY_REGISTRATION,
    HAS_MEMBERS,
    EvaluationQuery,
    FactQuery,
    TradeQuery,
    all_facts,
    intent_query,
    trade_query,
)
from dtms.adapters.store_sql.schema import (
    archived_intents,
    archived_trades,
    controls,
    evaluations,
    intents,
    kept,
    leases,
    managed,
    ownership,
    plans,
    rails,
    trades,
)
from dtms.adapters.store_sql.sqlite import DriverError, ends_trust
from dtms.adapters.store_sql.statements import compile_statements
from dtms.adapters.store_sql.trust import Trust
from dtms.adapters.store_sql.verify import Found, Place, Scrubbed, verify_chain, verify_slice, verify_vital
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.actions import Intent
from dtms.domain.errors import StoreDamaged, StoreFailed
from dtms.domain.facts import Fact
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership, Standing
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Owner, State, Trade
from dtms.ports.store import Controls, Evaluation, Kept, KeptKind, Lease, Loaded, Page

# Asked with every registration: to put them together anew took longer than to read what they ask for.
_OPEN_ENTRIES = select(ownership).where(ownership.c.closed_ms.is_(None)).order_by(ownership.c.ticket)
_ENTRIES_OF = (
    select(ownership).where(ownership.c.ticket.in_(bindparam("tickets", expanding=True))).order_by(ownership.c.ticket)
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Read values; each call sees one consistent state. Every method raises ``StoreFailed`` when it cannot."""

    engine: Engine
    trust: Trust

    def load(self) -> Loaded:
        kept = or_(trades.c.state != State.CLOSED.value, trades.c.memory.like(HAS_MEMBERS))
        with self._reading() as connection:
            return Loaded(
                trades=_trades(connection, select(trades).where(kept).order_by(*BY_REGISTRATION)),
                intents=_intents(connection, intent_query(None, open_only=True)),
                controls=_controls(connection),
                rails=_rails(connection),
                tickets=frozenset(connection.execute(union_all(select(trades.c.ticket), ARCHIVED)).scalars()),
            )

    def trade(self, ticket: int) -> Trade | None:
        """Read a trade; one that was closed long ago from the archive."""
        with self._reading() as connection:
            found = _trades(connection, select(trades).where(trades.c.ticket == ticket))
            found = found or _trades(connection, select(archived_trades).where(archived_trades.c.ticket == ticket))
        return found[0] if found else None

    def trades(self, query: TradeQuery) -> Page:
        """Return one page; it has a next one when more rows follow."""
        with self._reading() as connection:
            found = _trades(connection, trade_query(query).limit(query.limit + 1))
        page = found[: query.limit]
        return Page(trades=page, next_cursor=page[-1].ticket if page and len(found) > len(page) else None)

    def intents(self, ticket: int | None, *, open_only: bool) -> Sequence[Intent]:
        with self._reading() as connection:
            found = _intents(connection, intent_query(ticket, open_only=open_only))
            if ticket is not None and not found and not open_only:
                archived = select(archived_intents).where(archived_intents.c.ticket == ticket)
                found = _intents(connection, archived.order_by(archived_intents.c.number))
        return found

    def facts(self, query: FactQuery) -> Sequence[Fact]:
        """Read facts; those of one ticket from the archive as well."""
        wanted = all_facts(query)
        order = wanted.c.id.desc() if query.newest else wanted.c.id
        with self._reading() as connection:
            found = connection.execute(select(wanted).order_by(order).limit(query.limit)).mappings().all()
            values = [rows.fact_of(row) for row in found]
        return values[::-1] if query.newest else values

    def count_facts(self, kinds: frozenset[str], ticket: int | None) -> int:
        wanted = all_facts(FactQuery(kinds=kinds, ticket=ticket))
        with self._reading() as connection:
            return connection.execute(select(func.count()).select_from(wanted)).scalar_one()

    def kept(self, kind: KeptKind, key: str | None, wall_ms: int) -> Sequence[Kept]:
        """Return what has not expired, oldest first."""
        statement = select(kept).where(
            kept.c.kind == kind.value, or_(kept.c.expires_ms.is_(None), kept.c.expires_ms > wall_ms)
        )
        if key is not None:
            statement = statement.where(kept.c.key == key)
        with self._reading() as connection:
            found = connection.execute(statement.order_by(kept.c.at_ms, kept.c.key)).mappings().all()
            return [rows.kept_of(row) for row in found]

    def evaluations(self, query: EvaluationQuery) -> Sequence[Evaluation]:
        statement = select(evaluations).where(
            evaluations.c.symbol == query.symbol,
            evaluations.c.direction == query.direction,
            evaluations.c.bar_ms.between(query.from_ms, query.to_ms),
        )
        order = evaluations.c.bar_ms.desc() if query.newest else evaluations.c.bar_ms
        with self._reading() as connection:
            found = connection.execute(statement.order_by(order).limit(query.limit)).mappings().all()
            values = [rows.evaluation_of(row) for row in found]
        return values[::-1] if query.newest else values

    def intent(self, number: int) -> Intent | None:
        with self._reading() as connection:
            for table in (intents, archived_intents):
                if found := _intents(connection, select(table).where(table.c.number == number)):
                    return found[0]
        return None

    def standing(self, ticket: int) -> Standing:
        with self._reading() as connection:
            return standing_of(self._transaction(connection), ticket)

    def states(self, tickets: Sequence[int] | None) -> dict[int, State]:
        """Read states alone, not compared with their rows' hashes: for display."""
        statement = select(trades.c.ticket, trades.c.state).where(
            trades.c.state != State.CLOSED.value, trades.c.disabled.is_(False)
        )
        if tickets is not None:
            statement = statement.where(trades.c.ticket.in_(tickets))
        with self._reading() as connection:
            return {ticket: State(state) for ticket, state in connection.execute(statement)}

    def ownerships(self, tickets: Sequence[int] | None) -> Sequence[Ownership]:
        with self._reading() as connection:
            found = connection.execute(*(_OPEN_ENTRIES,) if tickets is None else (_ENTRIES_OF, {"tickets": tickets}))
            return [rows.ownership_of(row) for row in found.mappings()]

    def managed(self, manager: Owner | None, ticket: int | None) -> Sequence[Managed]:
        """Read what is active, or with ``ticket`` whatever there is of it."""
        statement = select(managed).where(
            managed.c.closed_ms.is_(None) if ticket is None else managed.c.ticket == ticket
        )
        if manager is not None:
            statement = statement.where(managed.c.manager == manager.value)
        with self._reading() as connection:
            found = connection.execute(statement.order_by(managed.c.ticket, managed.c.manager)).mappings()
            return [rows.managed_of(row) for row in found]

    def plans(self, statuses: frozenset[PlanStatus] | None, limit: int) -> Sequence[Plan]:
        statement = select(plans).order_by(plans.c.created_ms, plans.c.id).limit(limit)
        if statuses is not None:
            statement = statement.where(plans.c.status.in_(sorted(statuses)))
        with self._reading() as connection:
            return [rows.plan_of(row) for row in connection.execute(statement).mappings()]

    def plan(self, plan_id: str) -> Plan | None:
        with self._reading() as connection:
            found = connection.execute(select(plans).where(plans.c.id == plan_id)).mappings().first()
            return None if found is None else rows.plan_of(found)

    def lease(self, key: str) -> Lease | None:
        with self._reading() as connection:
            found = connection.execute(select(leases).where(leases.c.key == key)).mappings().first()
            if found is None or not rows.checked("leases", found)["holder"]:
                return None
        return Lease(key=key, holder=found["holder"], token=found["token"], expires_s=found["expires_s"])

    def scrub(self, place: Place | None, limit: int) -> Scrubbed:
        """Verify a slice; damage of what is acted on ends the trust in the store."""
        with self._reading() as connection:
            raw = connection.connection.driver_connection
            found = verify_slice(raw, place, limit)
            if any(table in rows.ACTED_ON for table, _ in found.damages):
                verify_vital(raw)
        return found

    def verify_chain(self, ticket: int | None) -> Sequence[Found]:
        with self._reading() as connection:
            return verify_chain(connection.connection.driver_connection, ticket)

    def _transaction(self, connection: Connection) -> Transaction:
        """Say the writer's questions on a reader's connection."""
        raw: Any = connection.connection.driver_connection
        return Transaction(raw.cursor(), compile_statements(self.engine.dialect.name))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Read while the store may be believed, before as after."""
        self.trust.require()
        try:
            with self.engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, DriverError, UnicodeDecodeError) as error:
            cause = getattr(error, "orig", None) or error
            if ends_trust(cause):
                self.trust.lose(cause)
            raise StoreFailed(f"the store could not be read: {cause}") from error
        except StoreDamaged as error:
            if error.is_vital:
                self.trust.lose(error)
            raise
        self.trust.require()


def _trades(connection: Connection, statement: Select[Any]) -> list[Trade]:
    return [rows.trade_of(row) for row in connection.execute(statement).mappings()]


def _intents(connection: Connection, statement: Select[Any]) -> list[Intent]:
    return [rows.intent_of(row) for row in connection.execute(statement).mappings()]


def _controls(connection: Connection) -> Controls:
    row = connection.execute(select(controls)).mappings().first()
    return Controls() if row is None else rows.controls_of(row)


def _rails(connection: Connection) -> dict[str, Any]:
    row = connection.execute(select(rails)).mappings().first()
    return {} if row is None else rows.rails_of(row)
