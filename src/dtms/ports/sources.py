"""What the engine asks of the sources outside the terminal. Every answer comes from memory, at once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dtms.domain.calendar import Release
from dtms.domain.market import FlowBars, Tick
from dtms.domain.sources import SourceState, Standing, Vix

AskQuote = Callable[[str], Awaitable[Tick | None]]
"""Reads the broker's quote of any symbol; None when it has none. Raises ``BrokerUnavailable``."""


class Sources(Protocol):
    """Economic calendar, volatility index and order flow; ``now_ms`` is market time."""

    def start(self, ask: AskQuote, /) -> None:
        """Begin to read in the background; called once, on the running loop."""
        ...

    async def stop(self) -> None: ...

    def releases(self, now_ms: int, /) -> Sequence[Release]:
        """Return the scheduled releases, oldest first; none when the calendar is absent or too old."""
        ...

    def vix(self, now_ms: int, /) -> Vix | None:
        """Return the volatility index; None when it is absent or too old."""
        ...

    def flow(self, symbol: str, now_ms: int, /) -> FlowBars | None:
        """Return an exchange's order flow for a symbol; None when there is none that can be used."""
        ...

    def standings(self, now_ms: int, /) -> Sequence[Standing]: ...


@dataclass(frozen=True, slots=True)
class OnlyReleases:
    """Sources that consist of known releases and never change."""

    known: Sequence[Release] = ()

    def start(self, _ask: AskQuote) -> None:
        """Begin nothing: there is nothing to read."""

    async def stop(self) -> None:
        """End nothing."""

    def releases(self, _now_ms: int) -> Sequence[Release]:
        return self.known

    def vix(self, _now_ms: int) -> Vix | None:
        return None

    def flow(self, _symbol: str, _now_ms: int) -> FlowBars | None:
        return None

    def standings(self, _now_ms: int) -> Sequence[Standing]:
        state = SourceState.OK if self.known else SourceState.ABSENT
        return (Standing(name="economic calendar", state=state, told=f"{len(self.known)} releases"),)


def warnings_of(standings: Sequence[Standing]) -> list[str]:
    """Return what a person should know of the sources."""
    return [standing.warning for standing in standings if standing.warning is not None]
