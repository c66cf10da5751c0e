"""All that is particular to SQLite: the bundled library, opening, pragmas, checks.

PostgreSQL gets a sibling of this file. The driver is ``pysqlite3`` because its wheels bundle a library of
their own: those before 3.51.3 can corrupt a WAL.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from dtms.adapters.store_sql.files import make_private
from dtms.domain.errors import Misconfigured, StoreDamaged, StoreFailed

LIBRARY_MIN = (3, 51, 3)
BUSY_TIMEOUT_MS = 5_000
OWNER_ONLY = 0o600

BEGIN = "BEGIN IMMEDIATE"
"""Take the write lock at once: what a transaction reads stays true until it commits, whoever else writes."""

RELAXED_LOG_PAGES = 8_000
PAUSES_S = ((0.001, 0.0003), (0.02, 0.0001), (0.5, 0.0003))
"""Whoever has waited less than so long for the write lock looks again after such a pause: who waits for longer looks
more often. Most locks last less than a millisecond, and SQLite's own waiting, with pauses that grow to 100 ms, lets
newcomers go first."""
LONG_PAUSE_S = 0.005
"""Of a lock that lasts: somebody waits for the disk."""

DriverError: type[Exception] = driver.Error
UNIT_ERRORS: tuple[type[Exception], ...] = (
    driver.IntegrityError,
    driver.InterfaceError,
    driver.ProgrammingError,
    driver.DataError,
    OverflowError,
    UnicodeEncodeError,
)
"""Errors of the values of one unit; any other error of the driver concerns the whole store."""


def require_library(version: tuple[int, ...] = driver.sqlite_version_info) -> None:
    """Refuse a library with the WAL corruption bug.

    Raises:
        Misconfigured: when it is older than 3.51.3.
    """
    if version < LIBRARY_MIN:
        have, need = (".".join(map(str, v)) for v in (version, LIBRARY_MIN))
        raise Misconfigured(
            f"SQLite {have} can corrupt a write-ahead log: {need} or newer is needed (update pysqlite3)"
        )


def path_of(url: str) -> Path | None:
    """Read the file out of a store URL; None is a database in memory.

    Raises:
        Misconfigured: for a URL of another kind.
    """
    try:
        read = make_url(url)
    except ArgumentError as error:
        raise Misconfigured(f"the store URL {url!r} cannot be read: {error}") from error
    if read.get_backend_name() != "sqlite" or read.host:
        raise Misconfigured(f"the store must be sqlite:///path, not {read.render_as_string(hide_password=True)!r}")
    return Path(read.database) if read.database and read.database != ":memory:" else None


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    """One database: a file, or memory when ``path`` is None (then all share one connection)."""

    path: Path | None
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        require_library()
        object.__setattr__(self, "engine", self._engine())

    def connect(self, mode: str = "rw") -> Any:
        """Open a plain connection to what exists: a file that vanished is not made anew.

        One with ``mode="ro"`` changes nothing, not even when it is the last to be closed.
        """
        name = f"{self.path.resolve().as_uri()}?mode={mode}" if self.path else ":memory:"
        wait_s = BUSY_TIMEOUT_MS / 1000
        connection = driver.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=wait_s)
        connection.text_factory = _text
        return connection

    def anchor(self) -> Any:
        """Open a connection that only reads and holds on to file and log.

        As long as it is open, others that close settle nothing; when it closes last, the log stays as it is.
        """
        connection = self.connect("ro")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        return connection

    def _engine(self) -> Engine:
        pool = NullPool if self.path else StaticPool
        engine = create_engine("sqlite+pysqlite://", module=driver, creator=self.connect, poolclass=pool)
        event.listen(engine, "connect", lambda connection, _: prepare_writer(connection))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(BEGIN))
        return engine

    def reading_engine(self, connections: int) -> Engine:
        """Return an engine whose connections can only read, never more than ``connections`` of them."""
        if self.path is None:
            return self.engine
        engine = create_engine(
            "sqlite+pysqlite://",
            module=driver,
            creator=self.connect,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
        )
        event.listen(engine, "connect", lambda connection, _: prepare_reader(connection))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def make_file(self) -> None:
        """Make the folder and an empty file that its owner alone may use; keep what exists.

        Raises:
            StoreFailed: when the place cannot be written.
        """
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A file that exists is not opened: closing it would drop the locks of a store open in this process.
            if not self.path.exists():
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            make_private(self.path)
        except OSError as error:
            raise StoreFailed(f"the store {self.path} cannot be opened: {error.strerror}") from error

    def counting_page(self) -> int | None:
        """Return the page that every synchronised commit writes, because it is counted; None when it cannot be told."""
        try:
            with contextlib.closing(self.connect("ro")) as connection:
                asked = "SELECT rootpage FROM sqlite_master WHERE name = 'counters' AND type = 'table'"
                found = connection.execute(asked).fetchone()
        except (DriverError, UnicodeDecodeError):
            return None
        return int(found[0]) if found else None

    def settle(self, *, strictly: bool) -> None:
        """Bring the log's content into the main file and synchronise both.

        After a failed sync (``strictly``) nothing else proves that what is read is on the disk: the pages that the
        system holds may be all there is of it.

        Raises:
            StoreFailed: when it cannot be done, strictly or because of the disk.
        """
        how = "TRUNCATE" if strictly else "PASSIVE"
        with self.named(), contextlib.closing(self.engine.raw_connection()) as opened:
            connection: Any = opened.driver_connection
            _, logged, settled = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        if strictly and logged != settled:
            raise StoreFailed(f"the log of the store {self.path} could not be settled: another process reads it")

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Turn the driver's errors into the store's, naming the file."""
        try:
            yield
        except (DriverError, DBAPIError, UnicodeDecodeError) as error:
            cause = getattr(error, "orig", None) or error
            if is_damage(cause):
                raise self.unsound(cause) from error
            raise StoreFailed(f"the store {self._name} cannot be used: {cause}") from error

    def unsound(self, found: object) -> StoreDamaged:
        return StoreDamaged((), f"{self._name} is not sound ({found}), and was left as it is")

    @property
    def _name(self) -> str:
        return str(self.path or "in memory")


def _text(stored: bytes) -> str:
    """Read text that may be damaged: what is not UTF-8 has no hash, and is named with its row instead of its byte."""
    return stored.decode(errors="surrogateescape")


def prepare_writer(connection: Any) -> None:
    """Set a writing connection up: a commit that returned is on the disk.

    Raises:
        StoreFailed: where the place has no write-ahead log (some network folders).
    """
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal not in ("wal", "memory"):
        raise StoreFailed(f"the store's folder does not support a write-ahead log (journal mode is {journal})")
    connection.execute("PRAGMA synchronous = FULL")
    # Without it macOS leaves what was synchronised in the drive's cache.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA foreign_keys = ON")


def prepare_reader(connection: Any) -> None:
    connection.execute("PRAGMA query_only = ON")


def make_relaxed(connection: Any) -> None:
    """Let commits return before the disk has them: the next one of a strict connection takes them there."""
    connection.execute("PRAGMA synchronous = NORMAL")
    # Settling the log waits for the disk: it is left to strict connections, unless there is none that commits.
    connection.execute(f"PRAGMA wal_autocheckpoint = {RELAXED_LOG_PAGES}")


def begin(cursor: Any) -> None:
    """Take the write lock, waiting for whoever has it.

    Raises:
        DriverError: when it could not be had in time, or the store fails.
    """
    waited_s = 0.0
    while True:
        try:
            cursor.execute(BEGIN)
        except DriverError as error:
            if not is_busy(error) or waited_s >= BUSY_TIMEOUT_MS / 1000:
                raise
        else:
            return
        pause_s = next((pause for until, pause in PAUSES_S if waited_s < until), LONG_PAUSE_S)
        time.sleep(pause_s)
        waited_s += pause_s


def ends_trust(error: Exception) -> bool:
    """Tell an error of the store itself (disk, file, sync) from one of a statement's values, and from a lock."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, DriverError) and not isinstance(error, UNIT_ERRORS) and not is_busy(error)


def is_damage(error: BaseException) -> bool:
    """Tell a file whose content is wrong from one that cannot be used.

    Names in a damaged schema need not be text: the driver then fails to spell its own complaint.
    """
    return isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorname", "").startswith(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB")
    )


def is_busy(error: Exception) -> bool:
    """Tell another writer's lock, which passes, from what may have damaged the store."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
