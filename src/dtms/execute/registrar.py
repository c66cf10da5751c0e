"""Registration: requests that wait together share one look at the broker and one commit.

A registration answered is a trade durably stored, or one that durably waits for its position; a repeated one changes
nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dtms.domain.errors import AlreadyStored
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.position import Position
from dtms.domain.trade import Mode, State, Trade
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.desk import Desk
from dtms.execute.enrolment import Enrolment, no_advise, not_listed, repeated, taken
from dtms.execute.feeds import Feeds
from dtms.execute.pending import Awaited, Pendings, told_of
from dtms.execute.service import Pending, Receipt, RefusalCode, Refused, Registered, Registration, Result
from dtms.execute.together import Together
from dtms.ports.store import Kept, KeptKind, Unit

EVERY_STATE = frozenset(State)


@dataclass(frozen=True, slots=True)
class Group:
    """What one caller asks for at once."""

    requests: Sequence[Registration]
    receipt: Receipt[Sequence[Result]] | None = None


@dataclass(frozen=True, slots=True)
class New:
    """A trade that is to be kept, and the request that it came with."""

    trade: Trade
    symbol: SymbolWatch
    correlation_id: str | None = None
    is_back: bool = False
    """Whether it was disabled by hand before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one batch judges by."""

    watched: Mapping[int, Trade]
    """As they were when the batch was begun: a trade that is disabled meanwhile was still there."""
    positions: Mapping[int, Position]
    stored: Mapping[int, Trade]
    """Rows that are known but not watched."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a batch will commit."""

    new: dict[int, New] = field(default_factory=dict)
    waiting: dict[int, Kept] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)


class Registrar:
    """Registers trades, one batch at a time, so that concurrent requests for one ticket make one trade."""

    def __init__(self, desk: Desk, book: Book, feeds: Feeds) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._enrolment = Enrolment(desk, book, feeds)
        self.pendings = Pendings(desk.store, desk.clock)
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
        look = await self._look({request.ticket for group in batch for request in group.requests})
        draft = Draft()
        results = [[await self._result(request, look, draft) for request in group.requests] for group in batch]
        return await self._keep(batch, results, draft)

    # --- judging ---------------------------------------------------------------------------------------------------

    async def _look(self, tickets: Collection[int]) -> Look:
        """Ask the broker for the positions, and the store for rows that are known but not watched."""
        watches = self._book.watches
        watched = {t: watches[at].trade for t in tickets if (at := self._book.ticket_of(t)) is not None}
        asked = [ticket for ticket in tickets if ticket not in watched]
        if not asked:
            return Look(watched=watched, positions={}, stored={})
        positions = await self._desk.broker.positions(asked)
        # A position whose ticket changed kept its identifier, which most often is the ticket that it began with.
        names = {*asked, *(p.identifier for p in positions.values())}
        old = sorted((names & self._book.stored) - watches.keys())
        rows = (await self._desk.store.trades(states=EVERY_STATE, tickets=old, limit=len(old))).trades if old else ()
        return Look(watched=watched, positions=positions, stored={t.ticket: t for t in rows})

    async def _result(self, request: Registration, look: Look, draft: Draft) -> Result:
        if request.mode is Mode.ADVISE:
            return no_advise()
        try:
            known = self._known(request.ticket, look, draft)
            if known is not None:
                return repeated(request, known)
            position = look.positions.get(request.ticket)
            if position is None:
                return self._wait_for(request, draft)
            return await self._enrol(request, position, look, draft)
        except Refused as refused:
            return refused

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
        is_back = before is not None and before.disabled and before.identifier == trade.identifier
        draft.new[request.ticket] = New(trade, symbol, request.correlation_id, is_back)
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

    # --- keeping ---------------------------------------------------------------------------------------------------

    async def _keep(
        self, batch: Sequence[Group], results: Sequence[Sequence[Result]], draft: Draft
    ) -> list[list[Result]]:
        """Commit what a batch came to, together; where one trade is in the way, each by itself, and the rest after."""
        final = [list(result) for result in results]
        try:
            await self._commit(draft.new, draft, _receipts(batch, final))
            return final
        except AlreadyStored:
            blocked = await self._keep_singly(draft.new)
        final = [
            [self._corrected(request, result, blocked) for request, result in zip(group.requests, part, strict=True)]
            for group, part in zip(batch, final, strict=True)
        ]
        await self._commit({}, draft, _receipts(batch, final))
        return final

    async def _keep_singly(self, new: Mapping[int, New]) -> dict[int, AlreadyStored]:
        blocked: dict[int, AlreadyStored] = {}
        for ticket, one in new.items():
            try:
                await self._commit({ticket: one}, Draft(), [])
            except AlreadyStored as error:
                blocked[ticket] = error
        return blocked

    def _corrected(self, request: Registration, result: Result, blocked: Mapping[int, AlreadyStored]) -> Result:
        """Return what a request came to after its position was found to be under defence already."""
        error = blocked.get(request.ticket)
        if error is None or not isinstance(result, Registered):
            return result
        watches = self._book.watches
        known = next((watches[ticket].trade for ticket in error.tickets if ticket in watches), None)
        return taken(request.ticket, error) if known is None else repeated(request, known)

    async def _commit(self, new: Mapping[int, New], draft: Draft, receipts: Sequence[Kept]) -> None:
        ended = [ticket for ticket in new if self.pendings.get(ticket) is not None]
        if new or draft.waiting or receipts:
            unit = Unit(
                create=[one.trade for one in new.values()],
                facts=[*(self._fact(one) for one in new.values()), *draft.facts],
                keep=[*draft.waiting.values(), *receipts],
                forget=[(KeptKind.PENDING, str(ticket)) for ticket in ended],
            )
            await self._desk.store.commit(unit)
        self.pendings.drop(ended)
        self.pendings.take(draft.waiting.values())
        fast_ms = int(self._desk.settings.cadence.fast_s * 1000)
        now_ms = self._desk.clock.market_ms() if new else 0
        for one in new.values():  # each was just looked at
            self._book.add(one.trade, one.symbol).next_fast_ms = now_ms + fast_ms

    def _fact(self, new: New) -> Fact:
        trade = new.trade
        alert: Json = "WARNING" if trade.nominal_risk else None
        by = "the watcher" if trade.by_watcher else "request"
        word = "protected again" if new.is_back else "protected"
        summary = f"{trade.symbol} {trade.side.direction} {trade.volume} lots is {word}, R {trade.risk:.6g}"
        if trade.nominal_risk:
            summary += " (nominal: the position has no stop, so nothing at the broker protects it)"
        return self._desk.journal.fact(
            FactKind.ENABLED if new.is_back else FactKind.REGISTERED,
            summary,
            trade=trade,
            details={"by": by, "alert": alert},
            correlation_id=new.correlation_id,
        )

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
        """Keep a trade that another system protected, and what is told of it; not where it is under defence already."""
        with suppress(AlreadyStored):
            await self._commit({trade.ticket: New(trade, symbol)}, Draft(facts=[fact]), [])

    # --- what nobody registered ------------------------------------------------------------------------------------

    async def adopt(self, positions: Sequence[Position]) -> list[Trade]:
        """Register positions that nobody owns, but for those whose registration waits: it is settled by itself."""
        await self.pendings.load()
        new: dict[int, New] = {}
        for position in positions:
            symbol = await self._feeds.symbol(position.symbol)
            known = position.ticket in self._book.watches or self.pendings.get(position.ticket) is not None
            if symbol is None or known:
                continue
            trade = await self._enrolment.trade(Registration(ticket=position.ticket), position, symbol, None)
            new[position.ticket] = New(replace(trade, by_watcher=True), symbol)
        try:
            await self._commit(new, Draft(), [])
            blocked: Collection[int] = ()
        except AlreadyStored:
            blocked = await self._keep_singly(new)
        return [one.trade for ticket, one in new.items() if ticket not in blocked]


def _receipts(batch: Iterable[Group], results: Iterable[Sequence[Result]]) -> list[Kept]:
    """Return what is to be kept of the answers."""
    kept = [group.receipt(result) for group, result in zip(batch, results, strict=True) if group.receipt is not None]
    return [one for one in kept if one is not None]
