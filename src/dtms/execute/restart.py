"""Recovery at every start and after every reconnect: the store against one consistent look at the broker.

Positions whose recorded stop is missing get it back first; then open intents are looked for; then each trade is
matched; then what is at the broker and not in the store is attached, adopted or registered. Run again it changes
nothing.
"""

from collections.abc import Collection, Mapping, Sequence

import structlog

from dtms.decide.defence import restored_stop
from dtms.decide.settle import ROLE_OF, member_of
from dtms.domain.actions import Ending, Intent, OpenPosition
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import FactKind
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.feeds import Feeds
from dtms.execute.moves import Moves
from dtms.execute.presence import Presence
from dtms.execute.registrar import Registrar
from dtms.ports.store import Loaded, Unit

log = structlog.get_logger(__name__)


class Restart:
    """Brings book and broker together."""

    def __init__(
        self, *, desk: Desk, book: Book, feeds: Feeds, presence: Presence, moves: Moves, registrar: Registrar
    ) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._presence = presence
        self._moves = moves
        self._registrar = registrar

    async def run(self) -> str:
        """Read the store, recover, and tell in words what was found.

        Raises:
            Misconfigured: when the store's trades belong to another account.
            BrokerUnavailable: when the broker did not answer; nothing was concluded.
        """
        before = {ticket: watch.trade for ticket, watch in self._book.watches.items()}
        loaded = await self._desk.store.load()
        active = [t for t in loaded.trades if t.is_active]
        self._require_account(active)
        ended = before.keys() - self._book.watches.keys()
        await self._fill_book([t for t in active if t.ticket not in ended], loaded, before)
        symbols = list(self._book.symbols.values())
        if symbols:
            await self._feeds.bars(symbols, self._desk.settings)
        snapshot = await self._desk.broker.snapshot([s.name for s in symbols])
        self._feeds.take(symbols, snapshot.ticks)
        for watch in list(self._book.watches.values()):
            async with watch.lock:
                if not await self._restore_stop(watch, snapshot):
                    await self._presence.check(watch, snapshot)
        disabled = ended | {t.ticket for t in loaded.trades if t.disabled}
        strangers = await self._attach(snapshot, disabled)
        adopted = await self._registrar.adopt(strangers)
        unknown = sum(len(w.open_intents) for w in self._book.watches.values())
        return (
            f"{len(active)} trades recovered, {len(adopted)} positions taken under protection, "
            f"{unknown} requests with unknown outcome"
        )

    def _require_account(self, trades: Sequence[Trade]) -> None:
        """Positions of another account would all look closed: refuse rather than conclude."""
        here = self._desk.account
        other = next((t for t in trades if (t.login, t.server) != here), None)
        if other is not None:
            raise Misconfigured(
                f"the store holds trades of account {other.login} at {other.server}, "
                f"but the terminal is connected to {here[0]} at {here[1]}"
            )

    async def _fill_book(self, active: Sequence[Trade], loaded: Loaded, before: Mapping[int, Trade]) -> None:
        """Make memory what the store says, but where a request committed something newer since the reading began.

        ``before`` is what memory held when it began: a registration that was answered since is not forgotten again.
        """
        self._book.stored |= loaded.tickets
        kept = {trade.ticket for trade in active}
        for ticket, watch in list(self._book.watches.items()):
            if ticket not in kept and watch.trade is before.get(ticket):
                self._book.drop(ticket)
        for trade in active:
            symbol = await self._feeds.symbol(trade.symbol)
            if symbol is None:
                raise Misconfigured(f"the broker no longer knows {trade.symbol}, of trade {trade.ticket}")
            watch = self._book.watches.get(trade.ticket) or self._book.add(trade, symbol)
            if watch.trade is before.get(trade.ticket):
                watch.trade = trade
            watch.open_intents = {i.number: i for i in loaded.intents if i.ticket == trade.ticket}
            watch.last_deep_ms, watch.next_fast_ms = None, 0  # bars that came meanwhile are news to it
            self._book.index(watch.trade)

    async def _restore_stop(self, watch: Watch, snapshot: Snapshot) -> bool:
        """Give a position its recorded stop back; True when it was sent, and the snapshot is outdated for it."""
        trade, position = watch.trade, snapshot.positions.get(watch.ticket)
        if position is None or position.stop is not None or trade.stop is None:
            return False
        stop = trade.stop
        fact = self._desk.journal.fact(
            FactKind.CHANGED_OUTSIDE,
            f"the stop {stop:.10g} is missing at the broker",
            trade=trade,
            details={"stop": stop, "alert": "ERROR"},
        )
        await self._desk.store.commit(Unit(facts=(fact,)))
        if self._desk.mode_of(trade) is not Mode.AUTO or self._desk.halted:
            return False
        symbol = self._book.symbols[trade.symbol]
        told = await self._moves.protect(watch, symbol, lambda sight: restored_stop(sight, stop))
        log.warning("stop_restored", ticket=watch.ticket, ending=told.ending.value, reason=told.reason)
        return told.ending in (Ending.DONE, Ending.UNKNOWN)

    # --- what only the broker knows --------------------------------------------------------------------------------

    async def _attach(self, snapshot: Snapshot, disabled: Collection[int]) -> list[Position]:
        """Attach positions with our magic to their trades; return those that nobody owns."""
        strangers: list[Position] = []
        for position in snapshot.positions.values():
            if position.ticket in self._book.watches or position.ticket in disabled:
                continue
            if self._book.family_of(position.ticket) is not None:  # known by its ticket, whatever became of its magic
                continue
            number = self._desk.broker.intent_of(position.magic)
            if number is None:
                strangers.append(position)
            else:
                await self._attach_ours(position, number)
        return [p for p in strangers if p.magic == 0]

    async def _attach_ours(self, position: Position, number: int) -> None:
        intents: Mapping[int, Intent] = {i.number: i for i in await self._desk.store.intents()}
        intent = intents.get(number)
        watch = self._book.watches.get(intent.ticket) if intent is not None else None
        if intent is None or watch is None or not isinstance(intent.action, OpenPosition):
            fact = self._desk.journal.fact(
                FactKind.ADOPTED,
                f"position {position.ticket} carries our number {number}, but no trade has it: look at the terminal",
                details={"position": position.ticket, "symbol": position.symbol, "alert": "ERROR"},
            )
            await self._desk.store.commit(Unit(facts=(fact,)))
            return
        if number in watch.open_intents:
            return  # its outcome was looked for already, and will be again
        member = member_of(position, ROLE_OF[intent.action.kind], number)
        trade = watch.trade.with_member(member)
        summary = f"{member.role.value} #{member.ticket} was found at the broker and attached"
        fact = self._desk.journal.fact(FactKind.ADOPTED, summary, trade=trade, details={"position": member.ticket})
        await self._presence.commit(watch, trade, [fact])
