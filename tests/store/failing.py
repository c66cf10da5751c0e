"""A process on a disk that fails for a while, in the way that it is told; it prints what it was told in turn.

Run: python failing.py FILE KIND, with the shim of faulty_disk.c loaded and DISK_FAULT naming a file that may be made.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable
from pathlib import Path

from builders import ManualClock, fact, trade  # type: ignore[import-not-found]

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import StoreFailed
from dtms.ports.store import Unit


async def told(name: str, attempt: Awaitable[object]) -> None:
    try:
        await attempt
    except StoreFailed as error:
        print(name, "failed:", str(error).replace("\n", " "), flush=True)
    else:
        print(name, "done", flush=True)


def commit(store: SqlStore, ticket: int) -> Awaitable[object]:
    return store.commit(Unit(create=(trade(ticket),), facts=(fact(ticket),)))


async def main(path: Path, kind: str) -> None:
    fault = Path(os.environ["DISK_FAULT"])
    store = SqlStore(f"sqlite:///{path}", ManualClock())
    await store.open()
    for ticket in range(1, 6):
        await told(f"commit {ticket}", commit(store, ticket))
    fault.write_text(kind)  # noqa: ASYNC240 - nothing else runs on this loop
    cold = SqlStore(f"sqlite:///{path}", ManualClock())
    await told("commit 6", store.facts(limit=10**6) if kind == "read" else commit(store, 6))
    if kind == "read":
        await told("a start", cold.open())
    await told("commit 7", commit(store, 7))
    await told("reading", store.load())
    await told("reopening", store.reopen())
    fault.unlink()  # noqa: ASYNC240
    await told("commit 8", commit(store, 8))
    await told("reading", store.load())
    await told("reopening", store.reopen())
    await told("commit 9", commit(store, 9))
    print("has", *(t.ticket for t in (await store.load()).trades), flush=True)
    os._exit(0)  # as a crash: nothing is closed


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
