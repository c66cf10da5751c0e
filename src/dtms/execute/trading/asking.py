"""On whose authority a request is judged: the holder's of a lease, a person's, or Intelligent Exit's.

An outside holder is stored as ``http:<name>:<number>``: the number, never given twice, keeps two programs of one name
apart. One whose name begins with a manager's word of the registry is judged as that manager, any other as Intelligent
Exit.
"""

from dataclasses import dataclass

from dtms.domain.owners import Asker
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.store import Lease

OUTSIDE = "http:"
_MANAGERS = {Asker.UNIVERSAL.value: Asker.UNIVERSAL, Asker.EXITS.value: Asker.EXITS}


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and under which outside lease, if any."""

    asker: Asker
    under: Lease | None = None

    @property
    def is_person(self) -> bool:
        return self.asker is Asker.PERSON


def outside_name(holder: str) -> str | None:
    """Return the name that an outside program gave itself; None for a holder that is one of ours."""
    return holder.removeprefix(OUTSIDE).rpartition(":")[0] if holder.startswith(OUTSIDE) else None


def manager_word(name: str) -> str:
    """Return what a holder's name says of the manager that it stands for: all before the first colon."""
    return name.partition(":")[0]


def outside_holder(name: str, number: int) -> str:
    """Return the holder that an outside program is stored as."""
    return f"{OUTSIDE}{name}:{number}"


async def asking(desk: TradingDesk, key: str, *, lease_token: int | None, override: bool) -> Asking:
    """Say on whose authority a request for the ticket of this lease is judged.

    Raises:
        TradingRefused: when a token was sent whose lease is not held by an outside program.
    """
    if lease_token is None:
        return Asking(Asker.PERSON if override else Asker.EXITS)
    lease = await desk.store.lease(key)
    name = outside_name(lease.holder) if lease is not None else None
    if lease is None or name is None or lease.token != lease_token or lease.expires_s <= desk.clock.machine_s():
        told = f"The lease with token {lease_token} is not held: acquire it again."
        raise TradingRefused(Code.LEASE_HELD, told, {"key": key, "rule": "lease_lost"})
    return Asking(Asker.PERSON if override else _MANAGERS.get(manager_word(name), Asker.EXITS), lease)
