"""What the managers see: each symbol's market read once per pass, and each position in it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dtms.decide.proposals import Sighting
from dtms.domain.actions import ActionKind
from dtms.domain.facts import Fact
from dtms.domain.market import Instrument, Tick, Timeframe
from dtms.domain.position import Position
from dtms.domain.sources import Vix
from dtms.execute.book import SymbolWatch
from dtms.execute.feeds import Feeds, Fresh
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.steps import Wants
from dtms.execute.managing.table import timeframes
from dtms.market.gates import Gates, GatesBook
from dtms.market.levels import Levels
from dtms.market.view import MarketView

HELD_MS = 10_000
"""How long no other part is asked for, from a look on at which the fate of one was unknown."""
ALWAYS = frozenset({Timeframe.M5, Timeframe.M15})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One symbol as all its positions see it in one pass."""

    tick: Tick
    instrument: Instrument
    levels: Mapping[Timeframe, Levels]
    view: MarketView | None
    gates: Gates | None
    vix: Vix | None
    median_spread: float | None


@dataclass(slots=True)
class Closes:
    """What closed since the last cycle."""

    fresh: dict[str, Fresh] = field(default_factory=dict)
    closed: dict[str, frozenset[Timeframe]] = field(default_factory=dict)
    """Timeframes of which a bar closed, by symbol."""

    def of(self, symbol: str) -> frozenset[Timeframe]:
        return self.closed.get(symbol, frozenset())


class Sights:
    """Reads the market for the managers."""

    def __init__(self, bench: Bench, floor: Floor) -> None:
        self._bench = bench
        self._floor = floor
        self.feeds = Feeds(
            broker=bench.broker,
            store=bench.store,
            clock=bench.clock,
            journal=bench.journal,
            book=floor.book,
            sources=bench.sources,
        )
        self._closed_ms: dict[tuple[str, Timeframe], int] = {}
        self._gates: dict[str, GatesBook] = {}
        self._missing: set[str] = set()
        """Symbols that the broker does not know."""

    async def symbols(self, wants: Wants) -> list[SymbolWatch]:
        """Return the watch of every symbol that somebody needs, with the timeframes that he needs of it."""
        needed: dict[str, set[Timeframe]] = {name: set(extra) for name, extra in wants.items()}
        for charge in self._floor.charges.values():
            needed.setdefault(charge.managed.symbol, set()).update(timeframes(charge.managed))
        found = []
        for name in sorted(needed):
            watch = await self.symbol(name)
            if watch is not None:
                watch.wanted = needed[name] - ALWAYS
                found.append(watch)
        return found

    async def symbol(self, name: str) -> SymbolWatch | None:
        """Return a symbol's watch, made at first need; None when the broker has no such symbol."""
        if name in self._missing:
            return None
        watch = await self.feeds.symbol(name)
        if watch is None:
            self._missing.add(name)
        return watch

    def forget_missing(self) -> None:
        """Ask for unknown symbols again: the terminal was connected anew."""
        self._missing.clear()

    async def read(self, symbols: Sequence[SymbolWatch]) -> Closes:
        """Read the newest quotes, and the bars that closed since."""
        if not symbols:
            return Closes()
        await self.feeds.quotes(symbols)
        fresh = await self.feeds.bars(symbols, self._bench.settings)
        closed = {symbol.name: self._newly_closed(symbol) for symbol in symbols}
        return Closes({f.symbol.name: f for f in fresh}, {name: tfs for name, tfs in closed.items() if tfs})

    def _newly_closed(self, symbol: SymbolWatch) -> frozenset[Timeframe]:
        found = set()
        for timeframe in ALWAYS | symbol.wanted:
            closed_ms = symbol.bars.bars(timeframe).last_close_ms
            if self._closed_ms.get((symbol.name, timeframe)) != closed_ms:
                self._closed_ms[symbol.name, timeframe] = closed_ms
                found.add(timeframe)
        return frozenset(found)

    def judge(self, symbols: Iterable[SymbolWatch]) -> list[Fact]:
        """Mark what is too old to decide on; answers with the facts that tell of it."""
        cadence = self._bench.settings.cadence
        return self.feeds.judge(symbols, cadence.stale_s, cadence.stale_checks_alert)

    def scene(self, symbol: SymbolWatch) -> Scene | str:
        """Return a symbol's market as it stands now, or why nothing is to be decided on it.

        Bars that are late hold every decision; bars that were never known do not: a stop then trails at a fixed
        distance.
        """
        tick = symbol.tick
        if tick is None:
            return f"no quote of {symbol.name} yet"
        if symbol.stale is not None and symbol.view is not None:
            return symbol.stale
        settings, now = self._bench.settings, self._bench.clock.market_ms()
        return Scene(
            tick=tick,
            instrument=symbol.instrument,
            levels=self.feeds.levels(symbol, ALWAYS | symbol.wanted, settings),
            view=symbol.view,
            gates=self._gates.setdefault(symbol.name, GatesBook()).fresh(symbol.bars, now, settings),
            vix=self._bench.sources.vix(now),
            median_spread=symbol.bars.median_spread(),
        )

    def sighting(self, charge: Charge, position: Position, scene: Scene, now_ms: int) -> Sighting:
        """Return one position as its manager sees it."""
        managed = charge.managed
        if any(i.action.kind.changes_exposure for i in charge.open_intents.values()):
            held = {**managed.not_before_ms, ActionKind.TAKE_PARTIAL.value: now_ms + HELD_MS}
            managed = replace(managed, not_before_ms=held)
        return Sighting(
            managed=managed,
            position=position,
            tick=scene.tick,
            instrument=scene.instrument,
            now_ms=now_ms,
            levels=scene.levels,
            view=scene.view,
            gates=scene.gates,
            vix=scene.vix,
            cost_money=managed.costs + position.swap,
            median_spread=scene.median_spread,
            seen_stops=charge.seen_stops(position, now_ms),
        )
