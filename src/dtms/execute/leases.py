"""Leases of tickets: nothing that changes a position is sent, and no owner, flag or state changed, without one.

Within a process whoever wants a ticket waits in line; between processes the store decides. A lease is held for one act,
renewed while that takes long, and given back with what the act came to.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone, StoreFailed
from dtms.domain.owners import Standing
from dtms.ports.broker import Broker, Fence
from dtms.ports.clock import Clock
from dtms.ports.store import Grant, Lease, Store

log = structlog.get_logger(__name__)

T = TypeVar("T")
LEASE_S = 15.0
RENEW_S = 5.0
WAIT_S = 5.0
"""How long somebody waits for a lease that another has."""
PATIENCE_S = 0.3
"""How long a loop waits that has other trades to look at: it comes back."""
PATIENCE_ALL_S, ROUND_S = 1.0, 5.0
"""How long such a loop waits for all leases together, and in what time: many may be held at once."""
PAUSE_S = (0.01, 0.05)
"""The shortest and the longest pause between two tries; which it is, is drawn."""


@dataclass(slots=True, eq=False)
class Held:
    """A lease in hand, and what was true of its ticket when it was granted."""

    lease: Lease
    standing: Standing
    is_ours: bool = True
    """Whether it was granted here; another program's is left to that program."""
    is_given_back: bool = False
    """Set by whoever gives it back with a commit of his own."""
    intent: int | None = None
    """The number of the request that is carried out under it."""


@dataclass(slots=True)
class _Line:
    """Those of this process that want one key."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanting: int = 0


class Leases:
    """Grants leases to what acts in this process; ``draw`` answers a number in [0, 1).

    ``all_s`` bounds what all waits come to within ``ROUND_S``; None bounds each by itself alone.
    """

    def __init__(
        self,
        *,
        store: Store,
        broker: Broker,
        clock: Clock,
        holder: str,
        draw: Callable[[], float],
        wait_s: float = WAIT_S,
        all_s: float | None = None,
    ) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self.holder = holder
        self._draw = draw
        self._wait_s = wait_s
        self._all_s = all_s
        self._round_s, self._waited_s = 0.0, 0.0
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def held(self, key: str, ticket: int | None) -> AsyncIterator[Held]:
        """Hold a lease for one act.

        Raises:
            LeaseHeld: when another had it for as long as one may wait.
            StoreFailed: when it could not be had.
        """
        async with self._turn(key):
            grant = await self._granted(key, ticket)
            held = Held(grant.lease, grant.standing)
            renewing = asyncio.create_task(self._renew(held))
            try:
                yield held
            finally:
                renewing.cancel()
                if not held.is_given_back:
                    await self._give_back(held)

    async def announce(self, held: Held) -> Fence:
        """Announce a lease's token to the gateway; what it answers goes into every send under it.

        Raises:
            PermissionGone: when a higher token was announced.
            BrokerUnavailable: when the gateway does not answer.
        """
        return await self._broker.announce(held.lease.key, held.lease.token)

    async def when_free(self, work: Callable[[], Awaitable[T]], wait_s: float | None = None) -> T:
        """Do what changes the store alone, as soon as nobody else has the leases that it needs.

        Raises:
            LeaseHeld: when another had one for as long as one may wait.
        """
        return await self._tried(work, self._supersede, wait_s)

    async def _tried(
        self, work: Callable[[], Awaitable[T]], end: Callable[[LeaseHeld], Awaitable[None]], wait_s: float | None = None
    ) -> T:
        """Try until no live holder is in the way; ``end`` sees to one that slept through its expiry."""
        until_s = self._clock.machine_s() + (self._patience() if wait_s is None else wait_s)
        has_ended = False
        while True:
            try:
                return await work()
            except LeaseHeld as held:
                is_over = self._clock.machine_s() >= until_s
                if is_over and (has_ended or not held.is_lapsed or wait_s is not None):
                    raise
                if held.is_lapsed:
                    has_ended = True
                    await end(held)
                    continue
            await self._pause()

    def _patience(self) -> float:
        """Return how long may be waited now: what is left of the round, where all waits together are bounded."""
        if self._all_s is None:
            return self._wait_s
        now_s = self._clock.machine_s()
        if now_s - self._round_s >= ROUND_S:
            self._round_s, self._waited_s = now_s, 0.0
        return max(0.0, min(self._wait_s, self._all_s - self._waited_s))

    async def _supersede(self, lapsed: LeaseHeld) -> None:
        """End a lease that ran out under a holder which may wake up.

        Raises:
            LeaseHeld: when the gateway could not be told.
        """
        async with self.held(lapsed.key, None):
            pass

    async def _granted(self, key: str, ticket: int | None) -> Grant:
        """Take a lease; over one that ran out only after the gateway knows that its holder may send nothing more.

        Raises:
            LeaseHeld: when another has it, or the gateway could not be told.
        """
        fenced_off: int | None = None

        async def fence_off(lapsed: LeaseHeld) -> None:
            nonlocal fenced_off
            try:
                await self._broker.announce(key, lapsed.token + 1)  # the one that follows, by whomever it is had
            except (BrokerUnavailable, PermissionGone) as error:
                raise lapsed from error
            fenced_off = lapsed.token

        async def grant() -> Grant:
            return await self._store.grant(key, self.holder, LEASE_S, ticket=ticket, superseding=fenced_off)

        return await self._tried(grant, fence_off)

    async def _pause(self) -> None:
        shortest, longest = PAUSE_S
        pause_s = shortest + (longest - shortest) * self._draw()
        self._waited_s += pause_s
        await self._clock.sleep_machine(pause_s)

    async def _renew(self, held: Held) -> None:
        while True:
            await self._clock.sleep_machine(RENEW_S)
            with suppress(StoreFailed):  # told by the commit that needs it
                renewed = await self._store.renew(held.lease, LEASE_S)
                if renewed is None:
                    log.warning("lease_lost", key=held.lease.key, token=held.lease.token)
                    return
                held.lease = renewed

    async def _give_back(self, held: Held) -> None:
        """Give a lease back; one that cannot be given back now runs out by itself."""
        with suppress(StoreFailed):
            await self._store.release(held.lease)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """Wait in line for a key within this process, no longer than one may."""
        line = self._lines.setdefault(key, _Line())
        line.wanting += 1
        try:
            try:
                async with asyncio.timeout(self._wait_s):
                    await line.lock.acquire()
            except TimeoutError:
                raise LeaseHeld(key, self.holder) from None
            try:
                yield
            finally:
                line.lock.release()
        finally:
            line.wanting -= 1
            if not line.wanting:
                self._lines.pop(key, None)
