"""The allow-listed service that holds a terminal: a request in, an answer out, one at a time, from one thread.

It stands between every process and the vendor's module. What it adds: ``last_error`` taken with the answer, the
account checked with every send and snapshot, fencing tokens, a budget of requests, and calls that answer many questions
at once. None from the terminal is an error here, never an empty list.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dtms.terminal import vendor
from dtms.terminal.asking import Failed, Terminal
from dtms.terminal.guards import Budget, Refused
from dtms.terminal.protocol import ACCOUNT_FIELDS, ORDER_FIELDS, TERMINAL_FIELDS, TIMEFRAMES, Message, Refusal
from dtms.terminal.trading import Trading
from dtms.terminal.vendor import (
    VENDOR_CALLS,
    Malformed,
    all_of,
    argument,
    rate_request,
    read_positions,
    symbols_of,
)

_LOGIN, _SERVER = ACCOUNT_FIELDS.index("login"), ACCOUNT_FIELDS.index("server")
_TICKET = ORDER_FIELDS.index("ticket")
_CONNECTED = TERMINAL_FIELDS.index("connected")


class Gateway:
    """One terminal, asked through ``handle``.

    ``module`` is the vendor's module or an object like it; ``instance`` tells one start of the gateway from another;
    ``now`` is a monotonic clock in seconds; ``credentials`` are the arguments of the vendor's ``initialize``;
    ``utc_ms`` is the machine's UTC time, used when the module brings no simulated one.
    """

    def __init__(
        self,
        module: Any,
        *,
        instance: int,
        login: int | None = None,
        server: str | None = None,
        now: Callable[[], float] = time.monotonic,
        requests_per_day: int = 2000,
        reserve: int = 500,
        credentials: Mapping[str, Any] | None = None,
        utc_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.instance = instance
        self._terminal = Terminal(module)
        self._login = login
        self._server = server
        trading = Trading(self._terminal, self._who, instance=instance, budget=Budget(requests_per_day, reserve, now))
        self._credentials = dict(credentials or {})
        self._utc_ms = utc_ms
        self._calls: dict[str, Callable[[Message], Any]] = {
            "connect": self._connect,
            "account": lambda request: self._who(request.get("login"), request.get("server")),
            "clock": lambda _: self._clock(),
            "snapshot": self._snapshot,
            "positions": self._positions,
            "quotes": self._quotes,
            "rates": self._rates,
            "flow": self._flow,
            "evidence": self._evidence,
            "history": self._history,
            "instrument": self._instrument,
            **trading.calls(),
        }
        if self._terminal.simulation is not None:  # a real terminal has nothing of the kind, so there is no such call
            self._calls["simulation"] = self._simulate

    def handle(self, request: Message) -> Message:
        """Answer one request; never raises for a wrong request or a terminal that fails."""
        try:
            value = self._dispatch(request)
        except Refused as refusal:
            return {"refused": refusal.reason.value, "message": str(refusal), "instance": self.instance}
        except Malformed as wrong:
            return {"refused": Refusal.BAD_REQUEST.value, "message": str(wrong), "instance": self.instance}
        except Failed as failure:
            return {
                "failed": failure.what,
                "message": str(failure),
                "last_error": failure.last_error,
                "instance": self.instance,
            }
        return {"value": value, "last_error": self._terminal.last_error(), "instance": self.instance}

    def shutdown(self) -> None:
        """Let go of the terminal; a simulated one writes its journal to the end."""
        self._terminal.ask("shutdown")
        if self._terminal.simulation is not None:
            self._terminal.simulation.close()

    def _dispatch(self, request: Message) -> Any:
        name = request.get("call")
        own = self._calls.get(name) if isinstance(name, str) else None
        if own is not None:
            return own(request)
        call = VENDOR_CALLS.get(name) if isinstance(name, str) else None
        if call is None or not isinstance(name, str):
            raise Refused(Refusal.UNKNOWN_CALL, f"no such call: {name}")
        positional, named = call.arguments(request)
        answer = self._terminal.ask(name, *positional, **named)
        return None if answer is None else self._terminal.read(name, call.read, answer)

    def _connect(self, _: Message) -> Message:
        """Attach to the terminal when it does not answer, and tell its account and newest quote (server seconds)."""
        if self._terminal.ask("terminal_info") is None and not self._terminal.ask("initialize", **self._credentials):
            raise Failed("initialize", self._terminal.last_error())
        answer = self._who(None, None)
        symbols = self._terminal.need("symbols_get", list)
        times = [int(symbol.time) for symbol in symbols if symbol.select]
        return {**answer, "newest_tick_s": max(times, default=0), "clock": self._clock()}

    def _who(self, login: Any, server: Any) -> Message:
        """Read terminal and account.

        Raises:
            Refused: when it is not connected, or another account than expected.
        """
        terminal = self._terminal.need("terminal_info", vendor.read_terminal)
        account = self._terminal.need("account_info", vendor.read_account)
        for wanted_login, wanted_server in ((self._login, self._server), (login, server)):
            if wanted_login not in (None, account[_LOGIN]) or wanted_server not in (None, account[_SERVER]):
                found = f"{account[_SERVER]}:{account[_LOGIN]}"
                raise Refused(Refusal.ACCOUNT, f"connected to {found}, expected {wanted_server}:{wanted_login}")
        if not terminal[_CONNECTED]:
            raise Refused(Refusal.DISCONNECTED, "the terminal has no connection to its trade server")
        return {"terminal": terminal, "account": account}

    def _clock(self) -> Message:
        simulation = self._terminal.simulation
        if simulation is None:
            return {"simulated": False, "utc_ms": self._utc_ms(), "rate": 1.0}
        return {"simulated": True, "utc_ms": int(simulation.utc_ms()), "rate": float(simulation.rate)}

    def _snapshot(self, request: Message) -> Message:
        symbols = symbols_of(request)
        return self._witnessed(
            request,
            lambda: {
                "positions": self._terminal.need("positions_get", read_positions),
                "orders": self._terminal.need("orders_get", vendor.read_orders),
                "ticks": self._ticks(symbols),
                "clock": self._clock(),
            },
        )

    def _witnessed(self, request: Message, look: Callable[[], Message]) -> Message:
        """Look at the books between two readings of terminal and account, and tell the second.

        A pipe that leads to another terminal for a moment, or a connection that breaks, would show false lists.

        Raises:
            Refused: when either reading finds another account, or no connection.
        """
        self._who(request.get("login"), request.get("server"))
        seen = look()
        return {**self._who(request.get("login"), request.get("server")), **seen}

    def _positions(self, request: Message) -> list[Any]:
        """Look up single positions; without a connection the terminal would show none, so that is refused."""
        tickets = all_of(argument(request, "tickets", list), int)

        def look() -> Message:
            found = [self._terminal.need("positions_get", read_positions, ticket=ticket) for ticket in tickets]
            return {"rows": [row for rows in found for row in rows]}

        rows: list[Any] = self._witnessed(request, look)["rows"]
        return rows

    def _quotes(self, request: Message) -> Message:
        symbols = symbols_of(request)
        terminal = self._terminal.need("terminal_info", vendor.read_terminal)
        if not terminal[_CONNECTED]:
            raise Refused(Refusal.DISCONNECTED, "the terminal has no connection to its trade server")
        return self._ticks(symbols)

    def _ticks(self, symbols: Sequence[str]) -> Message:
        return {symbol: self._terminal.quoted("symbol_info_tick", vendor.read_tick, symbol) for symbol in symbols}

    def _rates(self, request: Message) -> list[Any]:
        return [self._rates_of(*rate_request(one)) for one in argument(request, "requests", list)]

    def _rates_of(self, symbol: str, minutes: int, count: int) -> Any:
        timeframe = self._terminal.constant(TIMEFRAMES[minutes])
        return self._terminal.quoted("copy_rates_from_pos", vendor.read_rates, symbol, timeframe, 0, count)

    def _flow(self, request: Message) -> list[list[int]]:
        # Numpy comes with the module that answers here; the gateway itself must start without it.
        from dtms.terminal.flow import BAR_MS, sum_flow

        symbol = argument(request, "symbol", str)
        from_ms, to_ms = argument(request, "from_ms", int), argument(request, "to_ms", int)
        start_s, end_s = (from_ms - BAR_MS) // 1000, -(-to_ms // 1000)
        flags = self._terminal.constant("COPY_TICKS_INFO")
        answer = self._terminal.quoted(
            "copy_ticks_range", lambda ticks: sum_flow(ticks, from_ms, to_ms), symbol, start_s, end_s, flags
        )
        return answer or [[], [], []]

    def _evidence(self, request: Message) -> Message:
        """Search positions, orders and history for a magic number, or for a mark inside comments.

        With ``symbol`` all of that symbol is listed as well: what lost its number and its mark is found by content.
        With ``order`` that order's end is asked for by its ticket, too: it may have been placed before the window.
        The account is looked at before and after, as lists are empty while there is no connection.
        """
        magic, mark = argument(request, "magic", int), argument(request, "mark", str)
        symbol = argument(request, "symbol", str) if "symbol" in request else None
        window = argument(request, "date_from", int), argument(request, "date_to", int)
        order = argument(request, "order", int) if "order" in request else None

        def ours(answer: Any) -> list[Any]:
            return [
                one for one in answer if one.magic == magic or (mark and mark in one.comment) or one.symbol == symbol
            ]

        self._who(request.get("login"), request.get("server"))
        by_ticket = [] if order is None else self._past_order(order)
        found = {
            "positions": self._terminal.need("positions_get", lambda found: read_positions(ours(found))),
            "orders": self._terminal.need("orders_get", lambda found: vendor.read_orders(ours(found))),
            "past_orders": self._terminal.need(
                "history_orders_get", lambda found: vendor.read_orders(ours(found)), *window
            ),
            "deals": self._terminal.need("history_deals_get", lambda found: vendor.read_deals(ours(found)), *window),
        }
        known = {row[_TICKET] for row in found["past_orders"]}
        found["past_orders"] += [row for row in by_ticket if row[_TICKET] not in known]
        self._who(request.get("login"), request.get("server"))
        return found

    def _past_order(self, ticket: int) -> list[Any]:
        rows: list[Any] = self._terminal.need("history_orders_get", vendor.read_orders, ticket=ticket)
        return rows

    def _history(self, request: Message) -> list[Any]:
        """List deals: of one position when ``position`` is given, else of the window (server seconds)."""
        whose: dict[str, int] = {}
        window: tuple[int, ...] = ()
        if "position" in request:
            whose = {"position": argument(request, "position", int)}
        else:
            window = argument(request, "date_from", int), argument(request, "date_to", int)

        def look() -> Message:
            return {"deals": self._terminal.need("history_deals_get", vendor.read_deals, *window, **whose)}

        return list(self._witnessed(request, look)["deals"])

    def _instrument(self, request: Message) -> Any:
        """Select a symbol and read its specification; None for one that the broker has not."""
        symbol = argument(request, "symbol", str)
        self._terminal.ask("symbol_select", symbol, True)
        return self._terminal.found("symbol_info", vendor.read_symbol, symbol)

    def _simulate(self, request: Message) -> Any:
        """Do to a simulated terminal what a trader, a broker or a fault does; ``do`` says what."""
        try:
            return self._terminal.simulation.control(request)
        except ValueError as wrong:
            raise Malformed(str(wrong)) from wrong
