"""A program's life with its loop: start-up in order, the supervised loop, outages and repair, stopping.

```
store → broker (back-off) → authority → recovery → first cycle → ready
```

The DTMS server and the main API live the same life, each with its own loop, recovery and lease. A lost broker makes the
program unready; recovery runs again before it acts again. A failed store stops all acting until
it was read anew. The loop that dies is restarted at most three times an hour; after that the engine serves reads alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from dtms.decide.guards import HOUR_MS, RailState
from dtms.domain.account import Account
from dtms.domain.calendar import Release
from dtms.domain.errors import (
    BrokerUnavailable,
    DtmsError,
    PermissionGone,
    StoreFailed,
    WrongAccount,
)
from dtms.domain.facts import FactKind
from dtms.domain.trade import Mode
from dtms.execute.authority import ENGINE, RENEW_S, EngineLease
from dtms.execute.outage import ALERT_AFTER_S, Outage
from dtms.execute.program import Ground, Loop, Recovery
from dtms.execute.service import Health, Monitoring, Step
from dtms.ports.sources import Sources
from dtms.ports.store import Controls, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

BACKOFF_S = (2.0, 4.0, 8.0, 16.0, 30.0)
RESTARTS_PER_HOUR = 3
PROGRAMS = 2
"""Programs whose loops are restarted by what stands in one store."""
REOPEN_S = 2.0
"""Between two tries to open a store that failed: each verifies all of it."""


def unchanged(settings: Settings) -> Settings:
    return settings


def halfway() -> float:
    return 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What the configuration says of a program's loop beside its settings."""

    holder: str
    mode: Mode = Mode.OBSERVE
    broker_timeout_s: float = 300.0
    """How long a start waits for the broker; 0 for ever."""
    releases: Sequence[Release] = ()
    """Known to an engine without ``sources``."""
    sources: Sources | None = None
    """Calendar, volatility index and exchange flow."""
    before_connect: Callable[[], Awaitable[None]] | None = None
    """What must be done before the broker is asked: reading the terminal's clock."""
    warnings: tuple[str, ...] = ()
    """What a person should know for as long as the engine runs."""
    patience: Callable[[Settings], Settings] = unchanged
    """Lengthens waits by what was found out about the broker."""
    draw: Callable[[], float] = halfway
    """Answers a number in [0, 1): where between the shortest and the longest a pause lies."""


class Lifecycle:
    """Starts, keeps and stops a program's loop."""

    def __init__(
        self,
        *,
        desk: Ground,
        loop: Loop,
        recovery: Recovery,
        lease: EngineLease,
        options: EngineOptions,
    ) -> None:
        self._desk = desk
        self._clock = desk.clock
        self._store = desk.store
        self._broker = desk.broker
        self._loop = loop
        self._recovery = recovery
        self._lease = lease
        self._options = options
        self._name = "engine" if lease.key == ENGINE else lease.program
        self._outage = Outage(desk.clock, desk.journal)
        self.step = Step.CONFIGURATION
        self.failure: str | None = None
        self.controls = Controls()
        self.account: Account | None = None
        self.store_ok = True
        self.pending: Settings | None = None
        """Settings to be used from the next cycle on."""
        self.started_s = self._clock.machine_s()
        self._recovered = False
        self._is_matched = False
        """Whether the book was matched with store and broker since the last outage or loss of authority."""
        self._broker_ok = False
        self._running: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._reopen_at_s = 0.0
        self._stopping = False
        self._is_resting = False
        """Whether the loop waits for its next cycle, and has nothing in hand."""
        self._starting: asyncio.Task[None] | None = None
        self._restarts_ms: list[int] = []
        self._cycle_end_s = self._clock.machine_s()
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
        self._starting = asyncio.create_task(self._start())
        try:
            await self._starting
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except DtmsError as error:
            self.step, self.failure = Step.FAILED, str(error)
            await self._stop_tasks()
            raise
        finally:
            self._starting = None

    async def _start(self) -> None:
        self._next(Step.STORE)
        await self._store.open()
        await self._load()
        self._next(Step.BROKER)
        await self._connect()
        await self._lease.acquire()
        self._keeper = asyncio.create_task(self._keep_lease())
        self._next(Step.RECOVERY)
        await self._recover_at_start()
        self._next(Step.MONITORING)
        await self._record(FactKind.STARTED, f"{self._name} started in mode {self._desk.mode}")
        await self._one_cycle()
        self._next(Step.READY)
        self._running = asyncio.create_task(self._supervise())

    def _next(self, step: Step) -> None:
        """Begin a step of the start, unless a stop ended it."""
        if self._stopping:
            raise asyncio.CancelledError
        self.step = step

    async def _load(self) -> None:
        before = self.controls
        loaded = await self._store.load()
        is_halting = self._desk.halted and not before.halted
        if self.controls is before and not is_halting:  # what a person set meanwhile is newer than what was read
            self.use_controls(loaded.controls)
        self._desk.rails = RailState.from_json(dict(loaded.rails))
        since = self._clock.wall_ms() - HOUR_MS
        kinds = frozenset({FactKind.LOOP_RESTARTED.value})
        limit = PROGRAMS * (RESTARTS_PER_HOUR + 1)
        restarts = await self._store.facts(kinds=kinds, limit=limit, newest=True)
        ours = [f for f in restarts if f.details.get("program", ENGINE) == self._lease.key]
        self._restarts_ms = [f.machine_ms for f in ours if f.machine_ms >= since]

    def use_controls(self, controls: Controls) -> None:
        """Act by what a person has set."""
        self.controls = controls
        self._desk.halted = controls.halted
        self._desk.mode = controls.mode or self._options.mode

    async def _connect(self) -> None:
        """Connect with back-off, for as long as a start may wait for its broker."""
        attempt = 0
        while True:
            try:
                await self._attach()
                break
            except WrongAccount:
                raise
            except BrokerUnavailable as error:
                self._give_up_when_late(error)
            await self._clock.sleep_machine(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
            attempt += 1
        self._broker_ok = True

    def _give_up_when_late(self, error: BrokerUnavailable) -> None:
        waited, timeout_s = self._clock.machine_s() - self.started_s, self._options.broker_timeout_s
        level = log.warning if waited < ALERT_AFTER_S else log.error
        level("broker_unavailable", told=str(error), waited_s=round(waited))
        if timeout_s and waited >= timeout_s:
            raise BrokerUnavailable(f"no broker after {waited:.0f} s: {error}") from error

    async def _recover_at_start(self) -> None:
        """Recover; a broker that goes away in the middle of it is waited for again, and believed from the beginning."""
        while True:
            try:
                return await self._recover()
            except WrongAccount:
                raise
            except BrokerUnavailable as error:
                self._give_up_when_late(error)
            await self._clock.sleep_machine(BACKOFF_S[0])
            await self._connect()

    async def _attach(self) -> None:
        """Connect, and see to it that it is the account that was there before."""
        if self._options.before_connect is not None:
            await self._options.before_connect()
        account = await self._broker.connect()
        self.account, self._desk.account = account, (account.login, account.server)
        self._desk.margin_mode = account.margin_mode
        self.pending = self.pending or self._desk.settings  # what is known of this broker may ask for longer waits

    async def _recover(self) -> None:
        """Match the store with the broker, before anything is decided; read the store once the authority is held."""
        started = self._clock.machine_s()
        self._lease.forget_fence()
        summary = await self._recovery.run()
        self._loop.scan_soon()
        self._recovered = self._is_matched = True
        assert self.account is not None, "recovered without a broker"
        self._outage.over(self.account)
        log.info("recovered", told=summary, seconds=round(self._clock.machine_s() - started, 3))
        await self._record(FactKind.RECOVERED, summary)

    async def stop(self) -> None:
        """Finish the call in hand, record its outcome, give the lease back, close the store."""
        self._stopping, at = True, self.step
        self.step = Step.STOPPING
        await self._end_start(at)
        await self._stop_tasks()
        try:
            await self._record(FactKind.STOPPED, f"{self._name} stopped")
            await self._lease.release()
        except StoreFailed as error:
            log.error("store_failed_at_stop", told=str(error))
        await self._store.close()

    async def _end_start(self, at: Step) -> None:
        """End a start that goes on: at once while it waits for the broker, else after the step in hand."""
        if self._starting is None:
            return
        if at is Step.BROKER:
            self._starting.cancel()
        await asyncio.wait({self._starting}, timeout=5.0)

    async def _stop_tasks(self) -> None:
        """Let the loop end by itself, so that no broker call is cut off; the lease's keeper can go at once."""
        self._stopping = True
        if self._running is not None:
            if self._is_resting:
                self._running.cancel()
            _, pending = await asyncio.wait({self._running}, timeout=8.0)
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
                await self._renew_lease()
            except StoreFailed as error:
                self.note_store_failure(error)
            except Exception as error:
                # Without the lease nothing is done any more: whatever went wrong, it is tried again.
                log.error("lease_not_renewed", told=str(error), exc_info=not isinstance(error, DtmsError))

    async def _renew_lease(self) -> None:
        if not await self._lease.renew():
            log.error("authority_lost", told=f"the {self._lease.key} lease ran out, or went to another process")
            await self._lease.acquire()
            self._is_matched = False  # another process may have acted meanwhile

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
            await self._record_death(FactKind.NEEDS_ATTENTION, f"no trade is watched any more: {told}", "CRITICAL")
            return False
        self._restarts_ms.append(now)
        await self._record_death(FactKind.LOOP_RESTARTED, f"the monitoring loop died: {told}", "ERROR")
        await self._clock.sleep_machine(1.0)
        return True

    async def _record_death(self, kind: FactKind, told: str, alert: str) -> None:
        """Put it into the journal that the loop died, if the store still takes it."""
        fact = self._desk.journal.fact(kind, told, details={"alert": alert, "program": self._lease.key})
        try:
            await self._store.commit(Unit(facts=(fact,)))
        except StoreFailed as failed:
            log.error("restart_not_recorded", told=str(failed))

    async def _run(self) -> None:
        while not self._stopping:
            started = self._clock.machine_s()
            await self._one_cycle()
            spent = self._clock.machine_s() - started
            interval = self._desk.settings.cadence.tick_poll_ms / 1000
            if spent > interval:
                self._overruns += 1
            self._is_resting = True
            await self._clock.sleep_machine(max(interval - spent, 0.001))
            self._is_resting = False

    async def _one_cycle(self) -> None:
        """Run one cycle; a broker or store that is away makes the engine unready and is waited for."""
        started = self._clock.machine_s()
        self._cycle_start_ms = self._clock.market_ms()
        if self.pending is not None:
            self._adopt(self.pending)
        try:
            if await self._is_repaired():
                await self._recovery.watch_left_out()
                await self._loop.run_cycle()
                self._cycle_outcome = "ok"
        except BrokerUnavailable as error:
            await self._note_away(error)
        except PermissionGone as error:
            self._note_outage("authority", error)
            self._is_matched = False  # another process may have acted meanwhile
        except StoreFailed as error:
            self.note_store_failure(error)
        self._cycle_end_s = self._clock.machine_s()
        self._cycle_duration_s = self._cycle_end_s - started

    async def _note_away(self, error: BrokerUnavailable) -> None:
        self._broker_ok = False
        self._cycle_outcome, alert = self._outage.note(error)
        if alert is not None:
            try:
                await self._store.commit(Unit(facts=(alert,)))
            except StoreFailed as failed:
                self.note_store_failure(failed)

    def note_store_failure(self, error: DtmsError) -> None:
        """Acknowledge nothing more until the store was reopened and verified: somebody's read or commit failed."""
        self._note_outage("store", error)
        self.store_ok = False

    def _note_outage(self, what: str, error: DtmsError) -> None:
        told = f"{what} unavailable: {error}"
        if self._cycle_outcome != told:
            log.error(f"{what}_unavailable", told=str(error))
        self._cycle_outcome = told

    async def _is_repaired(self) -> bool:
        """After an outage believe nothing: reopen the store, reconnect, recover; False while it may not be done.

        Without the authority another process may be acting: the store alone is mended, because without it the
        authority cannot be had back.
        """
        if not self.store_ok:
            self._is_matched = False
            if self._clock.machine_s() < self._reopen_at_s:
                return False
            self._reopen_at_s = self._clock.machine_s() + REOPEN_S
            await self._store.reopen()
            await self._load()
            self.store_ok = True
        if not self._lease.is_held:
            self._is_matched = False
            self._cycle_outcome = self._lease.not_held
            return False
        if not (self._broker_ok and self._is_matched):
            self._is_matched = False
            await self._attach()
            self._broker_ok = True
            await self._recover()
        return True

    def _adopt(self, settings: Settings) -> None:
        """Use new settings from now on."""
        settings = self._options.patience(settings)
        self._desk.settings = settings
        self.pending = None
        self._loop.use(settings)
        self._loop.scan_soon()

    async def _record(self, kind: FactKind, summary: str) -> None:
        await self._store.commit(Unit(facts=(self._desk.journal.fact(kind, summary),)))

    # --- health ----------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        reasons = self.reasons()
        return Health(
            step=self.step,
            recovered=self._recovered,
            ready=not reasons,
            monitoring_active=self._is_looping(),
            active_trades=self._loop.active,
            broker_connected=self._broker_ok,
            store_ok=self.store_ok and self.step not in (Step.CONFIGURATION, Step.STORE),
            reasons=reasons,
            failure=self.failure,
        )

    def reasons(self) -> tuple[str, ...]:
        """Say why it is not ready; nothing when it is, which is asked with every request."""
        if self._is_ready():
            return ()
        checks: tuple[tuple[bool, str], ...] = (
            (self.failure is not None, f"initialisation failed: {self.failure}"),
            (self.step is Step.STOPPING, "stopping"),
            (self.step not in (Step.READY, Step.FAILED, Step.STOPPING), f"starting: {self.step.value}"),
            (self.step is Step.READY and not self._is_looping(), f"monitoring stopped: {self._cycle_outcome}"),
            (self.step is Step.READY and not self._broker_ok, self._cycle_outcome),
            (not self.store_ok, self._cycle_outcome),
            (self.step is Step.READY and not self._is_matched, "recovering: store and broker are being matched"),
            (self.step is Step.READY and not self._lease.is_held, self._lease.not_held),
        )
        return tuple(told for holds, told in checks if holds)

    def _is_ready(self) -> bool:
        is_running = self.step is Step.READY and self._is_looping() and self.failure is None
        return is_running and self._broker_ok and self.store_ok and self._is_matched and self._lease.is_held

    def _is_looping(self) -> bool:
        return self._running is not None and not self._running.done()

    def monitoring(self) -> Monitoring:
        now = self._clock.wall_ms()
        return Monitoring(
            alive=self._is_looping(),
            age_s=self._clock.machine_s() - self._cycle_end_s,
            interval_s=self._desk.settings.cadence.tick_poll_ms / 1000,
            last_start_ms=self._cycle_start_ms,
            last_duration_s=self._cycle_duration_s,
            last_outcome=self._cycle_outcome,
            cycles=self._loop.counts.cycles,
            overruns=self._overruns,
            restarts_last_hour=sum(1 for at in self._restarts_ms if at >= now - HOUR_MS),
            stale_symbols=dict(self._loop.counts.stale),
        )
