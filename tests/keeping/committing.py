"""A program that commits some of everything to a store which another one has open too: PATH, its
number, how often, and whether it makes backups."""

import asyncio
import sys
from pathlib import Path

import structlog
from tests.store.builders import fact, intent, trade
from tests.store.managers import managed, ownership, plan

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.keeper import Keeper
from dtms.adapters.store_sql.upkeep import Upkeep
from dtms.adapters.store_sql.verify import verify_file
from dtms.ports.store import Kept, KeptKind, Unit


def unit(base: int, number: int) -> Unit:
    ticket = base + number
    return Unit(
        create=(trade(ticket),),
        intents=(intent(ticket, ticket),),
        facts=(fact(ticket), fact(None)),
        ownership=(ownership(ticket),),
        managed=(managed(base, stop=1.0 + number / 1e4),),
        plans=(plan(f"{ticket}"),),
        keep=(Kept(kind=KeptKind.WORK, key=f"{base}", body={"n": number}, at_ms=number),),
    )


async def main(path: Path, base: int, count: int, *, backs_up: bool) -> None:
    clock = SystemClock()
    keeper = Keeper(path, clock.wall_ms, verify_file)
    store = GuardedStore(f"sqlite:///{path.as_posix()}", clock, keeper)
    upkeep = Upkeep(store, keeper, clock, backup_every_h=6, archive_after_days=90)
    await store.open()
    await asyncio.to_thread(_begin_together)
    for number in range(count):
        await store.commit(unit(base, number))
        if number % 10 == 0:
            await upkeep.sync_log()
            if backs_up:
                await upkeep.back_up()
            print(number, flush=True)
    await upkeep.sync_log()
    print("keeps it" if keeper.keep() else "does not keep it", "log", keeper.log.failure or "ok")
    await store.close()


def _begin_together() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) * 1000, int(sys.argv[3]), backs_up="backs-up" in sys.argv))
