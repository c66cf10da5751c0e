"""Requests that wait in the terminal after their reply, and are judged by the rules when their moment comes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dtms.terminal.simulated.actors import Act, Script
from dtms.terminal.simulated.records import Reason
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that was sent at `since_ms` and waits until `due_ms` (UTC)."""

    due_ms: int
    since_ms: int
    request: Mapping[str, Any]


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
        _, server = self._ours
        server.send(TradeRequest.named(dict(late.request)), Reason.EXPERT)
