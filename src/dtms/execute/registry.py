"""The registry as DTMS sees it: who owns what it watches, read again and again, and followed.

What another program writes of an owner is known here within a second. A trade whose owner changed to another manager is
let go, unless it was registered beside that owner. One that has something of DTMS's own open is defended beside the new
owner from then on, and a person is told: what DTMS opened nobody else would close.
The permission of every act is judged in the store all the same: this is for what is shown, and to stop trying.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import structlog

from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.isolation import Isolation
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Machine seconds between two looks at the registry."""
NAMED_MAX = 2_000
"""Trades that are asked for by name; all entries are read for more."""
CLAIMED = "claimed"
"""Under which it is remembered that a person was called for a claimed trade."""
OPEN = "with a hedge, a re-added position or an open request of DTMS beside it"


class Registry:
    """Follows the owners of watched trades."""

    def __init__(self, desk: Desk, book: Book, isolation: Isolation) -> None:
        self._desk = desk
        self._book = book
        self._isolation = isolation
        self._next_look_s = 0.0

    async def follow(self) -> None:
        """Look at the registry, as often as it is time, and do what its changes ask for.

        Raises:
            StoreFailed: when it could not be read, or a change not be kept.
        """
        now_s = self._desk.clock.machine_s()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        watched = list(self._book.watches)
        if not watched:
            return
        # Few of what DTMS watches have an entry, and few of all entries are of what DTMS watches.
        for entry in await self._desk.store.ownerships(watched if len(watched) <= NAMED_MAX else None):
            watch = self._book.watches.get(entry.ticket)
            if watch is not None and entry.closed_ms is None and not agrees(watch.trade, entry):
                await self._isolation.run(watch, partial(self._follow, watch, entry))

    async def _follow(self, watch: Watch, entry: Ownership) -> None:
        if watch.trade.is_active and not agrees(watch.trade, entry):
            await self._take_note(watch, owned_by(watch.trade, entry), entry)

    async def _take_note(self, watch: Watch, after: Trade, entry: Ownership) -> None:
        """Take over what the registry says of the owner; a trade that is not DTMS's any more is let go."""
        if after.disabled and not _may_go(watch):
            if entry.manager is None:
                await self._call(watch, entry)
                return
            after = replace(watch.trade, owner=entry.manager, alongside=True)
        stays = after.alongside and not watch.trade.alongside
        await self._desk.commit(watch, after, (self._fact(after, entry, stays=stays),))
        if after.disabled:
            log.info("trade_let_go", ticket=watch.ticket, owner=entry.owner)
            self._book.drop(watch.ticket)

    def _fact(self, trade: Trade, entry: Ownership, *, stays: bool) -> Fact:
        """Tell what became of a trade; ``stays`` where it would have been let go."""
        if trade.disabled:
            told = f"claimed by {entry.owner}: DTMS lets it go"
            return self._desk.journal.fact(FactKind.DISABLED, told, trade=trade, details=_details(entry))
        told, details = f"owned by {entry.owner or 'nobody'} now", dict(_details(entry))
        if stays:
            told, details["alert"] = f"claimed by {entry.owner}, {OPEN}: DTMS defends it beside that owner", "ERROR"
        return self._desk.journal.fact(FactKind.OWNER_CHANGED, told, trade=trade, details=details)

    async def _call(self, watch: Watch, entry: Ownership) -> None:
        """Call a person, once: an owner that is unknown has the trade, and DTMS something of its own beside it."""
        told = f"claimed by {entry.owner}, {OPEN}"
        if watch.noted.get(CLAIMED) == told:
            return
        watch.noted[CLAIMED] = told
        details = {**_details(entry), "alert": "ERROR"}
        fact = self._desk.journal.fact(FactKind.NEEDS_ATTENTION, told, trade=watch.trade, details=details)
        await self._desk.store.commit(Unit(facts=(fact,)))
        self._desk.journal.tell((fact,))


def agrees(trade: Trade, entry: Ownership) -> bool:
    """Answer whether a watched trade is as the registry's entry has it."""
    owner = entry.manager
    if owner is Owner.DTMS:
        return trade.owner is Owner.DTMS and not trade.alongside
    if owner is Owner.NOBODY:
        return trade.owner in (Owner.DTMS, Owner.NOBODY)
    return trade.alongside and trade.owner is owner


def owned_by(trade: Trade, entry: Ownership) -> Trade:
    """Return a watched trade as the registry's entry has it: its owner, or disabled when it is another's alone."""
    owner = entry.manager
    if owner is Owner.DTMS:
        return replace(trade, owner=Owner.DTMS, alongside=False)
    if owner is Owner.NOBODY:
        return replace(trade, owner=Owner.NOBODY)
    if owner is None or not trade.alongside:
        return replace(trade, disabled=True)
    return replace(trade, owner=owner)


def _may_go(watch: Watch) -> bool:
    """Answer whether nothing of a trade would stay without somebody who watches it."""
    return not watch.trade.members and not watch.open_intents


def _details(entry: Ownership) -> Mapping[str, Json]:
    return {"owner": entry.owner, "strategy_type": entry.strategy_type, "since": entry.since_ms}
