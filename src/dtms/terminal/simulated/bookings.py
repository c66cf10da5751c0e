"""Entries in the books: deals, what they take out of a position, what they leave of an order, levels that were set."""

from dataclasses import dataclass, replace

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.grid import divide
from dtms.terminal.simulated.manners import DealMagic, PartialRest
from dtms.terminal.simulated.records import Deal, LevelChange, Order, Position, Reason
from dtms.terminal.simulated.world import World

DONE = MT5.TRADE_RETCODE_DONE
DONE_PARTIAL = MT5.TRADE_RETCODE_DONE_PARTIAL


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trading:
    """What becomes a deal: a volume of a side at a price, and whether it is free of commission."""

    side: int
    units: int
    price_points: int
    entry: int
    free: bool = False


class Bookings:
    """Change the world's books, one deal or order at a time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _left(self, position: Position, order: Order, trading: Trading, dealt_units: int = 0) -> Deal:
        """Take a volume out of a position, by a deal that realises its profit and its share of the swap."""
        world = self._world
        units, swap = trading.units, divide(position.swap_cents * trading.units, position.units)
        profit = world.profit_cents(
            world.specs[position.symbol],
            position.type,
            units,
            position.open_points,
            trading.price_points,
            position.open_sub,
        )
        made = replace(trading, units=dealt_units or units)
        deal = self._deal(order, position.identifier, made, swap, profit, position.magic)
        left = position.swap_cents - swap
        world.ledger.apply(replace(position, units=position.units - units, swap_cents=left, updated_ms=world.now_ms))
        return deal

    def _deal(
        self,
        order: Order,
        position_id: int,
        trading: Trading,
        swap_cents: int = 0,
        profit_cents: int = 0,
        held_magic: int | None = None,
    ) -> Deal:
        """Book a deal of an order; one that closes carries the magic number that this broker gives it."""
        world = self._world
        keeps = held_magic is not None and world.manners.closing_deal_magic is DealMagic.POSITION
        deal = Deal(
            ticket=world.ledger.new_deal(),
            order=order.ticket,
            symbol=order.symbol,
            type=trading.side,
            entry=trading.entry,
            units=trading.units,
            price_points=trading.price_points,
            magic=held_magic if keeps and held_magic is not None else order.magic,
            position_id=position_id,
            reason=order.reason,
            comment=order.comment,
            ms=world.now_ms,
            commission_cents=0 if trading.free else world.commission_cents(world.specs[order.symbol], trading.units),
            swap_cents=swap_cents,
            profit_cents=profit_cents,
        )
        world.ledger.apply(deal)
        return deal

    def _outcome(self, order: Order, deal: Deal, units: int, rest: int) -> Outcome:
        return Outcome(
            retcode=DONE_PARTIAL if rest else DONE,
            deal=deal.ticket,
            order=order.ticket,
            units=units,
            price_points=deal.price_points,
        )

    def _leave_rest(self, order: Order, rest: int) -> None:
        """Finish an order, or leave what could not be filled waiting for more, as its filling and the broker say."""
        now_ms, manners = self._world.now_ms, self._world.manners
        if not rest:
            self._world.ledger.apply(replace(order, state=MT5.ORDER_STATE_FILLED, units=0, done_ms=now_ms, due_ms=0))
            return
        by_filling = manners.partial_rest is PartialRest.BY_FILLING
        waits = (
            order.type_filling == MT5.ORDER_FILLING_RETURN
            if by_filling
            else manners.partial_rest is PartialRest.REFILLS
        )
        if waits:
            due_ms = now_ms + manners.refill_delay_ms
            left = replace(order, state=MT5.ORDER_STATE_PARTIAL, units=rest, due_ms=due_ms)
        else:
            left = replace(order, state=MT5.ORDER_STATE_CANCELED, units=rest, done_ms=now_ms, due_ms=0)
        self._world.ledger.apply(left)

    def finish_order(self, order: Order, state: int) -> None:
        """Move a live order to history in a final state."""
        self._world.ledger.apply(replace(order, state=state, done_ms=self._world.now_ms, due_ms=0))

    def _note_new_levels(self, position: Position) -> None:
        if position.sl_points or position.tp_points:
            self.note_levels(position, Reason(position.reason))

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
