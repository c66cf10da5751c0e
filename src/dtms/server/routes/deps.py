"""What the routes work with."""

from dataclasses import dataclass

from dtms.execute.service import Health, Service
from dtms.ports.clock import Clock
from dtms.ports.store import Store
from dtms.server.records import Records
from dtms.server.reload import Reloader
from dtms.views.trade import Surroundings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """The seams, handed to every group of routes."""

    service: Service
    store: Store
    clock: Clock
    records: Records
    reloader: Reloader

    def surroundings(self, health: Health) -> Surroundings:
        """Return what holds for all trades of one answer."""
        status = self.service.status()
        return Surroundings(mode=status.mode, halted=status.halted, stale=not health.ready)
