"""Changes of a process that does not keep the store, left in it for the one that does.

Two programs commit all day to one store, and one of them writes the change log. The other leaves what it committed in a
table, in the same transaction; the keeper takes it from there into its log, in the order of the numbers, and removes
what its log has on the disk. Each is left with a digest: a table's pages have no checksums.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dtms.adapters.store_sql.codec import UNSTORABLE, dump_json
from dtms.adapters.store_sql.sqlite import DriverError, SqliteDatabase
from dtms.adapters.store_sql.statements import Statement

DIGEST_BYTES = 16
AT_ONCE = 500

_BETWEEN = "SELECT number, body FROM pending_changes WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"
_ANY = "SELECT EXISTS (SELECT 1 FROM pending_changes WHERE number <= ?)"
FORGET = Statement("DELETE FROM pending_changes WHERE number <= ?", lambda row: (row["number"],))


def left_row(number: int, written: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> dict[str, Any] | None:
    """Lay a change out as it is left; None when it cannot be spelt, and then the log has a gap."""
    try:
        body = dump_json(written)
    except UNSTORABLE:
        return None
    return {"number": number, "body": f"{_digest(number, body)} {body}"}


class LeftChanges:
    """Reads what was left in a store; used under the change log's lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Any = None

    def after(self, number: int, last: int) -> Iterator[tuple[int, str]]:
        """Yield the consecutive changes after a number, up to a last one, as JSON; none that cannot be read."""
        while number < last:
            found = self._read(number, last)
            for given, body in found:
                told, _, plain = body.partition(" ")
                if given != number + 1 or told != _digest(given, plain):
                    return
                number = given
                yield given, plain
            if len(found) < AT_ONCE:
                return

    def has(self, last: int) -> bool:
        """Answer whether a change up to this number is still there."""
        try:
            ((found,),) = self._opened().execute(_ANY, (last,)).fetchall()
        except DriverError:
            return False
        return bool(found)

    def newest(self) -> int:
        """Return the number of the newest change that was left; 0 for none."""
        try:
            ((found,),) = self._opened().execute("SELECT max(number) FROM pending_changes").fetchall()
        except DriverError:
            return 0
        return found or 0

    def close(self) -> None:
        """Let go of the file; the next question opens it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(DriverError):
                connection.close()

    def _read(self, number: int, last: int) -> list[tuple[int, str]]:
        try:
            found: list[tuple[int, str]] = self._opened().execute(_BETWEEN, (number, last, AT_ONCE)).fetchall()
        except DriverError:
            return []
        return found

    def _opened(self) -> Any:
        if self._connection is None:
            self._connection = SqliteDatabase(self._path).connect("ro")
        return self._connection


def _digest(number: int, body: str) -> str:
    return blake2b(f"{number} {body}".encode(), digest_size=DIGEST_BYTES).hexdigest()
