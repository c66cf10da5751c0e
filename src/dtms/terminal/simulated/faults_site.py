"""Where faults happen: the terminal's parts that they use, and nothing else of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dtms.terminal.simulated.answers import ErrorText
from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.faults_books import Memory
from dtms.terminal.simulated.faults_call import Armed, Call
from dtms.terminal.simulated.faults_late import Agenda
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.structs import OrderSendResult, TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World

Sleep = Callable[[float], None]


@dataclass(slots=True, kw_only=True)
class Site:
    """The world, the trade server, what waits, and how the terminal reads requests, fails and answers.

    `catch_up` plays the market up to now, `disconnect` makes the terminal forget its caller, and `sleep` (None where
    time is virtual) takes real seconds; `elsewhere` holds the requests that went to another account,
    `clock_jumps` when the server's clock jumped (UTC ms), and by how many minutes.
    """

    world: World
    server: TradeServer
    agenda: Agenda
    read_request: Callable[[object], TradeRequest | None]
    make_result: Callable[[TradeRequest, Outcome], OrderSendResult]
    fail: Callable[[ErrorText], None]
    catch_up: Callable[[], None]
    disconnect: Callable[[], None]
    sleep: Sleep | None
    memory: Memory | None = None
    elsewhere: list[Mapping[str, Any]] = field(default_factory=list)
    clock_jumps: list[tuple[int, int]] = field(default_factory=list)

    def read(self, call: Call) -> TradeRequest | None:
        """Read the call's request as the package does, None with the error set when it is none."""
        return self.read_request(call.arguments[0] if call.arguments else None)

    def result(self, request: TradeRequest, outcome: Outcome, away_points: int = 0) -> OrderSendResult:
        """Make an answer at the symbol's quote, or so many points away from it."""
        spec = self.world.specs.get(request.symbol)
        quote = self.world.quote(request.symbol) if spec else None
        if quote and away_points:
            quote = Quote(ms=quote.ms, bid=quote.bid + away_points, ask=quote.ask + away_points)
        return self.make_result(request, replace(outcome, symbol=request.symbol if spec else "", quote=quote))


Act = Callable[[Site, Call, Armed], None]
"""Do to a call what a kind of fault does."""
