"""One trade's trouble is that trade's: it is recorded, and the others go on.

What the whole house stands on is let through: a broker that answers nothing, a store that failed, an authority that
was lost. A broker that answers, but not for one trade, is that trade's trouble; so is a lease that another manager has.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone, StoreFailed, WrongAccount
from dtms.domain.facts import FactKind
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.presence import Presence
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

T = TypeVar("T")
UNANSWERED = "unanswered"


class Isolation:
    """Does work on single trades, under their locks."""

    def __init__(self, desk: Desk, book: Book, presence: Presence) -> None:
        self._desk = desk
        self._book = book
        self._presence = presence
        self.failures = 0

    async def run(self, watch: Watch, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do one trade's work; what goes wrong is recorded and leaves the other trades alone.

        Raises:
            BrokerUnavailable: when the broker answers nobody.
            StoreFailed, PermissionGone: when nothing may be written any more.
        """
        async with watch.lock:
            if self._book.watches.get(watch.ticket) is not watch:
                return None  # its watch ended while others were served: nothing may be done to it any more
            try:
                done = await work()
            except LeaseHeld as error:
                self._defer(watch, error)
                return None
            except (WrongAccount, StoreFailed, PermissionGone):
                raise
            except BrokerUnavailable as error:
                if not await self.is_answering():
                    raise
                await self._unanswered(watch, error)
                return None
            except Exception as error:  # noqa: BLE001 - the edge of a trade's cycle: it records and isolates
                await self._failed(watch, error)
                return None
            if not watch.trade.is_active and self._presence.is_settled(watch):
                self._book.drop(watch.ticket)
            return done

    def _defer(self, watch: Watch, error: LeaseHeld) -> None:
        """Come back soon to a trade that somebody else is changing now."""
        log.info("trade_deferred", ticket=watch.ticket, key=error.key, holder=error.holder)
        watch.last_deep_ms, watch.next_fast_ms = None, 0
        self._desk.hurry()

    def answered(self, watch: Watch) -> None:
        """Note that the broker told all that was asked for a trade."""
        if watch.noted.pop(UNANSWERED, None) is not None:
            watch.held = None

    async def is_answering(self) -> bool:
        """Answer whether the broker gives a sound list of the account and its positions."""
        try:
            await self._desk.broker.snapshot([])
        except WrongAccount:
            raise
        except BrokerUnavailable:
            return False
        return True

    async def _unanswered(self, watch: Watch, error: BrokerUnavailable) -> None:
        """Hold a trade of which the broker does not tell what was asked, and say so once."""
        watch.held, watch.next_fast_ms = f"the broker does not answer for this trade: {error}", 0
        if UNANSWERED in watch.noted:
            return
        watch.noted[UNANSWERED] = str(error)
        log.error("trade_unanswered", ticket=watch.ticket, symbol=watch.trade.symbol, told=str(error))
        details = {"reason": str(error), "alert": "ERROR"}
        fact = self._desk.journal.fact(FactKind.HELD, watch.held, trade=watch.trade, details=details)
        await self._desk.store.commit(Unit(facts=(fact,)))

    async def _failed(self, watch: Watch, error: Exception) -> None:
        """Record what went wrong with one trade; what its work left half-made in memory is not believed."""
        self.failures += 1
        log.error("cycle_failed", ticket=watch.ticket, symbol=watch.trade.symbol, exc_info=error)
        told = f"{type(error).__name__}: {error}"
        stored = await self._desk.store.trade(watch.ticket) or watch.trade
        trade = replace(stored, needs_attention=f"its cycle failed: {told}")
        fact = self._desk.journal.fact(
            FactKind.CYCLE_FAILED, f"this trade's cycle failed: {told}", trade=trade, details={"alert": "ERROR"}
        )
        await self._desk.store.commit(Unit(trades=(trade,), facts=(fact,)))
        watch.trade = trade
