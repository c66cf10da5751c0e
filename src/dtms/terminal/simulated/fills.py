"""Fills: what the books become when an order meets the market, whoever sent it and whatever set it off."""

from dataclasses import dataclass, replace

from dtms.terminal.simulated.cases import STOP_LIMITS
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.grid import divide
from dtms.terminal.simulated.records import BUY, Deal, LevelChange, Order, Position, Reason, Selection
from dtms.terminal.simulated.world import World

DONE = MT5.TRADE_RETCODE_DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The server's answer to a request."""

    retcode: int
    request_id: int = 0
    symbol: str = ""
    deal: int = 0
    order: int = 0
    units: int = 0
    price_points: int = 0
    quote: Quote | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How a position is closed: volume, price, cause, and what the closing deal carries."""

    units: int
    price_points: int
    reason: Reason
    magic: int
    comment: str
    type_filling: int = MT5.ORDER_FILLING_FOK


class Fills:
    """Open and close positions, and finish orders, on the world's books."""

    def __init__(self, world: World) -> None:
        self._world = world

    def open_position(self, order: Order, price_points: int) -> Outcome:
        """Fill an order whole: the order becomes history, a deal and a position are made, both under its ticket."""
        world, now_ms = self._world, self._world.now_ms
        side = order.type % 2  # even types buy, odd types sell
        filled = replace(
            order,
            state=MT5.ORDER_STATE_FILLED,
            units=0,
            done_ms=now_ms,
            position_id=order.ticket,
            price_points=price_points if order.type < MT5.ORDER_TYPE_BUY_LIMIT else order.price_points,
        )
        world.ledger.apply(filled)
        deal = Deal(
            ticket=world.ledger.new_deal(),
            order=order.ticket,
            symbol=order.symbol,
            type=side,
            entry=MT5.DEAL_ENTRY_IN,
            units=order.units_initial,
            price_points=price_points,
            magic=order.magic,
            position_id=order.ticket,
            reason=order.reason,
            comment=order.comment,
            ms=now_ms,
            commission_cents=world.commission_cents(world.specs[order.symbol], order.units_initial),
        )
        world.ledger.apply(deal)
        if not world.ledger.selected.get(order.symbol):
            world.ledger.apply(Selection(order.symbol, True))
        position = Position(
            ticket=order.ticket,
            identifier=order.ticket,
            symbol=order.symbol,
            type=side,
            units=order.units_initial,
            open_points=price_points,
            sl_points=order.sl_points,
            tp_points=order.tp_points,
            magic=order.magic,
            reason=order.reason,
            comment=order.comment,
            opened_ms=now_ms,
            updated_ms=now_ms,
        )
        world.ledger.apply(position)
        if position.sl_points or position.tp_points:
            self.note_levels(position, Reason(order.reason))
        return Outcome(retcode=DONE, deal=deal.ticket, order=order.ticket, units=deal.units, price_points=price_points)

    def close_position(self, position: Position, closing: Closing) -> Outcome:
        """Close a position or a part of it: an order, a deal, and what remains keeps its ticket and levels."""
        now_ms = self._world.now_ms
        order = Order(
            ticket=self._world.ledger.new_ticket(),
            symbol=position.symbol,
            type=1 - position.type,
            state=MT5.ORDER_STATE_FILLED,
            type_filling=closing.type_filling,
            type_time=MT5.ORDER_TIME_GTC,
            units_initial=closing.units,
            units=0,
            price_points=closing.price_points,
            magic=closing.magic,
            reason=int(closing.reason),
            comment=closing.comment,
            setup_ms=now_ms,
            done_ms=now_ms,
            position_id=position.identifier,
        )
        self._world.ledger.apply(order)
        deal = self.closing_deal(position, order, closing.price_points, closing.units, MT5.DEAL_ENTRY_OUT)
        return Outcome(
            retcode=DONE, deal=deal, order=order.ticket, units=closing.units, price_points=closing.price_points
        )

    def closing_deal(self, position: Position, order: Order, price_points: int, units: int, entry: int) -> int:
        world = self._world
        spec = world.specs[position.symbol]
        swap = divide(position.swap_cents * units, position.units)
        by_another = entry == MT5.DEAL_ENTRY_OUT_BY
        deal = Deal(
            ticket=world.ledger.new_deal(),
            order=order.ticket,
            symbol=position.symbol,
            type=1 - position.type,
            entry=entry,
            units=units,
            price_points=price_points,
            magic=order.magic,
            position_id=position.identifier,
            reason=order.reason,
            comment=order.comment,
            ms=world.now_ms,
            commission_cents=0 if by_another else world.commission_cents(spec, units),
            swap_cents=swap,
            profit_cents=world.profit_cents(spec, position.type, units, position.open_points, price_points),
        )
        world.ledger.apply(deal)
        rest = replace(
            position, units=position.units - units, swap_cents=position.swap_cents - swap, updated_ms=world.now_ms
        )
        world.ledger.apply(rest)
        return deal.ticket

    def activate(self, order: Order, price_points: int) -> None:
        """Let the market reach a pending order: fill it, turn a stop-limit into its limit, or reject it."""
        if order.type in STOP_LIMITS:
            limit = order.type - MT5.ORDER_TYPE_BUY_STOP_LIMIT + MT5.ORDER_TYPE_BUY_LIMIT
            self._world.ledger.apply(
                replace(order, type=limit, price_points=order.stoplimit_points, stoplimit_points=0)
            )
            return
        spec = self._world.specs[order.symbol]
        needed = self._world.margin_cents(spec, order.units, price_points)
        if needed > self._world.equity_cents() - self._world.margin_used_cents():
            self.finish_order(order, MT5.ORDER_STATE_REJECTED)
        else:
            self.open_position(order, price_points)

    def finish_order(self, order: Order, state: int) -> None:
        """Move a pending order to history in a final state."""
        self._world.ledger.apply(replace(order, state=state, done_ms=self._world.now_ms))

    def charge_swap(self, position: Position, cents: int) -> None:
        """Add a night's swap to a position."""
        self._world.ledger.apply(replace(position, swap_cents=position.swap_cents + cents))

    def note_levels(self, position: Position, reason: Reason) -> None:
        quote = self._world.quote(position.symbol)
        self._world.ledger.apply(
            LevelChange(
                position=position.ticket,
                ms=self._world.now_ms,
                sl_points=position.sl_points,
                tp_points=position.tp_points,
                bid_points=quote.bid if quote else 0,
                ask_points=quote.ask if quote else 0,
                reason=int(reason),
            )
        )


def closing_side_points(position: Position, quote: Quote) -> int:
    """Give the side of a quote that closes a position: bid for a BUY, ask for a SELL."""
    return quote.bid if position.type == BUY else quote.ask
