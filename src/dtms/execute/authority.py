"""A program's right to act: a lease held for its whole life, renewed while working, its token announced to the gateway.

The DTMS server holds ``engine``, the main API ``main``. What a program writes of trades, intents, managed positions and
plans is fenced as well: ``Fenced`` puts the lease into every such unit, so that a process which lost it writes nothing,
however late it notices.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from dtms.domain.errors import BrokerUnavailable, Misconfigured, PermissionGone
from dtms.ports.broker import Broker, Fence
from dtms.ports.clock import Clock
from dtms.ports.store import Authority, Lease, Store, Unit

ENGINE = "engine"
MAIN = "main"
CALLED = {ENGINE: "DTMS server", MAIN: "main API"}
"""The program that holds each lease, in words."""
LEASE_S = 15.0
RENEW_S = 5.0


class EngineLease:
    """Holds one program's lease."""

    def __init__(self, store: Store, broker: Broker, clock: Clock, holder: str, key: str = ENGINE) -> None:
        self.key = key
        self._store = store
        self._broker = broker
        self._clock = clock
        self._holder = holder
        self._lease: Lease | None = None
        self._fence: Fence | None = None

    @property
    def program(self) -> str:
        """The program that holds it, in words."""
        return CALLED[self.key]

    @property
    def lease(self) -> Lease | None:
        return self._lease

    @property
    def not_held(self) -> str:
        """Say that it is not held."""
        return "the engine's lease is not held" if self.key == ENGINE else "the main API's lease is not held"

    @property
    def is_held(self) -> bool:
        return self._lease is not None and self._clock.machine_s() < self._lease.expires_s

    async def acquire(self, wait_s: float = LEASE_S + 1.0) -> Lease:
        """Take the lease, waiting for a dead holder's to expire or a stopping one's to be given back.

        A holder that renews it meanwhile is alive and means to keep it: then there is nothing to wait for.

        Raises:
            Misconfigured: when another live process holds it.
        """
        deadline = self._clock.machine_s() + wait_s
        seen: Lease | None = None
        while (lease := await self._store.acquire(self.key, self._holder, LEASE_S)) is None:
            held = await self._store.lease(self.key)
            if _is_renewed(seen, held) or self._clock.machine_s() >= deadline:
                raise Misconfigured(f"another {self.program} holds the authority over this store; stop it first")
            seen = held
            await self._clock.sleep_machine(0.5)
        self._lease, self._fence = lease, None
        with suppress(BrokerUnavailable, PermissionGone):  # told by the first send, which cannot do without
            await self.fence()  # at once: what the holder before began and was suspended in is not sent any more
        return lease

    async def renew(self) -> bool:
        """Extend the lease; False when it was lost."""
        if self._lease is None:
            return False
        self._lease = await self._store.renew(self._lease, LEASE_S)
        if self._lease is None:
            self._fence = None
        return self._lease is not None

    async def fence(self) -> Fence:
        """Return what a send carries, announcing the token when the gateway does not know it yet.

        Raises:
            PermissionGone: when the lease is not held.
            BrokerUnavailable: when the gateway does not answer.
        """
        if self._lease is None or not self.is_held:
            raise PermissionGone(self.not_held)
        if self._fence is None:
            self._fence = await self._broker.announce(self.key, self._lease.token)
        return self._fence

    def forget_fence(self) -> None:
        """Announce again before the next send: the gateway may be another instance."""
        self._fence = None

    async def release(self) -> None:
        """Give the lease back."""
        if self._lease is not None:
            await self._store.release(self._lease)
        self._lease = self._fence = None


def _is_renewed(before: Lease | None, now: Lease | None) -> bool:
    """Answer whether one holder has extended its lease between two looks."""
    if before is None or now is None or (before.holder, before.token) != (now.holder, now.token):
        return False
    return now.expires_s > before.expires_s


class Fenced:
    """A store whose commits of what a program owns carry that program's authority; all else goes straight through.

    What a person sets (the halt, a mode) and facts alone need none: they must be kept whoever holds the lease.
    """

    def __init__(self, store: Store, lease: EngineLease) -> None:
        self._store = store
        self._lease = lease

    async def commit(self, unit: Unit) -> Any:
        """Commit a unit under the program's lease.

        Raises:
            PermissionGone: when the lease is not held; nothing was written.
        """
        if unit.authority is None and _is_owned(unit):
            unit = replace(unit, authority=self._authority())
        return await self._store.commit(unit)

    def _authority(self) -> Authority:
        lease = self._lease.lease
        if lease is None:
            raise PermissionGone(self._lease.not_held)
        return Authority(key=lease.key, holder=lease.holder, token=lease.token)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _is_owned(unit: Unit) -> bool:
    """Answer whether a unit changes rows that one program alone may write."""
    rows = (unit.trades, unit.create, unit.intents, unit.managed, unit.plans)
    return any(rows) or unit.rails is not None
