"""Pending orders of ours taken back before they are filled: under the same lease that they were placed under."""

from dataclasses import dataclass, field

from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, CancelOrder, Ending, Intent
from dtms.domain.facts import Fact
from dtms.domain.owners import Asker, lease_key, opening_key
from dtms.domain.position import Order
from dtms.domain.snapshot import Snapshot
from dtms.execute.carrying import Done, Task
from dtms.execute.shown import is_visible
from dtms.execute.trading import endings
from dtms.execute.trading.carried import carried
from dtms.execute.trading.desk import TradingDesk, sound
from dtms.execute.trading.requests import Cancelled
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.store import Unit


@dataclass(frozen=True, slots=True)
class _Ended:
    """What was told of it."""

    facts: list[Fact] = field(default_factory=list)


class Cancelling:
    """Removes pending orders."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk

    async def cancel(self, number: int, *, by_person: bool, correlation_id: str | None) -> Cancelled:
        """Remove the pending order that the intent of this number placed.

        Raises:
            TradingRefused: when it does not wait any more, or the broker refused its removal.
            BrokerUnavailable: when the broker does not answer, and nothing was sent.
        """
        look = await self._desk.broker.snapshot([])
        order = self._waiting(number, look)
        instrument = await self._desk.instrument(order.symbol)
        tick = sound(order.symbol, (await self._desk.broker.quotes([order.symbol])).get(order.symbol))
        ended, mode = _Ended(), look.account.margin_mode
        action = CancelOrder(kind=ActionKind.CANCEL_ORDER, order=order.ticket, symbol=order.symbol, side=order.side)
        task = Task(
            asker=Asker.EXECUTION,
            ticket=None,
            key=opening_key(number) if mode is MarginMode.HEDGING else lease_key(0, order.symbol, mode),
            action=action,
            tick=tick,
            instrument=instrument,
            is_shown=lambda intent, seen: is_visible(intent, seen, instrument, self._desk.broker.number_in),
            conclude=lambda done: self._conclude(done, ended, by_person=by_person),
            despite_halt=by_person,
            correlation_id=correlation_id,
        )
        outcome = await carried(self._desk.carrier, task)
        self._desk.journal.tell(ended.facts)
        if outcome.ending in (Ending.DONE, Ending.UNKNOWN):
            is_done = outcome.ending is Ending.DONE
            return Cancelled(ok=is_done, unknown=not is_done, order=order.ticket, intent=outcome.intent or 0)
        raise endings.refused(outcome, self._desk.broker, await self._desk.store.standing(0))

    def _waiting(self, number: int, look: Snapshot) -> Order:
        numbers = self._desk.broker.number_in
        for order in look.orders:
            if order.kind.is_pending and numbers(order.magic, order.comment) == number:
                return order
        told = f"No order of intent {number} waits."
        raise TradingRefused(Code.NOT_FOUND, told, {"intent": number, "rule": "no_order"})

    def _conclude(self, done: Done, ended: _Ended, *, by_person: bool) -> Unit:
        intent: Intent = done.intent
        ended.facts.append(self._desk.action(intent, done.outcome, None, {"by_person": by_person}))
        return Unit(facts=tuple(ended.facts))
