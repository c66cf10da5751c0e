"""The position watcher: every position that appears gets the manager that it belongs to.

It looks at each list of positions that was had; one that was not had says nothing. A position is judged once by
``decide.watching``, and again only while something about it can still change by itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

import structlog

from dtms.decide.watching import Fate, fate_of
from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Standing
from dtms.domain.position import Position
from dtms.execute.handing.outbox import Outbox
from dtms.execute.journal import Journal
from dtms.execute.managing.steps import Look, Wants
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_S: Final = 10.0
"""How long what may still change is left before it is judged anew."""
SOURCE: Final = "position_watcher"


class Managing(Protocol):
    """The managers of this program. Neither method raises for a refusal: the position is judged anew after a while."""

    async def manage(self, position: Position, strategy_type: str) -> None:
        """Give a position to the Universal manager."""
        ...

    async def protect(self, position: Position) -> None:
        """Put a position under Intelligent Exit."""
        ...


class Watcher:
    """Gives new positions to their managers."""

    name = "watcher"

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        journal: Journal,
        outbox: Outbox,
        managing: Managing,
        settings: Callable[[], Settings],
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._journal = journal
        self._outbox = outbox
        self._managing = managing
        self._settings = settings
        self._settled: dict[int, Fate] = {}
        self._again_at_s: dict[int, float] = {}
        self._told: set[int] = set()

    def wants(self) -> Wants:
        return {}

    async def recover(self, look: Look) -> None:
        """Judge every position anew: the store may have been read anew, and others may have acted meanwhile."""
        self._settled.clear()
        self._again_at_s.clear()
        await self._watch(look)

    async def run(self, look: Look) -> None:
        """Judge what is new in a new look."""
        if look.is_new:
            await self._watch(look)

    def forget(self, ticket: int) -> None:
        """Judge a position anew: its entry in the registry changed."""
        self._settled.pop(ticket, None)
        self._again_at_s.pop(ticket, None)

    async def _watch(self, look: Look) -> None:
        here = look.snapshot.positions
        for gone in [ticket for ticket in (*self._settled, *self._again_at_s) if ticket not in here]:
            self.forget(gone)
            self._told.discard(gone)
        now_s = self._clock.machine_s()
        for ticket, position in here.items():
            if ticket not in self._settled and self._again_at_s.get(ticket, 0.0) <= now_s:
                self._again_at_s[ticket] = now_s + AGAIN_S
                await self._judge(position)

    async def _judge(self, position: Position) -> None:
        number = self._broker.number_in(position.magic, position.comment)
        intent = await self._store.intent(number) if number is not None else None
        if intent is None and self._broker.intent_of(position.magic) is None:
            number = None  # a comment that looks like one of ours, and nothing else that does
        fate = fate_of(
            position,
            standing=await self._standing(position),
            number=number,
            intent=intent,
            magics=self._settings().watcher.magics,
        )
        if fate.is_settled:
            self._settled[position.ticket] = fate
        elif fate is Fate.UNIVERSAL and intent is not None and intent.strategy_type is not None:
            await self._managing.manage(position, intent.strategy_type)
        elif fate is Fate.DTMS:
            await self._hand_over(position, intent)

    async def _standing(self, position: Position) -> Standing:
        """Read what is known of a position, under its ticket or the one that it began with."""
        standing = await self._store.standing(position.ticket)
        if position.identifier == position.ticket or standing.ownership or standing.trade:
            return standing
        return await self._store.standing(position.identifier)

    async def _hand_over(self, position: Position, intent: Intent | None) -> None:
        """Queue a position's registration with DTMS, unless it is on its way, or DTMS refused it for good."""
        ticket = position.ticket
        if self._outbox.has(ticket) or ticket in self._outbox.refused:
            return
        body: dict[str, Json] = {"symbol": position.symbol, "direction": position.side.direction}
        letter = self._outbox.letter(ticket, body if intent is not None else {**body, "source": SOURCE})
        facts = () if ticket in self._told else (self._found(position, intent),)
        await self._store.commit(Unit(keep=(letter,), facts=facts))
        self._told.add(ticket)
        self._outbox.take(letter)
        self._journal.tell(facts)
        if intent is None and self._settings().exits.auto_enable:
            await self._managing.protect(position)

    def _found(self, position: Position, intent: Intent | None) -> Fact:
        by = "was found at the broker" if intent is None else f"was opened by execution {intent.number}"
        told = f"{position.symbol} {position.side.direction} {position.volume} lots {by}: handed to DTMS"
        details: Mapping[str, Json] = {"magic": position.magic, "alert": "WARNING" if intent is None else None}
        fact = self._journal.fact(FactKind.HANDED, told, details=details)
        return replace(fact, ticket=position.ticket, symbol=position.symbol)
