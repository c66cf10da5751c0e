"""The trade server: it judges a request by the rules and, when none refuses, changes the books."""

from collections.abc import Callable
from dataclasses import replace

from dtms.terminal.simulated.cases import Case, resolve
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.fills import DONE, Closing, Fills, Outcome
from dtms.terminal.simulated.records import Order, Position, Reason, RequestNote
from dtms.terminal.simulated.requests import comment_of
from dtms.terminal.simulated.rules import RULES, permission
from dtms.terminal.simulated.server_time import DAY_MS
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.world import World


class TradeServer:
    """Carry out requests and fills on the world's books."""

    def __init__(self, world: World, fills: Fills) -> None:
        self._world = world
        self._fills = fills
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
        symbol = request.symbol if isinstance(case, int) else case.spec.name
        quote = self._world.quote(symbol) if symbol in self._world.specs else None
        request_id = self._world.ledger.new_request()
        outcome = replace(outcome, request_id=request_id, symbol=symbol, quote=quote)
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

    def renumber(self, position: Position) -> Position:
        """Give a position a new ticket, as maintenance does; its identifier stays."""
        return self._fills.renumber(position)

    # Requests

    def _deal(self, case: Case) -> Outcome:
        """Fill a market order at once, as far as there is something to fill it with, or later where it takes time."""
        manners = self._world.manners
        order = self._market_order(case)
        if manners.execution_delay_ms:
            return self._fills.place_for_later(order, self._world.now_ms + manners.execution_delay_ms)
        available = self._world.available_units(case.spec)
        if case.position is None:
            return self._fills.enter(order, case.market_points, available)
        return self._fills.fill_close(order, case.position, case.market_points, available)

    def _market_order(self, case: Case) -> Order:
        request = case.request
        if case.position is None:
            return self._order(case, MT5.ORDER_STATE_STARTED, case.market_points)
        closing = Closing(
            units=case.units,
            price_points=case.market_points,
            reason=case.reason,
            magic=self._magic(request),
            comment=self._comment(request),
            type_filling=request.type_filling,
        )
        return self._fills.closing_order(case.position, closing)

    def _magic(self, request: TradeRequest) -> int:
        return request.magic if self._world.manners.magic_kept else 0

    def _comment(self, request: TradeRequest) -> str:
        """Give what this broker makes of a comment; what it refuses was never let in by a program."""
        return comment_of(self._world.manners, request.comment, closes=request.position > 0) or ""

    def _set_levels(self, case: Case) -> Outcome:
        sl, tp = case.levels
        changed = replace(
            case.named_position,
            sl_points=case.points(sl),
            tp_points=case.points(tp),
            updated_ms=self._world.now_ms,
        )
        self._world.ledger.apply(changed)
        self._fills.note_levels(changed, case.reason)
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
        self._fills.finish_order(case.named_order, MT5.ORDER_STATE_CANCELED)
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
        return self._fills.close_by(position, order, price_points, units)

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
            magic=self._magic(request),
            reason=int(case.reason),
            comment=self._comment(request),
            setup_ms=now_ms,
            done_ms=now_ms if filled else 0,
            expires_ms=self._expires_ms(request) if state == MT5.ORDER_STATE_PLACED else 0,
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
