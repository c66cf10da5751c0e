"""What is asked of the store, and the statements that ask it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Subquery, Table, select, tuple_, union_all

from dtms.adapters.store_sql.schema import archived_facts, archived_trades, facts, intents, trades
from dtms.domain.actions import IntentState
from dtms.domain.trade import State

HAS_MEMBERS = '%"members":[{%'
"""In the memory of a trade that has positions beside its own: one that is closed has something left to do."""
OPEN_STATES = tuple(state.value for state in IntentState if state.is_open)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactQuery:
    """Which facts; times are market milliseconds, both ends included."""

    ticket: int | None = None
    kinds: frozenset[str] | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after: int | None = None
    limit: int = 100
    newest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeQuery:
    """Which trades; ``after`` is the ticket that ended the page before."""

    states: frozenset[State] | None = None
    symbol: str | None = None
    tickets: Sequence[int] | None = None
    after: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationQuery:
    """Which evaluations; both ends included."""

    symbol: str
    direction: str
    from_ms: int
    to_ms: int
    limit: int = 1000
    newest: bool = False


BY_REGISTRATION = (trades.c.registered_at, trades.c.ticket)
ARCHIVED = select(archived_trades.c.ticket)


def trade_query(query: TradeQuery) -> Select[Any]:
    """Select by the query; without ``states`` the active trades."""
    statement = select(trades).order_by(*BY_REGISTRATION)
    if query.states is None:
        statement = statement.where(trades.c.state != State.CLOSED.value, trades.c.disabled.is_(False))
    else:
        statement = statement.where(trades.c.state.in_(sorted(query.states)))
    if query.symbol is not None:
        statement = statement.where(trades.c.symbol == query.symbol)
    if query.tickets is not None:
        statement = statement.where(trades.c.ticket.in_(query.tickets))
    if query.after is not None:
        last = select(trades.c.registered_at).where(trades.c.ticket == query.after).scalar_subquery()
        statement = statement.where(tuple_(*BY_REGISTRATION) > tuple_(last, query.after))
    return statement


def intent_query(ticket: int | None, *, open_only: bool) -> Select[Any]:
    statement = select(intents).order_by(intents.c.number)
    if ticket is not None:
        statement = statement.where(intents.c.ticket == ticket)
    return statement.where(intents.c.state.in_(OPEN_STATES)) if open_only else statement


def all_facts(query: FactQuery) -> Subquery:
    """Select facts by the query: of one ticket wherever they are, of all tickets those that are not archived."""
    if query.ticket is None:
        return _fact_query(query, facts).subquery()
    return union_all(_fact_query(query, facts), _fact_query(query, archived_facts)).subquery()


def _fact_query(query: FactQuery, table: Table) -> Select[Any]:
    statement = select(table)
    if query.ticket is not None:
        statement = statement.where(table.c.ticket == query.ticket)
    if query.kinds is not None:
        statement = statement.where(table.c.kind.in_(sorted(query.kinds)))
    if query.since_ms is not None:
        statement = statement.where(table.c.market_ms >= query.since_ms)
    if query.until_ms is not None:
        statement = statement.where(table.c.market_ms <= query.until_ms)
    return statement if query.after is None else statement.where(table.c.id > query.after)
