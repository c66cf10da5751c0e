"""The books as a caller is shown them: late, old, partial or empty, while the trade server's own are as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from dtms.terminal.simulated.journal import Journal
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import LIVE_STATES, Change, Deal, Order, Position

Record = TypeVar("Record", Position, Order)
REMEMBERED_MS = 3_600_000
LONG_AGO_MS = -(1 << 60)
Key = tuple[str, int]
Appears = Callable[[str, int, int], int]
"""Say when a change shows: from its kind, the ticket and the moment at which it was made."""


class Books(Protocol):
    """What the functions about positions, orders and history read."""

    @property
    def positions(self) -> Mapping[int, Position]: ...
    @property
    def orders(self) -> Mapping[int, Order]: ...
    @property
    def history_orders(self) -> Mapping[int, Order]: ...
    @property
    def deals(self) -> Sequence[Deal]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Books that are shown instead of the trade server's own."""

    positions: Mapping[int, Position]
    orders: Mapping[int, Order]
    history_orders: Mapping[int, Order]
    deals: Sequence[Deal]


NOTHING = Shown(positions={}, orders={}, history_orders={}, deals=())


def shown(books: Books) -> Shown:
    """Take books as they stand."""
    return Shown(positions=books.positions, orders=books.orders, history_orders=books.history_orders, deals=books.deals)


@dataclass(frozen=True, slots=True)
class Version:
    """How a position, an order or a deal was from a moment on; None before it was there."""

    ms: int
    record: Position | Order | Deal | None


class Memory:
    """A journal that passes everything on, and remembers for an hour how things came to be as they are."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self.journal = journal
        self._ledger = ledger
        self._versions: dict[Key, list[Version]] = {}
        self._last: dict[Key, Position | Order] = {}
        self._last |= {("position", ticket): held for ticket, held in ledger.positions.items()}
        self._last |= {("order", ticket): order for ticket, order in ledger.orders.items()}

    def write(self, at_ms: int, changes: Sequence[Change]) -> None:
        """Write the changes made up to a simulated moment."""
        for change in changes:
            self._note(change)
        if changes:
            self._forget(at_ms - REMEMBERED_MS)
        self.journal.write(at_ms, changes)

    def close(self, at_ms: int) -> None:
        """Write the last moment and stop."""
        self.journal.close(at_ms)

    def as_of(self, appears: Appears, now_ms: int) -> Shown:
        """Give the books with every change that shows by now, and without the others."""
        positions = dict(self._ledger.positions)
        live, past = dict(self._ledger.orders), dict(self._ledger.history_orders)
        hidden: set[int] = set()
        for (kind, ticket), versions in self._versions.items():
            record = _latest(versions, partial(appears, kind, ticket), now_ms)
            if kind == "deal":
                hidden |= {ticket} if record is None else set()
                continue
            if kind == "position":
                _put(positions, ticket, record if isinstance(record, Position) and record.units else None)
                continue
            order = record if isinstance(record, Order) else None
            is_live = order is not None and order.state in LIVE_STATES
            _put(live, ticket, order if is_live else None)
            _put(past, ticket, None if is_live else order)
        return Shown(
            positions=dict(sorted(positions.items())),
            orders=dict(sorted(live.items())),
            history_orders=past,
            deals=[deal for deal in self._ledger.deals if deal.ticket not in hidden],
        )

    def _note(self, change: Change) -> None:
        match change:
            case Position():
                self._add(("position", change.ticket), change.updated_ms, change)
            case Order():
                self._add(("order", change.ticket), change.done_ms or change.setup_ms, change)
            case Deal():
                self._versions[("deal", change.ticket)] = [Version(LONG_AGO_MS, None), Version(change.ms, change)]

    def _add(self, key: Key, ms: int, record: Position | Order) -> None:
        versions = self._versions.setdefault(key, [Version(LONG_AGO_MS, self._last.get(key))])
        versions.append(Version(max(ms, versions[-1].ms), record))
        self._last[key] = record

    def _forget(self, before_ms: int) -> None:
        """Drop what has long been settled, so that a long run does not grow."""
        self._versions = {key: kept for key, kept in self._versions.items() if kept[-1].ms >= before_ms}


def _latest(versions: Sequence[Version], appears: Callable[[int], int], now_ms: int) -> Position | Order | Deal | None:
    """Give the newest version that shows by now."""
    arrived = [v for v in versions if v.ms == LONG_AGO_MS or appears(v.ms) <= now_ms]
    return arrived[-1].record


def _put(held: dict[int, Record], ticket: int, record: Record | None) -> None:
    held.pop(ticket, None)
    if record is not None:
        held[ticket] = record


def without(books: Shown, missing: int, pick: Callable[[Sequence[int]], Sequence[int]]) -> Shown:
    """Leave rows out of every list; `pick` puts tickets in the order in which they are left out."""

    def kept(tickets: Sequence[int]) -> set[int]:
        return set(pick(tickets)[missing:])

    positions, orders = kept([*books.positions]), kept([*books.orders])
    past, deals = kept([*books.history_orders]), kept([deal.ticket for deal in books.deals])
    return replace(
        books,
        positions={ticket: row for ticket, row in books.positions.items() if ticket in positions},
        orders={ticket: row for ticket, row in books.orders.items() if ticket in orders},
        history_orders={ticket: row for ticket, row in books.history_orders.items() if ticket in past},
        deals=[deal for deal in books.deals if deal.ticket in deals],
    )
