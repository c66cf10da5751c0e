"""A process whose files may not grow for a while: real write errors.

Run: python limited.py FILE; it prints what it saw.
"""

import asyncio
import resource
import sys
from pathlib import Path

from builders import ManualClock, trade  # type: ignore[import-not-found]

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import StoreFailed
from dtms.ports.store import Unit


async def attempt(store: SqlStore, ticket: int) -> str:
    try:
        await store.commit(Unit(create=(trade(ticket),)))
    except StoreFailed:
        return "failed"
    return "stored"


async def main(path: Path) -> None:
    store = SqlStore(f"sqlite:///{path}", ManualClock())
    await store.open()
    print(await attempt(store, 1))
    log_size = path.with_name(path.name + "-wal").stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_size, hard))
    print(await attempt(store, 2), await attempt(store, 3), end=" ")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(await attempt(store, 3))
    await store.reopen()
    print(await attempt(store, 4), *(t.ticket for t in (await store.load()).trades))
    await store.close()


asyncio.run(main(Path(sys.argv[1])))
