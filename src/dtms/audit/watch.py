"""The audit while dtms runs: a picture now and then, the checks over it, and an alert for each breach that stays.

It is a task of its own that only reads; what it finds is a fact with an alert, never an act. A breach is believed when
a second picture shows it too, because what is half-way between broker and store looks like one.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from dtms.audit.gather import Asking, Unsteady, gather
from dtms.audit.invariants import AUDITED, Judgement, judge
from dtms.audit.violations import Violation
from dtms.audit.world import Look, World
from dtms.domain.errors import BrokerUnavailable, StoreFailed
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import Mode
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Kept, KeptKind, Store, Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

OVERLAP_MS = 900_000
"""How far an audit looks back beyond the one before: what needs some minutes to be wrong is seen whole."""
FIRST_MS = 3_600_000
"""How far the first one looks back."""
KEY = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """One audit: when (market time, and the machine's), what was checked, what broke; ``failed`` when it could not."""

    market_ms: int
    machine_ms: int
    judged: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    violations: tuple[Violation, ...] = ()
    failed: str | None = None

    def as_json(self) -> dict[str, Json]:
        """Show it, for a status."""
        return {
            "at_ms": self.machine_ms,
            "checked": list(self.judged),
            "not_checked": list(self.skipped),
            "violations": [_shown(violation) for violation in self.violations],
            "failed": self.failed,
        }


def _shown(violation: Violation) -> dict[str, Json]:
    return {
        "invariant": violation.number,
        "ticket": violation.ticket,
        "about": violation.about,
        "words": violation.words,
        "figures": dict(violation.figures),
    }


class Auditor:
    """Audits what runs; ``looks`` tells when each active trade was last looked at, ``mode`` the account's mode."""

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        clock: Clock,
        settings: Callable[[], Settings],
        mode: Callable[[], Mode],
        looks: Callable[[], Mapping[int, Look]] | None = None,
    ) -> None:
        self._broker = broker
        self._store = store
        self._clock = clock
        self._settings = settings
        self._mode = mode
        self._looks = looks
        self._since_ms: int | None = None
        self._stops: Mapping[int, float | None] | None = None
        self._told: frozenset[str] | None = None
        self._first: tuple[int, float] | None = None
        self.last: AuditResult | None = None

    async def run(self) -> None:
        """Audit for ever; cancel to end it."""
        while True:
            await self._clock.sleep_machine(self._settings().audit.every_s)
            await self.audit()

    async def audit(self) -> AuditResult:
        """Audit once; what goes wrong with it is its result, and disturbs nobody."""
        try:
            self.last = await self._audit()
        except (BrokerUnavailable, StoreFailed, Unsteady, TimeoutError) as error:
            self.last = self._failed(error)
            log.warning("audit_not_possible", told=self.last.failed)
        except Exception as error:
            self.last = self._failed(error)
            log.error("audit_failed", exc_info=error)
        return self.last

    def _failed(self, error: Exception) -> AuditResult:
        told = f"{type(error).__name__}: {error}"
        return AuditResult(market_ms=self._since_ms or 0, machine_ms=self._clock.wall_ms(), failed=told)

    async def _audit(self) -> AuditResult:
        settings = self._settings().audit
        began_ms = self._clock.market_ms()
        since_ms = (began_ms - FIRST_MS) if self._since_ms is None else self._since_ms - OVERLAP_MS
        world, found = await self._look(since_ms)
        violations = found.violations
        if violations:
            await self._clock.sleep_machine(settings.confirm_s)
            world, again = await self._look(since_ms)
            still = {violation.key for violation in violations}
            violations = tuple(violation for violation in again.violations if violation.key in still)
        await self._tell(violations)
        self._since_ms = began_ms  # only now: what could not be told is found again
        self._stops = {p.identifier: p.stop for p in world.ledger.positions.values()}
        return AuditResult(
            market_ms=world.now_ms,
            machine_ms=self._clock.wall_ms(),
            judged=found.judged,
            skipped=found.skipped,
            violations=violations,
        )

    async def _look(self, since_ms: int) -> tuple[World, Judgement]:
        settings = self._settings()
        asking = Asking(
            since_ms=since_ms,
            settings=settings,
            mode=self._mode(),
            looks=self._looks,
            stops_before=self._stops,
            machine_s=self._clock.machine_s(),
            slack_ms=self._slack_ms(),
        )
        async with asyncio.timeout(settings.audit.time_limit_s):
            world = await gather(self._broker, self._store, asking)
            # In a thread: over ten thousand trades it takes long enough to be felt on the loop.
            return world, await asyncio.to_thread(judge, world, AUDITED)

    def _slack_ms(self) -> int:
        """Return how much market time passes in a second; a simulated market may go faster than the machine."""
        now = self._clock.market_ms(), self._clock.machine_s()
        first = self._first = self._first or now
        passed_s = now[1] - first[1]
        return max(1_000, round((now[0] - first[0]) / passed_s)) if passed_s >= 1.0 else 1_000

    # --- telling ---------------------------------------------------------------------------------------------------

    async def _tell(self, violations: tuple[Violation, ...]) -> None:
        """Record what is new; what is no longer so is told again when it returns, also after a restart."""
        told = self._told if self._told is not None else await self._told_before()
        keys = frozenset(violation.key for violation in violations)
        new = [violation for violation in violations if violation.key not in told]
        if keys != told:
            body: dict[str, Json] = {"told": [*sorted(keys)]}
            kept = Kept(kind=KeptKind.WORK, key=KEY, body=body, at_ms=self._clock.wall_ms())
            await self._store.commit(Unit(facts=[self._fact(violation) for violation in new], keep=(kept,)))
        self._told = keys
        for violation in new:
            log.critical("invariant_broken", ticket=violation.ticket, told=str(violation))

    async def _told_before(self) -> frozenset[str]:
        kept = await self._store.kept(KeptKind.WORK, KEY)
        told = kept[0].body.get("told") if kept else None
        return frozenset(map(str, told)) if isinstance(told, list) else frozenset()

    def _fact(self, violation: Violation) -> Fact:
        return Fact(
            kind=FactKind.AUDIT_VIOLATION,
            ticket=violation.ticket,
            market_ms=self._clock.market_ms(),
            machine_ms=self._clock.wall_ms(),
            summary=f"invariant {violation.number} is broken: {violation.about}: {violation.words}",
            details={**_shown(violation), "alert": "CRITICAL"},
        )
