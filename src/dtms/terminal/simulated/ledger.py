"""The trade server's books. Every change passes through `apply`, which is what makes them replayable."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from dtms.terminal.simulated.records import (
    LIVE_STATES,
    Acted,
    Change,
    Deal,
    LevelChange,
    Order,
    Position,
    RequestNote,
    Selection,
    Setting,
)

FIRST_TICKET = 100_001
FIRST_DEAL = 500_001


class Ledger:
    """Hold positions, orders, deals and everything that was asked, in the order it happened."""

    def __init__(self, put: Callable[[Setting], None] | None = None) -> None:
        """Start empty; `put` lets a setting take effect wherever the books are filled from."""
        self.positions: dict[int, Position] = {}
        self._by_symbol: defaultdict[str, dict[int, Position]] = defaultdict(dict)
        self.orders: dict[int, Order] = {}
        self.history_orders: dict[int, Order] = {}
        self.deals: list[Deal] = []
        self.levels: list[LevelChange] = []
        self.requests: list[RequestNote] = []
        self.selected: dict[str, bool] = {}
        self.acted: dict[int, Acted] = {}
        self.balance_cents = 0
        self.changes = 0
        self.money = 0
        """How often something changed that money depends on."""
        self.versions: defaultdict[str, int] = defaultdict(int)
        self.unwritten: list[Change] = []
        self._next_ticket, self._next_deal, self._next_request = FIRST_TICKET, FIRST_DEAL, 1
        self._appliers: dict[type, Callable[[Any], None]] = {
            Position: self._put_position,
            Order: self._put_order,
            Deal: self._add_deal,
            LevelChange: self.levels.append,
            RequestNote: self._note_request,
            Selection: self._select,
            Acted: self._note_act,
            Setting: put or (lambda _: None),
        }

    def apply(self, change: Change) -> None:
        """Make one change, and remember it for the journal."""
        self._appliers[type(change)](change)
        self.changes += 1
        self.unwritten.append(change)

    def take_unwritten(self) -> list[Change]:
        """Give the changes made since the last call."""
        taken, self.unwritten = self.unwritten, []
        return taken

    def new_ticket(self) -> int:
        """Give the ticket of a new order."""
        self._next_ticket += 1
        return self._next_ticket - 1

    def new_deal(self) -> int:
        """Give the ticket of a new deal."""
        self._next_deal += 1
        return self._next_deal - 1

    def new_request(self) -> int:
        """Give the number of a new request."""
        self._next_request += 1
        return self._next_request - 1

    def positions_of(self, symbol: str) -> list[Position]:
        """Give the open positions of a symbol, oldest first."""
        return list(self._by_symbol[symbol].values())

    def identified(self, identifier: int) -> Position | None:
        """Give the open position that has an identifier, whatever its ticket is by now."""
        kept = self.positions.get(identifier)
        if kept is not None and kept.identifier == identifier:
            return kept
        return next((position for position in self.positions.values() if position.identifier == identifier), None)

    def orders_of(self, symbol: str) -> list[Order]:
        """Give the live pending orders of a symbol that wait for a price, oldest first."""
        return [order for order in self.orders.values() if order.symbol == symbol and not order.due_ms]

    def busy_symbols(self) -> Iterator[str]:
        """Give the symbols that have positions or pending orders, once each."""
        held = [symbol for symbol, positions in self._by_symbol.items() if positions]
        return iter(dict.fromkeys([*held, *(order.symbol for order in self.orders.values())]))

    def _put_position(self, position: Position) -> None:
        self.versions[position.symbol] += 1
        self._next_ticket = max(self._next_ticket, position.ticket + 1)
        before = self.positions.get(position.ticket)
        if before is None or _worth(before) != _worth(position):
            self.money += 1
        if position.units:
            self.positions[position.ticket] = self._by_symbol[position.symbol][position.ticket] = position
        else:
            self.positions.pop(position.ticket, None)
            self._by_symbol[position.symbol].pop(position.ticket, None)

    def _put_order(self, order: Order) -> None:
        self.versions[order.symbol] += 1
        self._next_ticket = max(self._next_ticket, order.ticket + 1)
        if order.state in LIVE_STATES:
            self.orders[order.ticket] = order
        else:
            self.orders.pop(order.ticket, None)
            self.history_orders[order.ticket] = order

    def _add_deal(self, deal: Deal) -> None:
        self._next_deal = max(self._next_deal, deal.ticket + 1)
        self.deals.append(deal)
        self.money += 1
        self.balance_cents += deal.profit_cents + deal.swap_cents + deal.commission_cents

    def _note_request(self, note: RequestNote) -> None:
        self._next_request = max(self._next_request, note.request_id + 1)
        self.requests.append(note)

    def _select(self, selection: Selection) -> None:
        self.selected[selection.symbol] = selection.selected

    def _note_act(self, acted: Acted) -> None:
        self.acted[acted.index] = acted


def _worth(position: Position) -> tuple[int, ...]:
    """Give what a position's money depends on, prices of the market apart."""
    return position.type, position.units, position.open_points, position.open_sub, position.swap_cents
