"""Asking a terminal through its gateway, in the vendor's own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dtms.domain.errors import BrokerUnavailable, DtmsError, OutcomeUnknown, WrongAccount
from dtms.execute.authority import EngineLease
from dtms.ports.clock import Clock
from dtms.probe.requests import Code, Reply
from dtms.terminal import protocol
from dtms.terminal.protocol import Refusal

_DAY_S = 86_400
_PASSING = frozenset({Refusal.OTHER_INSTANCE, Refusal.LATE, Refusal.DISCONNECTED})
"""Refusals of the gateway after which the same request may be passed on a moment later."""
ASK_TRIES = 5
ASK_WAIT_S = 2.0
Row = dict[str, Any]


class Stopped(DtmsError):
    """Why nothing more can be found out in this run."""


class Inconclusive(DtmsError):
    """Why one experiment told nothing; the others may still."""


class Link(Protocol):
    """A way to the gateway."""

    async def call(self, request: Mapping[str, Any]) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What positions, orders and history show of one symbol, or of a magic number."""

    positions: Sequence[Row]
    orders: Sequence[Row]
    past_orders: Sequence[Row]
    deals: Sequence[Row]


class Line:
    """One account behind one gateway; every question names the account, so that no other one answers."""

    def __init__(self, link: Link, clock: Clock, *, login: int, server: str, symbol: str, lease: EngineLease) -> None:
        self._link = link
        self._clock = clock
        self._account = {"login": login, "server": server}
        self._lease = lease
        self.symbol = symbol

    async def raw(self, call: str, **arguments: Any) -> Mapping[str, Any]:
        """Pass one question and return its answer as it is.

        Raises:
            BrokerUnavailable: when there was none.
        """
        try:
            return await self._link.call({"call": call, **arguments})
        except OutcomeUnknown as lost:
            raise BrokerUnavailable(str(lost)) from lost

    async def ask(self, call: str, **arguments: Any) -> Any:
        """Ask what must be answered; asked again when it was not.

        Raises:
            WrongAccount: when another account answers.
            Stopped: when no sound answer came.
        """
        told = ""
        for attempt in range(ASK_TRIES):
            if attempt:
                await self._clock.sleep_machine(ASK_WAIT_S)
            try:
                answer = await self.raw(call, **arguments)
            except BrokerUnavailable as away:
                told = str(away)
                continue
            if "value" in answer:
                return answer["value"]
            if answer.get("refused") == Refusal.ACCOUNT:
                raise WrongAccount(answer["message"])
            told = str(answer["message"])
        raise Stopped(f"{call}: {told}")

    async def tick(self) -> Row:
        """Read the quote.

        Raises:
            Stopped: when there is none that is sound, for some seconds.
        """
        for _ in range(ASK_TRIES):
            row = (await self.ask("quotes", symbols=[self.symbol]))[self.symbol]
            tick = _named(protocol.TICK_FIELDS, row or [0] * len(protocol.TICK_FIELDS))
            if tick["bid"] and tick["ask"] and 0 < tick["bid"] <= tick["ask"]:
                return {**tick, "server_ms": int(tick["time_msc"] or tick["time"] * 1000)}
            await self._clock.sleep_machine(ASK_WAIT_S)
        raise Stopped(f"there is no sound quote of {self.symbol}")

    async def spec(self) -> Row:
        """Read the symbol's specification; Stopped when the broker has no such symbol."""
        row = await self.ask("instrument", symbol=self.symbol)
        if row is None:
            raise Stopped(f"the broker has no symbol {self.symbol}")
        return _named(protocol.SYMBOL_FIELDS, row)

    async def terminal(self) -> tuple[Row, Row]:
        """Read terminal and account."""
        value = await self.ask("account", **self._account)
        return _named(protocol.TERMINAL_FIELDS, value["terminal"]), _named(protocol.ACCOUNT_FIELDS, value["account"])

    async def positions(self) -> list[Row]:
        """List the symbol's positions, and the account checked with it."""
        value = await self.ask("snapshot", symbols=[], **self._account)
        rows = [_named(protocol.POSITION_FIELDS, row) for row in value["positions"]]
        return [row for row in rows if row["symbol"] == self.symbol]

    async def orders(self) -> list[Row]:
        """List the symbol's working orders."""
        value = await self.ask("snapshot", symbols=[], **self._account)
        rows = [_named(protocol.ORDER_FIELDS, row) for row in value["orders"]]
        return [row for row in rows if row["symbol"] == self.symbol]

    async def books(self, server_ms: int) -> Books:
        """List all of the symbol, with two days of history around a moment of server time."""
        at_s = server_ms // 1000
        window = {"date_from": at_s - _DAY_S, "date_to": at_s + _DAY_S}
        found = await self.ask("evidence", magic=-1, mark="", symbol=self.symbol, **window, **self._account)
        return Books(
            positions=[_named(protocol.POSITION_FIELDS, row) for row in found["positions"]],
            orders=[_named(protocol.ORDER_FIELDS, row) for row in found["orders"]],
            past_orders=[_named(protocol.ORDER_FIELDS, row) for row in found["past_orders"]],
            deals=[_named(protocol.DEAL_FIELDS, row) for row in found["deals"]],
        )

    async def send(self, request: Mapping[str, Any]) -> Reply:
        """Send one request; again only when the gateway certainly did not pass it on.

        Raises:
            Stopped: when the gateway would not pass it on.
        """
        for _ in range(ASK_TRIES):
            try:
                answer = await self._passed(request)
            except OutcomeUnknown as lost:
                return Reply(code=Code.NOBODY_KNOWS, text=str(lost))
            if answer.get("refused") not in _PASSING:
                return _read(answer)
            await self._clock.sleep_machine(ASK_WAIT_S)
        return _read(answer)

    async def _passed(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Pass a request on under the present token; gives what the gateway answered.

        Raises:
            OutcomeUnknown: when it may have been sent, and no answer came.
            Stopped: when the gateway cannot be reached.
        """
        try:
            fence = await self._lease.fence()
            sealed = {"key": fence.key, "token": fence.token, "instance": fence.instance, **self._account}
            answer = await self._link.call({"call": "send", "request": dict(request), **sealed})
        except BrokerUnavailable as away:
            raise Stopped(str(away)) from away
        if answer.get("refused") == Refusal.OTHER_INSTANCE:
            self._lease.forget_fence()
        return answer


def _read(answer: Mapping[str, Any]) -> Reply:
    """Read the answer to a send.

    Raises:
        Stopped: when it is the gateway's refusal.
    """
    if "refused" in answer:
        raise Stopped(f"the gateway refused: {answer['message']}")
    if "value" not in answer:
        return Reply(code=Code.NOBODY_KNOWS, text=str(answer["message"]))
    if answer["value"] is None:
        code, text = answer["last_error"]
        return Reply(code=code, text=text)
    found = _named(protocol.RESULT_FIELDS, answer["value"])
    return Reply(
        code=found["retcode"],
        text=found["comment"],
        order=found["order"],
        deal=found["deal"],
        volume=found["volume"],
        price=found["price"],
    )


def _named(names: Sequence[str], row: Sequence[Any]) -> Row:
    return dict(zip(names, row, strict=True))
