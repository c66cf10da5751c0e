"""What a batch of registrations came to, committed together; where one is in the way, each by itself.

What stands in the way of one (a trade that is there already, a lease that another has, a claim of the same moment) is
its own answer, and leaves the others alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dtms.domain.errors import AlreadyStored, ChangedMeanwhile, LeaseHeld
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Ownership
from dtms.domain.trade import Trade
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.desk import Desk
from dtms.execute.enrolment import changing_hands, held_elsewhere, repeated, taken
from dtms.execute.pending import Pendings
from dtms.execute.service import Receipt, Registered, Registration, Result
from dtms.ports.store import Kept, KeptKind, Unit

WAIT_S = 1.0
"""How long a registration alone waits for a lease; several do not wait for one another."""


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
    entry: Ownership | None = None
    """The registry's entry, where DTMS takes the position over."""
    correlation_id: str | None = None
    is_back: bool = False
    """Whether it was disabled by hand before."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a batch will commit."""

    new: dict[int, New] = field(default_factory=dict)
    waiting: dict[int, Kept] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)


Blocked = AlreadyStored | LeaseHeld | ChangedMeanwhile
"""What stood in the way of one trade at its commit."""


class Keeping:
    """Commits batches, and watches what they brought."""

    def __init__(self, desk: Desk, book: Book, pendings: Pendings) -> None:
        self._desk = desk
        self._book = book
        self._pendings = pendings

    async def keep(
        self, batch: Sequence[Group], results: Sequence[Sequence[Result]], draft: Draft
    ) -> list[list[Result]]:
        """Commit what a batch came to, together; where one trade is in the way, each by itself, and the rest after."""
        final = [list(result) for result in results]
        try:
            await self.commit(draft.new, draft, _receipts(batch, final), WAIT_S if len(draft.new) == 1 else None)
            return final
        except (AlreadyStored, LeaseHeld):
            blocked = await self.keep_singly(draft.new)
        final = self._all_corrected(batch, final, blocked)
        await self.commit({}, draft, _receipts(batch, final))
        return final

    def _all_corrected(
        self, batch: Sequence[Group], results: Sequence[Sequence[Result]], blocked: Mapping[int, Blocked]
    ) -> list[list[Result]]:
        return [
            [self._corrected(request, result, blocked) for request, result in zip(group.requests, part, strict=True)]
            for group, part in zip(batch, results, strict=True)
        ]

    async def keep_singly(self, new: Mapping[int, New]) -> dict[int, Blocked]:
        """Keep each by itself; return what stood in the way of the others."""
        blocked: dict[int, Blocked] = {}
        for ticket, one in new.items():
            try:
                await self.commit({ticket: one}, Draft(), [])
            except (AlreadyStored, LeaseHeld, ChangedMeanwhile) as error:
                blocked[ticket] = error
        return blocked

    def _corrected(self, request: Registration, result: Result, blocked: Mapping[int, Blocked]) -> Result:
        """Return what a request came to after its position was found to be under defence already, or another's."""
        error = blocked.get(request.ticket)
        if error is None or not isinstance(result, Registered):
            return result
        if isinstance(error, ChangedMeanwhile):
            return changing_hands(request.ticket)
        if isinstance(error, LeaseHeld):
            return held_elsewhere(request.ticket, error)
        watches = self._book.watches
        known = next((watches[ticket].trade for ticket in error.tickets if ticket in watches), None)
        return taken(request.ticket, error) if known is None else repeated(request, known)

    async def commit(
        self, new: Mapping[int, New], draft: Draft, receipts: Sequence[Kept], wait_s: float | None = None
    ) -> None:
        """Commit new trades and what else a batch brought, and watch the trades.

        Raises:
            AlreadyStored, LeaseHeld: when one is under defence already, or is being changed by another.
            ChangedMeanwhile: when another manager claimed one since the look at the registry; nothing is kept then.
        """
        ended = [ticket for ticket in new if self._pendings.get(ticket) is not None]
        if new or draft.waiting or receipts:
            unit = Unit(
                create=[one.trade for one in new.values()],
                facts=[*(self._fact(one) for one in new.values()), *draft.facts],
                keep=[*draft.waiting.values(), *receipts],
                forget=[(KeptKind.PENDING, str(ticket)) for ticket in ended],
                ownership=[one.entry for one in new.values() if one.entry is not None],
                unowned=[name for one in new.values() for name in _unclaimed(one)],
            )
            await self._desk.keep(unit, *(one.trade for one in new.values()), wait_s=wait_s)
        self._pendings.drop(ended)
        self._pendings.take(draft.waiting.values())
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


def _unclaimed(new: New) -> Iterable[int]:
    """Return the names under which no other manager may own a position that becomes DTMS's own."""
    is_settled = new.entry is not None or new.trade.alongside  # by compare-and-set, or whoever owns it
    return () if is_settled else {new.trade.ticket, new.trade.identifier}


def _receipts(batch: Iterable[Group], results: Iterable[Sequence[Result]]) -> list[Kept]:
    """Return what is to be kept of the answers."""
    kept = [group.receipt(result) for group, result in zip(batch, results, strict=True) if group.receipt is not None]
    return [one for one in kept if one is not None]
