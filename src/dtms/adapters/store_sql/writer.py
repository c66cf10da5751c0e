"""Committing: works over one transaction, acknowledged together or not at all.

A work is a function over a transaction. Each runs within a savepoint, so that one that fails takes nothing of the
others with it; all that passed are committed and synced once, and only then answered. After an error of the store
itself (not of one work's values) nothing of the batch is answered but ``StoreFailed``, and so is everything after it
until the store was reopened and verified.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dtms.adapters.store_sql.migrate import require_current
from dtms.adapters.store_sql.pending import left_row
from dtms.adapters.store_sql.sqlite import UNIT_ERRORS, DriverError, SqliteDatabase, begin, is_busy, make_relaxed
from dtms.adapters.store_sql.statements import Statement, Statements, compile_statements
from dtms.adapters.store_sql.trust import Trust
from dtms.domain.errors import AlreadyStored, InvariantBroken, PermissionGone, StoreFailed

CHANGES = "changes"
"""Counts transactions, so that what hears of them can tell whether it missed one."""

GONE = "gone:"
"""Before the name of a table whose rows were removed; they are told by their keys alone."""

Written = tuple[str, Sequence[Mapping[str, Any]]]
"""A table's name, and rows as they were written to it."""
Hear = Callable[[int, Sequence[Written]], None]
"""Told, on the writer's thread, a committed transaction's number and what it wrote, in order."""


def nobody_asks() -> bool:
    """Leave nothing for others: nobody keeps a log, or it is heard of here."""
    return False


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction: the driver's cursor, and what can be said to it."""

    cursor: Any
    say: Statements
    written: list[Written] = field(default_factory=list)
    """What the works that passed have put, in order; told to whoever listens once it is committed."""

    def run(self, statement: Statement, row: Mapping[str, Any]) -> None:
        self.cursor.execute(statement.sql, statement.bind(row))

    def run_all(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> None:
        if len(rows) == 1:
            self.run(statement, rows[0])
        elif rows:
            self.cursor.executemany(statement.sql, [statement.bind(row) for row in rows])

    def put(self, statement: Statement, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows that are told of when they are committed."""
        if rows:
            self.run_all(statement, rows)
            self.written.append((table, rows))

    def take(self, statement: Statement, table: str, keys: Sequence[Mapping[str, Any]]) -> None:
        """Remove rows, and tell of it as ``gone:`` and the table's name."""
        if keys:
            self.run_all(statement, keys)
            self.written.append((f"{GONE}{table}", keys))

    def answer(self, statement: Statement, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Run a statement that answers one row."""
        self.run(statement, row)
        found: tuple[Any, ...]
        (found,) = self.cursor.fetchall()
        return found

    def rows(self, statement: Statement, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Answer the rows that a statement selects, by column name."""
        self.run(statement, row)
        return [dict(zip(statement.columns, found, strict=True)) for found in self.cursor.fetchall()]

    def row(self, statement: Statement, row: Mapping[str, Any]) -> dict[str, Any] | None:
        found = self.rows(statement, row)
        return found[0] if found else None

    def count_up(self, name: str, by: int) -> range:
        """Take the next ``by`` numbers of a counter."""
        (raised,) = self.answer(self.say.count_up, {"name": name, "value": by})
        return range(raised - by + 1, raised + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What was committed last: by it a store that is opened again is known."""

    change: int = 0
    fact: tuple[int, str] | None = None
    """Id and hash of the last fact."""

    def after(self, change: int, written: Sequence[Written]) -> "Witness":
        facts = [rows[-1] for table, rows in written if table == "facts"]
        return Witness(change=change or self.change, fact=(facts[-1]["id"], facts[-1]["hash"]) if facts else self.fact)


Work = Callable[[Transaction], Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one work: its value once committed, or why not."""

    value: Any = None
    error: Exception | None = None


class Committer:
    """Apply works to the database; used by one thread at a time.

    ``leaves`` answers whether what is committed now must be left for another process to hear of. A ``relaxed`` one
    commits without waiting for the disk: for leases, which end with the machine.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        trust: Trust | None = None,
        after_commit: Hear | None = None,
        witness: Witness | None = None,
        *,
        leaves: Callable[[], bool] = nobody_asks,
        relaxed: bool = False,
    ) -> None:
        self._database = database
        self._trust = trust or Trust(database.path)
        self._after_commit = after_commit
        self._leaves = leaves
        self._relaxed = relaxed
        self._say = compile_statements(database.engine.dialect.name)
        self._connection: Any = None
        self._open: Transaction | None = None
        self.commits = 0
        self.witness = witness or Witness()

    def apply(self, works: Sequence[Work], late: Callable[[], Sequence[Work]] = tuple) -> list[Outcome]:
        """Apply works in one transaction, together with those that ``late`` adds once the write lock is held."""
        batch = list(works)
        try:
            self._require_trust()
            tx = self._ready()
            tx.written.clear()
            begin(tx.cursor)
            batch.extend(late())
            outcomes = self._run(tx, batch)
            number = self._number(tx) if tx.written else 0
            tx.cursor.execute("COMMIT")
            self._require_committed()
        except (DriverError, UnicodeDecodeError) as error:
            self._recover(error)
            return failed(StoreFailed(f"the store could not write: {error}"), len(batch))
        except StoreFailed as error:
            self._distrust(error)
            return failed(error, len(batch))
        self._committed(number, tx.written)
        return outcomes

    def _number(self, tx: Transaction) -> int:
        """Give what was written its number, and leave it for the keeper where that one does not hear of it."""
        number = tx.count_up(CHANGES, 1).start
        if self._leaves() and (row := left_row(number, tx.written)) is not None:
            tx.run(tx.say.put_pending, row)
        return number

    def _require_trust(self) -> None:
        # The log is watched by the strict one alone, without whose commits no lease lets anybody act.
        if self._relaxed:
            self._trust.require()
        else:
            self._trust.require_writable()

    def _require_committed(self) -> None:
        if self._relaxed:
            self._trust.require()
        else:
            self._trust.require_logged()

    def _committed(self, number: int, written: Sequence[Written]) -> None:
        self.commits += 1
        if not written:
            return
        self.witness = self.witness.after(number, written)
        if self._after_commit is not None:
            self._after_commit(number, tuple(written))

    def close(self) -> None:
        """Let go of the connection; an open transaction is rolled back."""
        connection, self._connection, self._open = self._connection, None, None
        if connection is not None:
            connection.close()

    def _ready(self) -> Transaction:
        """Return the connection's transaction, opening what was verified just before when there is none."""
        if self._open is None:
            with self._database.named():
                require_current(self._database.engine)
                self._connection = self._database.engine.raw_connection()
                if self._database.path is not None:
                    self._connection.execute("PRAGMA busy_timeout = 0")  # ``begin`` waits, and fairly
                if self._relaxed:
                    make_relaxed(self._connection)
                self._open = Transaction(self._connection.cursor(), self._say)
        return self._open

    def _run(self, tx: Transaction, batch: Sequence[Work]) -> list[Outcome]:
        if len(batch) == 1:
            return [self._attempt(tx, batch[0], whole=True)]
        return [self._attempt(tx, work, whole=False) for work in batch]

    def _attempt(self, tx: Transaction, work: Work, *, whole: bool) -> Outcome:
        """Run one work within a savepoint; ``whole`` when it is alone, and the transaction serves as its savepoint."""
        execute, before = tx.cursor.execute, len(tx.written)
        if not whole:
            execute("SAVEPOINT work")
        try:
            value = work(tx)
        except (PermissionGone, AlreadyStored, InvariantBroken) as error:
            failed: Exception = error
        except UNIT_ERRORS as error:
            failed = InvariantBroken(f"cannot be stored: {error}")
        else:
            if not whole:
                execute("RELEASE work")
            return Outcome(value)
        del tx.written[before:]
        if whole:
            execute("ROLLBACK")
            begin(tx.cursor)
        else:
            execute("ROLLBACK TO work")
            execute("RELEASE work")
        return Outcome(error=failed)

    def _recover(self, error: Exception) -> None:
        """Believe nothing any more, unless the error was another's lock, taken before anything was written."""
        if is_busy(error) and not self._connection.in_transaction:
            return
        self._distrust(error)

    def _distrust(self, error: Exception) -> None:
        """Believe nothing any more, and let go of the write lock; the connection stays until the store is closed."""
        self._trust.lose(error)
        if self._connection is not None and self._connection.in_transaction:
            # What cannot even be rolled back is rolled back when the connection is closed.
            with contextlib.suppress(DriverError):
                self._connection.rollback()


def failed(error: StoreFailed, count: int) -> list[Outcome]:
    return [Outcome(error=error) for _ in range(count)]
