"""Fills: what the books become when an order meets the market, whoever sent it and whatever set it off.

An order that the market cannot fill whole leaves a rest, which is cancelled, or stays live and is filled later: a
position that was closed in between then appears again, under its old ticket.
"""

from dataclasses import replace

from dtms.terminal.simulated.bookings import DONE, Closing, Outcome, Trading
from dtms.terminal.simulated.cases import STOP_LIMITS
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.entries import Entries
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.records import BUY, Order, Position, Reason
from dtms.terminal.simulated.spec import SymbolSpec

__all__ = ["DONE", "Closing", "Fills", "Outcome", "closing_side_points"]


class Fills(Entries):
    """Open and close positions, and finish orders, on the world's books."""

    # Orders that close

    def close_position(self, position: Position, closing: Closing, units: int | None = None) -> Outcome:
        """Close a position or a part of it, so many units of it at once; what remains keeps ticket and levels."""
        order = self.closing_order(position, closing)
        return self.fill_close(order, position, closing.price_points, units)

    def closing_order(self, position: Position, closing: Closing) -> Order:
        """Make the order that closes, not yet filled."""
        now_ms = self._world.now_ms
        return Order(
            ticket=self._world.ledger.new_ticket(),
            symbol=position.symbol,
            type=1 - position.type,
            state=MT5.ORDER_STATE_STARTED,
            type_filling=closing.type_filling,
            type_time=MT5.ORDER_TIME_GTC,
            units_initial=closing.units,
            units=closing.units,
            price_points=closing.price_points,
            magic=closing.magic,
            reason=int(closing.reason),
            comment=closing.comment,
            setup_ms=now_ms,
            position_id=position.identifier,
            closes=True,
        )

    def fill_close(self, order: Order, position: Position, price_points: int, units: int | None = None) -> Outcome:
        """Fill an order that closes, or so many units of it."""
        filled = min(order.units, position.units, order.units if units is None else units)
        rest = order.units - filled if filled < position.units else 0
        self._leave_rest(order, rest)
        deal = self._left(position, order, _closing(position, price_points, filled, MT5.DEAL_ENTRY_OUT))
        return self._outcome(order, deal, filled, rest)

    def close_by(self, position: Position, order: Order, price_points: int, units: int) -> int:
        """Close one of two positions that close each other; gives the deal."""
        trading = _closing(position, price_points, units, MT5.DEAL_ENTRY_OUT_BY, free=True)
        return self._left(position, order, trading).ticket

    # Orders that waited

    def place_for_later(self, order: Order, due_ms: int) -> Outcome:
        """Accept a market order without filling it yet."""
        self._world.ledger.apply(replace(order, state=MT5.ORDER_STATE_PLACED, due_ms=due_ms))
        return Outcome(retcode=MT5.TRADE_RETCODE_PLACED, order=order.ticket, units=order.units)

    def fill_due(self, order: Order) -> None:
        """Fill what is due of an order that waited, at the market; cancel it when it has nothing left to fill."""
        world, spec = self._world, self._world.specs[order.symbol]
        quote, open_ms = world.quote(order.symbol), world.feeds[order.symbol].next_open_ms(world.now_ms)
        if quote is None or open_ms is None:
            self.finish_order(order, MT5.ORDER_STATE_CANCELED)
            return
        available = world.available_units(spec)
        if open_ms > world.now_ms or available == 0:
            self._world.ledger.apply(replace(order, due_ms=max(open_ms, world.now_ms + 1_000)))
            return
        price = quote.ask if order.type % 2 == BUY else quote.bid
        if order.closes:
            self._close_due(order, price, available)
        elif self._can_enter(order, spec, price):
            self.enter(order, price, available)
        else:
            self.finish_order(order, MT5.ORDER_STATE_REJECTED)

    def _close_due(self, order: Order, price_points: int, available: int | None) -> None:
        position = self._world.ledger.identified(order.position_id)
        if position is None or position.type == order.type % 2:
            self.finish_order(order, MT5.ORDER_STATE_CANCELED)
        else:
            self.fill_close(order, position, price_points, available)

    def _can_enter(self, order: Order, spec: SymbolSpec, price_points: int) -> bool:
        """Tell whether an order that comes to be filled may open what it would open."""
        world, side = self._world, order.type % 2
        held = world.netted(order.symbol)
        against = held.units if held is not None and held.type != side else 0
        entering = max(0, order.units - against)
        if not entering:
            return True
        opposed = not world.is_netting and any(p.type != side for p in world.ledger.positions_of(order.symbol))
        prohibited = opposed and not world.account.hedge_allowed
        return not prohibited and world.can_pay(spec, side, entering, price_points)

    def activate(self, order: Order, price_points: int) -> None:
        """Let the market reach a pending order: fill it, turn a stop-limit into its limit, or reject it."""
        if order.type in STOP_LIMITS:
            limit = order.type - MT5.ORDER_TYPE_BUY_STOP_LIMIT + MT5.ORDER_TYPE_BUY_LIMIT
            self._world.ledger.apply(
                replace(order, type=limit, price_points=order.stoplimit_points, stoplimit_points=0)
            )
        elif self._can_enter(order, self._world.specs[order.symbol], price_points):
            self.enter(order, price_points)
        else:
            self.finish_order(order, MT5.ORDER_STATE_REJECTED)

    # The night, and what the server does to tickets

    def charge_swap(self, position: Position, cents: int) -> None:
        """Add a night's swap to a position."""
        self._world.ledger.apply(replace(position, swap_cents=position.swap_cents + cents))

    def reopen(self, position: Position, price_points: int, at_points: int) -> Position:
        """Close a position for the night and open it again at another price: a new ticket, the same identifier."""
        closing = Closing(
            units=position.units, price_points=price_points, reason=Reason.ROLLOVER, magic=position.magic, comment=""
        )
        out = replace(self.closing_order(position, closing), closes=False)
        self._leave_rest(out, 0)
        self._left(
            position,
            out,
            _closing(position, price_points, position.units, MT5.DEAL_ENTRY_OUT, free=True),
        )
        back = replace(out, ticket=self._world.ledger.new_ticket(), type=position.type, price_points=at_points)
        self._leave_rest(back, 0)
        again = Trading(
            side=position.type, units=position.units, price_points=at_points, entry=MT5.DEAL_ENTRY_IN, free=True
        )
        self._deal(back, position.identifier, again)
        now_ms, keeps = self._world.now_ms, self._world.manners.reopen_keeps_time
        opened_ms = position.opened_ms if keeps else now_ms
        reopened = replace(
            position,
            ticket=back.ticket,
            open_points=at_points,
            open_sub=0,
            opened_ms=opened_ms,
            updated_ms=now_ms,
            swap_cents=0,
        )
        self._world.ledger.apply(reopened)
        return reopened

    def renumber(self, position: Position) -> Position:
        """Give a position a new ticket, as a server's maintenance does: no deal is made, the identifier stays."""
        changed = replace(position, ticket=self._world.ledger.new_ticket(), updated_ms=self._world.now_ms)
        self._world.ledger.apply(replace(position, units=0))
        self._world.ledger.apply(changed)
        return changed


def closing_side_points(position: Position, quote: Quote) -> int:
    """Give the side of a quote that closes a position: bid for a BUY, ask for a SELL."""
    return quote.bid if position.type == BUY else quote.ask


def _closing(position: Position, price_points: int, units: int, entry: int, *, free: bool = False) -> Trading:
    return Trading(side=1 - position.type, units=units, price_points=price_points, entry=entry, free=free)
