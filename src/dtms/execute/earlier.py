"""Trades that an earlier system protected: matched with the broker once, at the next recovery.

Whoever has the position at the broker becomes a trade, with the stop that it began with and its time where the table
tells them credibly. All else is told to a person and forgotten: a position that is not there is most likely closed, and
one that is another than the table says is taken up by itself, like any that stands alone.
"""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade
from dtms.execute.book import Book
from dtms.execute.desk import Desk
from dtms.execute.enrolment import Enrolment
from dtms.execute.feeds import Feeds
from dtms.execute.registrar import Registrar
from dtms.execute.service import Registration
from dtms.ports.store import Kept, KeptKind, Unit

log = structlog.get_logger(__name__)
Table = Mapping[str, Json]


class Earlier:
    """Takes an earlier system's trades over."""

    def __init__(self, *, desk: Desk, book: Book, feeds: Feeds, registrar: Registrar) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._registrar = registrar
        self._enrolment = Enrolment(desk, book, feeds)

    async def settle(self, snapshot: Snapshot) -> None:
        """Settle all that waits; run again it changes nothing.

        Raises:
            BrokerUnavailable, StoreFailed: what was not settled waits on.
        """
        waiting = await self._desk.store.kept(KeptKind.EARLIER)
        if not waiting:
            return
        by_identifier = {p.identifier: p for p in snapshot.positions.values()}
        listed = await self._desk.broker.positions([int(kept.key) for kept in waiting])
        for kept in waiting:
            ticket = int(kept.key)
            await self._settle(kept, listed.get(ticket) or by_identifier.get(ticket))

    async def _settle(self, kept: Kept, position: Position | None) -> None:
        if position is None:
            await self._forget(kept, "was not found at the broker: it is not protected", "expired")
        elif await self._is_known(position):
            await self._forget(kept)
        elif not _is_same(position, kept.body):
            has = f"{position.symbol} {position.side.direction}"
            said = f"{kept.body.get('symbol')} {kept.body.get('direction')}"
            await self._forget(kept, f"is {has}, not {said}: what was said of it is not used", "refused")
        elif await self._take_over(kept, position):
            await self._forget(kept)

    async def _is_known(self, position: Position) -> bool:
        """Answer whether a position is a trade's already, whatever became of that, or one that dtms opened."""
        if self._book.is_member(position) or self._desk.broker.intent_of(position.magic) is not None:
            return True
        names = dict.fromkeys((position.ticket, position.identifier))
        rows = [row for name in names if (row := await self._desk.store.trade(name)) is not None]
        return any(row.identifier == position.identifier for row in rows)

    async def _take_over(self, kept: Kept, position: Position) -> bool:
        """Make a trade of it; False while the broker does not tell of its symbol, when it waits on."""
        symbol = await self._feeds.symbol(position.symbol)
        if symbol is None:
            return False
        made = await self._enrolment.trade(Registration(ticket=position.ticket), position, symbol, None)
        trade = _as_it_was(made, kept.body)
        told = "taken over from an earlier system"
        fact = self._desk.journal.fact(FactKind.ADOPTED, told, trade=trade, details={"table": dict(kept.body)})
        await self._registrar.take_over(trade, symbol, fact)
        return True

    async def _forget(self, kept: Kept, what: str | None = None, outcome: str = "") -> None:
        """Match it no more; with ``what`` a person is told why it did not become a trade."""
        facts = () if what is None else (self._fact(kept, what, outcome),)
        await self._desk.store.commit(Unit(facts=facts, forget=((KeptKind.EARLIER, kept.key),)))
        self._desk.journal.tell(facts)

    def _fact(self, kept: Kept, what: str, outcome: str) -> Fact:
        summary = f"position {kept.key} of an earlier system {what}"
        details: dict[str, Json] = {"outcome": outcome, "alert": "WARNING", "table": dict(kept.body)}
        fact = self._desk.journal.fact(FactKind.PENDING, summary, details=details)
        symbol = kept.body.get("symbol")
        return replace(fact, ticket=int(kept.key), symbol=symbol if isinstance(symbol, str) else None)


def _is_same(position: Position, table: Table) -> bool:
    return (position.symbol, position.side.direction) == (table.get("symbol"), table.get("direction"))


def _as_it_was(trade: Trade, table: Table) -> Trade:
    """Give a trade the stop and the time that the table tells, where they can be true."""
    stop, since_ms = table.get("stop_loss"), table.get("registered_ms")
    if isinstance(stop, int | float) and (trade.entry - stop) * trade.side.sign > 0:
        trade = replace(trade, initial_stop=float(stop), risk=abs(trade.entry - stop), nominal_risk=False)
    if isinstance(since_ms, int) and trade.opened_ms <= since_ms <= trade.registered_ms:
        trade = replace(trade, registered_ms=since_ms)
    return trade
