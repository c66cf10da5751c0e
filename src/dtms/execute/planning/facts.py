"""What plans are judged on: one symbol's market as it stands, read once for all plans that wait for it."""

from collections.abc import Iterable

from dtms.decide.conditions_facts import MarketFacts
from dtms.domain.market import Timeframe
from dtms.execute.book import SymbolWatch
from dtms.market.patterns import PatternBook, Patterns
from dtms.ports.broker import BarRequest, Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.settings import Settings

ALWAYS = frozenset({Timeframe.M5, Timeframe.M15})
BARS = 600
"""Bars of each timeframe that are read where a symbol is not watched yet."""


class FactsBook:
    """Makes market facts; the patterns of a timeframe are read once per closed bar."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._patterns: dict[str, PatternBook] = {}

    def of(self, watch: SymbolWatch, settings: Settings) -> MarketFacts:
        """Return what is known of a symbol that is watched."""
        book = self._patterns.setdefault(watch.name, PatternBook())
        now = self._clock.market_ms()
        bars = {tf: book.of(watch.bars.bars(tf), settings) for tf in ALWAYS | watch.wanted}
        return MarketFacts(
            symbol=watch.name,
            instrument=watch.instrument,
            now_ms=now,
            settings=settings,
            tick=watch.tick,
            stale=watch.stale,
            bars=bars,
            view=watch.view,
            median_spread=watch.bars.median_spread(),
            vix=self._sources.vix(now),
            releases=self._sources.releases(now) or None,
        )


async def read_patterns(
    broker: Broker, symbol: str, timeframes: Iterable[Timeframe], settings: Settings
) -> dict[Timeframe, Patterns]:
    """Read the patterns of a symbol that nobody watches yet, in one call.

    Raises:
        BrokerUnavailable: when the bars cannot be had.
    """
    asked = [BarRequest(symbol=symbol, timeframe=tf, count=BARS) for tf in sorted(timeframes)]
    answers = await broker.bars(asked) if asked else ()
    return {bars.timeframe: Patterns(bars, settings) for bars in answers}
