"""What is done beside the monitoring loop now and then: backups, scrubbing, archiving, audits.

Each chore runs by itself on the machine's clock. One that fails is recorded, once per reason, and tried again; the
loop and the other chores do not notice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from dtms.domain.errors import DtmsError
from dtms.domain.facts import FactKind
from dtms.execute.journal import Journal
from dtms.ports.clock import Clock
from dtms.ports.store import Store, Unit

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something to be done every ``every_s`` machine seconds, for the first time after ``first_s``."""

    name: str
    every_s: float
    work: Callable[[], Awaitable[None]]
    first_s: float = 0.0


class Chores:
    """Does chores until it is stopped."""

    def __init__(self, *, clock: Clock, store: Store, journal: Journal, chores: Sequence[Chore]) -> None:
        self._clock = clock
        self._store = store
        self._journal = journal
        self._chores = chores
        self.failures: dict[str, str] = {}
        """Why each chore failed when it was last tried."""

    async def run(self) -> None:
        """Do every chore at its time, for ever."""
        async with asyncio.TaskGroup() as group:
            for chore in self._chores:
                group.create_task(self._keep_doing(chore), name=chore.name)

    async def _keep_doing(self, chore: Chore) -> None:
        await self._clock.sleep_machine(chore.first_s)
        while True:
            await self._do(chore)
            await self._clock.sleep_machine(chore.every_s)

    async def _do(self, chore: Chore) -> None:
        try:
            await chore.work()
            self.failures.pop(chore.name, None)
        except DtmsError as error:
            await self._record(chore, str(error))
        except Exception as error:  # the edge of a chore: it records and isolates
            log.error("chore_failed", chore=chore.name, exc_info=error)
            await self._record(chore, f"{type(error).__name__}: {error}")

    async def _record(self, chore: Chore, why: str) -> None:
        if self.failures.get(chore.name) == why:
            return
        self.failures[chore.name] = why
        log.error("chore_failed", chore=chore.name, told=why)
        details = {"chore": chore.name, "reason": why, "alert": "ERROR"}
        fact = self._journal.fact(FactKind.CHORE_FAILED, f"{chore.name} failed: {why}", details=details)
        try:
            await self._store.commit(Unit(facts=(fact,)))
        except DtmsError as error:  # whatever it is must not end the other chores
            log.error("chore_failure_not_recorded", told=str(error))
