"""A process that may only read its store; as root it becomes nobody first, who may do no more than the rights say.

Run: python readonly.py FILE; it prints what it was told, and the rights that the file has then.
"""

import asyncio
import os
import stat
import sys
from pathlib import Path

from builders import ManualClock, trade  # type: ignore[import-not-found]

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import StoreFailed
from dtms.ports.store import Unit

NOBODY = 65534


async def main(path: Path) -> None:
    store = SqlStore(f"sqlite:///{path}", ManualClock())
    await store.open()
    await store.commit(Unit(create=(trade(1),)))
    await store.close()
    path.chmod(0o400)  # noqa: ASYNC240 - nothing else runs on this loop
    if os.geteuid() == 0:
        path.parent.chmod(0o777)
        os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        await store.open()
    except StoreFailed as error:
        print(error)
    print(oct(stat.S_IMODE(path.stat().st_mode)))  # noqa: ASYNC240


asyncio.run(main(Path(sys.argv[1])))
