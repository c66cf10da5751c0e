"""The store port on SQL: one writer with group commit, readers beside it, leases and numbers among the works."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from dtms.adapters.store_sql.backup import stamp
from dtms.adapters.store_sql.leases import (
    Answer,
    LeaseDesk,
    LeaseEvent,
    LeaseEventKind,
    LeaseLog,
    LeaseWorld,
    this_world,
)
from dtms.adapters.store_sql.numbers import Numbers, reserve
from dtms.adapters.store_sql.opening import make_sound
from dtms.adapters.store_sql.permitted import standing_of
from dtms.adapters.store_sql.reader import Reader
from dtms.adapters.store_sql.reads import Reads
from dtms.adapters.store_sql.sqlite import SqliteDatabase, path_of
from dtms.adapters.store_sql.trust import Trust
from dtms.adapters.store_sql.units import apply, prepare
from dtms.adapters.store_sql.writer import Committer, Hear, Transaction, Witness, nobody_asks
from dtms.adapters.store_sql.writers import InlineWriter, ThreadWriter, Writer
from dtms.domain.errors import LeaseHeld, StoreFailed
from dtms.domain.owners import Standing
from dtms.ports.clock import Clock
from dtms.ports.store import Grant, Kept, KeptKind, Lease, Unit

T = TypeVar("T")

Granted = tuple[Answer, Standing | None]

READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What exists while the store is open."""

    committer: Committer
    writer: Writer
    leases: Writer
    """Beside the writer, because what it commits need not wait for the disk; the same where nothing runs beside."""
    reader: Reader
    trust: Trust
    threads: ThreadPoolExecutor | None
    anchor: Any
    """A connection that keeps the log from being settled; None for a database in memory."""

    def let_go(self) -> None:
        if self.anchor is not None:
            self.anchor.close()


class SqlStore(Reads):
    """Fulfil ``dtms.ports.store.Store``.

    ``inline`` commits within the call and uses no threads, for replay and simulation; a database in memory is always
    inline. ``after_commit`` hears, on the writer's thread, what each committed transaction wrote; where
    ``leaves_changes`` says so that is left in the store for another process. ``clock.machine_s``
    must be a clock that all processes of the machine share, unless ``world`` brings one.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        inline: bool = False,
        world: LeaseWorld | None = None,
        on_lease: Callable[[LeaseEvent], None] | None = None,
        after_commit: Hear | None = None,
        leaves_changes: Callable[[], bool] = nobody_asks,
    ) -> None:
        self._path = path_of(url)
        self._clock = clock
        self._inline = inline or self._path is None
        self._desk = LeaseDesk(world or this_world(clock.machine_s))
        self._lease_log = LeaseLog(on_lease)
        self._after_commit = after_commit
        self._leaves_changes = leaves_changes
        self._numbers = Numbers()
        self._now: _Open | None = None
        self._reopening = asyncio.Lock()
        self._taking_back: set[asyncio.Future[None]] = set()
        self._witness = Witness()
        """What was committed last before it was closed."""

    async def open(self) -> None:
        """Open, migrate and verify.

        Raises:
            Misconfigured: for a newer schema or an unsound SQLite library.
            StoreFailed: for a file that is damaged, or no database.
        """
        await self._open(None)

    async def _open(self, witness: Witness | None) -> None:
        """Open; after a failure ``witness`` is what must be found again."""
        database = await self._aside(partial(SqliteDatabase, self._path))
        await self._aside(partial(make_sound, database, witness))
        trust = Trust(self._path)
        committer = Committer(database, trust, self._after_commit, witness, leaves=self._leaves_changes)
        writer: Writer = InlineWriter(committer) if self._inline else ThreadWriter(committer)
        self._now = _Open(
            committer=committer,
            writer=writer,
            leases=writer if self._inline else ThreadWriter(Committer(database, trust, relaxed=True)),
            reader=Reader(database.reading_engine(READERS), trust),
            trust=trust,
            threads=None if self._inline else ThreadPoolExecutor(READERS, thread_name_prefix="store-reader"),
            anchor=None if self._path is None else await self._aside(database.anchor),
        )

    async def close(self) -> None:
        """Commit what waits and let go of the file; closing twice is closing once.

        After an error the log is left as it is.
        """
        now, self._now = self._now, None
        if now is None:
            return
        self._witness = now.committer.witness
        is_kept = now.trust.keeps_log
        now.trust.part(stamp(self._clock.wall_ms()))
        if not is_kept:
            now.let_go()
        if now.leases is not now.writer:
            await now.leases.stop()
        await now.writer.stop()
        if now.threads is not None:
            await asyncio.to_thread(now.threads.shutdown)
        now.reader.engine.dispose()
        now.let_go()

    @property
    def commits(self) -> int:
        """How many transactions were committed since it was opened."""
        return self._opened().committer.commits

    @property
    def failure(self) -> str | None:
        """Say why nothing is read or written until ``reopen``; None while the store works, or is closed."""
        return None if self._now is None else self._now.trust.failure

    async def reopen(self) -> None:
        """Close what is open, open the file anew, settle its log and verify it.

        Raises:
            StoreFailed: when it still cannot be trusted, or is not the store that was open.
        """
        async with self._reopening:
            await self.close()
            await self._open(self._witness)

    async def commit(self, unit: Unit) -> Sequence[int]:
        """Commit a unit durably and return the ids of its facts.

        Raises:
            PermissionGone, AlreadyStored: nothing of the unit was written. ``LeaseHeld`` and ``ChangedMeanwhile`` are
                kinds of the first.
            InvariantBroken: when a value in it cannot be stored (NaN, infinity); nothing was written.
        """
        # Only trades carry the time, and before the terminal was asked for it there are none to write.
        now_ms = self._clock.market_ms() if unit.create or unit.trades else 0
        prepared = prepare(unit, now_ms, self._clock.wall_ms() if unit.keep else 0)
        try:
            applied = await self._write(lambda tx: apply(tx, prepared, self._desk))
        except LeaseHeld as error:
            self._tell_refused(error)
            raise
        for event in applied.events:
            self._lease_log.tell(event)
        return applied.ids

    async def next_intent_numbers(self, count: int) -> range:
        given = self._numbers.take(count)
        if given is not None:
            return given
        return self._numbers.give_from(await self._write(partial(reserve, count=count)), count)

    async def kept(self, kind: KeptKind, key: str | None = None) -> Sequence[Kept]:
        return await self._read(lambda reader: reader.kept(kind, key, self._clock.wall_ms()))

    @property
    def lease_counts(self) -> Mapping[str, int]:
        """How many leases were granted, refused, expired, renewed, lost and released by this store, by that word."""
        return dict(self._lease_log.counts)

    async def grant(
        self, key: str, holder: str, ttl_s: float, *, ticket: int | None, superseding: int | None = None
    ) -> Grant:
        """Take or re-take a lease with a higher token, and read the ticket's standing in the same transaction.

        Raises:
            LeaseHeld: while another live holder has it; or while one that let it lapse could still send under it, and
                ``superseding`` is not that one's token.
        """

        def work(tx: Transaction) -> Granted:
            answer = self._desk.grant(tx, key, holder, ttl_s, superseding)
            return answer, standing_of(tx, ticket) if answer.lease is not None else None

        try:
            answer, standing = await self._grant(work)
        except LeaseHeld as error:
            self._tell_refused(error)
            raise
        self._tell(answer)
        if answer.lease is None or standing is None:
            raise LeaseHeld(key, answer.holder.holder, answer.holder.token)
        return Grant(lease=answer.lease, standing=standing)

    def _tell_refused(self, error: LeaseHeld) -> None:
        kind = LeaseEventKind.REFUSED
        self._lease_log.tell(LeaseEvent(kind=kind, key=error.key, holder=error.holder, token=error.token))

    async def _grant(self, work: Callable[[Transaction], Granted]) -> Granted:
        leases = self._opened().leases
        if self._inline:
            return await leases.submit(work)
        granting = asyncio.ensure_future(leases.submit(work))
        try:
            return await asyncio.shield(granting)
        except asyncio.CancelledError:
            granting.add_done_callback(self._take_back)
            raise

    def _take_back(self, granting: "asyncio.Future[Granted]") -> None:
        """Give a lease back that was granted to somebody who waits no more."""
        if granting.cancelled() or granting.exception() is not None or (lease := granting.result()[0].lease) is None:
            return
        self._tell(granting.result()[0])
        giving = asyncio.ensure_future(self.release(lease))
        self._taking_back.add(giving)
        giving.add_done_callback(self._taken_back)

    def _taken_back(self, giving: "asyncio.Future[None]") -> None:
        self._taking_back.discard(giving)
        if not giving.cancelled():
            giving.exception()  # of a store that failed: the lease runs out by itself

    async def acquire(self, key: str, holder: str, ttl_s: float) -> Lease | None:
        return await self._lease(lambda tx: self._desk.acquire(tx, key, holder, ttl_s))

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        return await self._lease(lambda tx: self._desk.renew(tx, lease, ttl_s))

    async def release(self, lease: Lease) -> None:
        await self._lease(lambda tx: self._desk.release(tx, lease))

    async def _lease(self, work: Callable[[Transaction], Answer]) -> Lease | None:
        """Commit a lease's change, and tell of it only then."""
        answer = await self._opened().leases.submit(work)
        self._tell(answer)
        return answer.lease

    def _tell(self, answer: Answer) -> None:
        for event in answer.events:
            self._lease_log.tell(event)

    def _opened(self) -> _Open:
        if self._now is None:
            raise StoreFailed("the store is not open")
        return self._now

    async def _write(self, work: Callable[[Transaction], T]) -> T:
        return await self._opened().writer.submit(work)

    async def _read(self, query: Callable[[Reader], T]) -> T:
        now = self._opened()
        if now.threads is None:
            return query(now.reader)
        return await asyncio.get_running_loop().run_in_executor(now.threads, query, now.reader)

    async def _aside(self, step: Callable[[], T]) -> T:
        """Run a slow step off the loop, unless nothing may run beside it."""
        return step() if self._inline else await asyncio.to_thread(step)
