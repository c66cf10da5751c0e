"""A second server on a store is refused as soon as the first is seen alive; a dead one's authority is waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dtms.adapters.store_sql import LeaseWorld, SqlStore
from dtms.domain.errors import BrokerUnavailable, Misconfigured
from dtms.execute.authority import LEASE_S, RENEW_S, EngineLease

from .builders import ManualClock


class Away:
    """A broker that does not answer."""

    async def announce(self, key: str, token: int) -> Any:
        raise BrokerUnavailable(f"not there to hear of {key} {token}")


NO_BROKER: Any = Away()
"""Leases are taken without one."""


class Ticking(ManualClock):
    """A clock on which something happens whenever somebody sleeps."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def sleep_machine(self, seconds: float) -> None:
        self.now_s += seconds
        if self.meanwhile is not None:
            await self.meanwhile()


def _world(clock: ManualClock) -> LeaseWorld:
    return LeaseWorld(monotonic_s=clock.machine_s, boot="boot", host="here", process_alive=lambda holder: True)


def test_who_renews_keeps_the_authority_and_the_second_gives_up_after_one_renewal(path: Path) -> None:
    clock = Ticking()

    async def scenario() -> None:
        store = SqlStore(f"sqlite:///{path}", clock, inline=True, world=_world(clock))
        await store.open()
        first = EngineLease(store, NO_BROKER, clock, "here:1:1")
        second = EngineLease(store, NO_BROKER, clock, "here:2:2")
        held = await first.acquire()
        renewed_s = began_s = clock.now_s

        async def renew() -> None:
            nonlocal renewed_s
            if clock.now_s - renewed_s >= RENEW_S:
                renewed_s = clock.now_s
                assert await first.renew()

        clock.meanwhile = renew
        with pytest.raises(Misconfigured, match="another DTMS server holds the authority over this store; stop it"):
            await second.acquire()
        assert clock.now_s - began_s <= RENEW_S + 1.0
        assert first.is_held
        assert (await store.lease("engine")) == first.lease
        assert first.lease is not None
        assert first.lease.token == held.token
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("ends", ["expires", "is given back"])
def test_the_authority_of_one_that_ends_is_waited_for(path: Path, ends: str) -> None:
    """Of another machine, so that its process cannot be looked at."""
    clock = Ticking()

    async def scenario() -> None:
        store = SqlStore(f"sqlite:///{path}", clock, inline=True, world=_world(clock))
        await store.open()
        first = EngineLease(store, NO_BROKER, clock, "there:1:1")
        second = EngineLease(store, NO_BROKER, clock, "here:2:2")
        await first.acquire()
        began_s = clock.now_s
        if ends == "is given back":
            clock.meanwhile = first.release
        assert (await second.acquire()).token == 2
        waited_s = clock.now_s - began_s
        assert waited_s <= 0.5 if ends == "is given back" else LEASE_S <= waited_s <= LEASE_S + 0.5
        await store.close()

    asyncio.run(scenario())
