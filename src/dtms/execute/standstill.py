"""An account on which nothing can be done: trading switched off in the terminal, by the broker, or for programs.

A person is called once; watching goes on; nothing is sent while it lasts. It ends when the account's and terminal's own
flags say so. Where they never said otherwise (the broker refuses, and shows no flag), a request may try again after
``PROBE_MS``, and the first that is not refused like this ends it.
"""

from dataclasses import dataclass

import structlog

from dtms.domain.account import Account
from dtms.domain.actions import Ending, Outcome
from dtms.domain.facts import Fact, FactKind
from dtms.execute.answers import STANDSTILL
from dtms.execute.journal import Journal
from dtms.ports.clock import Clock
from dtms.ports.store import Store, Unit

log = structlog.get_logger(__name__)

PROBE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why nothing can be done, whether the flags say it, and when a request may try again (market milliseconds)."""

    reason: str
    is_flagged: bool
    probe_ms: int = 0


class Standstill:
    """Knows whether anything can be done on the account."""

    def __init__(self, *, store: Store, clock: Clock, journal: Journal) -> None:
        self._store = store
        self._clock = clock
        self._journal = journal
        self._stopped: Stopped | None = None

    @property
    def reason(self) -> str | None:
        """Why nothing can be done now, or None."""
        return None if self._stopped is None else self._stopped.reason

    async def check(self, account: Account) -> str | None:
        """Return why nothing may be sent, by a fresh look at the account's flags; None when something may."""
        stopped = self._stopped
        if not account.trade_allowed:
            if stopped is None or not stopped.is_flagged:
                reason = "trading is switched off, in the terminal or on the account"
                await self._stop(Stopped(reason=reason if stopped is None else stopped.reason, is_flagged=True))
        elif stopped is not None and stopped.is_flagged:
            await self._end("the account and the terminal allow trading again")
        elif stopped is not None and self._clock.market_ms() >= stopped.probe_ms:
            return None  # nothing says whether it is over, so one request finds out
        return self.reason

    async def note(self, outcome: Outcome) -> None:
        """Learn from how a request ended."""
        if outcome.retcode in STANDSTILL and outcome.ending is Ending.FAILED:
            flagged = self._stopped is not None and self._stopped.is_flagged
            probe_ms = self._clock.market_ms() + PROBE_MS
            await self._stop(Stopped(reason=outcome.reason, is_flagged=flagged, probe_ms=probe_ms))
        elif self._stopped is not None and outcome.retcode:
            await self._end(f"a request was answered with {outcome.retcode}")

    async def _stop(self, stopped: Stopped) -> None:
        is_new, self._stopped = self._stopped is None, stopped  # before the commit: nothing more is to go out
        if is_new:
            log.critical("cannot_act", told=stopped.reason)
            told = f"nothing can be done on this account: {stopped.reason}"
            await self._commit(self._journal.fact(FactKind.NEEDS_ATTENTION, told, details={"alert": "CRITICAL"}))

    async def _end(self, why: str) -> None:
        self._stopped = None
        log.warning("can_act", told=why)
        told = f"requests are sent again: {why}"
        await self._commit(self._journal.fact(FactKind.RECOVERED, told, details={"alert": "WARNING"}))

    async def _commit(self, fact: Fact) -> None:
        await self._store.commit(Unit(facts=(fact,)))
