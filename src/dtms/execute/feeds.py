"""What keeps the book's market true: quotes, closed bars, views; one gateway call each, for all symbols together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from dtms.decide.trade_state import outlook
from dtms.domain.errors import BrokerUnavailable, FeedStale
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side, Tick, Timeframe
from dtms.execute.book import Book, SymbolWatch
from dtms.execute.journal import Journal
from dtms.market.bars import BarBook
from dtms.market.levels import Readings
from dtms.market.view import MarketView, ViewCache, evaluate
from dtms.ports.broker import BarRequest, Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import OnlyReleases, Sources
from dtms.ports.store import Evaluation, Store, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A symbol whose view was just read anew."""

    symbol: SymbolWatch
    before: MarketView | None

    @property
    def has_new_m15(self) -> bool:
        view = self.symbol.view
        return view is not None and (self.before is None or view.m15_close_ms > self.before.m15_close_ms)

    def turned_against(self, side: Side) -> bool:
        """Answer whether the new M5 bar brought a VWAP flip or a break of structure against a side."""
        view = self.symbol.view
        if view is None:
            return False
        flipped = view.flip_against(side) and not (self.before is not None and self.before.flip_against(side))
        return flipped or side.opposite in self._new_breaks()

    def turned_with(self, side: Side) -> bool:
        """Answer whether the new M5 bar broke structure in a side's favour."""
        return side in self._new_breaks()

    def _new_breaks(self) -> set[Side]:
        view = self.symbol.view
        if view is None:
            return set()
        since = self.before.m5_close_ms if self.before is not None else view.m5_close_ms - Timeframe.M5.ms
        return {b.side for b in view.breaks if b.timeframe is Timeframe.M5 and b.close_ms > since}


class Feeds:
    """Reads the market for the book."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        journal: Journal,
        book: Book,
        sources: Sources | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._journal = journal
        self._book = book
        self._sources = sources or OnlyReleases()
        self._caches: dict[str, ViewCache] = {}

    def start(self, is_connected: Callable[[], bool]) -> None:
        """Let the sources outside the terminal read in the background; the broker is asked only while connected."""

        async def ask(symbol: str) -> Tick | None:
            if not is_connected():
                raise BrokerUnavailable("the broker is not connected")
            if await self._broker.instrument(symbol) is None:
                return None
            return (await self._broker.quotes([symbol])).get(symbol)

        self._sources.start(ask)

    async def stop(self) -> None:
        """End what reads in the background."""
        await self._sources.stop()

    async def symbol(self, name: str) -> SymbolWatch | None:
        """Return a symbol's watch, made at first need; None when the broker has no such symbol."""
        known = self._book.symbols.get(name)
        if known is not None:
            return known
        instrument = await self._broker.instrument(name)
        if instrument is None:
            return None
        return self._book.symbols.setdefault(name, SymbolWatch(name=name, instrument=instrument, bars=BarBook(name)))

    async def quotes(self, symbols: Sequence[SymbolWatch]) -> None:
        """Read the newest quotes."""
        ticks = await self._broker.quotes([s.name for s in symbols])
        self.take(symbols, ticks)

    def take(self, symbols: Iterable[SymbolWatch], ticks: Mapping[str, Tick]) -> None:
        """Take quotes in; an unsound quote is passed over."""
        now = self._clock.market_ms()
        for symbol in symbols:
            tick = ticks.get(symbol.name)
            if tick is None or not tick.is_sound:
                continue
            if symbol.tick is None or tick.time_ms != symbol.tick.time_ms:
                symbol.tick_changed_ms = now
                symbol.bars.spreads.note(tick)
            symbol.tick = tick

    async def bars(self, symbols: Sequence[SymbolWatch], settings: Settings) -> list[Fresh]:
        """Fetch the bars that closed since, and read the views that they change."""
        now = self._clock.market_ms()
        needs = [(s, tf, count) for s in symbols for tf, count in s.bars.needs(now, sorted(s.wanted))]
        wanted = [(s, BarRequest(symbol=s.name, timeframe=tf, count=count)) for s, tf, count in needs]
        if wanted:
            answers = await self._broker.bars([request for _, request in wanted])
            for (symbol, _), bars in zip(wanted, answers, strict=True):
                for row in symbol.bars.merge(bars, now):
                    log.warning("bar_rejected", symbol=symbol.name, told=str(row))
        touched = {symbol.name: symbol for symbol, _ in wanted}
        for symbol in touched.values():
            await self._flow(symbol, now)
        fresh = [f for symbol in touched.values() if (f := self.read(symbol, settings))]
        await self._keep(fresh)
        return fresh

    def levels(self, symbol: SymbolWatch, timeframes: Iterable[Timeframe], settings: Settings) -> Readings:
        """Return the levels of each timeframe whose bars are many and new enough, read once per closed bar."""
        return symbol.levels.fresh(symbol.bars, timeframes, self._clock.market_ms(), settings)

    async def _flow(self, symbol: SymbolWatch, now: int) -> None:
        span = symbol.bars.needs_flow(now)
        if span is not None:
            symbol.bars.merge_flow(await self._broker.flow(symbol.name, *span), span[1])

    def read(self, symbol: SymbolWatch, settings: Settings) -> Fresh | None:
        """Read a symbol's view when a bar closed since the last one."""
        before, bars = symbol.view, symbol.bars
        if before is not None and symbol.read_until == (bars.m5().last_close_ms, bars.m15().last_close_ms):
            return None
        return Fresh(symbol, before) if self.reread(symbol, settings) else None

    def reread(self, symbol: SymbolWatch, settings: Settings) -> bool:
        """Read a symbol's view from the bars that are known; False when they are too few."""
        bars = symbol.bars
        symbol.read_until = (bars.m5().last_close_ms, bars.m15().last_close_ms)
        cache = self._caches.setdefault(symbol.name, ViewCache())
        try:
            flow = self._sources.flow(symbol.name, self._clock.market_ms()) or bars.flow()
            symbol.view = evaluate(m5=bars.m5(), m15=bars.m15(), flow=flow, settings=settings, cache=cache)
        except FeedStale as error:
            symbol.stale = str(error)
            return False
        symbol.outlooks = {side: outlook(side, symbol.view, settings.protection) for side in Side}
        return True

    async def _keep(self, fresh: Sequence[Fresh]) -> None:
        rows = [evaluation_of(f.symbol.view, side) for f in fresh if f.symbol.view is not None for side in Side]
        if rows:
            await self._store.commit(Unit(evaluations=rows))

    def judge(self, symbols: Iterable[SymbolWatch], stale_s: float, checks_alert: int) -> list[Fact]:
        """Mark stale symbols; answers with the facts to record, once per change and once at the alert's count."""
        facts: list[Fact] = []
        now = self._clock.market_ms()
        for symbol in symbols:
            before = symbol.stale
            symbol.stale = symbol.bars.is_stale(now, stale_s) or _standing_quote(symbol, stale_s)
            if symbol.view is None and symbol.stale is None:
                symbol.stale = f"too few bars of {symbol.name} to score"
            symbol.stale_checks = symbol.stale_checks + 1 if symbol.stale else 0
            if before and not symbol.stale:
                log.info("fresh_again", symbol=symbol.name, was=before)
                for watch in symbol.watches.values():
                    watch.last_deep_ms = None  # held until now: looked at anew as soon as trades are
            if symbol.stale and (before is None or symbol.stale_checks == checks_alert):
                log.warning("stale_data", symbol=symbol.name, told=symbol.stale)
                alert = "WARNING" if symbol.stale_checks >= checks_alert else None
                details = {"symbol": symbol.name, "reason": symbol.stale, "alert": alert}
                facts.append(
                    self._journal.fact(FactKind.HELD, f"{symbol.name} is held: {symbol.stale}", details=details)
                )
        return facts


def _standing_quote(symbol: SymbolWatch, stale_s: float) -> str | None:
    """Return why no price can be believed, None when it can: bars that go on prove that the market moved."""
    bars = symbol.bars.m5()
    if symbol.tick is None or not len(bars):
        return None
    behind_s = (bars.last_close_ms - symbol.tick.time_ms) / 1000.0
    return f"no sound quote for {behind_s:.0f} s while bars went on" if behind_s > stale_s else None


def evaluation_of(view: MarketView, side: Side) -> Evaluation:
    """Make the row that answers, for ever, why a score was what it was."""
    return Evaluation(
        symbol=view.symbol,
        direction=side.direction,
        bar_ms=view.m5_close_ms,
        score=view.score(side).total,
        regime=view.regime.text,
        body=view.as_json(side),
    )
