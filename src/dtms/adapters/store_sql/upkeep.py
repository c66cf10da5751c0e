"""Keeping a store in good order while it is used: its log on the disk, backups, a look at every row, the archive."""

import asyncio

import structlog

from dtms.adapters.store_sql.archive import DAY_MS
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.keeper import Keeper
from dtms.adapters.store_sql.rebuild import Rebuilt
from dtms.adapters.store_sql.verify import Place
from dtms.domain.errors import StoreDamaged
from dtms.domain.facts import Json
from dtms.ports.clock import Clock

log = structlog.get_logger(__name__)

ARCHIVED_AT_ONCE = 20


class Upkeep:
    """The work of one store; each method does what is due now, and is called again and again."""

    def __init__(
        self, store: GuardedStore, keeper: Keeper, clock: Clock, *, backup_every_h: float, archive_after_days: float
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._backup_every_ms = backup_every_h * 3_600_000
        self._archive_after_ms = int(archive_after_days * DAY_MS)
        self._place: Place | None = None
        self._scrubbed = 0
        self._passes = 0
        self._told: Rebuilt | None = None

    async def sync_log(self) -> None:
        """Bring the change log to the disk, with what other processes have left for it; keep the store if none does."""
        number = await asyncio.to_thread(self._keeper.write_down)
        if number:
            await self._store.forget_left(number)

    async def back_up(self) -> None:
        """Make a backup when one is due.

        Raises:
            StoreFailed: when there is no new backup.
        """
        if self._is_time() or self._keeper.is_backup_due:
            await asyncio.to_thread(self._keeper.back_up)

    def _is_time(self) -> bool:
        """Answer whether the newest backup is old; one from the future tells that the wall clock went back."""
        last_ms = self._keeper.last_backup_ms
        return last_ms is None or not 0 <= self._clock.wall_ms() - last_ms < self._backup_every_ms

    async def archive(self) -> None:
        """Move some of the trades that ended long ago."""
        moved = await self._store.archive(self._clock.market_ms() - self._archive_after_ms, ARCHIVED_AT_ONCE)
        if moved:
            log.info("archived", trades=moved)

    async def scrub(self) -> None:
        """Look at the next rows of a pass over the whole store.

        Raises:
            StoreDamaged: naming rows that are not what was written.
        """
        found = await self._store.scrub(self._place)
        self._place = found.next
        self._scrubbed += found.rows
        self._passes += found.next is None
        if found.damages:
            raise StoreDamaged(found.damages, is_vital=False)

    def rebuilt_news(self) -> str | None:
        """Return what the store was rebuilt from, once each time."""
        before, self._told = self._told, self._keeper.rebuilt
        return self._told.told() if self._told is not None and self._told is not before else None

    def as_json(self) -> dict[str, Json]:
        """Tell what was done, for a status."""
        rebuilt = self._keeper.rebuilt
        return {
            "last_backup": self._keeper.newest.path.name if self._keeper.newest else None,
            "last_backup_ms": self._keeper.last_backup_ms,
            "change_log": self._keeper.log.failure or "ok",
            "rows_scrubbed": self._scrubbed,
            "scrub_passes": self._passes,
            "rebuilt": rebuilt.told() if rebuilt else None,
        }
