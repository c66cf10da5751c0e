"""What others did to what the managers have in hand, read from the store twice a second: owners, states, switches.

All of it serves to skip what would be in vain, and to stand back at once; what permits an action is judged again under
its lease.
"""

from dataclasses import replace

from dtms.domain.errors import ChangedMeanwhile, LeaseHeld
from dtms.domain.facts import FactKind
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.hand import flagged
from dtms.ports.store import Free, Unit

EVERY_S = 0.5


class News:
    """Keeps the floor's view of registry, states and switches new."""

    def __init__(self, bench: Bench, floor: Floor) -> None:
        self._bench = bench
        self._floor = floor
        self._next_s = 0.0

    def read_soon(self) -> None:
        """Read in the next cycle: something was changed just now."""
        self._next_s = 0.0

    async def read(self, *, at_once: bool = False) -> bool:
        """Read what changed, twice a second at most; answers whether it was read.

        Raises:
            StoreFailed: when it could not be read; then nothing is done.
        """
        now = self._bench.clock.machine_s()
        if not at_once and now < self._next_s:
            return False
        self._next_s = now + EVERY_S
        bench, floor = self._bench, self._floor
        controls = await bench.store.standing(0)
        bench.halted, bench.mode = controls.halted, controls.account_mode or bench.configured
        states = await bench.store.states()
        ownerships = {row.ticket: row for row in await bench.store.ownerships()}
        for charge in floor.charges.values():
            ticket = charge.managed.ticket
            before = floor.states.get(ticket), floor.ownerships.get(ticket)
            if before != (states.get(ticket), ownerships.get(ticket)):
                charge.next_ms = 0  # what was refused may be permitted now
        floor.states, floor.ownerships = states, ownerships
        await self._let_go()
        await self._flag()
        return True

    async def _let_go(self) -> None:
        """Take out of the Universal manager's hands what the registry gives to another."""
        for charge in list(self._floor.of_manager(Owner.UNIVERSAL)):
            if self._floor.owner(charge.managed.ticket) is not Owner.UNIVERSAL and not charge.lock.locked():
                await self._ended(charge, self._floor.ownerships.get(charge.managed.ticket))

    async def _ended(self, charge: Charge, row: Ownership | None) -> None:
        to = "nobody" if row is None or not row.owner else row.owner
        managed = ended(charge.managed, f"handed over to {to}", self._bench.clock.market_ms())
        fact = self._bench.fact(FactKind.UNMANAGED, managed.close_reason or "", managed, {"owner": to})
        await self._bench.store.commit(Unit(managed=(managed,), facts=(fact,)))
        charge.managed = managed
        self._floor.drop(charge)
        self._bench.journal.tell((fact,))

    async def _flag(self) -> None:
        """Put into the registry that a stop reached breakeven, whoever moved it there."""
        for charge in list(self._floor.charges.values()):
            row = self._floor.ownerships.get(charge.managed.ticket)
            if charge.managed.breakeven_done and row is not None and not row.breakeven:
                await self.flag(charge, row)

    async def flag(self, charge: Charge, row: Ownership, managed: Managed | None = None) -> bool:
        """Commit the breakeven flag of a position, and the memory that shows it; False when another is at it now."""
        bench = self._bench
        told = "the stop stands at breakeven or beyond"
        fact = bench.fact(FactKind.OWNER_CHANGED, told, charge.managed, {"owner": row.owner, "breakeven": True})
        free = Free(holder=bench.leases.holder, keys=(bench.key(row.ticket, row.symbol),))
        memory = () if managed is None else (managed,)
        try:
            await bench.store.commit(Unit(ownership=(flagged(row),), managed=memory, facts=(fact,), free=free))
        except (LeaseHeld, ChangedMeanwhile):
            return False  # looked at again in half a second
        self._floor.ownerships[row.ticket] = flagged(row)
        return True


def ended(managed: Managed, why: str, at_ms: int) -> Managed:
    """Return the memory of a position that left its manager's hands."""
    return replace(managed, closed_ms=at_ms, close_reason=why, unconfirmed=False)
