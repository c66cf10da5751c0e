"""What a probe keeps while it runs, so that the next run can clean up after one that was cut off.

As long as it is not proven that the broker keeps magic numbers, each opening is noted before it is sent: a position
that then shows neither number nor mark is known by its order, or by side, volume, time and the program that opened it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dtms.domain.facts import Json
from dtms.ports.clock import Clock
from dtms.ports.store import Kept, KeptKind, Store, Unit
from dtms.probe.findings import key_of
from dtms.probe.requests import EXPERT, is_marked

_EARLY_MS, _LATE_MS = 30_000, 300_000
"""A quote can be some seconds older than the position that it opened, and a request can come through late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One opening as it was sent; the time is the trade server's (ms)."""

    kind: int
    volume: float
    server_ms: int

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a position without a number can be what this opening made, or what is left of that."""
        is_alike: bool = row["type"] == self.kind and row["volume"] < self.volume + 1e-9
        in_time: bool = self.server_ms - _EARLY_MS <= row["time_msc"] <= self.server_ms + _LATE_MS
        is_bare: bool = row["magic"] == 0 and row["reason"] == EXPERT
        return is_alike and in_time and is_bare


@dataclass(slots=True)
class Note:
    """Which positions are the probe's own, whatever the broker did to their numbers and words."""

    store: Store
    clock: Clock
    server: str
    login: int
    symbol: str
    magic_is_kept: bool = False
    """Set once it is proven; from then on the numbers say enough."""
    orders: set[int] = field(default_factory=set)
    positions: set[int] = field(default_factory=set)
    """Identifiers."""
    openings: list[Opening] = field(default_factory=list)
    """Those of which no order is known."""

    @property
    def key(self) -> str:
        return f"{key_of(self.server, self.login)}:probing"

    def is_own(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a position is the probe's."""
        if is_marked(row) or row["identifier"] in self.positions or row["ticket"] in self.orders:
            return True
        return any(opening.fits(row) for opening in self.openings)

    async def recall(self) -> str | None:
        """Take up what a run that was cut off had noted; gives the symbol that it worked on."""
        kept = await self.store.kept(KeptKind.PROBE, self.key)
        if not kept:
            return None
        body: Mapping[str, Any] = kept[-1].body
        self.orders |= set(body["orders"])
        self.positions |= set(body["positions"])
        self.openings += [Opening(kind=kind, volume=volume, server_ms=at) for kind, volume, at in body["openings"]]
        return str(body["symbol"])

    async def begin(self) -> None:
        """Note durably that a probe is at work."""
        await self._keep()

    async def before(self, opening: Opening) -> None:
        """Note an opening that is about to be sent."""
        if self.magic_is_kept:
            return
        self.openings.append(opening)
        await self._keep()

    def opened(self, order: int) -> None:
        """Know an opening by its order from now on."""
        if order:
            self.orders.add(order)
            if self.openings:
                self.openings.pop()

    def refused(self) -> None:
        """Forget an opening that certainly made nothing."""
        if self.openings:
            self.openings.pop()

    async def end(self) -> None:
        """Forget everything: all is closed."""
        await self.store.commit(Unit(forget=((KeptKind.PROBE, self.key),)))

    async def _keep(self) -> None:
        openings: list[Json] = [[one.kind, one.volume, one.server_ms] for one in self.openings]
        body: dict[str, Json] = {
            "symbol": self.symbol,
            "orders": [*sorted(self.orders)],
            "positions": [*sorted(self.positions)],
            "openings": openings,
        }
        kept = Kept(kind=KeptKind.PROBE, key=self.key, body=body, at_ms=self.clock.wall_ms())
        await self.store.commit(Unit(keep=(kept,)))
