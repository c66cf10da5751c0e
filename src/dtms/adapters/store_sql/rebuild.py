"""Rebuilding a store that cannot be trusted: the newest sound backup, then the change log, then what can be saved.

The damaged file is never written to. What comes out is verified, and only then takes the store's name:

```
X.rebuilding-… ─verified─▶ X.ready ─▶ X and its log set aside ─▶ X.ready becomes X
```

A crash before the second step leaves the store as it was, one after it is made good at the next opening (``finish``).
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from dtms.adapters.store_sql import schema
from dtms.adapters.store_sql.backup import Backup, Verify, backups, change_number, copy, folder_of, set_aside, stamp
from dtms.adapters.store_sql.files import OWNER_ONLY, beside, sync_folder
from dtms.adapters.store_sql.hashes import sealed
from dtms.adapters.store_sql.leap import highest, leap, put_counter
from dtms.adapters.store_sql.migrate import migrate
from dtms.adapters.store_sql.salvage import put, save
from dtms.adapters.store_sql.segments import changes, every_change, segments
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.adapters.store_sql.writer import CHANGES, GONE
from dtms.domain.errors import StoreFailed

READY = ".ready"
BEGUN = (".rebuilding-", ".restoring-")
IN_PART = "the store could only be made anew in part, and what it held of the kill switch is lost: look, then resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a store was made from again."""

    aside: Path | None
    """The damaged file under its new name; None when there was none."""
    backup: Path | None
    changes: int
    """Transactions taken from the change log."""
    saved: Mapping[str, int] = field(default_factory=dict)
    """Rows by table that only the damaged file had, or had newer."""

    def told(self) -> str:
        """Say in one line what was done."""
        base = f"the backup {self.backup.name}" if self.backup else "nothing"
        saved = ", ".join(f"{count} {table}" for table, count in self.saved.items() if count) or "nothing"
        aside = f"; the damaged file is {self.aside.name}" if self.aside else ""
        return (
            f"the store was rebuilt from {base}, {self.changes} later changes, and from the damaged file {saved}{aside}"
        )


def rebuild(path: Path, wall_ms: int, verify: Verify) -> Rebuilt:
    """Make a damaged store anew, and set what was there aside.

    Raises:
        StoreFailed: when there is nothing to make it from; the damaged file then stays as it is.
    """
    folder = folder_of(path)
    made = beside(path, f"{BEGUN[0]}{stamp(wall_ms)}")
    try:
        _clear(path)
        backup = _base_on_newest(folder, made, verify)
        taken = _replay(made, folder, backup)
        saved = save(path, made) if path.exists() else {}
        if backup is None and not taken and not any(saved.values()):
            raise StoreFailed(
                f"the store {path} is not sound, and neither a backup nor a change log is in {folder}: put a sound copy"
                " in its place (dtms restore FILE), or start with an empty one (dtms restore --empty)"
            )
        _keep_halted(made, folder, is_whole=backup is not None or _first_number(folder) == 0)
        leap(made, highest(path))
        verify(made)
        aside = _put_in_place(made, path, "damaged", wall_ms)
    except OSError as error:
        raise StoreFailed(f"the store {path} could not be rebuilt: {error.strerror}") from error
    finally:
        _discard(made)
    return Rebuilt(aside=aside, backup=backup.path if backup else None, changes=taken, saved=saved)


def restore(path: Path, source: Path | None, wall_ms: int, verify: Verify) -> Path | None:
    """Put a verified copy in the store's place, or an empty store; return where the old file went.

    The change log is of another history from then on, and is set aside as well.

    Raises:
        StoreFailed: when the source is not sound; then nothing was changed.
    """
    made = beside(path, f"{BEGUN[1]}{stamp(wall_ms)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        _base(source, made)
        verify(made)
        leap(made, highest(path))
        verify(made)
        aside = _put_in_place(made, path, "replaced", wall_ms)
        for segment in segments(folder_of(path)):
            segment.path.replace(segment.path.with_suffix(f".replaced-{stamp(wall_ms)}"))
    except OSError as error:
        raise StoreFailed(f"{source or 'an empty store'} could not be put in place: {error.strerror}") from error
    finally:
        _discard(made)
    return aside


# --- into its place ----------------------------------------------------------------------------------------------


def _put_in_place(made: Path, path: Path, why: str, wall_ms: int) -> Path | None:
    ready = beside(path, READY)
    made.replace(ready)
    sync_folder(path.parent)
    aside = set_aside(path, why, wall_ms)
    ready.replace(path)
    sync_folder(path.parent)
    return aside


def finish(path: Path, wall_ms: int) -> bool:
    """Finish what a crash interrupted: a file that was ready takes its place, or goes where the old one still stands.

    Raises:
        StoreFailed: when it cannot be renamed.
    """
    ready = beside(path, READY)
    try:
        _clear(path)
        if not ready.exists():
            return False
        if path.exists():
            ready.unlink()
            return False
        set_aside(path, "damaged", wall_ms)  # a log that its file went without must not be read with another
        ready.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreFailed(f"{ready} could not be put in place: {error.strerror}") from error
    return True


def _clear(path: Path) -> None:
    """Remove copies that a crash left unfinished."""
    for word in BEGUN:
        for left in path.parent.glob(f"{path.name}{word}*"):
            left.unlink(missing_ok=True)


def _discard(made: Path) -> None:
    with contextlib.suppress(OSError):
        for ending in ("", "-wal", "-shm", "-journal"):
            beside(made, ending).unlink(missing_ok=True)


# --- what it is made from ----------------------------------------------------------------------------------------


def _base_on_newest(folder: Path, made: Path, verify: Verify) -> Backup | None:
    """Begin with the newest backup that proves sound, brought to this program's schema; else with an empty store."""
    for backup in reversed(backups(folder)):
        with contextlib.suppress(StoreFailed):
            _base(backup.path, made)
            verify(made)
            return Backup(backup.path, change_number(made))
        _discard(made)
    _base(None, made)
    return None


def _base(source: Path | None, made: Path) -> None:
    """Begin with a copy, or with an empty store."""
    if source is not None:
        copy(source, made)
    else:
        os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    database = SqliteDatabase(made)
    with database.named():
        migrate(database.engine)


def _replay(made: Path, folder: Path, backup: Backup | None) -> int:
    """Apply the changes since the backup; return how many there were."""
    after = backup.number if backup is not None else _first_number(folder)
    database, count = SqliteDatabase(made), 0
    with database.named(), database.engine.begin() as connection:
        for change in changes(folder, after):
            for table, rows in change.written:
                _apply(connection, table, rows)
            after, count = change.number, count + 1
        put_counter(connection, CHANGES, after)
    return count


def _first_number(folder: Path) -> int:
    """Without a backup, begin where the log begins: it may hold rows that nothing else has."""
    found = segments(folder)
    return found[0].after if found else 0


def _apply(connection: Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Apply rows of a table; one that only a later version has is not missed by this one."""
    table = schema.metadata.tables.get(name.removeprefix(GONE))
    if table is None:
        return
    for row in rows:
        if name.startswith(GONE):
            connection.execute(table.delete().where(*(table.c[key] == value for key, value in row.items())))
        else:
            put(connection, table, row)


def _keep_halted(made: Path, folder: Path, *, is_whole: bool) -> None:
    """Keep a kill switch that was on beyond a gap in the log, or of which nothing is known any more."""
    database = SqliteDatabase(made)
    with database.named(), database.engine.begin() as connection:
        after = connection.execute(select(schema.counters.c.value).where(schema.counters.c.name == CHANGES)).scalar()
        later = [
            row
            for change in every_change(folder)
            if change.number > (after or 0)
            for table, rows in change.written
            if table == "controls"
            for row in rows
        ]
        if later and later[-1]["halted"]:
            put(connection, schema.controls, later[-1])
        elif not is_whole and connection.execute(select(schema.controls.c.id)).first() is None:
            row = {"id": 1, "halted": True, "halt_reason": IN_PART, "halted_ms": None, "mode": None}
            put(connection, schema.controls, sealed("controls", row))
