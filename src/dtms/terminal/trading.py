"""What the gateway does with trade requests: fences announced, requests sent or checked, their costs asked for."""

from collections.abc import Callable, Mapping
from typing import Any

from dtms.terminal import vendor
from dtms.terminal.asking import Failed, Terminal
from dtms.terminal.guards import Budget, Fences, Refused, is_reducing
from dtms.terminal.protocol import Message, Refusal
from dtms.terminal.vendor import Malformed, argument

_NUMBER = (int, float)
Who = Callable[[Any, Any], Message]
"""Reads terminal and account, and refuses another account than the login and server named."""


class Trading:
    """One terminal's trade functions, behind fences and a budget."""

    def __init__(self, terminal: Terminal, who: Who, *, instance: int, budget: Budget) -> None:
        self._terminal = terminal
        self._who = who
        self._instance = instance
        self._budget = budget
        self._fences = Fences()

    def calls(self) -> Mapping[str, Callable[[Message], Any]]:
        """Return what can be called."""
        return {
            "fence": self._fence,
            "send": self._send,
            "order_check": self._check,
            "margin": self._margin,
            "profit": self._profit,
        }

    def _fence(self, request: Message) -> Message:
        key, token = argument(request, "key", str), argument(request, "token", int)
        if not self._fences.announce(key, token):
            raise Refused(Refusal.FENCED, f"a higher token than {token} was announced for {key}")
        return {"instance": self._instance}

    def _send(self, request: Message) -> Any:
        """Send one trade request, when instance, tokens, account and budget permit; answers the result or None."""
        trade = vendor.trade_request(request.get("request"))
        leases = _leases(request)
        if argument(request, "instance", int) != self._instance:
            raise Refused(Refusal.OTHER_INSTANCE, "the gateway was restarted: announce the tokens again")
        for key, token in leases:
            if not self._fences.admits(key, token):
                raise Refused(Refusal.FENCED, f"token {token} is not the one announced last for {key}")
        self._may_send(request)
        if not self._budget.take(reducing=is_reducing(trade)):
            raise Refused(Refusal.BUDGET, "the budget of requests per day is spent")
        answer = self._terminal.ask("order_send", trade)
        return None if answer is None else self._terminal.read("order_send", vendor.read_result, answer)

    def _may_send(self, request: Message) -> None:
        try:
            self._who(request.get("login"), request.get("server"))
        except Failed as failure:  # nothing was sent yet, so this is a refusal
            raise Refused(Refusal.DISCONNECTED, str(failure)) from failure

    def _check(self, request: Message) -> Any:
        trade = vendor.trade_request(request.get("request"))
        self._who(request.get("login"), request.get("server"))
        return self._terminal.need("order_check", vendor.read_check, trade)

    def _margin(self, request: Message) -> float:
        return self._calculated("order_calc_margin", request, "price")

    def _profit(self, request: Message) -> float:
        return self._calculated("order_calc_profit", request, "price_open", "price_close")

    def _calculated(self, name: str, request: Message, *prices: str) -> float:
        """Ask for an amount in the currency of the account, which must be the expected one."""
        whose = argument(request, "action", int), argument(request, "symbol", str)
        figures = [argument(request, figure, _NUMBER) for figure in ("volume", *prices)]
        self._who(request.get("login"), request.get("server"))
        self._terminal.ask("symbol_select", whose[1], True)  # without a quote there is no rate to convert by
        return float(self._terminal.need(name, vendor.plain, *whose, *figures))


def _leases(request: Message) -> list[tuple[str, int]]:
    """Read the leases under which a send is made: the position's, and the program's own where it has one.

    Raises:
        Malformed: when one is not a key and a token.
    """
    leases = [(argument(request, "key", str), argument(request, "token", int))]
    match request.get("program"):
        case None:
            return leases
        case [str(key), int(token)] if not isinstance(token, bool):
            return [*leases, (key, token)]
    raise Malformed("program must be a key and a token")
