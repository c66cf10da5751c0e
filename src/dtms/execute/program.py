"""What a program is made of that lives by ``execute.lifecycle``: the ground it stands on, its loop, its recovery."""

from typing import Protocol

from dtms.decide.guards import RailState
from dtms.domain.account import MarginMode
from dtms.domain.trade import Mode
from dtms.execute.journal import Journal
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.store import Store
from dtms.settings import Settings


class Ground(Protocol):
    """What a program acts with and under; the switches and settings change between cycles."""

    broker: Broker
    store: Store
    clock: Clock
    journal: Journal
    settings: Settings
    rails: RailState
    mode: Mode
    account: tuple[int, str]
    margin_mode: MarginMode
    halted: bool


class Counted(Protocol):
    """What a loop did since it was made."""

    cycles: int
    stale: dict[str, str]


class Loop(Protocol):
    """What is run again and again."""

    @property
    def counts(self) -> Counted: ...

    @property
    def active(self) -> int:
        """How many trades are watched."""
        ...

    def scan_soon(self) -> None:
        """Look through everything in the next cycle."""
        ...

    def use(self, settings: Settings) -> None:
        """Act by new settings, which the ground has already, from now on."""
        ...

    async def run_cycle(self) -> None:
        """Look once at everything that is due.

        Raises:
            BrokerUnavailable, StoreFailed, PermissionGone: when nothing can be done now.
        """
        ...


class Recovery(Protocol):
    """What matches memory with store and broker, at every start and after every outage."""

    async def run(self) -> str:
        """Recover, and tell in words what was found.

        Raises:
            BrokerUnavailable: when the broker did not answer; nothing was concluded.
        """
        ...

    async def watch_left_out(self) -> None:
        """Try again, now and then, to watch what could not be watched."""
        ...
