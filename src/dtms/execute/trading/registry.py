"""The registry's answers: whose a ticket is, for display and for first looks, and never for permission.

An entry is kept for 5 s. Whether owner, flags or DTMS's state of what is kept have changed is asked of the store in two
queries for all of it, at most twice a second: such a change shows within 1 s, whichever process made it.
"""

from dataclasses import dataclass

from dtms.domain.account import MarginMode
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.owners import Ownership, Standing, lease_key
from dtms.domain.trade import State
from dtms.execute.trading import endings
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.service import Entry, LeaseSeen
from dtms.ports.store import Lease

KEPT_S = 5.0
LOOK_S = 0.5
KEPT_MAX = 5_000

Mark = tuple[int, State | None]
"""The version of a ticket's entry (-1 for none), and DTMS's state of it: what tells that an entry is outdated."""


@dataclass(frozen=True, slots=True)
class _Kept:
    entry: Entry
    mark: Mark
    read_s: float


class Registry:
    """Answers for one ticket at a time."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk
        self._kept: dict[int, _Kept] = {}
        self._looked_s = 0.0
        self._margin_mode: MarginMode | None = None

    async def entry(self, ticket: int, *, fresh: bool = False) -> Entry:
        """Return the entry of a ticket, also of one that nobody knows."""
        if not fresh:
            await self._drop_outdated()
            if (kept := self._kept.get(ticket)) is not None:
                return kept.entry
        standing = await self._desk.store.standing(ticket)
        entry = await self.entry_of(standing)
        self._keep(ticket, _Kept(entry, _mark(standing.ownership, standing.state), self._desk.clock.machine_s()))
        return entry

    def forget(self, ticket: int) -> None:
        """Read a ticket anew the next time."""
        self._kept.pop(ticket, None)

    async def entry_of(self, standing: Standing) -> Entry:
        """Make the entry of what is true of a ticket."""
        owned, trade = standing.ownership, standing.defended
        known = owned or trade
        symbol = known.symbol if known is not None else None
        return Entry(
            ticket=standing.ticket,
            managed_by=endings.owner_word(standing),
            breakeven=standing.breakeven,
            symbol=symbol,
            side=known.side if known is not None else None,
            strategy_type=known.strategy_type if known is not None else None,
            dtms_state=standing.state,
            alongside=trade is not None and trade.alongside,
            lease=self._seen(await self._lease(standing.ticket, symbol)),
            read_ms=self._desk.clock.wall_ms(),
        )

    async def _lease(self, ticket: int, symbol: str | None) -> Lease | None:
        """Read a ticket's lease; None as well while nobody can tell its key."""
        if self._margin_mode is None:
            try:
                self._margin_mode = (await self._desk.broker.account()).margin_mode
            except BrokerUnavailable:
                return None
        if self._margin_mode is not MarginMode.HEDGING and symbol is None:
            return None
        return await self._desk.store.lease(lease_key(ticket, symbol or "", self._margin_mode))

    def _seen(self, lease: Lease | None) -> LeaseSeen | None:
        if lease is None or (left_s := lease.expires_s - self._desk.clock.machine_s()) <= 0.0:
            return None
        return LeaseSeen(holder=lease.holder, left_s=left_s)

    # --- what is kept --------------------------------------------------------------------------------------------

    def _keep(self, ticket: int, kept: _Kept) -> None:
        self._kept.pop(ticket, None)
        self._kept[ticket] = kept
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    async def _drop_outdated(self) -> None:
        """Forget what is too old; and, twice a second, what the store shows otherwise."""
        now_s = self._desk.clock.machine_s()
        for ticket in [t for t, kept in self._kept.items() if now_s - kept.read_s >= KEPT_S]:
            del self._kept[ticket]
        if not self._kept or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        tickets = list(self._kept)
        owned = {row.ticket: row for row in await self._desk.store.ownerships(tickets)}
        states = await self._desk.store.states(tickets)
        for ticket in tickets:
            kept = self._kept.get(ticket)
            if kept is not None and kept.mark != _mark(owned.get(ticket), states.get(ticket)):
                del self._kept[ticket]


def _mark(ownership: Ownership | None, state: State | None) -> Mark:
    return (ownership.version if ownership is not None else -1), state
