"""What people and programs ask of the engine: register, disable, halt, resume, modes, settings."""

from collections.abc import Mapping
from dataclasses import replace

from dtms.domain.errors import BrokerUnavailable, StoreFailed
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import Mode, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.lifecycle import Lifecycle
from dtms.execute.monitor import Monitor
from dtms.execute.moves import Moves
from dtms.execute.presence import Presence
from dtms.execute.registrar import Registrar
from dtms.execute.service import RefusalCode, Refused, Registered, Registration
from dtms.ports.store import Controls, Unit
from dtms.settings import Settings


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

    async def register(self, request: Registration) -> Registered:
        """Register one trade durably."""
        self._require_ready()
        if request.mode is Mode.ADVISE:
            raise _no_advise()
        registered = await self._asked(request)
        self._monitor.scan_soon()
        return registered

    async def _asked(self, request: Registration) -> Registered:
        try:
            return await self._registrar.register(request)
        except BrokerUnavailable as error:
            raise Refused(RefusalCode.NOT_READY, f"The broker does not answer: {error}") from error
        except StoreFailed as error:
            self._life.store_ok = False
            raise Refused(RefusalCode.NOT_READY, f"The store failed: {error}") from error

    async def disable(self, ticket: int, *, close_hedge: bool, correlation_id: str | None) -> Trade:
        """End the watch over a trade; nothing of it is closed but, when asked for, its hedge."""
        watch = self._book.watches.get(ticket)
        if watch is None:
            return await self._disabled_already(ticket)
        self._require_ready()
        async with watch.lock:
            return await self._disable(watch, close_hedge=close_hedge, correlation_id=correlation_id)

    async def _disable(self, watch: Watch, *, close_hedge: bool, correlation_id: str | None) -> Trade:
        ticket = watch.ticket
        if watch.open_intents:
            raise Refused(
                RefusalCode.CONFLICT,
                f"Trade {ticket} has a request whose outcome is not known yet.",
                {"ticket": ticket},
            )
        if watch.trade.hedges and not (close_hedge and await self._close_hedge(watch)):
            message = f"Trade {ticket} has an open hedge; send close_hedge to close it first."
            raise Refused(
                RefusalCode.CONFLICT, message, {"ticket": ticket, "hedges": [m.ticket for m in watch.trade.hedges]}
            )
        trade = replace(watch.trade, disabled=True)
        fact = self._desk.journal.fact(
            FactKind.DISABLED, "monitoring ended by request", trade=trade, correlation_id=correlation_id
        )
        await self._desk.store.commit(Unit(trades=(trade,), facts=(fact,)))
        self._book.drop(ticket)
        return trade

    async def _disabled_already(self, ticket: int) -> Trade:
        trade = await self._desk.store.trade(ticket)
        if trade is None:
            raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
        return trade

    async def _close_hedge(self, watch: Watch) -> bool:
        if self._desk.halted:
            raise Refused(RefusalCode.HALTED, "The kill switch is on; lift it to close the hedge.")
        await self._moves.close_surplus(watch, self._book.symbols[watch.trade.symbol])
        return not watch.trade.hedges

    async def halt(self, reason: str, correlation_id: str | None) -> None:
        """Stop all actions at once, durably."""
        self._desk.halted = True  # before the commit: a slow disk must not delay it
        await self._switch(
            replace(self._life.controls, halted=True, halt_reason=reason, halted_ms=self._desk.clock.wall_ms()),
            FactKind.HALTED,
            f"halted: {reason}",
            correlation_id,
        )

    async def resume(self, correlation_id: str | None) -> None:
        """Lift the kill switch."""
        controls = replace(self._life.controls, halted=False, halt_reason=None, halted_ms=None)
        await self._switch(controls, FactKind.RESUMED, "the kill switch was lifted", correlation_id)
        self._monitor.scan_soon()

    async def _switch(self, controls: Controls, kind: FactKind, summary: str, correlation_id: str | None) -> None:
        fact = self._desk.journal.fact(kind, summary, correlation_id=correlation_id)
        try:
            await self._desk.store.commit(Unit(controls=controls, facts=(fact,)))
        except StoreFailed as error:
            self._life.store_ok = False
            raise Refused(RefusalCode.NOT_READY, f"The store failed: {error}") from error
        self._life.use_controls(controls)

    async def set_mode(self, mode: Mode, ticket: int | None, correlation_id: str | None) -> None:
        """Set the account's mode, or one trade's."""
        if mode is Mode.ADVISE:
            raise _no_advise()
        if ticket is None:
            controls = replace(self._life.controls, mode=mode)
            await self._switch(controls, FactKind.MODE_CHANGED, f"mode {mode} for the account", correlation_id)
            touched = [w for w in self._book.watches.values() if w.trade.mode is None]
        else:
            watch = self._book.watches.get(ticket)
            if watch is None:
                raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
            touched = [watch]
        for watch in touched:
            async with watch.lock:
                await self._set_trade_mode(watch, mode, ticket is not None, correlation_id)
        self._monitor.scan_soon()

    async def _set_trade_mode(self, watch: Watch, mode: Mode, own: bool, correlation_id: str | None) -> None:
        """Forget the shadow: the real machine is where it was left, HEALTHY unless it acted before."""
        trade = replace(watch.trade, mode=mode if own else None, shadow=None)
        facts: list[Fact] = []
        if own:
            told = f"mode {mode} for this trade"
            facts.append(
                self._desk.journal.fact(FactKind.MODE_CHANGED, told, trade=trade, correlation_id=correlation_id)
            )
        await self._presence.commit(watch, trade, facts)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Journal validated settings and use them from the next cycle on."""
        summary = f"{len(changes)} settings changed: {', '.join(changes)}"
        fact = self._desk.journal.fact(
            FactKind.SETTINGS_CHANGED, summary, details=dict(changes), correlation_id=correlation_id
        )
        await self._desk.store.commit(Unit(facts=(fact,)))
        self._life.pending = settings


def _no_advise() -> Refused:
    return Refused(RefusalCode.INVALID, "Mode advise needs approvals, which this version does not offer yet.")
