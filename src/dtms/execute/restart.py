"""Recovery at every start and after every reconnect: the store against one consistent look at the broker.

Stops that are missing are told and put back first; then open requests are looked for; then each trade is matched;
then what is at the broker and not in the store is taken over from an earlier system, attached, adopted or registered.
A trade that is closed is taken up again where a request of it is unresolved or a position of it is left. Run again it
changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dtms.decide.capabilities import Learned
from dtms.domain.actions import Intent
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import FactKind
from dtms.domain.owners import Asker
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import State, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.earlier import Earlier
from dtms.execute.feeds import Feeds
from dtms.execute.isolation import Isolation
from dtms.execute.presence import Presence
from dtms.execute.restoring import Restoring
from dtms.execute.strays import Strays
from dtms.ports.store import KeptKind, Loaded, Unit

log = structlog.get_logger(__name__)
TRY_AGAIN_S = 30.0
EVERY_STATE = frozenset(State)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds that is to be watched: active trades, and closed ones with something left to do."""

    trades: Sequence[Trade]
    intents: Mapping[int, Mapping[int, Intent]]
    """Open ones, by ticket and number."""


class Restart:
    """Brings book and broker together."""

    def __init__(
        self,
        *,
        desk: Desk,
        book: Book,
        feeds: Feeds,
        presence: Presence,
        isolation: Isolation,
        strays: Strays,
        restoring: Restoring,
        earlier: Earlier,
    ) -> None:
        self._desk = desk
        self._book = book
        self._feeds = feeds
        self._presence = presence
        self._isolation = isolation
        self._strays = strays
        self._restoring = restoring
        self._earlier = earlier
        self._left_out: dict[int, Trade] = {}
        """Trades that cannot be watched, because the broker does not know their symbol."""
        self._next_try_s = 0.0

    async def run(self) -> str:
        """Read the store, recover, and tell in words what was found.

        Raises:
            Misconfigured: when the store's trades belong to another account.
            BrokerUnavailable: when the broker did not answer; nothing was concluded.
        """
        before = {ticket: watch.trade for ticket, watch in self._book.watches.items()}
        loaded = await self._desk.store.load()
        stored = await self._stored(loaded)
        self._require_account(stored.trades)
        await self._read_learned()
        ended = before.keys() - self._book.watches.keys()
        await self._fill_book([t for t in stored.trades if t.ticket not in ended], stored, loaded, before)
        snapshot = await self._look()
        for watch in list(self._book.watches.values()):
            await self._match(watch, snapshot)
        await self._earlier.settle(snapshot)
        self._strays.forget()
        adopted = await self._strays.settle(snapshot, adopting=True)
        unknown = sum(len(w.open_intents) for w in self._book.watches.values())
        return (
            f"{len([t for t in stored.trades if t.is_active])} trades recovered, "
            f"{len(adopted)} positions taken under protection, {unknown} requests with unknown outcome"
        )

    async def _stored(self, loaded: Loaded) -> Stored:
        """Gather what is to be watched; of closed trades those with a leg left, or a request that may still show."""
        intents: dict[int, dict[int, Intent]] = {}
        for intent in loaded.intents:
            if intent.asker is not Asker.DTMS:
                continue  # the main program resolves what is its own
            intents.setdefault(intent.ticket, {})[intent.number] = intent
        known = {t.ticket for t in loaded.trades}
        searched = [ticket for ticket in intents if ticket not in known]
        found: Sequence[Trade] = ()
        if searched:
            page = await self._desk.store.trades(states=EVERY_STATE, tickets=searched, limit=len(searched))
            found = page.trades
        return Stored([t for t in (*loaded.trades, *found) if not t.disabled], intents)

    def _require_account(self, trades: Sequence[Trade]) -> None:
        """Positions of another account would all look closed: refuse rather than conclude."""
        here = self._desk.account
        other = next((t for t in trades if (t.login, t.server) != here), None)
        if other is not None:
            raise Misconfigured(
                f"the store holds trades of account {other.login} at {other.server}, "
                f"but the terminal is connected to {here[0]} at {here[1]}"
            )

    async def _read_learned(self) -> None:
        """Recall what refusals taught of this account; what they taught of its symbols is not believed any longer."""
        kept = await self._desk.store.kept(KeptKind.PROBE, self._desk.learned_key)
        known = self._desk.learned.reconnected()
        if kept:
            told = Learned.from_json(kept[-1].body)
            known = Learned(fifo=known.fifo or told.fifo, no_hedging=known.no_hedging or told.no_hedging)
        self._desk.learned = known

    async def _fill_book(
        self, trades: Sequence[Trade], stored: Stored, loaded: Loaded, before: Mapping[int, Trade]
    ) -> None:
        """Make memory what the store says, but where a request committed something newer since the reading began.

        ``before`` is what memory held when it began: a registration that was answered since is not forgotten again.
        """
        self._book.stored |= loaded.tickets
        kept = {trade.ticket for trade in trades}
        for ticket, watch in list(self._book.watches.items()):
            if ticket not in kept and watch.trade is before.get(ticket):
                self._book.drop(ticket)
        self._left_out = {}
        for trade in trades:
            symbol = await self._feeds.symbol(trade.symbol)
            if symbol is None:
                await self._leave_out(trade)
                continue
            known = self._book.watches.get(trade.ticket)
            watch = known or self._book.add(trade, symbol)
            if known is None or watch.trade is before.get(trade.ticket):
                watch.trade, watch.open_intents = trade, dict(stored.intents.get(trade.ticket, {}))
            watch.last_deep_ms, watch.next_fast_ms = None, 0  # bars that came meanwhile are news to it
            self._book.index(watch.trade)

    async def _leave_out(self, trade: Trade) -> None:
        """Call a person for a trade of a symbol that the broker does not know; the others are watched."""
        self._left_out[trade.ticket] = trade
        told = _unknown_symbol(trade)
        log.critical("trade_left_out", ticket=trade.ticket, symbol=trade.symbol)
        if trade.needs_attention == told:
            return
        trade = replace(trade, needs_attention=told)
        fact = self._desk.journal.fact(FactKind.NEEDS_ATTENTION, told, trade=trade, details={"alert": "CRITICAL"})
        await self._desk.store.commit(Unit(trades=(trade,), facts=(fact,)))

    async def watch_left_out(self) -> None:
        """Try again, now and then, to watch what could not be watched at the recovery."""
        now_s = self._desk.clock.machine_s()
        if not self._left_out or now_s < self._next_try_s:
            return
        self._next_try_s = now_s + TRY_AGAIN_S
        for ticket in list(self._left_out):
            trade = await self._desk.store.trade(ticket)
            watch = await self._strays.take_up(trade) if trade is not None and trade.is_active else None
            if watch is not None and watch.trade.needs_attention == _unknown_symbol(watch.trade):
                await self._desk.commit(watch, replace(watch.trade, needs_attention=None), [])
            if watch is not None or trade is None or not trade.is_active:
                del self._left_out[ticket]

    async def _look(self) -> Snapshot:
        symbols = list(self._book.symbols.values())
        if symbols:
            await self._feeds.bars(symbols, self._desk.settings)
        snapshot = await self._desk.broker.snapshot([s.name for s in symbols])
        self._feeds.take(symbols, snapshot.ticks)
        return snapshot

    async def _match(self, watch: Watch, snapshot: Snapshot) -> None:
        """Match one trade, its lost stops first; where the broker does not tell, the others go on."""

        async def work() -> None:
            await self._restoring.note(watch, snapshot)
            symbol = self._book.symbols[watch.trade.symbol]
            if not await self._restoring.restore(watch, symbol):
                await self._presence.check(watch, snapshot)
            self._isolation.answered(watch)

        if watch.lock.locked():  # a request is on its way: what was read of it is old when it is done
            async with watch.lock:
                found = await self._desk.store.intents(ticket=watch.ticket, open_only=True)
                watch.open_intents = {i.number: i for i in found if i.asker is Asker.DTMS}
        await self._isolation.run(watch, work)


def _unknown_symbol(trade: Trade) -> str:
    return f"the broker does not know {trade.symbol}: the trade cannot be watched"
