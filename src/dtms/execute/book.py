"""Memory of what is watched: a cache of the store's trades and of the broker's market, per symbol and per trade."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from dtms.decide.trade_state import Outlook
from dtms.domain.actions import Intent
from dtms.domain.market import Instrument, Side, Tick, Timeframe
from dtms.domain.position import Position
from dtms.domain.trade import Retry, Trade
from dtms.market.bars import BarBook
from dtms.market.levels import LevelsBook
from dtms.market.view import MarketView


@dataclass(slots=True, eq=False)
class Watch:
    """One trade under watch, and what is remembered of it only while the process lives."""

    trade: Trade
    last_fast_ms: int | None = None
    last_deep_ms: int | None = None
    last_deep_price: float | None = None
    next_fast_ms: int = 0
    guard_low: float = float("-inf")
    """A closing price at or below it triggers a look at once."""
    guard_high: float = float("inf")
    held: str | None = None
    noted: dict[str, str] = field(default_factory=dict)
    """The last recorded reason per subject, so that a reason that stays is recorded once."""
    cost_money: float | None = None
    """Commission and fees of the opening deals, once they were read."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever changes this trade."""
    patience: dict[str, Retry] = field(default_factory=dict)
    """How often what is done outside the table's rows failed, by the kind of its action."""
    open_intents: dict[int, Intent] = field(default_factory=dict)
    """Requests whose outcome is not known yet, the one that is being sent among them."""
    seen_stops: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Stops that a later list showed looser: ticket → the tightest that was seen, and the market time at which."""
    linger_ms: int = 0
    """Market time until which what counts as not executed could still show: a trade that ended is watched till then."""

    @property
    def ticket(self) -> int:
        return self.trade.ticket


@dataclass(slots=True, eq=False)
class SymbolWatch:
    """One symbol with open trades: its bars, its present view, its newest quote."""

    name: str
    instrument: Instrument
    bars: BarBook
    view: MarketView | None = None
    read_until: tuple[int, int] = (0, 0)
    """Closing times of the newest M5 and M15 bar that the view was read from."""
    tick: Tick | None = None
    tick_changed_ms: int = 0
    """Market time at which the quote last changed."""
    outlooks: dict[Side, Outlook] = field(default_factory=dict)
    """Of the present view, per side."""
    stale: str | None = None
    stale_checks: int = 0
    wanted: set[Timeframe] = field(default_factory=set)
    """Timeframes that somebody needs beside M5 and M15; they are fetched along."""
    levels: LevelsBook = field(default_factory=LevelsBook)
    watches: dict[int, Watch] = field(default_factory=dict)
    band_low: dict[Side, float] = field(default_factory=dict)
    """The highest ``guard_low`` of each side's trades: nothing is triggered while the price is above it."""
    band_high: dict[Side, float] = field(default_factory=dict)

    def reband(self) -> None:
        """Recompute the band outside which a quote can trigger something."""
        for side in Side:
            of_side = [w for w in self.watches.values() if w.trade.side is side]
            self.band_low[side] = max([w.guard_low for w in of_side], default=float("-inf"))
            self.band_high[side] = min([w.guard_high for w in of_side], default=float("inf"))

    def triggered(self, tick: Tick) -> Iterator[Watch]:
        """Yield the trades whose guard levels the quote passed."""
        for side in Side:
            price = tick.closing(side)
            if self.band_low.get(side, float("-inf")) < price < self.band_high.get(side, float("inf")):
                continue
            for watch in self.watches.values():
                if watch.trade.side is side and not watch.guard_low < price < watch.guard_high:
                    yield watch


class Book:
    """Every watched trade, by ticket and by symbol, and the family index."""

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}
        self.symbols: dict[str, SymbolWatch] = {}
        self.stored: set[int] = set()
        """Tickets of every trade that has a row, watched or not."""
        self.ended: dict[int, int] = {}
        """Identifier, and last ticket, of positions whose trade was closed while it was watched → its ticket."""
        self.version = 0
        """Rises with every trade that is added."""
        self._family: dict[int, int] = {}
        self._moved: dict[int, int] = {}

    def add(self, trade: Trade, symbol: SymbolWatch) -> Watch:
        """Watch a trade from now on."""
        watch = Watch(trade=trade)
        self.symbols[symbol.name] = symbol
        self.watches[trade.ticket] = watch
        self.version += 1
        self.stored.add(trade.ticket)
        symbol.watches[trade.ticket] = watch
        self.index(trade)
        return watch

    def drop(self, ticket: int) -> None:
        """End the watch over a trade; its symbol stays known."""
        watch = self.watches.pop(ticket, None)
        if watch is None:
            return
        self.symbols[watch.trade.symbol].watches.pop(ticket, None)
        if not watch.trade.is_active and not watch.trade.disabled:
            self.ended |= {watch.trade.identifier: ticket, watch.trade.position: ticket}
        self._family = {position: of for position, of in self._family.items() if of != ticket}
        self._moved = {position: of for position, of in self._moved.items() if of != ticket}

    def update(self, trade: Trade) -> None:
        """Replace the cached row after it was committed."""
        watch = self.watches.get(trade.ticket)
        if watch is not None:
            watch.trade = trade
            self.index(trade)

    def index(self, trade: Trade) -> None:
        """Know a trade by every ticket that its positions have, or had when they were watched."""
        for member in trade.members:
            self._family[member.ticket] = self._family[member.identifier] = trade.ticket
        if trade.moved_to is not None:
            self._moved[trade.moved_to] = trade.ticket

    def ticket_of(self, ticket: int) -> int | None:
        """Return the ticket under which a position's trade is watched: its first one, or one that replaced it."""
        return ticket if ticket in self.watches else self._moved.get(ticket)

    def family_of(self, ticket: int) -> int | None:
        """Return the trade whose family a position belongs to, or belonged to while it was watched."""
        return self._family.get(ticket)

    def is_member(self, position: Position) -> bool:
        """Answer whether a position is one of a watched trade's hedges or re-added ones now."""
        of = self._family.get(position.ticket, self._family.get(position.identifier))
        watch = self.watches.get(of) if of is not None else None
        members = watch.trade.members if watch is not None else ()
        return any(m.ticket == position.ticket or m.identifier == position.identifier for m in members)

    def families(self) -> set[int]:
        """Return the watched trades that have, or had, positions beside their own."""
        return set(self._family.values())

    def active_symbols(self) -> list[SymbolWatch]:
        return [s for s in self.symbols.values() if s.watches]
