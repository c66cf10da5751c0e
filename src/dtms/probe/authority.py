"""The right to act while a probe is at work: the engine's own, so that no server acts at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dtms.execute.authority import RENEW_S, EngineLease
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store


@asynccontextmanager
async def held(store: Store, broker: Broker, clock: Clock, holder: str) -> AsyncIterator[EngineLease]:
    """Hold the engine's lease, whose token goes into each request.

    Raises:
        Misconfigured: when a DTMS server is at work on this store.
    """
    lease = EngineLease(store, broker, clock, holder)
    await lease.acquire()
    keeper = asyncio.create_task(_keep(lease, clock))
    try:
        yield lease
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await lease.release()


async def _keep(lease: EngineLease, clock: Clock) -> None:
    while True:
        await clock.sleep_machine(RENEW_S)
        await lease.renew()
