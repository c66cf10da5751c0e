"""A process that commits until it is killed; each line it prints was acknowledged.

Run: python crashing.py URL FIRST
"""

import asyncio
import itertools
import sys
import time

from builders import ManualClock, fact, intent, trade  # type: ignore[import-not-found]

from dtms.adapters.store_sql import SqlStore
from dtms.ports.store import Unit


async def commit_for_ever(store: SqlStore, tickets: "itertools.count[int]") -> None:
    for ticket in tickets:
        (number,) = await store.next_intent_numbers(1)
        unit = Unit(create=(trade(ticket),), intents=(intent(number, ticket),), facts=(fact(ticket),))
        (fact_id,) = await store.commit(unit)
        sys.stdout.write(f"{ticket} {number} {fact_id}\n")
        sys.stdout.flush()


async def main(url: str, first: int) -> None:
    clock = ManualClock(machine_s=time.monotonic())
    store = SqlStore(url, clock)
    await store.open()
    tickets = itertools.count(first)
    await asyncio.gather(*(commit_for_ever(store, tickets) for _ in range(16)))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
