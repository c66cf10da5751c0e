"""Registrations that wait for the broker to list their positions: a fill can be reported before the terminal has it.

Each is kept durably, and becomes a trade or an alert. Its minute runs on the machine's monotonic clock; the store keeps
its beginning on the wall clock, so that a restart goes on with what is left of it, and never waits longer than anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from dtms.domain.facts import Json
from dtms.domain.market import Side
from dtms.domain.trade import Mode
from dtms.execute.service import Pending, Registration
from dtms.ports.clock import Clock
from dtms.ports.store import Kept, KeptKind, Store

WAIT_S = 60.0
LOOK_S = 1.0
"""Machine seconds between two looks for what is waited for."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """One registration that waits, what is told of it, and when its time is over on the machine's clock."""

    request: Registration
    told: Pending
    until_s: float


class Pendings:
    """What waits, as the store keeps it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[int, Awaited] = {}
        self._missed: set[int] = set()
        """What a look that began after its time did not find; the terminal may still be reading its lists anew."""
        self._is_loaded = False
        self._next_look_s = 0.0

    async def load(self) -> None:
        """Read once what waited when the process before this one ended."""
        if self._is_loaded:
            return
        kept = await self._store.kept(KeptKind.PENDING)
        self.take(kept)
        self._is_loaded = True

    def take(self, kept: Iterable[Kept]) -> None:
        """Wait for what was kept."""
        for one in kept:
            self._waiting.setdefault(int(one.key), self._awaited(one))

    def _awaited(self, kept: Kept) -> Awaited:
        past_s = (self._clock.wall_ms() - kept.at_ms) / 1000
        left_s = min(max(WAIT_S - past_s, 0.0), WAIT_S)  # whatever the wall clock did meanwhile
        request = registration_of(int(kept.key), kept.body)
        return Awaited(request, told_of(kept), self._clock.machine_s() + left_s)

    def kept(self, request: Registration) -> Kept:
        """Return what is to be kept for a registration that begins to wait."""
        return Kept(kind=KeptKind.PENDING, key=str(request.ticket), body=body_of(request), at_ms=self._clock.wall_ms())

    def drop(self, tickets: Iterable[int]) -> None:
        for ticket in tickets:
            self._waiting.pop(ticket, None)
            self._missed.discard(ticket)

    def get(self, ticket: int) -> Pending | None:
        awaited = self._waiting.get(ticket)
        return awaited.told if awaited is not None else None

    def all(self) -> tuple[Pending, ...]:
        return tuple(awaited.told for awaited in self._waiting.values())

    def due(self) -> list[Awaited]:
        """Return what is to be looked for now: all that waits, once a second."""
        now_s = self._clock.machine_s()
        if not self._waiting or now_s < self._next_look_s:
            return []
        self._next_look_s = now_s + LOOK_S
        return list(self._waiting.values())

    def is_over(self, awaited: Awaited, begun_s: float) -> bool:
        """Answer whether a look begun then, which did not find it, ends the waiting: the second after its time does."""
        ticket = awaited.request.ticket
        if begun_s < awaited.until_s:
            return False
        if ticket in self._missed:
            return True
        self._missed.add(ticket)
        return False


def told_of(kept: Kept) -> Pending:
    return Pending(ticket=int(kept.key), since_ms=kept.at_ms, until_ms=kept.at_ms + int(WAIT_S * 1000))


def body_of(request: Registration) -> dict[str, Json]:
    """Write a registration as JSON."""
    return {
        "symbol": request.symbol,
        "direction": None if request.side is None else request.side.direction,
        "entry": request.entry,
        "volume": None if request.volume is None else str(request.volume),
        "stop": request.stop,
        "target": request.target,
        "strategy_type": request.strategy_type,
        "takeover": request.takeover,
        "alongside": request.alongside,
        "by_watcher": request.by_watcher,
        "mode": None if request.mode is None else request.mode.value,
        "correlation_id": request.correlation_id,
    }


def registration_of(ticket: int, body: Mapping[str, Json]) -> Registration:
    """Read a registration back."""
    mode, side, volume = body.get("mode"), body.get("direction"), body.get("volume")
    return Registration(
        ticket=ticket,
        symbol=_text(body.get("symbol")),
        side=None if side is None else Side.of_direction(str(side)),
        entry=_number(body.get("entry")),
        volume=None if volume is None else Decimal(str(volume)),
        stop=_number(body.get("stop")),
        target=_number(body.get("target")),
        strategy_type=_text(body.get("strategy_type")),
        takeover=body.get("takeover") is True,
        alongside=body.get("alongside") is True,
        by_watcher=body.get("by_watcher") is True,
        mode=None if mode is None else Mode(str(mode)),
        correlation_id=_text(body.get("correlation_id")),
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
