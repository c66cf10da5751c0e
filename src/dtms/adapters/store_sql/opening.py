"""Opening a store file: looked at first without changing anything, then brought to this program's schema.

```
file and rights → log left by a crash → pages, indexes, rows (reading only) → migration → missing hashes → settled
```
"""

import contextlib
from typing import Any

from dtms.adapters.store_sql.adopt import adopt, lift_counters
from dtms.adapters.store_sql.migrate import migrate
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.adapters.store_sql.verify import verify_start
from dtms.adapters.store_sql.wal import require_whole_log
from dtms.adapters.store_sql.writer import CHANGES, Witness
from dtms.domain.errors import StoreDamaged


def make_sound(database: SqliteDatabase, witness: Witness | None) -> None:
    """Make a file ready to be believed; after a failure ``witness`` is what must be found again in it.

    Raises:
        StoreFailed: when it cannot be read or written, is no store, or is damaged.
        Misconfigured: for a newer schema.
    """
    database.make_file()
    if database.path is not None:
        require_whole_log(database.path, database.counting_page)
    verify_start(database)
    with database.named():
        migrate(database.engine)
        adopt(database.engine)
        lift_counters(database.engine)
    database.settle(strictly=witness is not None)
    if witness is not None:
        _require_witnessed(database, witness)


def _require_witnessed(database: SqliteDatabase, witness: Witness) -> None:
    """See that the store still has what was committed last.

    Raises:
        StoreDamaged: when it lost commits, or is another store.
    """
    with database.named(), contextlib.closing(database.engine.raw_connection()) as opened:
        connection: Any = opened.driver_connection
        found = connection.execute("SELECT value FROM counters WHERE name = ?", (CHANGES,)).fetchone() or (0,)
        if found[0] < witness.change:
            raise StoreDamaged((), f"its last commit is {found[0]}, and {witness.change} was acknowledged")
        if witness.fact is not None and not _has_fact(connection, *witness.fact):
            raise StoreDamaged((), f"fact {witness.fact[0]} that was acknowledged is not in it")


def _has_fact(connection: Any, number: int, given: str) -> bool:
    either = "SELECT hash FROM facts WHERE id = ?1 UNION ALL SELECT hash FROM archived_facts WHERE id = ?1"
    return (given,) in connection.execute(either, (number,)).fetchall()
