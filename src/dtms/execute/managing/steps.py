"""What else is run in the main program's loop, beside its managers: plans, the position watcher, and their like."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dtms.domain.market import Tick, Timeframe
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode
from dtms.execute.book import SymbolWatch
from dtms.execute.feeds import Fresh
from dtms.settings import Settings

Wants = Mapping[str, frozenset[Timeframe]]
"""Symbols whose quotes and M5 and M15 bars somebody needs, and the timeframes that he needs of each beside those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a cycle sees, read once for all that are run in it."""

    now_ms: int
    """Market time."""
    snapshot: Snapshot
    """The newest look at account, positions and orders; one to two seconds of market time old at most."""
    is_new: bool
    """Whether the snapshot was taken in this cycle."""
    symbols: Mapping[str, SymbolWatch]
    """Instrument, bars, view and newest quote of every symbol that somebody wants and that the broker has."""
    settings: Settings
    mode: Mode
    """The account's; a ticket can have its own."""
    halted: bool
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    """Symbols of which bars closed since the last cycle."""

    def tick(self, symbol: str) -> Tick | None:
        """Return the newest sound quote; None without one."""
        watch = self.symbols.get(symbol)
        return None if watch is None else watch.tick


class Step(Protocol):
    """Something that is run once in every cycle of the main program's loop.

    What it raises, but for the errors that end a cycle (``BrokerUnavailable``, ``StoreFailed``, ``PermissionGone``),
    is recorded and leaves the rest of the loop alone.
    """

    @property
    def name(self) -> str:
        """A word for journal and log."""
        ...

    def wants(self) -> Wants:
        """Tell whose market it needs to see; asked in every cycle, so answered from memory."""
        ...

    async def recover(self, look: Look) -> None:
        """Match memory with store and broker, after all open intents that can be resolved at once were; at every start
        and after every outage, before the first ``run``."""
        ...

    async def run(self, look: Look) -> None: ...
