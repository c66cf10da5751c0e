"""Calendar, volatility index and exchange flow as the configuration names them, read in the background.

Whatever asks is answered from memory. A source that is absent or too old is said to be so, and what rests on it is
inactive: the news rail, VIX adjustments, exchange flow (the terminal's ticks are used instead).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from dtms.adapters.calendar import parse_calendar
from dtms.adapters.flow_exchange import ExchangePoller, MarketFlow, make_pollers
from dtms.adapters.sources_documents import Document, Fetched, is_url
from dtms.adapters.vix import VixCloses, VixQuote, parse_vix
from dtms.config.model import Config
from dtms.domain.calendar import Release
from dtms.domain.market import FlowBars
from dtms.domain.sources import DAY_MS, SourceState, Standing, Vix
from dtms.domain.symbols import canonical
from dtms.ports.clock import Clock
from dtms.ports.sources import AskQuote

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0
"""Machine seconds between two looks whether a document changed or is due."""
QUOTE_EVERY_LOOKS: Final = 12
CALENDAR_DAYS_MAX: Final = 7.0
"""A calendar whose last release lies further back says nothing of the present."""

Releases = tuple[Release, ...]


def make_sources(config: Config, clock: Clock) -> "OutsideSources":
    """Make the sources that a configuration names; nothing is read in the background before ``start``.

    Raises:
        Misconfigured: for a file that cannot be read, an exchange that ccxt does not know, or when ccxt is missing.
    """
    return OutsideSources(
        clock=clock,
        calendar=calendar_of(config, clock),
        vix_quote=VixQuote(config.vix.symbol) if config.vix.symbol else None,
        vix_closes=closes_of(config, clock),
        vix_days_max=config.vix.stale_days,
        pollers=make_pollers(config.flow, flow_hours=config.settings.score.flow_hours, now_ms=clock.market_ms)
        if config.terminal.module != "sim"
        else (),
        flow_off="its market is simulated" if config.terminal.module == "sim" else None,
        flow_symbols=tuple(config.flow.exchanges),
    )


def calendar_of(config: Config, clock: Clock) -> Document[Releases] | None:
    """Make the economic calendar that a configuration names, None when it names none."""
    if config.calendar is None:
        return None
    return Document(
        what="calendar", location=config.calendar, parse=parse_calendar, fetched=_fetched(config), clock=clock
    )


def closes_of(config: Config, clock: Clock) -> Document[VixCloses] | None:
    """Make the file of VIX closes that a configuration names, None when it names none."""
    if config.vix.source is None:
        return None
    return Document(what="VIX", location=config.vix.source, parse=parse_vix, fetched=_fetched(config), clock=clock)


def _fetched(config: Config) -> Fetched:
    return Fetched(
        folder=config.data_dir / "sources",
        refresh_s=config.fetching.refresh_h * 3_600,
        timeout_s=config.fetching.timeout_s,
    )


class OutsideSources:
    """Fulfils ``ports.sources.Sources``."""

    def __init__(
        self,
        *,
        clock: Clock,
        calendar: Document[Releases] | None = None,
        vix_quote: VixQuote | None = None,
        vix_closes: Document[VixCloses] | None = None,
        vix_days_max: float = 5.0,
        pollers: Sequence[ExchangePoller] = (),
        flow_symbols: Sequence[str] = (),
        flow_off: str | None = None,
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._vix_quote = vix_quote
        self._vix_closes = vix_closes
        self._vix_days_max = vix_days_max
        self._pollers = pollers
        self._flows: Mapping[str, MarketFlow] = {flow.symbol: flow for p in pollers for flow in p.flows}
        self._flow_off = flow_symbols if flow_off else ()
        self._why_flow_off = flow_off
        self._task: asyncio.Task[None] | None = None

    # --- reading in the background ---

    def start(self, ask: AskQuote) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep_reading(ask), name="sources")
            for poller in self._pollers:
                poller.start()

    async def stop(self) -> None:
        for poller in self._pollers:
            poller.stop()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _keep_reading(self, ask: AskQuote) -> None:
        looks = 0
        while True:
            await self.refresh()
            if self._vix_quote is not None and looks % QUOTE_EVERY_LOOKS == 0:
                await self._vix_quote.refresh(ask)
            looks = looks + 1 if self._vix_quote is None or self._vix_quote.failure is None else 0
            await self._clock.sleep_machine(LOOK_S)

    async def refresh(self) -> None:
        """Look once at every file and URL."""
        for document in (self._calendar, self._vix_closes):
            if document is not None:
                await document.refresh()

    # --- what is known ---

    def releases(self, now_ms: int) -> Sequence[Release]:
        if self._calendar is None or not self._calendar.value:
            return ()
        return () if _has_ended(self._calendar.value, now_ms) else self._calendar.value

    def vix(self, now_ms: int) -> Vix | None:
        return next((vix for vix in self._vixes(now_ms) if vix.age_days(now_ms) <= self._vix_days_max), None)

    def _vixes(self, now_ms: int) -> list[Vix]:
        """Return what each source of it last said, the broker's own symbol first."""
        quote = self._vix_quote.at(now_ms) if self._vix_quote is not None else None
        document = self._vix_closes
        close = document.value.at(now_ms, document.shown) if document is not None and document.value else None
        return [vix for vix in (quote, close) if vix is not None]

    def flow(self, symbol: str, now_ms: int) -> FlowBars | None:
        found = self._flows.get(symbol) or self._flows.get(canonical(symbol))
        return None if found is None else found.usable(now_ms)

    # --- how they stand ---

    def standings(self, now_ms: int) -> Sequence[Standing]:
        off = [_flow_off(symbol, self._why_flow_off or "") for symbol in self._flow_off]
        flows = [flow.standing(now_ms) for flow in self._flows.values()]
        return (self._calendar_standing(now_ms), self._vix_standing(now_ms), *flows, *off)

    def _calendar_standing(self, now_ms: int) -> Standing:
        name, inactive = "economic calendar", "the news rail is inactive"
        document = self._calendar
        if document is None:
            return Standing(
                name=name, state=SourceState.ABSENT, told="not configured", warning=f"no economic calendar: {inactive}"
            )
        if not document.value:
            told = document.failure or "not fetched yet"
            return Standing(
                name=name, state=SourceState.ABSENT, told=told, warning=f"no economic calendar: {inactive} ({told})"
            )
        until = _day(document.value[-1].time_ms)
        if _has_ended(document.value, now_ms):
            told = f"{document.shown} ends on {until}"
            return Standing(
                name=name,
                state=SourceState.STALE,
                told=told,
                warning=f"the economic calendar is too old, {inactive} ({told}{_also(document.failure)})",
            )
        told = f"{len(document.value)} releases until {until}, from {document.shown}{_read(document)}"
        return Standing(name=name, state=SourceState.OK, told=told, warning=_failing(name, document))

    def _vix_standing(self, now_ms: int) -> Standing:
        name, unused = "VIX", "no VIX adjustment"
        if self._vix_quote is None and self._vix_closes is None:
            return Standing(name=name, state=SourceState.ABSENT, told="not configured", warning=f"no VIX: {unused}")
        current = self.vix(now_ms)
        if current is not None:
            told = f"{current.value:.2f} of {_day(current.at_ms)}, from {current.source}"
            return Standing(name=name, state=SourceState.OK, told=told, warning=_failing(name, self._vix_closes))
        old, why = self._vixes(now_ms), _also(self._vix_failure())
        if old:
            told = f"the newest is {old[0].age_days(now_ms):.0f} days old, from {old[0].source}"
            return Standing(
                name=name, state=SourceState.STALE, told=told, warning=f"VIX too old: {unused} ({told}{why})"
            )
        told = self._vix_failure() or "not read yet"
        return Standing(name=name, state=SourceState.ABSENT, told=told, warning=f"no VIX: {unused} ({told})")

    def _vix_failure(self) -> str | None:
        causes = (self._vix_quote and self._vix_quote.failure, self._vix_closes and self._vix_closes.failure)
        return "; ".join(cause for cause in causes if cause) or None


def _has_ended(releases: Sequence[Release], now_ms: int) -> bool:
    return releases[-1].time_ms < now_ms - CALENDAR_DAYS_MAX * DAY_MS


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _also(failure: str | None) -> str:
    return f"; {failure}" if failure else ""


def _read(document: Document[Releases]) -> str:
    return f", fetched {_day(document.got_ms)}" if is_url(document.location) and document.got_ms is not None else ""


def _failing(name: str, document: Document[Releases] | Document[VixCloses] | None) -> str | None:
    """Warn of a document whose last reading is used because the newest could not be read."""
    if document is None or document.failure is None:
        return None
    since = f"the reading of {_day(document.got_ms)} is used" if document.got_ms is not None else "nothing is known"
    return f"the {name} could not be read, {since}: {document.failure}"


def _flow_off(symbol: str, why: str) -> Standing:
    return Standing(name=f"order flow of {symbol}", state=SourceState.ABSENT, told=f"{why}: ticks are used")
