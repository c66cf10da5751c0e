"""What people and programs ask of the engine: register, disable, halt, resume, modes, settings.

Nothing is believed in memory before it is committed, but for the kill switch, which stops at once. A store that fails
under a request makes the engine unready until it was reopened and verified.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from dtms.domain.errors import BrokerUnavailable, ChangedMeanwhile, LeaseHeld, PermissionGone, StoreFailed
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import Mode, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.enrolment import no_advise
from dtms.execute.leases import WAIT_S
from dtms.execute.lifecycle import Lifecycle
from dtms.execute.monitor import Monitor
from dtms.execute.moves import Moves
from dtms.execute.presence import Presence
from dtms.execute.registrar import Registrar
from dtms.execute.service import Receipt, RefusalCode, Refused, Registered, Registration, Result, Switches
from dtms.ports.store import Controls, Kept, Unit
from dtms.settings import Settings

T = TypeVar("T")
STORE_AWAY = "The store does not answer; nothing was changed."


class Requests:
    """Carries requests out, under the lock of the trade that they concern."""

    def __init__(
        self,
        *,
        desk: Desk,
        book: Book,
        monitor: Monitor,
        life: Lifecycle,
        moves: Moves,
        presence: Presence,
        registrar: Registrar,
    ) -> None:
        self._desk = desk
        self._book = book
        self._monitor = monitor
        self._life = life
        self._moves = moves
        self._presence = presence
        self._registrar = registrar

    def _require_ready(self) -> None:
        reasons = self._life.reasons()
        if reasons:
            raise Refused(RefusalCode.NOT_READY, f"Not ready: {reasons[0]}.", {"reasons": list(reasons)})

    @asynccontextmanager
    async def _refusing(self, store_away: str = STORE_AWAY) -> AsyncIterator[None]:
        """Refuse what broker, store or a lost authority keep from being done; a failed store is told to the engine."""
        try:
            yield
        except StoreFailed as error:
            self._life.note_store_failure(error)
            raise Refused(RefusalCode.NOT_READY, store_away) from error
        except BrokerUnavailable as error:
            raise Refused(RefusalCode.NOT_READY, "The broker does not answer; nothing was changed.") from error
        except LeaseHeld as error:
            details: dict[str, Json] = {"key": error.key, "holder": error.holder}
            raise Refused(RefusalCode.LEASE_HELD, f"{error}; nothing was changed.", details) from error
        except ChangedMeanwhile as error:
            raise Refused(RefusalCode.CONFLICT, f"{error}; nothing was changed, ask again.") from error
        except PermissionGone as error:
            raise Refused(RefusalCode.NOT_READY, "Another DTMS server holds the authority over the store.") from error

    # --- registering and disabling ---------------------------------------------------------------------------------

    async def register(self, request: Registration) -> Registered:
        """Register one trade durably, without waiting for its position."""
        (result,) = await self.register_all([replace(request, allow_pending=False)], None)
        if isinstance(result, Refused):
            raise result
        assert isinstance(result, Registered), "what may not wait is registered or refused"
        return result

    async def register_all(
        self, requests: Sequence[Registration], receipt: Receipt[Sequence[Result]] | None
    ) -> Sequence[Result]:
        """Register durably, in order, with one look at the broker and one commit."""
        self._require_ready()
        async with self._refusing():
            results = await self._registrar.register(requests, receipt)
        self._monitor.scan_soon()
        return results

    async def disable(
        self, ticket: int, *, close_hedge: bool, correlation_id: str | None, receipt: Receipt[Trade] | None = None
    ) -> Trade:
        """End the watch over a trade; nothing of it is closed but, when asked for, its hedge."""
        known = self._book.ticket_of(ticket)
        if known is None:
            return await self._disabled_already(ticket)
        self._require_ready()
        watch = self._book.watches[known]

        async def disabled() -> Trade:
            async with watch.lock:
                if self._book.watches.get(known) is watch:
                    return await self._disable(watch, close_hedge, correlation_id, receipt)
            return await self._disabled_already(known)  # somebody else ended it while this one waited

        return await self._when_free(disabled)

    async def _when_free(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what needs a ticket's lease, waiting for another's as long as one may, and without the trade's lock."""
        async with self._refusing():
            return await self._desk.leases.when_free(work, WAIT_S)

    async def _disable(
        self, watch: Watch, close_hedge: bool, correlation_id: str | None, receipt: Receipt[Trade] | None
    ) -> Trade:
        if watch.trade.hedges and not watch.open_intents and close_hedge:
            await self._close_hedge(watch)
        self._refuse_unsettled(watch)
        trade = replace(watch.trade, disabled=True)
        fact = self._desk.journal.fact(
            FactKind.DISABLED, "monitoring ended by request", trade=trade, correlation_id=correlation_id
        )
        unit = Unit(trades=(trade,), facts=(fact,), keep=_kept(receipt, trade))
        await self._desk.keep(unit, trade, wait_s=0.0)
        watch.trade = trade  # who still holds the watch must not take it for active
        self._book.drop(trade.ticket)
        return trade

    def _refuse_unsettled(self, watch: Watch) -> None:
        """Refuse to leave alone what is under way, or a hedge, which needs somebody to watch it."""
        ticket, trade = watch.ticket, watch.trade
        if watch.open_intents:
            message = f"Trade {ticket} has a request whose outcome is not known yet."
            raise Refused(RefusalCode.CONFLICT, message, {"ticket": ticket, "intents": list(watch.open_intents)})
        if trade.hedges:
            message = f"Trade {ticket} has an open hedge; send close_hedge to close it first."
            raise Refused(RefusalCode.CONFLICT, message, {"ticket": ticket, "hedges": [m.ticket for m in trade.hedges]})

    async def _close_hedge(self, watch: Watch) -> None:
        if self._desk.halted:
            raise Refused(RefusalCode.HALTED, "The kill switch is on; lift it to close the hedge.")
        told = "The store failed while the hedge was being closed: whether it was is looked for."
        async with self._refusing(told):
            await self._moves.close_surplus(watch, self._book.symbols[watch.trade.symbol])

    async def _disabled_already(self, ticket: int) -> Trade:
        async with self._refusing():
            trade = await self._desk.store.trade(ticket)
        if trade is not None:
            return trade
        details: dict[str, Json] = {"ticket": ticket}
        if self._registrar.pendings.get(ticket) is not None:
            self._require_ready()
            async with self._refusing():
                await self._registrar.forget_pending(
                    Registration(ticket=ticket), "is waited for no longer, by request", {"outcome": "withdrawn"}
                )
            details["pending"] = "withdrawn"
        raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", details)

    # --- switches --------------------------------------------------------------------------------------------------

    async def halt(self, reason: str, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        """Stop all actions at once, durably."""
        self._desk.halted = True  # before the commit: a slow disk must not delay it
        controls = replace(self._life.controls, halted=True, halt_reason=reason, halted_ms=self._desk.clock.wall_ms())
        away = "All actions are stopped, but the store does not answer: ask again, or a restart would lift it."
        await self._switch(controls, FactKind.HALTED, f"halted: {reason}", correlation_id, receipt, away=away)

    async def resume(self, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        """Lift the kill switch."""
        controls = replace(self._life.controls, halted=False, halt_reason=None, halted_ms=None)
        await self._switch(controls, FactKind.RESUMED, "the kill switch was lifted", correlation_id, receipt)
        self._monitor.scan_soon()

    async def _switch(
        self,
        controls: Controls,
        kind: FactKind,
        summary: str,
        correlation_id: str | None,
        receipt: Receipt[Switches] | None,
        *,
        trades: Sequence[Trade] = (),
        away: str = STORE_AWAY,
    ) -> None:
        fact = self._desk.journal.fact(kind, summary, correlation_id=correlation_id)
        kept = _kept(receipt, Switches(halted=controls.halted, mode=controls.mode or self._desk.mode))
        async with self._refusing(away):
            await self._desk.store.commit(Unit(controls=controls, trades=trades, facts=(fact,), keep=kept))
        self._life.use_controls(controls)

    async def set_mode(
        self, mode: Mode, ticket: int | None, correlation_id: str | None, receipt: Receipt[Switches] | None = None
    ) -> None:
        """Set the account's mode, or one trade's."""
        if mode is Mode.ADVISE:
            raise no_advise()
        if ticket is None:
            await self._set_account_mode(mode, correlation_id, receipt)
        else:
            await self._set_trade_mode(mode, ticket, correlation_id, receipt)
        self._monitor.scan_soon()

    async def _set_account_mode(
        self, mode: Mode, correlation_id: str | None, receipt: Receipt[Switches] | None
    ) -> None:
        """Set the mode, and forget the shadows of all that follow it, in one commit.

        The real machine is where it was left, HEALTHY unless it acted before.
        """
        shadowed = [w for w in self._book.watches.values() if w.trade.mode is None and w.trade.shadow is not None]
        async with AsyncExitStack() as locks:
            for watch in shadowed:
                await locks.enter_async_context(watch.lock)
            still = [w for w in shadowed if self._book.watches.get(w.ticket) is w and w.trade.mode is None]
            trades = [replace(w.trade, shadow=None) for w in still]
            controls = replace(self._life.controls, mode=mode)
            told = f"mode {mode} for the account"
            await self._switch(controls, FactKind.MODE_CHANGED, told, correlation_id, receipt, trades=trades)
            for watch, trade in zip(still, trades, strict=True):
                watch.trade = trade

    async def _set_trade_mode(
        self, mode: Mode, ticket: int, correlation_id: str | None, receipt: Receipt[Switches] | None
    ) -> None:
        watch = self._book.watches.get(self._book.ticket_of(ticket) or ticket)
        if watch is None:
            raise _not_registered(ticket)
        await self._when_free(partial(self._set_mode_of, watch, mode, correlation_id, receipt))

    async def _set_mode_of(
        self, watch: Watch, mode: Mode, correlation_id: str | None, receipt: Receipt[Switches] | None
    ) -> None:
        async with watch.lock:
            if self._book.watches.get(watch.ticket) is not watch:
                raise _not_registered(watch.ticket)
            trade = replace(watch.trade, mode=mode, shadow=None)
            facts: Sequence[Fact] = [
                self._desk.journal.fact(
                    FactKind.MODE_CHANGED, f"mode {mode} for this trade", trade=trade, correlation_id=correlation_id
                )
            ]
            kept = _kept(receipt, Switches(halted=self._desk.halted, mode=self._desk.mode))
            await self._desk.keep(Unit(trades=(trade,), facts=facts, keep=kept), trade, wait_s=0.0)
            self._desk.believe(watch, trade, facts)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Journal validated settings and use them from the next cycle on."""
        summary = f"{len(changes)} settings changed: {', '.join(changes)}"
        fact = self._desk.journal.fact(
            FactKind.SETTINGS_CHANGED, summary, details=dict(changes), correlation_id=correlation_id
        )
        async with self._refusing():
            await self._desk.store.commit(Unit(facts=(fact,)))
        self._life.pending = settings


def _kept(receipt: Receipt[T] | None, result: T) -> Sequence[Kept]:
    """Return what is to be kept of a result in the commit that brings it about."""
    kept = receipt(result) if receipt is not None else None
    return () if kept is None else (kept,)


def _not_registered(ticket: int) -> Refused:
    return Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
