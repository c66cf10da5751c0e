"""Requests that wait in the terminal after their reply, and are judged by the rules when their moment comes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from dtms.terminal.simulated.actors import Act, Script
from dtms.terminal.simulated.cases import BUY_TYPES
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import to_points, to_units
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import Order, Reason
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that waits until `due_ms` (UTC).

    With a `ticket` it is listed as a live order under that number, and filled under it; `is_filled` = False ends it
    as a cancelled order instead.
    """

    due_ms: int
    since_ms: int
    request: Mapping[str, Any]
    ticket: int = 0
    is_filled: bool = True

    @property
    def trade(self) -> TradeRequest:
        """The request as the vendor's structure."""
        return TradeRequest.named(dict(self.request))


class Agenda(Script):
    """The acts of outside traders together with the requests that wait, in the order of their times."""

    def __init__(self, acts: Sequence[Act], world: World, server: TradeServer) -> None:
        super().__init__(acts, world, server)
        self._ours = world, server
        self.waiting: list[Waiting] = []
        self.on_taken: Callable[[], None] = lambda: None
        """Called when a request is taken off the list, before it is carried out: after a crash it is not done twice."""

    def add(self, waiting: Waiting) -> None:
        """Let a request wait."""
        self.waiting = sorted([*self.waiting, waiting], key=lambda one: one.due_ms)
        world, _ = self._ours
        world.ledger.changes += 1  # what was to happen next, which the engine remembers, is so no longer

    def next_ms(self) -> int | None:
        """Give the time of the next act or request, None after the last."""
        act_ms = super().next_ms()
        if not self.waiting:
            return act_ms
        due_ms = self.waiting[0].due_ms
        return due_ms if act_ms is None else min(act_ms, due_ms)

    def run_next(self) -> None:
        """Do what comes next."""
        act_ms = super().next_ms()
        if self.waiting and (act_ms is None or self.waiting[0].due_ms <= act_ms):
            self._carry_out(self.waiting.pop(0))
        else:
            super().run_next()

    def _carry_out(self, late: Waiting) -> None:
        self.on_taken()
        world, server = self._ours
        if not late.is_filled:
            world.ledger.apply(as_order(late, world, MT5.ORDER_STATE_CANCELED))
            return
        with _promised(world.ledger, late.ticket):
            outcome = server.send(late.trade, Reason.EXPERT)
        if late.ticket and outcome.order != late.ticket:  # refused after all
            world.ledger.apply(as_order(late, world, MT5.ORDER_STATE_REJECTED))


def as_order(late: Waiting, world: World, state: int) -> Order:
    """Show a request as the order that was placed for it."""
    request = late.trade
    spec, units = world.specs[request.symbol], to_units(request.volume)
    is_done = state not in (MT5.ORDER_STATE_PLACED, MT5.ORDER_STATE_STARTED)
    return Order(
        ticket=late.ticket,
        symbol=request.symbol,
        type=MT5.ORDER_TYPE_BUY if request.type in BUY_TYPES else MT5.ORDER_TYPE_SELL,
        state=state,
        type_filling=request.type_filling,
        type_time=request.type_time,
        units_initial=units,
        units=units,
        price_points=to_points(request.price, spec.scale),
        sl_points=to_points(request.sl, spec.scale),
        tp_points=to_points(request.tp, spec.scale),
        magic=request.magic,
        comment=request.comment,
        setup_ms=late.since_ms,
        done_ms=world.now_ms if is_done else 0,
        position_id=request.position,
    )


@contextmanager
def _promised(ledger: Ledger, ticket: int) -> Iterator[None]:
    """Let the next ticket that the ledger gives be one that was promised before; 0 promises none."""
    if not ticket:
        yield
        return
    tickets = chain([ticket], iter(ledger.new_ticket, None))
    ledger.new_ticket = lambda: int(next(tickets) or 0)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del ledger.new_ticket
