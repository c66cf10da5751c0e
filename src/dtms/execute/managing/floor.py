"""Memory of what the main program's managers have in hand: a cache of the store's rows and of the broker's market."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dtms.domain.actions import Intent
from dtms.domain.managed import Managed
from dtms.domain.market import Side, Tick
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Owner, State
from dtms.execute.book import Book

SEEN_MS = 300_000
"""How long a stop that is listed looser now still counts, in market time: longer than any list is old."""
NEVER = float("inf")

Key = tuple[Owner, int]


@dataclass(slots=True, eq=False)
class Charge:
    """One position in one manager's hands, and what is remembered of it only while the process lives."""

    managed: Managed
    next_ms: int = 0
    """Market time from which on it is looked at again."""
    wakes_at: float = NEVER
    """A closing price at or beyond it, in the position's favour, is looked at at once; signed by side."""
    looked_ms: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why nothing was proposed at the last look, by rule."""
    noted: dict[str, str] = field(default_factory=dict)
    """The last recorded reason per subject, so that a reason that stays is recorded once."""
    warned: set[str] = field(default_factory=set)
    """Alerts that were raised."""
    open_intents: dict[int, Intent] = field(default_factory=dict)
    """Requests whose outcome is not known yet, the one that is being sent among them."""
    seen_stop: tuple[float, int] | None = None
    """The tightest stop that a later list showed looser, and the market time at which."""
    asked_ms: int = 0
    """When the deals of a position that is missing were last asked for."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever changes it."""

    @property
    def key(self) -> Key:
        return self.managed.manager, self.managed.ticket

    @property
    def identifier(self) -> int:
        return self.managed.identifier

    def seen_stops(self, position: Position, now_ms: int) -> Mapping[int, float]:
        """Return the stop that stood at the broker a moment ago, when it is not the one that is listed."""
        if self.seen_stop is None or now_ms - self.seen_stop[1] >= SEEN_MS:
            return {}
        return {position.ticket: self.seen_stop[0]}

    def remember_stop(self, listed: float | None, now_ms: int) -> None:
        """Note a stop that a new look shows looser than it was, before the look is believed."""
        known, sign = self.managed.stop, self.managed.side.sign
        if known is None or (listed is not None and (listed - known) * sign >= 0.0):
            return
        before = self.seen_stop[0] if self.seen_stop and now_ms - self.seen_stop[1] < SEEN_MS else known
        self.seen_stop = (known if (known - before) * sign > 0.0 else before), now_ms


class Floor:
    """Every managed position by manager and ticket, the registry and DTMS's states as they were last read."""

    def __init__(self) -> None:
        self.charges: dict[Key, Charge] = {}
        self.book = Book()
        """Of its symbols alone: what DTMS watches is DTMS's to remember."""
        self.ownerships: dict[int, Ownership] = {}
        self.states: Mapping[int, State] = {}
        """DTMS's states of the trades that it watches."""
        self.snapshot: Snapshot | None = None
        self.by_identifier: Mapping[int, Position] = {}

    def add(self, managed: Managed) -> Charge:
        """Have a position in hand from now on, or know it as it is now."""
        known = self.charges.get((managed.manager, managed.ticket))
        if known is not None:
            known.managed = managed
            return known
        charge = self.charges[managed.manager, managed.ticket] = Charge(managed)
        return charge

    def drop(self, charge: Charge) -> None:
        if self.charges.get(charge.key) is charge:
            del self.charges[charge.key]

    def of_ticket(self, ticket: int) -> list[Charge]:
        """Return what managers hold of one position."""
        found = (self.charges.get((owner, ticket)) for owner in (Owner.UNIVERSAL, Owner.EXITS))
        return [charge for charge in found if charge is not None]

    def of_manager(self, owner: Owner) -> Iterator[Charge]:
        return (charge for charge in self.charges.values() if charge.managed.manager is owner)

    def take(self, snapshot: Snapshot) -> None:
        """Believe a new look at the broker."""
        self.snapshot = snapshot
        self.by_identifier = {p.identifier: p for p in snapshot.positions.values()}

    def position(self, managed: Managed) -> Position | None:
        """Return a managed position as it was last listed, also under a ticket that replaced its own."""
        found = self.by_identifier.get(managed.identifier)
        return found if found is None or found.side is managed.side else None

    def owner(self, ticket: int) -> Owner | None:
        """Return whose a ticket is, as it was last read; None for an owner that is unknown to us."""
        row, watched = self.ownerships.get(ticket), ticket in self.states
        if row is None:
            return Owner.DTMS if watched else Owner.NOBODY
        owner = row.manager
        return Owner.NOBODY if owner is Owner.DTMS and not watched else owner

    def mode(self, ticket: int, account: Mode) -> Mode:
        """Return the mode that holds for a ticket, as far as the registry tells."""
        row = self.ownerships.get(ticket)
        return account if row is None or row.mode is None else row.mode

    def breakeven(self, ticket: int) -> bool:
        row = self.ownerships.get(ticket)
        return row is not None and row.breakeven


def is_woken(charge: Charge, tick: Tick) -> bool:
    """Answer whether the quote reached a price at which something waits."""
    side = charge.managed.side
    return tick.closing(side) * side.sign >= charge.wakes_at


def signed(price: float, side: Side) -> float:
    """Return a price that grows with the position's profit."""
    return price * side.sign
