"""Leases as rows. A lease ends by release, by expiry on the machine's monotonic clock, or with its holder's process.

Its token rises with every grant and outlives the lease. Monotonic seconds mean nothing after a reboot, so the boot's id
stands beside them: on another boot nothing of them is left to wait for. A holder reads ``host:pid:process start``.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from os import getpid
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from dtms.adapters.store_sql.hashes import sealed
from dtms.adapters.store_sql.rows import checked
from dtms.adapters.store_sql.writer import Transaction
from dtms.ports.store import Lease

_PROC = Path("/proc")


class LeaseEventKind(StrEnum):
    GRANTED = "granted"
    REFUSED = "refused"
    EXPIRED = "expired"
    """Its holder let it lapse, or died; the grant to another follows."""
    RENEWED = "renewed"
    LOST = "lost"
    """A renewal or a release came too late."""
    RELEASED = "released"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEvent:
    """What happened to a lease, for the log and the counters; a refusal names the holder that has it."""

    kind: LeaseEventKind
    key: str
    holder: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseWorld:
    """What leases know of the machine."""

    monotonic_s: Callable[[], float]
    """Seconds on a clock that all processes of this boot share."""
    boot: str
    host: str
    process_alive: Callable[[str], bool]
    """Whether a holder may still be running; True where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A lease, or None, and what happened on the way."""

    lease: Lease | None
    events: tuple[LeaseEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stored:
    holder: str
    token: int
    boot: str
    expires_s: float


_NEVER_HELD = _Stored("", 0, "", 0.0)


@dataclass(frozen=True, slots=True)
class LeaseDesk:
    """Grant, renew and end leases, each within a transaction of the one writer."""

    world: LeaseWorld

    def holds(self, tx: Transaction, key: str, holder: str, token: int) -> bool:
        """Whether this holder has the lease with this token, now."""
        stored = _stored(tx, key)
        return stored.holder == holder and stored.token == token and self._is_running(stored)

    def acquire(self, tx: Transaction, key: str, holder: str, ttl_s: float) -> Answer:
        stored = _stored(tx, key)
        if stored.holder not in ("", holder) and self._is_live(stored):
            return Answer(None, (_event(LeaseEventKind.REFUSED, key, stored),))
        granted = self._put(tx, key, _Stored(holder, stored.token + 1, self.world.boot, self._until(ttl_s)))
        lapsed = stored.holder not in ("", holder)
        events = (_event(LeaseEventKind.EXPIRED, key, stored),) if lapsed else ()
        return Answer(_lease(key, granted), (*events, _event(LeaseEventKind.GRANTED, key, granted)))

    def renew(self, tx: Transaction, lease: Lease, ttl_s: float) -> Answer:
        """Extend a lease that has not run out: who slept through the expiry has to acquire anew."""
        if not self.holds(tx, lease.key, lease.holder, lease.token):
            return Answer(None, (_lost(lease),))
        renewed = self._put(tx, lease.key, _Stored(lease.holder, lease.token, self.world.boot, self._until(ttl_s)))
        return Answer(_lease(lease.key, renewed), (_event(LeaseEventKind.RENEWED, lease.key, renewed),))

    def release(self, tx: Transaction, lease: Lease) -> Answer:
        """End a lease; one that another has taken over stays with that one."""
        stored = _stored(tx, lease.key)
        if (stored.holder, stored.token) != (lease.holder, lease.token):
            return Answer(None, (_lost(lease),))
        self._put(tx, lease.key, _Stored("", stored.token, self.world.boot, 0.0))
        return Answer(None, (_event(LeaseEventKind.RELEASED, lease.key, stored),))

    def _put(self, tx: Transaction, key: str, new: _Stored) -> _Stored:
        row = {"key": key, "holder": new.holder, "token": new.token, "boot": new.boot, "expires_s": new.expires_s}
        tx.run(tx.say.put_lease, sealed("leases", row))
        return new

    def _until(self, ttl_s: float) -> float:
        return float(self.world.monotonic_s() + ttl_s)

    def _is_running(self, stored: _Stored) -> bool:
        return stored.boot == self.world.boot and self.world.monotonic_s() < stored.expires_s

    def _is_live(self, stored: _Stored) -> bool:
        """Whether another's lease stands in the way.

        On this host the process itself tells whether the boot is the same; where the boot's id is derived from the wall
        clock, a correction of it must not end a lease.
        """
        known = stored.boot == self.world.boot or host_of(stored.holder) == self.world.host
        in_time = self.world.monotonic_s() < stored.expires_s
        return known and in_time and self.world.process_alive(stored.holder)


def _stored(tx: Transaction, key: str) -> _Stored:
    row = tx.row(tx.say.lease, {"key": key})
    if row is None:
        return _NEVER_HELD
    checked("leases", row)
    return _Stored(row["holder"], row["token"], row["boot"], row["expires_s"])


def _lease(key: str, stored: _Stored) -> Lease:
    return Lease(key=key, holder=stored.holder, token=stored.token, expires_s=stored.expires_s)


def _event(kind: LeaseEventKind, key: str, stored: _Stored) -> LeaseEvent:
    return LeaseEvent(kind=kind, key=key, holder=stored.holder, token=stored.token)


def _lost(lease: Lease) -> LeaseEvent:
    return LeaseEvent(kind=LeaseEventKind.LOST, key=lease.key, holder=lease.holder, token=lease.token)


def this_world(monotonic_s: Callable[[], float]) -> LeaseWorld:
    """Describe this machine to the desk."""
    return LeaseWorld(monotonic_s=monotonic_s, boot=boot_id(), host=socket.gethostname(), process_alive=process_alive)


def host_of(holder: str) -> str:
    return holder.partition(":")[0]


def this_holder() -> str:
    """Name this process as a holder of leases."""
    return f"{socket.gethostname()}:{getpid()}:{process_start(getpid())}"


def boot_id() -> str:
    """Name this boot of the machine, the same for all its processes."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        # Counted back from the wall clock: rounded to a minute, because it moves a little with each correction of it.
        return f"boot-{round(psutil.boot_time() / 60)}"


def process_alive(holder: str) -> bool:
    """Whether a holder's process runs; True for other hosts and for names of another form, which only expire."""
    host, _, rest = holder.partition(":")
    pid, _, start = rest.partition(":")
    if host != socket.gethostname() or not pid.isdecimal():
        return True
    return process_start(int(pid)) == start.partition(":")[0]


def process_start(pid: int) -> str | None:
    """Return when a process began, in a form that no clock correction changes; None when it does not run.

    On Linux the kernel's ticks since boot, elsewhere the creation time that the system keeps.
    """
    if (_PROC / "self/stat").exists():
        return _start_ticks(pid)
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.3f}"
    except psutil.NoSuchProcess:
        return None


def _start_ticks(pid: int) -> str | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After the command's name, which is in parentheses and may hold anything: state is field 3, start is field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
