"""Orders that enter the market: what they make of the positions that are there.

A hedging account opens a position for every entry. A netting account holds one position a symbol: an entry in its
direction merges into it at the mean price, an opposite one reduces it, and a larger opposite one reverses it. A
reversal is a single deal (INOUT); the identifier stays, while ticket, side, price and time of opening are those of
the reversing order.
"""

from dataclasses import replace

from dtms.terminal.simulated.bookings import Bookings, Outcome, Trading
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import SUB_POINTS, divide, to_units
from dtms.terminal.simulated.manners import MergedLevels
from dtms.terminal.simulated.records import BUY, Deal, Order, Position, Reason, Selection


class Entries(Bookings):
    """Fill orders that name no position."""

    def enter(self, order: Order, price_points: int, units: int | None = None) -> Outcome:
        """Fill an order that names no position, or so many units of it; what is left of it follows its filling."""
        filled = order.units if units is None else min(order.units, units)
        held = self._met(order)
        first = order.units == order.units_initial
        taken = price_points if first and order.type < MT5.ORDER_TYPE_BUY_LIMIT else order.price_points
        known = replace(order, position_id=held.identifier if held else order.ticket, price_points=taken)
        self._leave_rest(known, order.units - filled)
        if not self._world.ledger.selected.get(order.symbol):
            self._world.ledger.apply(Selection(order.symbol, True))
        deal = self._merged(held, order, price_points, filled)
        return self._outcome(order, deal, filled, order.units - filled)

    def _met(self, order: Order) -> Position | None:
        """Give the position that an order adds to or takes from: the symbol's one, or what it opened before."""
        if self._world.is_netting:
            return self._world.netted(order.symbol)
        return self._world.ledger.identified(order.ticket) if order.units < order.units_initial else None

    def _merged(self, held: Position | None, order: Order, price_points: int, units: int) -> Deal:
        """Put a filled volume into the position that it belongs to."""
        if held is None:
            return self._opened(order, price_points, units)
        if held.type == order.type % 2:
            return self._grown(held, order, price_points, units)
        if units > held.units:
            return self._reversed(held, order, price_points, units)
        return self._left(held, order, _trading(order, price_points, units, MT5.DEAL_ENTRY_OUT))

    def _opened(self, order: Order, price_points: int, units: int) -> Deal:
        """Open a position under the order's ticket; a broker that fills in steps opens more, under their own."""
        steps = self._steps(order, units)
        sign = 1 if order.type % 2 == BUY else -1
        worse = sign * self._world.manners.step_slip_points
        tickets = [order.ticket, *(self._world.ledger.new_ticket() for _ in steps[1:])]
        deals = [
            self._open_one(order, ticket, price_points + i * worse, part)
            for i, (ticket, part) in enumerate(zip(tickets, steps, strict=True))
        ]
        mean = divide(sum(deal.price_points * deal.units for deal in deals), units)
        return replace(deals[0], price_points=mean)

    def _steps(self, order: Order, units: int) -> list[int]:
        """Share a volume among the positions that it opens, on the grid; never below the minimum."""
        spec = self._world.specs[order.symbol]
        count = 1 if self._world.is_netting else self._world.manners.step_fills
        count = max(1, min(count, units // to_units(spec.volume_min_lots)))
        step = to_units(spec.volume_step_lots)
        part = units // count // step * step
        return [units - part * (count - 1), *([part] * (count - 1))]

    def _open_one(self, order: Order, ticket: int, price_points: int, units: int) -> Deal:
        now_ms, side = self._world.now_ms, order.type % 2
        deal = self._deal(order, ticket, _trading(order, price_points, units, MT5.DEAL_ENTRY_IN))
        position = Position(
            ticket=ticket,
            identifier=ticket,
            symbol=order.symbol,
            type=side,
            units=units,
            open_points=price_points,
            sl_points=order.sl_points,
            tp_points=order.tp_points,
            magic=order.magic,
            reason=order.reason,
            comment=order.comment,
            opened_ms=now_ms,
            updated_ms=now_ms,
        )
        self._world.ledger.apply(position)
        self._note_new_levels(position)
        return deal

    def _grown(self, held: Position, order: Order, price_points: int, units: int) -> Deal:
        """Add to a position at the mean price of what it holds and what is added."""
        deal = self._deal(order, held.identifier, _trading(order, price_points, units, MT5.DEAL_ENTRY_IN))
        total = held.units + units
        cost = (held.open_points * SUB_POINTS + held.open_sub) * held.units + price_points * SUB_POINTS * units
        whole, sub = divmod(divide(cost, total), SUB_POINTS)
        grown = replace(held, units=total, open_points=whole, open_sub=sub, updated_ms=self._world.now_ms)
        if self._world.is_netting:
            sl, tp = self._merged_levels(held, order)
            grown = replace(grown, sl_points=sl, tp_points=tp)
        self._world.ledger.apply(grown)
        if (grown.sl_points, grown.tp_points) != (held.sl_points, held.tp_points):
            self.note_levels(grown, Reason(order.reason))
        return deal

    def _merged_levels(self, held: Position, order: Order) -> tuple[int, int]:
        if self._world.manners.merged_levels is MergedLevels.REPLACE:
            return order.sl_points, order.tp_points
        return order.sl_points or held.sl_points, order.tp_points or held.tp_points

    def _reversed(self, held: Position, order: Order, price_points: int, units: int) -> Deal:
        """Turn a position over: one deal closes it whole, and opens what the order has beyond it."""
        now_ms = self._world.now_ms
        turned = replace(
            held,
            ticket=order.ticket,
            type=order.type % 2,
            units=units - held.units,
            open_points=price_points,
            open_sub=0,
            sl_points=order.sl_points,
            tp_points=order.tp_points,
            magic=order.magic,
            reason=order.reason,
            comment=order.comment,
            opened_ms=now_ms,
            updated_ms=now_ms,
            swap_cents=0,
        )
        closing = _trading(order, price_points, held.units, MT5.DEAL_ENTRY_INOUT)
        deal = self._left(held, order, closing, dealt_units=units)
        self._world.ledger.apply(turned)
        self._note_new_levels(turned)
        return deal


def _trading(order: Order, price_points: int, units: int, entry: int) -> Trading:
    return Trading(side=order.type % 2, units=units, price_points=price_points, entry=entry)
