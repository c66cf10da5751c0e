"""The part of the store's port that only reads."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dtms.adapters.store_sql.queries import EvaluationQuery, FactQuery, TradeQuery
from dtms.adapters.store_sql.reader import Reader
from dtms.adapters.store_sql.verify import Found, Place, Scrubbed
from dtms.domain.actions import Intent
from dtms.domain.facts import Fact
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership, Standing
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Owner, State, Trade
from dtms.ports.store import Evaluation, Lease, Loaded, Page

T = TypeVar("T")

SCRUB_ROWS = 500
"""Of one slice: some milliseconds on a reader's thread."""


class Reads(ABC):
    """Ask the reader of whoever fulfils ``_read``."""

    @abstractmethod
    async def _read(self, query: Callable[[Reader], T]) -> T:
        """Answer a question where it holds nobody up.

        Raises:
            StoreFailed: when it cannot be answered.
        """

    async def load(self) -> Loaded:
        return await self._read(lambda reader: reader.load())

    async def trade(self, ticket: int) -> Trade | None:
        return await self._read(lambda reader: reader.trade(ticket))

    async def trades(
        self,
        *,
        states: frozenset[State] | None = None,
        symbol: str | None = None,
        tickets: Sequence[int] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> Page:
        """Page through trades by rising registration; with ``states``, exactly those, disabled ones among them."""
        query = TradeQuery(states=states, symbol=symbol, tickets=tickets, after=after, limit=limit)
        return await self._read(lambda reader: reader.trades(query))

    async def intents(self, *, ticket: int | None = None, open_only: bool = False) -> Sequence[Intent]:
        return await self._read(lambda reader: reader.intents(ticket, open_only=open_only))

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
        """Read facts in rising order; both ends of the time are included."""
        query = FactQuery(
            ticket=ticket,
            kinds=kinds,
            since_ms=since_ms,
            until_ms=until_ms,
            after=after,
            limit=limit,
            newest=newest,
        )
        return await self._read(lambda reader: reader.facts(query))

    async def count_facts(self, kinds: frozenset[str], ticket: int | None = None) -> int:
        return await self._read(lambda reader: reader.count_facts(kinds, ticket))

    async def evaluations(
        self, symbol: str, direction: str, *, from_ms: int, to_ms: int, limit: int = 1000, newest: bool = False
    ) -> Sequence[Evaluation]:
        """Read evaluations in rising order; both ends of the time are included."""
        query = EvaluationQuery(
            symbol=symbol, direction=direction, from_ms=from_ms, to_ms=to_ms, limit=limit, newest=newest
        )
        return await self._read(lambda reader: reader.evaluations(query))

    async def intent(self, number: int) -> Intent | None:
        return await self._read(lambda reader: reader.intent(number))

    async def standing(self, ticket: int) -> Standing:
        return await self._read(lambda reader: reader.standing(ticket))

    async def states(self, tickets: Sequence[int] | None = None) -> Mapping[int, State]:
        return await self._read(lambda reader: reader.states(tickets))

    async def ownerships(self, tickets: Sequence[int] | None = None) -> Sequence[Ownership]:
        return await self._read(lambda reader: reader.ownerships(tickets))

    async def managed(self, *, manager: Owner | None = None, ticket: int | None = None) -> Sequence[Managed]:
        return await self._read(lambda reader: reader.managed(manager, ticket))

    async def plans(self, *, statuses: frozenset[PlanStatus] | None = None, limit: int = 1000) -> Sequence[Plan]:
        return await self._read(lambda reader: reader.plans(statuses, limit))

    async def plan(self, plan_id: str) -> Plan | None:
        return await self._read(lambda reader: reader.plan(plan_id))

    async def lease(self, key: str) -> Lease | None:
        return await self._read(lambda reader: reader.lease(key))

    async def scrub(self, place: Place | None = None, rows: int = SCRUB_ROWS) -> Scrubbed:
        """Verify the next rows of a slow pass over the whole store; a pass begins without a place.

        Raises:
            StoreDamaged: when rows that are acted on are not what was written; from then on nothing is believed.
        """
        return await self._read(lambda reader: reader.scrub(place, rows))

    async def verify_chain(self, ticket: int | None) -> Sequence[Found]:
        """Return the facts of a ticket that are damaged, or do not follow on the one before them."""
        return await self._read(lambda reader: reader.verify_chain(ticket))
