"""What the managers take up by themselves: what the registry gives them, and new positions where that is configured."""

import structlog

from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Owner
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.claiming import Claiming, ManagingRefused
from dtms.execute.managing.floor import Floor
from dtms.execute.managing.steps import Look
from dtms.execute.trading.service import Code

log = structlog.get_logger(__name__)

AGAIN_MS = (2_000, 5_000, 30_000)
"""Market time between tries to take up what could not be taken up; the last stays."""


class Taking:
    """Takes up what belongs to the managers and is not in their hands yet."""

    def __init__(self, bench: Bench, floor: Floor, claiming: Claiming) -> None:
        self._bench = bench
        self._floor = floor
        self._claiming = claiming
        self._tried: dict[int, tuple[int, int]] = {}
        """By ticket: how often it was tried, and when it is tried again (market time)."""
        self._decided: set[int] = set()
        """Identifiers of positions of which it is known whether profit protection is on."""

    async def run(self, look: Look) -> None:
        """Take up what the registry gives to the Universal manager, and put new positions under profit protection."""
        for row in list(self._floor.ownerships.values()):
            if self._is_owed(row) and self._is_time(row.ticket, look.now_ms):
                await self._take(row, look)
        if look.is_new and self._bench.settings.exits.auto_enable:
            for position in look.snapshot.positions.values():
                if position.identifier not in self._decided:
                    await self._protect(position)

    def _is_owed(self, row: Ownership) -> bool:
        is_mine = row.manager is Owner.UNIVERSAL and row.strategy_type is not None and row.closed_ms is None
        return is_mine and (Owner.UNIVERSAL, row.ticket) not in self._floor.charges

    def _is_time(self, ticket: int, now_ms: int) -> bool:
        return now_ms >= self._tried.get(ticket, (0, 0))[1]

    async def _take(self, row: Ownership, look: Look) -> None:
        if self._claiming.is_busy:
            return  # a request may wait for somebody's lease: the loop does not wait with it
        listed = self._floor.by_identifier.get(row.identifier)  # under another ticket, where the broker replaced it
        ticket = row.ticket if listed is None else listed.ticket
        try:
            await self._claiming.register(ticket, row.strategy_type or "", is_patient=False)
        except ManagingRefused as refused:
            tries = self._tried.get(row.ticket, (0, 0))[0]
            wait_ms = AGAIN_MS[min(tries, len(AGAIN_MS) - 1)]
            self._tried[row.ticket] = tries + 1, look.now_ms + wait_ms
            log.warning("not_taken_up", ticket=row.ticket, told=refused.message)
            if refused.code is Code.NOT_FOUND:
                await self._claiming.close_if_gone(row)
        else:
            self._tried.pop(row.ticket, None)

    async def _protect(self, position: Position) -> None:
        """Put a position under profit protection, unless that was decided before."""
        if any(self._is_of(m, position) for m in await self._bench.store.managed(ticket=position.ticket)):
            self._decided.add(position.identifier)
            return
        try:
            await self._claiming.enable(position.ticket)
        except ManagingRefused as refused:
            if refused.code is Code.NOT_FOUND:
                return  # gone again, or not to be read yet
            log.info("not_protected", ticket=position.ticket, told=refused.message)
        self._decided.add(position.identifier)

    def _is_of(self, managed: Managed, position: Position) -> bool:
        return managed.manager is Owner.EXITS and managed.identifier == position.identifier
