"""The vendor's functions that trade, and those that calculate what a trade would cost or bring."""

import math

from dtms.terminal.simulated.answers import API_DISABLED, CHECK_OK, INVALID_PARAMS, RETCODE_TEXTS, ErrorText
from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.cases import Case
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import to_lots, to_money, to_points, to_price, to_units
from dtms.terminal.simulated.records import Reason
from dtms.terminal.simulated.requests import read_request
from dtms.terminal.simulated.session import Session
from dtms.terminal.simulated.structs import OrderCheckResult, OrderSendResult, TradeRequest


class TradeCalls(Session):
    """Requests, and calculations about them."""

    def order_send(self, request: object) -> OrderSendResult | None:
        """Send a request; a refusal is a retcode, a wrong argument None with the error set."""
        read = self._request(request)
        return None if read is None else self._send(read, Reason.EXPERT)

    def _send(self, request: TradeRequest, reason: Reason) -> OrderSendResult:
        outcome = self._server.send(request, reason)
        self._write()
        return self._result(request, outcome)

    def order_check(self, request: object) -> OrderCheckResult | None:
        """Say what a request would do to the account; retcode 0 is acceptance."""
        read = self._request(request)
        if read is None:
            return None
        case = self._server.judge(read, Reason.EXPERT)
        refused = isinstance(case, int)
        added = 0 if isinstance(case, int) else self._margin_added(case)
        retcode = case if isinstance(case, int) else CHECK_OK
        return self._checked(read, retcode, 0 if refused else added)

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float, /) -> float | None:
        """Give the margin of a market order in the account's currency."""
        if not self._begin() or not self._calculable(action, symbol, volume, price):
            return None
        spec = self._world.specs[symbol]
        return to_money(self._world.margin_cents(spec, to_units(volume), to_points(price, spec.scale)))

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float, /
    ) -> float | None:
        """Give the profit of a volume between two prices in the account's currency."""
        if not self._begin() or not self._calculable(action, symbol, volume, price_open, price_close):
            return None
        spec = self._world.specs[symbol]
        points = (to_points(price_open, spec.scale), to_points(price_close, spec.scale))
        return to_money(self._world.profit_cents(spec, action, to_units(volume), *points))

    def _request(self, request: object) -> TradeRequest | None:
        """Read a request, None with the error set when it is not one or trading by program is switched off."""
        if not self._begin():
            return None
        if self._world.switches.tradeapi_disabled:
            self._fail(API_DISABLED)
            return None
        read = read_request(request, self._world.manners)
        if isinstance(read, ErrorText):
            self._fail(read)
            return None
        return read

    def _result(self, request: TradeRequest, outcome: Outcome) -> OrderSendResult:
        spec = self._world.specs.get(outcome.symbol)
        scale = spec.scale if spec else 1
        quote = outcome.quote
        return OrderSendResult(
            (
                outcome.retcode,
                outcome.deal,
                outcome.order,
                to_lots(outcome.units),
                to_price(outcome.price_points, scale),
                to_price(quote.bid, scale) if quote else 0.0,
                to_price(quote.ask, scale) if quote else 0.0,
                RETCODE_TEXTS.get(outcome.retcode, ""),
                outcome.request_id,
                0,
                request,
            )
        )

    def _margin_added(self, case: Case) -> int:
        units = case.entering_units if case.request.action == MT5.TRADE_ACTION_DEAL else 0
        return self._world.margin_added_cents(case.spec, case.side, units, case.market_points) if units else 0

    def _checked(self, request: TradeRequest, retcode: int, added_cents: int) -> OrderCheckResult:
        balance, equity = self._world.ledger.balance_cents, self._world.equity_cents()
        margin = self._world.margin_used_cents() + added_cents
        return OrderCheckResult(
            (
                retcode,
                to_money(balance),
                to_money(equity),
                to_money(equity - balance),
                to_money(margin),
                to_money(equity - margin),
                equity / margin * 100 if margin else 0.0,
                RETCODE_TEXTS.get(retcode, ""),
                request,
            )
        )

    def _calculable(self, action: object, symbol: object, *numbers: object) -> bool:
        known = isinstance(symbol, str) and symbol in self._world.specs
        sound = all(isinstance(value, int | float) and math.isfinite(value) and value > 0 for value in numbers)
        if action not in (MT5.ORDER_TYPE_BUY, MT5.ORDER_TYPE_SELL) or not known or not sound:
            self._fail(INVALID_PARAMS)
            return False
        return True
