"""The rails of what opens a position: all of them for a plan, the spread alone for what a person or program asks for.

Margin is asked of the broker, and the halt is judged in the transaction that commits the request.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dtms.decide.guards import GuardInput, RailState, Refusal, is_spread_spike, observe_account, refuse_risk
from dtms.domain.account import Account
from dtms.domain.market import Bars, Tick, Timeframe
from dtms.execute.book import SymbolWatch
from dtms.market.spreads import SpreadBook, usual_spread
from dtms.ports.broker import BarRequest, Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.ports.store import Store
from dtms.settings import Settings

BARS = 1_000
"""Bars of each timeframe from which a symbol's usual spread is guessed where its quotes are not watched."""
GUESS_AGE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Guess:
    spread: float | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A position that is to be opened, as the guards see it."""

    symbol: str


def _unwatched(_: str) -> SymbolWatch | None:
    return None


class Rails:
    """Judges openings; ``watched`` answers what this program knows of a symbol whose quotes it watches."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        settings: Callable[[], Settings],
        sources: Sources,
        watched: Callable[[str], SymbolWatch | None] = _unwatched,
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._settings = settings
        self._sources = sources
        self._watched = watched
        self._guesses: dict[str, _Guess] = {}

    async def refusal(self, symbol: str, tick: Tick, account: Account, *, guarded: bool) -> Refusal | None:
        """Return the rail that stops an opening at market, with its figures."""
        settings, usual = self._settings().rails, await self.usual_spread(symbol)
        if not guarded:
            spiked = is_spread_spike(tick, usual, settings)
            return Refusal("spread_spike", f"spread {tick.spread:.6g}, median {usual:.6g}") if spiked else None
        watch, now_ms = self._watched(symbol), self._clock.market_ms()
        known = GuardInput(
            trade=Wanted(symbol),
            tick=tick,
            now_ms=now_ms,
            median_spread=usual,
            stale=watch.stale if watch is not None else None,
            rails=await self._state(account, now_ms),
            releases=self._sources.releases(now_ms),
            last_same_action_ms=None,
            settings=settings,
        )
        return refuse_risk(known)

    async def usual_spread(self, symbol: str) -> float | None:
        """Return a symbol's usual spread (price difference), None while nothing tells it."""
        watch = self._watched(symbol)
        if watch is not None and (known := watch.bars.median_spread()) is not None:
            return known
        now_ms, guess = self._clock.market_ms(), self._guesses.get(symbol)
        if guess is None or now_ms - guess.at_ms > GUESS_AGE_MS:
            m5, m15 = await self._bars(symbol)
            guess = self._guesses[symbol] = _Guess(usual_spread(SpreadBook(), m5, m15), now_ms)
        return guess.spread

    async def _bars(self, symbol: str) -> tuple[Bars, Bars]:
        frames = (Timeframe.M5, Timeframe.M15)
        m5, m15 = await self._broker.bars([BarRequest(symbol=symbol, timeframe=f, count=BARS) for f in frames])
        return m5, m15

    async def _state(self, account: Account, now_ms: int) -> RailState:
        """Return the rails' memory as DTMS keeps it, with the account as it is now."""
        stored = RailState.from_json(dict((await self._store.load()).rails))
        offset_ms = self._broker.server_offset_ms(now_ms)
        return observe_account(
            stored,
            now_ms=now_ms,
            balance=account.balance,
            equity=account.equity,
            settings=self._settings().rails,
            broker_offset_ms=offset_ms,
        )
