"""What executions opened, when that became known late: to whom it belongs, committed together with its intent."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from dtms.decide.proof import Executed
from dtms.domain.actions import Intent
from dtms.domain.facts import Json
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.trade import Owner
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Floor
from dtms.execute.trading.handing import Letters
from dtms.ports.store import Unit

Concluded = Callable[[Intent, Sequence[Position]], Awaitable[Unit]]
"""Says what else is committed when an execution's outcome became known; no positions where it opened none."""
PAGE = 500


async def nothing_else(_: Intent, __: Sequence[Position]) -> Unit:
    """Commit nothing else."""
    return Unit()


class Openings:
    """Hands over what executions opened."""

    def __init__(self, bench: Bench, floor: Floor, letters: Letters | None, concluded: Concluded) -> None:
        self._bench = bench
        self._floor = floor
        self._letters = letters
        self._concluded = concluded

    async def taken(self, intent: Intent, verdict: Executed) -> Unit:
        """Return what is committed when an execution turns out to be done: whose its positions are.

        With a strategy the registry's entry is the Universal manager's, which takes up what the registry gives it;
        without one the registration with DTMS is kept until it is delivered.
        """
        also = await self._concluded(intent, verdict.positions)
        known = {row.ticket for row in await self._bench.store.ownerships([p.ticket for p in verdict.positions])}
        mine = [p for p in verdict.positions if p.ticket not in known]
        if intent.strategy_type is not None:
            rows = tuple(self._owned(p, intent.strategy_type) for p in mine)
            return replace(also, ownership=(*also.ownership, *rows))
        letters = self._letters
        kept = () if letters is None else tuple(letters.letter(p.ticket, _body(p)) for p in mine)
        return replace(also, keep=(*also.keep, *kept))

    async def not_opened(self, intent: Intent) -> Unit:
        """Return what is committed when an execution turns out not to be done."""
        return await self._concluded(intent, ())

    def tell(self, unit: Unit) -> None:
        """Begin to deliver what was kept."""
        if self._letters is not None:
            for letter in unit.keep:
                self._letters.take(letter)

    async def claimed(self, symbol: str) -> frozenset[int]:
        """Return the identifiers of every position of a symbol that is known to be somebody's."""
        found = {charge.identifier for charge in self._floor.charges.values()}
        found |= {row.identifier for row in self._floor.ownerships.values()}
        after: int | None = None
        while True:
            page = await self._bench.store.trades(symbol=symbol, after=after, limit=PAGE)
            found |= {t.identifier for t in page.trades} | {m.identifier for t in page.trades for m in t.members}
            if (after := page.next_cursor) is None:
                return frozenset(found)

    def _owned(self, position: Position, strategy_type: str) -> Ownership:
        login, server = self._bench.account
        return Ownership(
            ticket=position.ticket,
            identifier=position.identifier,
            login=login,
            server=server,
            symbol=position.symbol,
            side=position.side,
            owner=Owner.UNIVERSAL.value,
            strategy_type=strategy_type,
            since_ms=self._bench.clock.market_ms(),
        )


def _body(position: Position) -> dict[str, Json]:
    return {"symbol": position.symbol, "direction": position.side.direction}
