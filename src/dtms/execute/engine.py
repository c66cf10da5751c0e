"""The protection engine: start-up in order, the supervised loop, and what its HTTP program may ask of it.

```
store → broker (back-off) → authority → recovery → first cycle → ready
```

A lost broker makes it unready; recovery runs again before it acts again. A failed store stops all acting until it was
read anew. The loop that dies is restarted at most three times an hour; after that the engine serves reads alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from dtms.decide.guards import HOUR_MS, RailState, Release, rail_figures
from dtms.domain.account import Account
from dtms.domain.errors import BrokerUnavailable, DtmsError, Misconfigured, StoreFailed, WrongAccount
from dtms.domain.facts import FactKind, Json
from dtms.domain.prices import ZERO
from dtms.domain.trade import Mode, State, Trade
from dtms.execute.authority import RENEW_S, EngineLease
from dtms.execute.book import Book, Watch
from dtms.execute.cycle import Cycle, Desk
from dtms.execute.executor import Executor
from dtms.execute.feeds import Feeds
from dtms.execute.journal import Journal
from dtms.execute.monitor import Monitor
from dtms.execute.presence import Presence
from dtms.execute.registrar import Registrar
from dtms.execute.restart import Restart
from dtms.execute.service import (
    Health,
    Live,
    Monitoring,
    RefusalCode,
    Refused,
    Registered,
    Registration,
    Status,
    Step,
)
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Controls, Store, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

BACKOFF_S = (2.0, 4.0, 8.0, 16.0, 30.0)
ALERT_AFTER_S = 60.0
RESTARTS_PER_HOUR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the configuration says of the engine beside its settings."""

    holder: str
    mode: Mode = Mode.OBSERVE
    broker_timeout_s: float = 300.0
    """How long a start waits for the broker; 0 for ever."""
    releases: Sequence[Release] = ()
    before_connect: Callable[[], Awaitable[None]] | None = None
    """What must be done before the broker is asked: reading the terminal's clock."""
    warnings: tuple[str, ...] = ()
    """What a person should know for as long as the engine runs."""


class Engine:
    """Watches registered trades and acts on them; fulfils ``execute.service.Service``."""

    def __init__(
        self, *, broker: Broker, store: Store, clock: Clock, settings: Settings, options: EngineOptions
    ) -> None:
        self.settings = settings
        self._broker = broker
        self._store = store
        self._clock = clock
        self._options = options
        self._journal = Journal(clock)
        self._lease = EngineLease(store, broker, clock, options.holder)
        executor = Executor(
            broker=broker,
            store=store,
            clock=clock,
            lease=self._lease,
            journal=self._journal,
            settings=settings.intents,
        )
        self._desk = Desk(
            broker=broker,
            store=store,
            clock=clock,
            executor=executor,
            journal=self._journal,
            settings=settings,
            rails=RailState(),
            releases=options.releases,
            mode=options.mode,
        )
        self.book = Book()
        self._feeds = Feeds(broker=broker, store=store, clock=clock, journal=self._journal, book=self.book)
        self._cycle = Cycle(self._desk)
        self._presence = Presence(self._desk, self.book)
        self.monitor = Monitor(
            desk=self._desk, book=self.book, feeds=self._feeds, cycle=self._cycle, presence=self._presence
        )
        self._registrar = Registrar(self._desk, self.book, self._feeds)
        self._restart = Restart(
            desk=self._desk,
            book=self.book,
            feeds=self._feeds,
            presence=self._presence,
            cycle=self._cycle,
            registrar=self._registrar,
        )
        self._controls = Controls()
        self._step = Step.CONFIGURATION
        self._failure: str | None = None
        self._recovered = False
        self._broker_ok = False
        self._store_ok = True
        self._started_s = clock.machine_s()
        self._loop: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False
        self._pending_settings: Settings | None = None
        self._account: Account | None = None
        self._restarts_ms: list[int] = []
        self._cycle_end_s = clock.machine_s()
        self._cycle_start_ms: int | None = None
        self._cycle_duration_s: float | None = None
        self._cycle_outcome = "none yet"
        self._overruns = 0

    # --- starting and stopping -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start in order and leave the monitoring loop running.

        Raises:
            DtmsError: with one clear line; nothing runs half-initialised.
        """
        try:
            await self._start()
        except DtmsError as error:
            self._step, self._failure = Step.FAILED, str(error)
            await self._stop_tasks()
            raise

    async def _start(self) -> None:
        self._step = Step.STORE
        await self._store.open()
        await self._load()
        self._step = Step.BROKER
        await self._connect(self._options.broker_timeout_s)
        await self._lease.acquire()
        self._keeper = asyncio.create_task(self._keep_lease())
        self._step = Step.RECOVERY
        await self._recover()
        self._step = Step.MONITORING
        await self._record(FactKind.STARTED, f"engine started in mode {self._desk.mode}")
        await self._one_cycle()
        self._loop = asyncio.create_task(self._supervise())
        self._step = Step.READY

    async def _load(self) -> None:
        loaded = await self._store.load()
        self._use_controls(loaded.controls)
        self._desk.rails = RailState.from_json(dict(loaded.rails))
        self._loaded = loaded
        since = self._clock.wall_ms() - HOUR_MS
        kinds = frozenset({FactKind.LOOP_RESTARTED.value})
        restarts = await self._store.facts(kinds=kinds, limit=RESTARTS_PER_HOUR + 1, newest=True)
        self._restarts_ms = [f.machine_ms for f in restarts if f.machine_ms >= since]

    def _use_controls(self, controls: Controls) -> None:
        self._controls = controls
        self._desk.halted = controls.halted
        self._desk.mode = controls.mode or self._options.mode

    async def _connect(self, timeout_s: float) -> None:
        started, attempt = self._clock.machine_s(), 0
        while True:
            try:
                await self._attach()
                break
            except WrongAccount:
                raise
            except BrokerUnavailable as error:
                waited = self._clock.machine_s() - started
                level = log.warning if waited < ALERT_AFTER_S else log.error
                level("broker_unavailable", told=str(error), waited_s=round(waited))
                if timeout_s and waited >= timeout_s:
                    raise BrokerUnavailable(f"no broker after {waited:.0f} s: {error}") from error
            await self._clock.sleep_machine(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            attempt += 1
        self._broker_ok = True

    async def _attach(self) -> None:
        """Connect, and see to it that it is the account that was there before."""
        if self._options.before_connect is not None:
            await self._options.before_connect()
        account = await self._broker.connect()
        self._account, self._desk.account = account, (account.login, account.server)
        log.info("broker_connected", account=account.key, balance=account.balance)

    async def _recover(self) -> None:
        """Match the store with the broker, before anything is decided."""
        started = self._clock.machine_s()
        self._lease.forget_fence()
        summary = await self._restart.run(self._loaded)
        self.monitor.scan_soon()
        self._recovered = True
        log.info("recovered", told=summary, seconds=round(self._clock.machine_s() - started, 3))
        await self._record(FactKind.RECOVERED, summary)

    async def stop(self) -> None:
        """Finish the call in hand, record its outcome, give the lease back, close the store."""
        self._stopping, self._step = True, Step.STOPPING
        await self._stop_tasks()
        try:
            await self._record(FactKind.STOPPED, "engine stopped")
            await self._lease.release()
        except StoreFailed as error:
            log.error("store_failed_at_stop", told=str(error))
        await self._store.close()

    async def _stop_tasks(self) -> None:
        """Let the loop end by itself, so that no broker call is cut off; the lease's keeper can go at once."""
        self._stopping = True
        if self._loop is not None:
            _, pending = await asyncio.wait({self._loop}, timeout=8.0)
            for task in pending:
                task.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    # --- the loop --------------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep_machine(RENEW_S)
            try:
                if not await self._lease.renew():
                    log.error("authority_lost", told="the engine's lease went to another process")
                    await self._lease.acquire()
            except (StoreFailed, Misconfigured) as error:
                log.error("lease_not_renewed", told=str(error))

    async def _supervise(self) -> None:
        """Keep the loop alive: restart what dies, at most three times an hour, counted in the store."""
        while not self._stopping:
            try:
                await self._run()
                return
            except Exception as error:
                log.critical("loop_died", exc_info=error)
                if not await self._may_restart(error):
                    return

    async def _may_restart(self, error: Exception) -> bool:
        now = self._clock.wall_ms()
        self._restarts_ms = [at for at in self._restarts_ms if at >= now - HOUR_MS]
        told = f"{type(error).__name__}: {error}"
        if len(self._restarts_ms) >= RESTARTS_PER_HOUR:
            self._cycle_outcome = f"dead after {RESTARTS_PER_HOUR} restarts in an hour: {told}"
            log.critical("loop_given_up", told=self._cycle_outcome)
            return False
        self._restarts_ms.append(now)
        try:
            await self._record(FactKind.LOOP_RESTARTED, f"the monitoring loop died: {told}")
        except StoreFailed as failed:
            log.error("restart_not_recorded", told=str(failed))
        await self._clock.sleep_machine(1.0)
        return True

    async def _run(self) -> None:
        while not self._stopping:
            started = self._clock.machine_s()
            await self._one_cycle()
            spent = self._clock.machine_s() - started
            interval = self.settings.cadence.tick_poll_ms / 1000
            if spent > interval:
                self._overruns += 1
            await self._clock.sleep_machine(max(interval - spent, 0.001))

    async def _one_cycle(self) -> None:
        """Run one cycle; a broker or store that is away makes the engine unready and is waited for."""
        started = self._clock.machine_s()
        self._cycle_start_ms = self._clock.market_ms()
        if self._pending_settings is not None:
            self._adopt_settings(self._pending_settings)
        try:
            await self._repair()
            await self.monitor.run_cycle()
            self._cycle_outcome = "ok"
        except BrokerUnavailable as error:
            self._note_outage("broker", error)
            self._broker_ok = False
        except StoreFailed as error:
            self._note_outage("store", error)
            self._store_ok = False
        self._cycle_end_s = self._clock.machine_s()
        self._cycle_duration_s = self._cycle_end_s - started

    def _note_outage(self, what: str, error: DtmsError) -> None:
        told = f"{what} unavailable: {error}"
        if self._cycle_outcome != told:
            log.error(f"{what}_unavailable", told=str(error))
        self._cycle_outcome = told

    async def _repair(self) -> None:
        """After an outage believe nothing: read the store anew, reconnect, recover."""
        if self._broker_ok and self._store_ok:
            return
        if not self._store_ok:
            await self._load()
            self._store_ok = True
        else:
            self._loaded = await self._store.load()
        await self._attach()
        self._broker_ok = True
        await self._recover()

    # --- health ----------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        reasons = self._reasons()
        return Health(
            step=self._step,
            recovered=self._recovered,
            ready=not reasons,
            monitoring_active=self._is_looping(),
            active_trades=len(self.book.watches),
            broker_connected=self._broker_ok,
            store_ok=self._store_ok and self._step not in (Step.CONFIGURATION, Step.STORE),
            reasons=reasons,
            failure=self._failure,
        )

    def _reasons(self) -> tuple[str, ...]:
        checks: tuple[tuple[bool, str], ...] = (
            (self._failure is not None, f"initialisation failed: {self._failure}"),
            (self._step is Step.STOPPING, "stopping"),
            (self._step not in (Step.READY, Step.FAILED, Step.STOPPING), f"starting: {self._step.value}"),
            (self._step is Step.READY and not self._is_looping(), f"monitoring stopped: {self._cycle_outcome}"),
            (self._step is Step.READY and not self._broker_ok, self._cycle_outcome),
            (not self._store_ok, self._cycle_outcome),
            (self._step is Step.READY and not self._lease.is_held, "the engine's lease is not held"),
        )
        return tuple(told for holds, told in checks if holds)

    def _is_looping(self) -> bool:
        return self._loop is not None and not self._loop.done()

    def monitoring(self) -> Monitoring:
        now = self._clock.wall_ms()
        return Monitoring(
            alive=self._is_looping(),
            age_s=self._clock.machine_s() - self._cycle_end_s,
            interval_s=self.settings.cadence.tick_poll_ms / 1000,
            last_start_ms=self._cycle_start_ms,
            last_duration_s=self._cycle_duration_s,
            last_outcome=self._cycle_outcome,
            cycles=self.monitor.counts.cycles,
            overruns=self._overruns,
            restarts_last_hour=sum(1 for at in self._restarts_ms if at >= now - HOUR_MS),
            stale_symbols=dict(self.monitor.counts.stale),
        )

    def status(self) -> Status:
        counts, unknown = self.monitor.counts, sum(len(w.open_intents) for w in self.book.watches.values())
        attention = [
            f"trade {w.ticket}: {w.trade.needs_attention}"
            for w in self.book.watches.values()
            if w.trade.needs_attention
        ]
        return Status(
            uptime_s=self._clock.machine_s() - self._started_s,
            market_ms=self._clock.market_ms(),
            active_trades=len(self.book.watches),
            trades_by_state={state.value: n for state, n in self.book.by_state().items() if state is not State.CLOSED},
            fast_checks=counts.fast,
            deep_checks=counts.deep,
            actions_executed=self._desk.actions,
            transitions=self._desk.transitions,
            last_check_ms=counts.last_check_ms,
            mode=self._desk.mode,
            halted=self._desk.halted,
            halt_reason=self._controls.halt_reason,
            rails=rail_figures(self._desk.rails, self.settings.rails),
            intents_unknown=unknown,
            account=self._account_json(),
            warnings=(*self._options.warnings, *self.monitor.counts.stale.values(), *attention),
        )

    def _account_json(self) -> dict[str, Json]:
        account = self._account
        if account is None:
            return {}
        return {
            "login": account.login,
            "server": account.server,
            "currency": account.currency,
            "balance": account.balance,
            "equity": self._desk.rails.equity or account.equity,
            "margin_mode": account.margin_mode.value,
            "hedging_possible": self._desk.hedge_prohibited is None and account.margin_mode.value == "hedging",
        }

    # --- reading ---------------------------------------------------------------------------------------------------

    def live(self, ticket: int) -> Live | None:
        watch = self.book.watches.get(ticket)
        return None if watch is None else self._live(watch)

    def live_trades(self) -> Sequence[Live]:
        return [self._live(watch) for watch in self.book.watches.values()]

    def _live(self, watch: Watch) -> Live:
        symbol, trade = self.book.symbols[watch.trade.symbol], watch.trade
        tick, machine, protection = symbol.tick, trade.machine, self.settings.protection
        price = tick.closing(trade.side) if tick is not None else None
        now = self._clock.market_ms()

        def left(since: int | None, minutes: float) -> float | None:
            return None if since is None else max(0.0, minutes - symbol.bars.traded_minutes(since, now))

        return Live(
            trade=trade,
            price=price,
            profit=None
            if price is None
            else _profit(trade, price, symbol.instrument.tick_value / symbol.instrument.tick_size),
            score=symbol.view.score(trade.side).total if symbol.view is not None else None,
            view=symbol.view,
            last_fast_ms=watch.last_fast_ms,
            last_deep_ms=watch.last_deep_ms,
            flat_left_min=left(machine.flat_since_ms, protection.flat_min),
            recovery_left_min=left(machine.recovery_since_ms, protection.recovery_min),
            held=watch.held,
        )

    # --- changing --------------------------------------------------------------------------------------------------

    def _require_ready(self) -> None:
        reasons = self._reasons()
        if reasons:
            raise Refused(RefusalCode.NOT_READY, f"Not ready: {reasons[0]}.", {"reasons": list(reasons)})

    async def register(self, request: Registration) -> Registered:
        """Register one trade durably."""
        self._require_ready()
        if request.mode is Mode.ADVISE:
            raise _no_advise()
        registered = await self._asked(self._registrar.register, request)
        self.monitor.scan_soon()
        return registered

    async def _asked(self, ask: Callable[[Registration], Awaitable[Registered]], request: Registration) -> Registered:
        try:
            return await ask(request)
        except BrokerUnavailable as error:
            raise Refused(RefusalCode.NOT_READY, f"The broker does not answer: {error}") from error
        except StoreFailed as error:
            self._store_ok = False
            raise Refused(RefusalCode.NOT_READY, f"The store failed: {error}") from error

    async def disable(self, ticket: int, *, close_hedge: bool, correlation_id: str | None) -> Trade:
        """End the watch over a trade; nothing of it is closed but, when asked for, its hedge."""
        watch = self.book.watches.get(ticket)
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
        fact = self._journal.fact(
            FactKind.DISABLED, "monitoring ended by request", trade=trade, correlation_id=correlation_id
        )
        await self._store.commit(Unit(trades=(trade,), facts=(fact,)))
        self.book.drop(ticket)
        return trade

    async def _disabled_already(self, ticket: int) -> Trade:
        trade = await self._store.trade(ticket)
        if trade is None:
            raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
        return trade

    async def _close_hedge(self, watch: Watch) -> bool:
        if self._desk.halted:
            raise Refused(RefusalCode.HALTED, "The kill switch is on; lift it to close the hedge.")
        await self._cycle.close_surplus(watch, self.book.symbols[watch.trade.symbol])
        return not watch.trade.hedges

    async def halt(self, reason: str, correlation_id: str | None) -> None:
        """Stop all actions at once, durably."""
        self._desk.halted = True  # before the commit: a slow disk must not delay it
        await self._switch(
            replace(self._controls, halted=True, halt_reason=reason, halted_ms=self._clock.wall_ms()),
            FactKind.HALTED,
            f"halted: {reason}",
            correlation_id,
        )

    async def resume(self, correlation_id: str | None) -> None:
        """Lift the kill switch."""
        controls = replace(self._controls, halted=False, halt_reason=None, halted_ms=None)
        await self._switch(controls, FactKind.RESUMED, "the kill switch was lifted", correlation_id)
        self.monitor.scan_soon()

    async def _switch(self, controls: Controls, kind: FactKind, summary: str, correlation_id: str | None) -> None:
        fact = self._journal.fact(kind, summary, correlation_id=correlation_id)
        try:
            await self._store.commit(Unit(controls=controls, facts=(fact,)))
        except StoreFailed as error:
            self._store_ok = False
            raise Refused(RefusalCode.NOT_READY, f"The store failed: {error}") from error
        self._use_controls(controls)

    async def set_mode(self, mode: Mode, ticket: int | None, correlation_id: str | None) -> None:
        """Set the account's mode, or one trade's."""
        if mode is Mode.ADVISE:
            raise _no_advise()
        if ticket is None:
            controls = replace(self._controls, mode=mode)
            await self._switch(controls, FactKind.MODE_CHANGED, f"mode {mode} for the account", correlation_id)
            touched = [w for w in self.book.watches.values() if w.trade.mode is None]
        else:
            watch = self.book.watches.get(ticket)
            if watch is None:
                raise Refused(RefusalCode.TRADE_NOT_FOUND, f"Ticket {ticket} is not registered.", {"ticket": ticket})
            touched = [watch]
        for watch in touched:
            async with watch.lock:
                await self._set_trade_mode(watch, mode, ticket is not None, correlation_id)
        self.monitor.scan_soon()

    async def _set_trade_mode(self, watch: Watch, mode: Mode, own: bool, correlation_id: str | None) -> None:
        """Forget the shadow: the real machine is where it was left, HEALTHY unless it acted before."""
        trade = replace(watch.trade, mode=mode if own else None, shadow=None)
        facts = []
        if own:
            told = f"mode {mode} for this trade"
            facts.append(self._journal.fact(FactKind.MODE_CHANGED, told, trade=trade, correlation_id=correlation_id))
        await self._presence.commit(watch, trade, facts)

    async def initialize(self) -> None:
        """Nothing to build: the engine is made once, by its process."""
        if self._step is Step.FAILED:
            raise Refused(RefusalCode.NOT_READY, f"Initialisation failed: {self._failure}.")

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        """Journal validated settings and use them from the next cycle on."""
        summary = f"{len(changes)} settings changed: {', '.join(changes)}"
        fact = self._journal.fact(
            FactKind.SETTINGS_CHANGED, summary, details=dict(changes), correlation_id=correlation_id
        )
        await self._store.commit(Unit(facts=(fact,)))
        self._pending_settings = settings

    def _adopt_settings(self, settings: Settings) -> None:
        self.settings = self._desk.settings = settings
        self._desk.executor.settings = settings.intents
        self._pending_settings = None
        for symbol in self.book.symbols.values():
            self._feeds.reread(symbol, settings)
        self.monitor.scan_soon()

    async def _record(self, kind: FactKind, summary: str) -> None:
        await self._store.commit(Unit(facts=(self._journal.fact(kind, summary),)))


def _no_advise() -> Refused:
    return Refused(RefusalCode.INVALID, "Mode advise needs approvals, which this version does not offer yet.")


def _profit(trade: Trade, price: float, money_per_price: float) -> float:
    """Floating profit of the trade's side in account currency, without swap and commission."""
    own = (price - trade.entry) * float(trade.volume)
    readded = sum((price - m.entry) * float(m.volume) for m in trade.readds)
    hedged = sum((m.entry - price) * float(m.volume) for m in trade.hedges)
    return round((own + readded + hedged) * trade.side.sign * money_per_price, 2) if trade.volume > ZERO else 0.0
