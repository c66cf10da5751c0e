"""The seam's double: Service and Clock in memory, keeping the promises that the HTTP program relies on."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from tests.server.memory_store import MemoryStore

from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.market import Side
from dtms.domain.trade import Machine, Mode, Trade
from dtms.execute.service import (
    Health,
    Live,
    Monitoring,
    Pending,
    Receipt,
    RefusalCode,
    Refused,
    Registered,
    Registration,
    Result,
    Status,
    Step,
    Switches,
    UnknownIntent,
)
from dtms.ports.store import Kept, Unit
from dtms.settings import Settings

T = TypeVar("T")
START_MS = 1_758_905_100_000
READY = Health(
    step=Step.READY,
    recovered=True,
    ready=True,
    monitoring_active=True,
    active_trades=0,
    broker_connected=True,
    store_ok=True,
    reasons=(),
    failure=None,
)
STARTING = replace(READY, step=Step.BROKER, recovered=False, ready=False, broker_connected=False)
UNREADY = replace(READY, ready=False, broker_connected=False, reasons=("the broker is not connected",))
FAILED = replace(STARTING, step=Step.FAILED, failure="the broker did not answer within 300 s")


class ManualClock:
    """Stands still until told otherwise."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def market_ms(self) -> int:
        return self.now_ms

    def machine_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms

    async def sleep_market(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)

    async def sleep_machine(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


def trade_of(request: Registration, at_ms: int) -> Trade:
    """Make a trade of a complete registration."""
    entry = request.entry or 1.1
    stop = request.stop
    return Trade(
        ticket=request.ticket,
        identifier=request.ticket,
        login=1,
        server="Demo",
        symbol=request.symbol or "EURUSD",
        side=request.side or Side.LONG,
        entry=entry,
        initial_volume=request.volume or Decimal("0.10"),
        initial_stop=stop,
        risk=abs(entry - stop) if stop not in (None, entry) else 0.001,
        nominal_risk=stop in (None, entry),
        registered_ms=at_ms,
        opened_ms=at_ms,
        volume=request.volume or Decimal("0.10"),
        stop=stop,
        target=request.target,
        machine=Machine(entered_ms=at_ms),
        strategy_type=request.strategy_type,
        mode=request.mode,
    )


def kept_of(receipt: Receipt[T] | None, result: T) -> Sequence[Kept]:
    kept = receipt(result) if receipt is not None else None
    return () if kept is None else (kept,)


class MemoryService:
    """The engine's promises without a market: it registers, disables, halts and remembers who asked."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        self.settings = Settings()
        self.store = store
        self.clock = clock
        self.state = READY
        self.loop_age_s = 0.1
        self.lives: dict[int, Live] = {}
        self.halted = False
        self.halt_reason: str | None = None
        self.account_mode = Mode.AUTO
        self.asked_by: list[str | None] = []
        self.changes: dict[str, Json] = {}
        self.refuse: Refused | None = None
        self.break_with: Exception | None = None
        self.missing: set[int] = set()
        """Tickets that the broker does not list."""
        self.moved: dict[int, int] = {}
        """Present ticket of a position to the one that it was registered under."""
        self.waiting: dict[int, Pending] = {}
        self.store_failures: list[StoreFailed] = []
        self.slow_s = 0.0
        self.parts: dict[str, Json] = {}
        self.unknown: tuple[UnknownIntent, ...] = ()

    def health(self) -> Health:
        return replace(self.state, active_trades=len(self.lives))

    def monitoring(self) -> Monitoring:
        return Monitoring(
            alive=True,
            age_s=self.loop_age_s,
            interval_s=30.0,
            last_start_ms=self.clock.now_ms,
            last_duration_s=0.01,
            last_outcome="ok",
            cycles=3,
            overruns=0,
            restarts_last_hour=0,
            stale_symbols={},
        )

    def status(self) -> Status:
        return Status(
            uptime_s=3600.0,
            market_ms=self.clock.now_ms,
            active_trades=len(self.lives),
            trades_by_state={"HEALTHY": len(self.lives)},
            fast_checks=120,
            deep_checks=4,
            actions_executed=0,
            transitions=0,
            last_check_ms=self.clock.now_ms,
            mode=self.account_mode,
            halted=self.halted,
            halt_reason=self.halt_reason,
            rails={},
            intents_unknown=len(self.unknown),
            account={},
            warnings=(),
            unknown_intents=self.unknown,
            pending=tuple(self.waiting.values()),
            parts=self.parts,
        )

    def live(self, ticket: int) -> Live | None:
        return self.lives.get(self.ticket_of(ticket) or ticket)

    def live_trades(self) -> Sequence[Live]:
        return list(self.lives.values())

    def ticket_of(self, ticket: int) -> int | None:
        return self.moved.get(ticket, ticket if ticket in self.lives else None)

    def pending(self, ticket: int) -> Pending | None:
        return self.waiting.get(ticket)

    def note_store_failure(self, error: StoreFailed) -> None:
        self.store_failures.append(error)

    async def register(self, request: Registration) -> Registered:
        (result,) = await self.register_all([request])
        assert isinstance(result, Registered)
        return result

    async def register_all(
        self, requests: Sequence[Registration], receipt: Receipt[Sequence[Result]] | None = None
    ) -> Sequence[Result]:
        for request in requests:
            self._asked(request.correlation_id)
        await asyncio.sleep(self.slow_s)
        new: dict[int, Trade] = {}
        results = [self._result(request, new) for request in requests]
        await self._commit(Unit(create=tuple(new.values()), keep=kept_of(receipt, results)))
        return results

    def _result(self, request: Registration, new: dict[int, Trade]) -> Result:
        known = new.get(request.ticket) or self.store.rows.get(request.ticket)
        if known is not None and known.is_active:
            return Registered(trade=known, already_registered=True, adjusted={})
        if request.ticket in self.missing:
            if not request.allow_pending:
                message = f"The broker has no position {request.ticket}."
                return Refused(RefusalCode.POSITION_NOT_FOUND, message, {"ticket": request.ticket})
            now = self.clock.now_ms
            pending = Pending(ticket=request.ticket, since_ms=now, until_ms=now + 60_000)
            return self.waiting.setdefault(request.ticket, pending)
        new[request.ticket] = trade_of(request, self.clock.now_ms)
        return Registered(trade=new[request.ticket], already_registered=False, adjusted={})

    async def disable(
        self, ticket: int, *, close_hedge: bool, correlation_id: str | None, receipt: Receipt[Trade] | None = None
    ) -> Trade:
        self._asked(correlation_id)
        trade = self.store.rows.get(ticket)
        if trade is None:
            raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
        stopped = replace(trade, disabled=True)
        await self._commit(Unit(trades=(stopped,), keep=kept_of(receipt, stopped)))
        self.lives.pop(ticket, None)
        return stopped

    async def halt(self, reason: str, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        self._asked(correlation_id)
        self.halted, self.halt_reason = True, reason
        await self._commit(Unit(keep=kept_of(receipt, self._switches())))

    async def resume(self, correlation_id: str | None, receipt: Receipt[Switches] | None = None) -> None:
        self._asked(correlation_id)
        self.halted, self.halt_reason = False, None
        await self._commit(Unit(keep=kept_of(receipt, self._switches())))

    async def set_mode(
        self, mode: Mode, ticket: int | None, correlation_id: str | None, receipt: Receipt[Switches] | None = None
    ) -> None:
        self._asked(correlation_id)
        if ticket is None:
            self.account_mode = mode
            await self._commit(Unit(keep=kept_of(receipt, self._switches())))
            return
        if ticket not in self.store.rows:
            raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
        trade = replace(self.store.rows[ticket], mode=mode)
        await self._commit(Unit(trades=(trade,), keep=kept_of(receipt, self._switches())))

    def _switches(self) -> Switches:
        return Switches(halted=self.halted, mode=self.account_mode)

    async def _commit(self, unit: Unit) -> None:
        await self.store.commit(unit)
        for trade in (*unit.create, *unit.trades):
            self._put(trade)

    async def initialize(self) -> None:
        self._asked(None)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        self._asked(correlation_id)
        self.settings = settings
        self.changes = dict(changes)

    def _asked(self, correlation_id: str | None) -> None:
        self.asked_by.append(correlation_id)
        if self.break_with is not None:
            raise self.break_with
        if self.refuse is not None:
            raise self.refuse

    def _put(self, trade: Trade) -> None:
        self.store.rows[trade.ticket] = trade
        self.lives[trade.ticket] = Live(
            trade=trade,
            price=trade.entry,
            profit=0.0,
            score=None,
            view=None,
            last_fast_ms=self.clock.now_ms,
            last_deep_ms=None,
            flat_left_min=None,
            recovery_left_min=None,
            held=None,
        )


def fact(kind: FactKind, ticket: int | None, at_ms: int, **details: Json) -> Fact:
    """Make a fact with the given details."""
    return Fact(kind=kind, ticket=ticket, market_ms=at_ms, summary=f"{kind} happened.", details=details)
