"""The trade server: it judges a request by the rules and, when none refuses, changes the books."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dtms.terminal.simulated.cases import STOP_LIMITS, Case, resolve
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.grid import divide
from dtms.terminal.simulated.records import BUY, Deal, LevelChange, Order, Position, Reason, RequestNote
from dtms.terminal.simulated.rules import RULES, permission
from dtms.terminal.simulated.server_time import DAY_MS
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.world import World

DONE, PLACED = MT5.TRADE_RETCODE_DONE, MT5.TRADE_RETCODE_PLACED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The server's answer to a request."""

    retcode: int
    request_id: int = 0
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


class TradeServer:
    """Carry out requests and fills on the world's books."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._actions: dict[int, Callable[[Case], Outcome]] = {
            MT5.TRADE_ACTION_DEAL: self._deal,
            MT5.TRADE_ACTION_SLTP: self._set_levels,
            MT5.TRADE_ACTION_PENDING: self._place,
            MT5.TRADE_ACTION_MODIFY: self._modify,
            MT5.TRADE_ACTION_REMOVE: self._remove,
            MT5.TRADE_ACTION_CLOSE_BY: self._close_by,
        }

    def judge(self, request: TradeRequest, reason: Reason) -> Case | int:
        """Give the case when no rule refuses, else the retcode of the first refusal."""
        refused = permission(self._world, reason)
        if refused:
            return refused
        if request.action not in RULES:
            return MT5.TRADE_RETCODE_INVALID
        case = resolve(self._world, request, reason)
        if isinstance(case, int):
            return case
        return next((code for rule in RULES[request.action] if (code := rule(case))), case)

    def send(self, request: TradeRequest, reason: Reason) -> Outcome:
        """Carry out a request or refuse it, and note both."""
        case = self.judge(request, reason)
        outcome = Outcome(retcode=case) if isinstance(case, int) else self._actions[request.action](case)
        known = self._world.specs.get(request.symbol)
        quote = self._world.quote(request.symbol) if known else None
        outcome = replace(outcome, request_id=self._world.ledger.new_request(), quote=quote)
        self._note(request, reason, outcome)
        return outcome

    def _note(self, request: TradeRequest, reason: Reason, outcome: Outcome) -> None:
        quote = outcome.quote
        self._world.ledger.apply(
            RequestNote(
                request_id=outcome.request_id,
                ms=self._world.now_ms,
                reason=int(reason),
                request=request._asdict(),
                retcode=outcome.retcode,
                deal=outcome.deal,
                order=outcome.order,
                units=outcome.units,
                price_points=outcome.price_points,
                bid_points=quote.bid if quote else 0,
                ask_points=quote.ask if quote else 0,
                equity_cents=self._world.equity_cents(),
            )
        )

    # Requests

    def _deal(self, case: Case) -> Outcome:
        request = case.request
        if case.position is None:
            order = self._order(case, MT5.ORDER_STATE_FILLED, case.market_points)
            return self.open_position(order, case.market_points)
        closing = Closing(
            units=case.units,
            price_points=case.market_points,
            reason=case.reason,
            magic=request.magic,
            comment=request.comment,
            type_filling=request.type_filling,
        )
        return self.close_position(case.position, closing)

    def _set_levels(self, case: Case) -> Outcome:
        request = case.request
        changed = replace(
            case.named_position,
            sl_points=case.points(request.sl),
            tp_points=case.points(request.tp),
            updated_ms=self._world.now_ms,
        )
        self._world.ledger.apply(changed)
        self._note_levels(changed, case.reason)
        return Outcome(retcode=DONE)

    def _place(self, case: Case) -> Outcome:
        order = self._order(case, MT5.ORDER_STATE_PLACED, case.points(case.request.price))
        self._world.ledger.apply(order)
        return Outcome(retcode=DONE, order=order.ticket, units=order.units, price_points=order.price_points)

    def _modify(self, case: Case) -> Outcome:
        request = case.request
        changed = replace(
            case.named_order,
            price_points=case.points(request.price),
            stoplimit_points=case.points(request.stoplimit),
            sl_points=case.points(request.sl),
            tp_points=case.points(request.tp),
            type_time=request.type_time,
            expires_ms=self._expires_ms(request),
        )
        self._world.ledger.apply(changed)
        return Outcome(retcode=DONE, order=changed.ticket, price_points=changed.price_points)

    def _remove(self, case: Case) -> Outcome:
        self.finish_order(case.named_order, MT5.ORDER_STATE_CANCELED)
        return Outcome(retcode=DONE, order=case.named_order.ticket)

    def _close_by(self, case: Case) -> Outcome:
        """Close two opposite positions against each other, both at the price at which the second was opened."""
        one, other = case.named_position, case.by
        assert other is not None
        units = min(one.units, other.units)
        order = replace(
            self._order(case, MT5.ORDER_STATE_FILLED, other.open_points),
            type=MT5.ORDER_TYPE_CLOSE_BY,
            units_initial=units,
            position_id=one.identifier,
            position_by_id=other.identifier,
        )
        self._world.ledger.apply(order)
        deal = self._close_leg(one, order, other.open_points, units)
        self._close_leg(other, order, other.open_points, units)
        return Outcome(retcode=DONE, deal=deal, order=order.ticket, units=units, price_points=other.open_points)

    def _close_leg(self, position: Position, order: Order, price_points: int, units: int) -> int:
        return self._closing_deal(position, order, price_points, units, MT5.DEAL_ENTRY_OUT_BY)

    def _order(self, case: Case, state: int, price_points: int) -> Order:
        request, now_ms = case.request, self._world.now_ms
        filled = state == MT5.ORDER_STATE_FILLED
        return Order(
            ticket=self._world.ledger.new_ticket(),
            symbol=case.spec.name,
            type=request.type,
            state=state,
            type_filling=request.type_filling,
            type_time=request.type_time,
            units_initial=case.units,
            units=0 if filled else case.units,
            price_points=price_points,
            stoplimit_points=case.points(request.stoplimit),
            sl_points=case.points(request.sl),
            tp_points=case.points(request.tp),
            magic=request.magic,
            reason=int(case.reason),
            comment=request.comment,
            setup_ms=now_ms,
            done_ms=now_ms if filled else 0,
            expires_ms=0 if filled else self._expires_ms(request),
        )

    def _expires_ms(self, request: TradeRequest) -> int:
        """Give the UTC moment at which a pending order expires, 0 for never."""
        clock, now_ms = self._world.clock, self._world.now_ms
        if request.type_time == MT5.ORDER_TIME_DAY:
            return clock.next_midnight_utc(now_ms)
        if request.type_time == MT5.ORDER_TIME_SPECIFIED:
            return clock.to_utc(request.expiration * 1000)
        if request.type_time == MT5.ORDER_TIME_SPECIFIED_DAY:
            return clock.to_utc((request.expiration * 1000 // DAY_MS + 1) * DAY_MS)
        return 0

    # Fills, by request or by the market

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
            self._note_levels(position, Reason(order.reason))
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
        deal = self._closing_deal(position, order, closing.price_points, closing.units, MT5.DEAL_ENTRY_OUT)
        return Outcome(
            retcode=DONE, deal=deal, order=order.ticket, units=closing.units, price_points=closing.price_points
        )

    def _closing_deal(self, position: Position, order: Order, price_points: int, units: int, entry: int) -> int:
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

    def _note_levels(self, position: Position, reason: Reason) -> None:
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
