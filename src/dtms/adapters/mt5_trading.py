"""What changes something at the broker, or asks what a change would cost: requests made, sent, their answers read."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Unpack

from dtms.adapters import mt5_read, retcodes
from dtms.adapters.links import Link
from dtms.adapters.mt5_answers import result_of, translate, translate_check
from dtms.adapters.mt5_requests import (
    Numbering,
    deal_requests,
    levels_request,
    market_type,
    pending_requests,
    removal_request,
)
from dtms.adapters.mt5_sending import DealSender, Post, Request
from dtms.adapters.mt5_session import Expected, Mt5Session
from dtms.adapters.mt5_symbols import KeptInstruments
from dtms.adapters.mt5_ways import fitted, worded
from dtms.domain.actions import Action, CancelOrder, ClosePosition, MoveStop, OpenPosition, PlaceOrder, SetLevels
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown, PermissionGone, WrongAccount
from dtms.domain.market import Instrument, Side, Tick
from dtms.ports.broker import Advice, Answer, Fence, SendResult
from dtms.ports.clock import Clock
from dtms.terminal.protocol import Refusal


class Mt5Trading(Mt5Session):
    """The half of the ``Broker`` port that trades."""

    def __init__(self, link: Link, clock: Clock, *, magic_prefix: int, **expected: Unpack[Expected]) -> None:
        """Take ``expected`` as ``Mt5Session`` does: the account, the settings, and what recalls its broker's ways."""
        super().__init__(link, clock, **expected)
        self._numbering = Numbering(magic_prefix)
        self._instruments = KeptInstruments(self._settings.instrument_age_s_max * 1000)
        self._deals = DealSender()

    # --- symbols and numbers -------------------------------------------------------------------------------------

    async def instrument(self, symbol: str, *, refresh: bool = False) -> Instrument | None:
        """Return the symbol's specification, read again each market day or on demand; None for an unknown symbol."""
        now_ms = self._clock.market_ms()
        kept = None if refresh else self._instruments.get(symbol, now_ms)
        if kept is not None:
            return kept
        await self._ready()
        row = await self._ask({"call": "instrument", "symbol": symbol})
        self.forget(symbol)
        if row is None:
            return None
        instrument = fitted(mt5_read.to_instrument(row), self.ways)
        self._instruments.keep(instrument, now_ms)
        return instrument

    def forget(self, symbol: str) -> None:
        self._instruments.forget(symbol)

    def magic_of(self, number: int) -> int:
        return self._numbering.magic_of(number)

    def intent_of(self, magic: int) -> int | None:
        return self._numbering.intent_of(magic)

    def number_in(self, magic: int, comment: str) -> int | None:
        return self._numbering.number_in(magic, comment)

    # --- sending -------------------------------------------------------------------------------------------------

    async def announce(self, key: str, token: int) -> Fence:
        """Announce a lease's token.

        Raises:
            PermissionGone: when a higher one was announced for the key.
        """
        try:
            answer = await self._link.call({"call": "fence", "key": key, "token": token})
        except OutcomeUnknown as lost:
            raise BrokerUnavailable(str(lost)) from lost
        if answer.get("refused") == Refusal.FENCED:
            raise PermissionGone(answer["message"])
        if "value" not in answer:
            raise BrokerUnavailable(f"fence: {answer['message']}")
        return Fence(key=key, token=token, instance=answer["value"]["instance"])

    async def send(self, action: Action, *, number: int, fence: Fence, tick: Tick) -> SendResult:
        return await self._posted(action, self.magic_of(number), tick, partial(self._send_once, fence))

    async def _posted(self, action: Action, magic: int, tick: Tick, post: Post) -> SendResult:
        """Make the request, or one for each filling to try, and post it."""
        match action:
            case MoveStop() | SetLevels():
                return await post(levels_request(action, magic))
            case CancelOrder():
                return await post(removal_request(action, magic))
            case ClosePosition() | OpenPosition() | PlaceOrder():
                instrument = await self._traded(action.symbol)
                if isinstance(instrument, SendResult):
                    return instrument
                requests = self._requests(action, magic, instrument, tick)
                is_close = isinstance(action, ClosePosition)
                return await self._deals.send(worded(requests, self.ways, is_close=is_close), post, is_close=is_close)

    async def _traded(self, symbol: str) -> Instrument | SendResult:
        """Return a symbol's specification, or what its lack means for a request."""
        try:
            instrument = await self.instrument(symbol)
        except WrongAccount as wrong:
            return result_of(retcodes.REFUSALS[Refusal.ACCOUNT], str(wrong))
        except BrokerUnavailable as away:
            return result_of(retcodes.UNREACHABLE, str(away))
        return instrument or result_of(retcodes.NO_SYMBOL, f"the broker has no symbol {symbol}")

    def _requests(
        self, action: ClosePosition | OpenPosition | PlaceOrder, magic: int, instrument: Instrument, tick: Tick
    ) -> Sequence[Request]:
        if isinstance(action, PlaceOrder):
            server_s = self.server_time.to_server(tick.time_ms) // 1000
            return pending_requests(action, magic=magic, instrument=instrument, server_s=server_s)
        return deal_requests(
            action,
            magic=magic,
            instrument=instrument,
            tick=tick,
            deviation_points=self._settings.deviation_points,
            proven=self.ways.of(action.symbol).fillings,
        )

    async def _send_once(self, fence: Fence, request: Request) -> SendResult:
        sealed: dict[str, Any] = {"key": fence.key, "token": fence.token, "instance": fence.instance}
        if fence.program is not None:
            sealed["program"] = list(fence.program)
        account = {"login": self._login, "server": self._server}
        try:
            answer = await self._link.call({"call": "send", "request": request, **sealed, **account})
        except BrokerUnavailable as away:
            return result_of(retcodes.UNREACHABLE, str(away))
        except OutcomeUnknown as lost:
            self._is_connected = False
            return result_of(retcodes.NO_ANSWER, str(lost))
        result = translate(answer)
        if result.answer in (Answer.FIX, Answer.POLICY):  # the specification is read anew before the next request
            self.forget(request["symbol"])
        return result

    # --- asking beforehand ---------------------------------------------------------------------------------------

    async def check(self, action: Action, *, number: int, tick: Tick) -> SendResult:
        return await self._posted(action, self.magic_of(number), tick, self._check_once)

    async def _check_once(self, request: Request) -> SendResult:
        account = {"login": self._login, "server": self._server}
        try:
            answer = await self._link.call({"call": "order_check", "request": request, **account})
        except (BrokerUnavailable, OutcomeUnknown) as away:
            self._is_connected = False
            return result_of(retcodes.UNREACHABLE, str(away))
        return translate_check(answer)

    def explain(self, retcode: int) -> Advice:
        return retcodes.explain(retcode)

    async def margin(self, symbol: str, side: Side, lots: Decimal, price: float) -> float:
        return await self._calculated("margin", symbol, side, lots, {"price": price})

    async def profit(self, symbol: str, side: Side, lots: Decimal, open_price: float, close_price: float) -> float:
        prices = {"price_open": open_price, "price_close": close_price}
        return await self._calculated("profit", symbol, side, lots, prices)

    async def _calculated(self, call: str, symbol: str, side: Side, lots: Decimal, prices: dict[str, float]) -> float:
        await self._ready()
        asked = {"call": call, "action": market_type(side), "symbol": symbol, "volume": float(lots), **prices}
        return float(await self._ask(asked))
