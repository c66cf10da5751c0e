"""A store that makes itself anew: what cannot be trusted is set aside when it is opened, and rebuilt."""

import structlog

from dtms.adapters.store_sql.archive import archive, prune
from dtms.adapters.store_sql.earlier import DONE, read_earlier, remembered
from dtms.adapters.store_sql.keeper import Keeper
from dtms.adapters.store_sql.pending import FORGET
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.store_sql.writer import Witness
from dtms.domain.errors import StoreDamaged
from dtms.ports.clock import Clock
from dtms.ports.store import KeptKind, Unit

log = structlog.get_logger(__name__)
IDLE_LEASES = 1_000
"""How many leases that nobody holds are removed at once."""


class GuardedStore(SqlStore):
    """A store on a file with a keeper: it hears every change, and is asked at every opening."""

    def __init__(self, url: str, clock: Clock, keeper: Keeper, *, inline: bool = False) -> None:
        super().__init__(url, clock, inline=inline, after_commit=keeper.hear, leaves_changes=keeper.is_unheard)
        self._keeper = keeper

    async def _open(self, witness: Witness | None) -> None:
        """Open; a file that is damaged, gone or older than its change log is rebuilt first.

        Raises:
            Misconfigured: for a newer schema or an unsound SQLite library.
            StoreFailed: when it cannot be read or written, or not be rebuilt; nothing was deleted.
        """
        doubt = await self._aside(self._keeper.doubt)
        if doubt is not None:
            await self._aside(lambda: self._keeper.rebuild(doubt))
            witness = None
        try:
            await super()._open(witness)
        except StoreDamaged as error:
            why = str(error)
            await self._aside(lambda: self._keeper.rebuild(why))
            await super()._open(None)
        await self._aside(self._keeper.opened)
        await self._import_earlier()

    async def _import_earlier(self) -> None:
        """Read an earlier system's table in this file, once."""
        if await self.kept(KeptKind.WORK, DONE):
            return
        wall_ms = self._clock.wall_ms()
        imported = await self._write(lambda tx: read_earlier(tx, wall_ms))
        waiting = () if imported is None else imported.waiting
        await self.commit(Unit(keep=(*waiting, remembered(imported, wall_ms))))
        if imported is not None:
            log.warning("earlier_trades_read", waiting=len(waiting), ended=imported.ended, told=imported.unreadable)

    async def close(self) -> None:
        await super().close()
        await self._aside(self._keeper.closed)

    async def forget_left(self, number: int) -> None:
        """Remove the changes up to a number that were left for the change log, and are in it on the disk."""
        await self._opened().leases.submit(lambda tx: tx.run(FORGET, {"number": number}))

    async def archive(self, before_ms: int, limit: int) -> int:
        """Move up to ``limit`` trades that were closed before a moment of market time to the archive.

        What ended then of registry, managers and plans is removed, as are leases that nobody holds.
        """
        moved = await self._write(lambda tx: archive(tx, before_ms, limit))
        await self._write(lambda tx: prune(tx, before_ms, limit))
        await self._write(lambda tx: self._desk.prune(tx, IDLE_LEASES))
        return moved
