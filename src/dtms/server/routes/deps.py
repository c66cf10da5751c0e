"""What the routes work with."""

from dataclasses import dataclass

from dtms.domain.trade import Trade
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

    async def stored(self, ticket: int) -> Trade | None:
        """Read a trade by the ticket that it was registered under, or by that of its position now."""
        return await self.store.trade(self.registered(ticket))

    def registered(self, ticket: int) -> int:
        """Return the ticket that a position was registered under, by that or by its present one."""
        known = self.service.ticket_of(ticket)
        return ticket if known is None else known

    def surroundings(self, health: Health) -> Surroundings:
        """Return what holds for all trades of one answer."""
        status = self.service.status()
        return Surroundings(mode=status.mode, halted=status.halted, stale=not health.ready)
