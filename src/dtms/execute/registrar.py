"""Registration: requests that wait together share one look at the broker and one commit.

A registration answered is a trade durably stored, or one that durably waits for its position; a repeated one changes
nothing.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dtms.domain.errors import AlreadyStored, ChangedMeanwhile, LeaseHeld
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Mode, Owner, State, Trade
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.desk import Desk
from dtms.execute.enrolment import Enrolment, held_elsewhere, no_advise, not_listed, repeated
from dtms.execute.feeds import Feeds
from dtms.execute.keeping import Draft, Group, Keeping, New
from dtms.execute.owning import is_anothers, settle_owner, taken_over
from dtms.execute.pending import Awaited, Pendings, told_of
from dtms.execute.service import Pending, Receipt, RefusalCode, Refused, Registered, Registration, Result
from dtms.execute.together import Together
from dtms.ports.store import KeptKind, Unit

EVERY_STATE = frozenset(State)
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one batch judges by."""

    watched: Mapping[int, Trade]
    """As they were when the batch was begun: a trade that is disabled meanwhile was still there."""
    positions: Mapping[int, Position]
    stored: Mapping[int, Trade]
    """Rows that are known but not watched."""
    entries: Mapping[int, Ownership]
    """Of the registry, by ticket."""

    def entry(self, position: Position) -> Ownership | None:
        """Return the registry's entry of a position, under its ticket or the one that it began with."""
        return self.entries.get(position.ticket) or self.entries.get(position.identifier)


class Registrar:
    """Registers trades, one batch at a time, so that concurrent requests for one ticket make one trade."""

    def __init__(self, desk: Desk, book: Book, feeds: Feeds) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._enrolment = Enrolment(desk, book, feeds)
        self.pendings = Pendings(desk.store, desk.clock)
        self._keeping = Keeping(desk, book, self.pendings)
        self._together = Together(self._answer)

    async def register(
        self, requests: Sequence[Registration], receipt: Receipt[Sequence[Result]] | None = None
    ) -> Sequence[Result]:
        """Register durably and return what each request came to, in order.

        Raises:
            BrokerUnavailable: when the broker could not be asked.
            StoreFailed: when it could not be kept.
        """
        return await self._together.ask(Group(requests, receipt))

    async def _answer(self, batch: Sequence[Group]) -> Sequence[Sequence[Result]]:
        await self.pendings.load()
        for _ in range(TRIES):
            with suppress(ChangedMeanwhile):  # somebody else changed an owner: judged anew
                return await self._judged(batch)
        return await self._judged(batch)

    async def _judged(self, batch: Sequence[Group]) -> Sequence[Sequence[Result]]:
        look = await self._look({request.ticket for group in batch for request in group.requests})
        draft = Draft()
        results = [[await self._result(request, look, draft) for request in group.requests] for group in batch]
        return await self._keeping.keep(batch, results, draft)

    # --- judging ---------------------------------------------------------------------------------------------------

    async def _look(self, tickets: Collection[int]) -> Look:
        """Ask the broker for the positions, and the store for rows that are known but not watched."""
        watches = self._book.watches
        watched = {t: watches[at].trade for t in tickets if (at := self._book.ticket_of(t)) is not None}
        asked = [ticket for ticket in tickets if ticket not in watched]
        if not asked:
            return Look(watched=watched, positions={}, stored={}, entries={})
        positions, entries = await asyncio.gather(self._desk.broker.positions(asked), self._entries(set(asked)))
        # A position whose ticket changed kept its identifier, which most often is the ticket that it began with.
        names = {*asked, *(p.identifier for p in positions.values())}
        old = sorted((names & self._book.stored) - watches.keys())
        rows = (await self._desk.store.trades(states=EVERY_STATE, tickets=old, limit=len(old))).trades if old else ()
        if others := names - set(asked):
            entries |= await self._entries(others)
        return Look(watched=watched, positions=positions, stored={t.ticket: t for t in rows}, entries=entries)

    async def _entries(self, tickets: Collection[int]) -> dict[int, Ownership]:
        """Read the registry's entries of these tickets."""
        return {entry.ticket: entry for entry in await self._desk.store.ownerships(sorted(tickets))}

    async def _result(self, request: Registration, look: Look, draft: Draft) -> Result:
        if request.mode is Mode.ADVISE:
            return no_advise()
        try:
            known = self._known(request.ticket, look, draft)
            if known is not None:
                return repeated(request, await self._taken_over(known) if request.takeover else known)
            position = look.positions.get(request.ticket)
            if position is None:
                return self._wait_for(request, draft)
            return await self._enrol(request, position, look, draft)
        except Refused as refused:
            return refused
        except LeaseHeld as error:
            return held_elsewhere(request.ticket, error)

    async def _taken_over(self, known: Trade) -> Trade:
        """Make DTMS the owner of a trade that it watches already, where another is.

        Raises:
            LeaseHeld: while somebody else is changing it.
            ChangedMeanwhile: when its owner changed just now.
        """
        watch = self._book.watches.get(known.ticket)
        if watch is None:
            return known
        async with watch.lock:
            before = watch.trade
            found = await self._desk.store.ownerships([before.ticket])
            entries = [taken_over(e, self._desk.clock.market_ms()) for e in found if e.manager is not Owner.DTMS]
            trade = replace(before, owner=Owner.DTMS, alongside=False, by_watcher=False)
            if trade == before and not entries:
                return before
            facts = [self._owner_fact(trade, found[0].owner if found else before.owner.value)]
            unit = Unit(trades=(trade,), ownership=entries, facts=facts, unowned=() if entries else (trade.ticket,))
            await self._desk.keep(unit, trade)
            self._desk.believe(watch, trade, facts)
            return trade

    def _owner_fact(self, trade: Trade, before: str) -> Fact:
        told = f"DTMS takes it over from {before or 'nobody'}"
        details: dict[str, Json] = {"before": before, "owner": Owner.DTMS.value}
        return self._desk.journal.fact(FactKind.OWNER_CHANGED, told, trade=trade, details=details)

    def _known(self, ticket: int, look: Look, draft: Draft) -> Trade | None:
        """Return the trade that a ticket belongs to already, by the position's lasting identifier when it changed."""
        if ticket in draft.new:
            return draft.new[ticket].trade
        if ticket in look.watched:
            return look.watched[ticket]
        position = look.positions.get(ticket)
        names = (self._book.ticket_of(ticket), position.identifier if position is not None else None)
        found = [self._book.watches[name].trade for name in names if name in self._book.watches]
        return next((t for t in found if position is None or t.identifier == position.identifier), None)

    async def _enrol(self, request: Registration, position: Position, look: Look, draft: Draft) -> Registered:
        before = look.stored.get(request.ticket) or look.stored.get(position.identifier)
        trade, symbol, adjusted = await self._enrolment.judged(request, position, before)
        entry = look.entry(position) or await self._enrolment.promised(position)
        owned = settle_owner(request, entry, self._desk.clock.market_ms())
        trade = owned.of(trade)
        if owned.entry is not None:
            draft.facts.append(self._owner_fact(trade, entry.owner if entry is not None else ""))
        is_back = before is not None and before.disabled and before.identifier == trade.identifier
        draft.new[request.ticket] = New(trade, symbol, owned.entry, request.correlation_id, is_back)
        draft.waiting.pop(request.ticket, None)
        return Registered(trade=trade, already_registered=False, adjusted=adjusted)

    def _wait_for(self, request: Registration, draft: Draft) -> Pending:
        """Let a registration wait for its position, when it may."""
        pending = self.pendings.get(request.ticket)
        if not request.allow_pending:
            raise not_listed(request)
        if pending is not None:
            return pending
        kept = draft.waiting.get(request.ticket)
        if kept is None:
            kept = draft.waiting[request.ticket] = self.pendings.kept(request)
            draft.facts.append(
                self._pending_fact(request, "waits for the broker to list its position", {"outcome": "waits"})
            )
        return told_of(kept)

    # --- what waits ------------------------------------------------------------------------------------------------

    async def settle_pending(self) -> None:
        """Register what was waited for and is listed now, and tell of what was not within its time.

        Raises:
            BrokerUnavailable, StoreFailed: nothing was concluded; it waits on.
        """
        await self.pendings.load()
        due = self.pendings.due()
        if not due:
            return
        begun_s = self._desk.clock.machine_s()
        results = await self.register([one.request for one in due])
        for awaited, result in zip(due, results, strict=True):
            if isinstance(result, Refused):
                await self._refused(awaited, result, begun_s)
            elif self.pendings.get(awaited.request.ticket) is not None:  # known before, under its ticket or another
                await self.forget_pending(awaited.request, "is protected already", {"outcome": "registered"})

    async def _refused(self, awaited: Awaited, refusal: Refused, begun_s: float) -> None:
        if refusal.code is not RefusalCode.POSITION_NOT_FOUND:
            why, outcome = f"cannot be protected: {refusal.message}", "refused"
        elif self.pendings.is_over(awaited, begun_s):
            why, outcome = "did not turn up at the broker: it is not protected", "expired"
        else:
            return
        await self.forget_pending(awaited.request, why, {"outcome": outcome, "alert": "ERROR"})

    async def forget_pending(self, request: Registration, why: str, details: Mapping[str, Json]) -> None:
        """Wait for a position no longer, and record why."""
        fact = self._pending_fact(request, why, details)
        await self._desk.store.commit(Unit(facts=(fact,), forget=((KeptKind.PENDING, str(request.ticket)),)))
        self.pendings.drop([request.ticket])
        self._desk.journal.tell((fact,))

    def _pending_fact(self, request: Registration, what: str, details: Mapping[str, Json]) -> Fact:
        fact = self._desk.journal.fact(
            FactKind.PENDING,
            f"position {request.ticket} {what}",
            details=details,
            correlation_id=request.correlation_id,
        )
        return replace(fact, ticket=request.ticket, symbol=request.symbol)

    async def take_over(self, trade: Trade, symbol: SymbolWatch, fact: Fact) -> None:
        """Keep a trade of another system, and what is told of it; not where it is under defence, or another's."""
        with suppress(AlreadyStored, ChangedMeanwhile):
            await self._keeping.commit({trade.ticket: New(trade, symbol)}, Draft(facts=[fact]), [])

    # --- what nobody registered ------------------------------------------------------------------------------------

    async def adopt(self, positions: Sequence[Position]) -> list[Trade]:
        """Register positions that nobody owns, but for those whose registration waits: it is settled by itself."""
        await self.pendings.load()
        new: dict[int, New] = {}
        names = {name for position in positions for name in (position.ticket, position.identifier)}
        entries = await self._entries(names)
        for position in positions:
            entry = entries.get(position.ticket) or entries.get(position.identifier)
            if is_anothers(entry):
                continue
            symbol = await self._feeds.symbol(position.symbol)
            known = position.ticket in self._book.watches or self.pendings.get(position.ticket) is not None
            if symbol is None or known:
                continue
            request = Registration(ticket=position.ticket, by_watcher=True)
            trade = await self._enrolment.trade(request, position, symbol, None)
            owned = settle_owner(request, entry, self._desk.clock.market_ms())
            new[position.ticket] = New(owned.of(trade), symbol, owned.entry)
        try:
            await self._keeping.commit(new, Draft(), [])
            blocked: Collection[int] = ()
        except (AlreadyStored, LeaseHeld, ChangedMeanwhile):
            blocked = await self._keeping.keep_singly(new)
        return [one.trade for ticket, one in new.items() if ticket not in blocked]
