"""Leases as rows. A lease ends by release, by expiry on the machine's monotonic clock, or with its holder's process.

Its token rises with every grant and outlives the lease. Monotonic seconds mean nothing after a reboot, so the boot's id
stands beside them: on another boot nothing of them is left to wait for. A holder reads ``host:pid:process start``, and
may have more after another colon.

Leases are granted, renewed and given back with commits that the disk need not confirm. A process that crashes loses
none of them. A power cut may lose the newest grants, and with them their tokens; but every holder and the gateway have
gone with it, and the gateway, which knows no tokens when it starts, hears of none before they are granted anew. What
was sent under a token had its intent committed with full synchronisation, and that commit took every grant before it
to the disk with it: so no token that a stored intent bears is ever given again.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from os import getpid
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import structlog

from dtms.adapters.store_sql.hashes import sealed
from dtms.adapters.store_sql.rows import checked
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.errors import LeaseHeld, PermissionGone
from dtms.ports.store import Authority, Free, Lease, Permission

log = structlog.get_logger(__name__)
_PROC = Path("/proc")
TOKENS = "tokens"
"""The counter above which the tokens of a key begin that was never held before, or whose row was removed since."""


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


class LeaseLog:
    """Counts every step of a lease, and tells of all but renewals. A key is a ticket, where it is not a word."""

    def __init__(self, also: Callable[[LeaseEvent], None] | None = None) -> None:
        self.counts: dict[str, int] = dict.fromkeys((kind.value for kind in LeaseEventKind), 0)
        self._also = also

    def tell(self, event: LeaseEvent) -> None:
        self.counts[event.kind.value] += 1
        if event.kind is not LeaseEventKind.RENEWED:
            log.info(f"lease_{event.kind.value}", key=event.key, holder=event.holder, lease_token=event.token)
        if self._also is not None:
            self._also(event)


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

    @property
    def holder(self) -> LeaseEvent:
        """Who has the lease that was not granted."""
        return self.events[-1]


@dataclass(frozen=True, slots=True)
class _Stored:
    holder: str
    token: int
    boot: str
    expires_s: float


@dataclass(frozen=True, slots=True)
class LeaseDesk:
    """Grant, renew and end leases, each within a transaction of the one writer."""

    world: LeaseWorld

    def holds(self, tx: Transaction, key: str, holder: str, token: int) -> bool:
        """Whether this holder has the lease with this token, now."""
        stored = _stored(tx, key)
        return stored.holder == holder and stored.token == token and self._is_running(stored)

    def require(self, tx: Transaction, under: Authority | Permission) -> None:
        """Pass when the lease is held by who says so.

        Raises:
            PermissionGone: when it is not.
        """
        if not self.holds(tx, under.key, under.holder, under.token):
            raise PermissionGone(f"lease {under.key} is not held with token {under.token}")

    def require_free(self, tx: Transaction, free: Free) -> None:
        """Pass when nobody else has one of the leases, or could still send under one.

        A holder whose lease ran out while it was suspended goes on to send what it had committed, unless the gateway
        knows a newer token; one whose process is gone does nothing any more.

        Raises:
            LeaseHeld: naming key, holder and token, when somebody has or could.
            PermissionGone: when the holder names its token, and holds the lease under that no more.
        """
        for key in free.keys:
            if free.token is not None and not self.holds(tx, key, free.holder, free.token):
                raise PermissionGone(f"lease {key} is not held with token {free.token}")
            row = tx.row(tx.say.lease, {"key": key})
            if row is None or (stored := _of(row)).holder in ("", free.holder):
                continue
            is_live = self._is_live(stored)
            if is_live or self.world.process_alive(stored.holder):
                raise LeaseHeld(key, stored.holder, stored.token, is_lapsed=not is_live)

    def acquire(self, tx: Transaction, key: str, holder: str, ttl_s: float) -> Answer:
        return self._taken(tx, key, _stored(tx, key), holder, ttl_s)

    def grant(self, tx: Transaction, key: str, holder: str, ttl_s: float, superseding: int | None) -> Answer:
        """Grant a lease, but not over one that ran out under a process that may wake up, unless its token is named.

        Were it granted and given back before the gateway knows it, nobody could see any more that the sleeper may send.

        Raises:
            LeaseHeld: when such a holder is to be fenced off first.
        """
        stored = _stored(tx, key)
        may_wake = stored.holder not in ("", holder) and self.world.process_alive(stored.holder)
        if may_wake and stored.token != superseding and not self._is_live(stored):
            raise LeaseHeld(key, stored.holder, stored.token, is_lapsed=True)
        return self._taken(tx, key, stored, holder, ttl_s)

    def _taken(self, tx: Transaction, key: str, stored: _Stored, holder: str, ttl_s: float) -> Answer:
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

    def prune(self, tx: Transaction, limit: int) -> int:
        """Remove leases of tickets and openings that are over, of ``limit`` that are looked at; return how many.

        The tokens of all keys without a row begin above theirs.
        """
        idle = [row for row in tx.rows(tx.say.some_leases, {"limit": limit}) if self._is_over(row)]
        if idle:
            highest = max(row["token"] for row in idle)
            (base,) = tx.answer(tx.say.counter, {"name": TOKENS})
            if highest > (base or 0):
                tx.count_up(TOKENS, highest - (base or 0))
            tx.run_all(tx.say.drop_lease, idle)
        return len(idle)

    def _is_over(self, row: dict[str, Any]) -> bool:
        """Answer whether nobody can act under a lease any more: a process that slept through its expiry still may."""
        stored = _of(row)
        return stored.holder == "" or not self.world.process_alive(stored.holder)

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
    return _never_held(tx) if row is None else _of(row)


def _of(row: dict[str, Any]) -> _Stored:
    checked("leases", row)
    return _Stored(row["holder"], row["token"], row["boot"], row["expires_s"])


def _never_held(tx: Transaction) -> _Stored:
    (token,) = tx.answer(tx.say.counter, {"name": TOKENS})
    return _Stored("", token or 0, "", 0.0)


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
