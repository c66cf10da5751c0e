"""The vendor's functions about positions, orders and history. Filters are named only; none found is an empty tuple."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from dtms.terminal.simulated import views
from dtms.terminal.simulated.answers import INVALID_PARAMS, bad_argument
from dtms.terminal.simulated.faults_books import Books
from dtms.terminal.simulated.records import Deal, Order, Position
from dtms.terminal.simulated.session import Session, in_group, server_seconds
from dtms.terminal.simulated.structs import TradeDeal, TradeOrder, TradePosition

Item = TypeVar("Item", Position, Order, Deal)
UNNAMED = bad_argument("Unnamed arguments not allowed")
KINDS: dict[str, type] = {"symbol": str, "group": str, "ticket": int, "position": int}


class BookCalls(Session):
    """Positions, orders and history."""

    _shown: Books | None = None
    """Books that are shown in place of the trade server's own, for the length of a call that a fault meets."""

    def positions_total(self) -> int | None:
        """Count the open positions."""
        return len(self._books_shown.positions) if self._begin() else None

    def positions_get(
        self, *args: object, symbol: str | None = None, group: str | None = None, ticket: int | None = None
    ) -> tuple[TradePosition, ...] | None:
        """Give the open positions: all, or those of a symbol, a group or a ticket."""
        if not self._begin() or not self._filters(args, symbol=symbol, group=group, ticket=ticket):
            return None
        held = _filtered(self._books_shown.positions, symbol, group, ticket)
        return tuple(views.position(self._world, item) for item in held)

    def orders_total(self) -> int | None:
        """Count the pending orders."""
        return len(self._books_shown.orders) if self._begin() else None

    def orders_get(
        self, *args: object, symbol: str | None = None, group: str | None = None, ticket: int | None = None
    ) -> tuple[TradeOrder, ...] | None:
        """Give the pending orders: all, or those of a symbol, a group or a ticket."""
        if not self._begin() or not self._filters(args, symbol=symbol, group=group, ticket=ticket):
            return None
        held = _filtered(self._books_shown.orders, symbol, group, ticket)
        return tuple(views.order(self._world, item) for item in held)

    def history_orders_total(self, date_from: object, date_to: object, /) -> int | None:
        """Count the finished orders within a span of server time."""
        found = self.history_orders_get(date_from, date_to)
        return None if found is None else len(found)

    def history_orders_get(
        self, *args: object, group: str | None = None, ticket: int | None = None, position: int | None = None
    ) -> tuple[TradeOrder, ...] | None:
        """Give the finished orders of a span of server time, of a ticket, or of a position."""
        if not self._begin() or not self._filters((), group=group, ticket=ticket, position=position):
            return None
        kept = self._books_shown.history_orders
        if ticket is not None:
            found: Iterable[Order] = [kept[ticket]] if ticket in kept else []
        elif position is not None:
            found = [order for order in kept.values() if position in (order.position_id, order.position_by_id)]
        else:
            window = self._window(args)
            if window is None:
                return None
            found = self._within(kept.values(), window, lambda order: order.done_ms, group)
        return tuple(views.order(self._world, order) for order in found)

    def history_deals_total(self, date_from: object, date_to: object, /) -> int | None:
        """Count the deals within a span of server time."""
        found = self.history_deals_get(date_from, date_to)
        return None if found is None else len(found)

    def history_deals_get(
        self, *args: object, group: str | None = None, ticket: int | None = None, position: int | None = None
    ) -> tuple[TradeDeal, ...] | None:
        """Give the deals of a span of server time, of an order's ticket, or of a position."""
        if not self._begin() or not self._filters((), group=group, ticket=ticket, position=position):
            return None
        deals = self._books_shown.deals
        if ticket is not None:
            found: Iterable[Deal] = [deal for deal in deals if deal.order == ticket]
        elif position is not None:
            found = [deal for deal in deals if deal.position_id == position]
        else:
            window = self._window(args)
            if window is None:
                return None
            found = self._within(deals, window, lambda deal: deal.ms, group)
        return tuple(views.deal(self._world, deal) for deal in found)

    @property
    def _books_shown(self) -> Books:
        return self._shown or self._world.ledger

    def _filters(self, args: tuple[object, ...], **named: object) -> bool:
        """Check the filters, setting the error of the first that is wrong."""
        if args:
            self._fail(UNNAMED)
            return False
        for name, value in named.items():
            if value is not None and not isinstance(value, KINDS[name]):
                self._fail(bad_argument(f'Invalid "{name}" argument'))
                return False
        return True

    def _window(self, args: tuple[object, ...]) -> tuple[int, int] | None:
        """Read a span of server seconds, None with the error set when it is not one."""
        moments = [server_seconds(value) for value in args]
        if len(moments) != 2 or moments[0] is None or moments[1] is None:
            self._fail(INVALID_PARAMS)
            return None
        return moments[0], moments[1]

    def _within(
        self, items: Iterable[Item], window: tuple[int, int], ms_of: Callable[[Item], int], group: str | None
    ) -> list[Item]:
        clock = self._world.clock
        return [
            item
            for item in items
            if window[0] <= clock.to_server(ms_of(item)) // 1000 <= window[1]
            and (group is None or in_group(item.symbol, group))
        ]


def _filtered(items: Mapping[int, Item], symbol: str | None, group: str | None, ticket: int | None) -> list[Item]:
    """Apply one filter, as the package does: symbol before group before ticket, which the items are kept by."""
    if symbol is not None:
        return [item for item in items.values() if item.symbol == symbol]
    if group is not None:
        return [item for item in items.values() if in_group(item.symbol, group)]
    if ticket is not None:
        return [items[ticket]] if ticket in items else []
    return list(items.values())
