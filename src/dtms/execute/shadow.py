"""Observe: the machine steps a shadow of the trade, as if every move were done, and nothing is sent."""

from collections.abc import Sequence
from dataclasses import replace

from dtms.decide import trade_state
from dtms.decide.defence import Impossible, plan
from dtms.decide.trade_state import Due, Move
from dtms.domain.facts import FactKind, Json
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.desk import Desk
from dtms.execute.journal import describe
from dtms.execute.moves import Moves


class Shadow:
    """Steps shadows."""

    def __init__(self, desk: Desk, moves: Moves) -> None:
        self._desk = desk
        self._moves = moves

    async def take(self, watch: Watch, symbol: SymbolWatch, due: Due) -> bool:
        """Step the shadow as if every move were done, and journal what would have been sent."""
        trade, now = watch.trade, self._desk.clock.market_ms()
        shadow = trade.shadow or trade.machine
        made = trade_state.moves_of(due.row, alongside=trade.alongside)
        moves = [m for m in made if not trade_state.is_spent(shadow, m)]
        planned = await self._would_send(watch, symbol, moves)
        for move in moves:
            shadow = trade_state.mark(shadow, move)
        if Move.OPEN_HEDGE in moves:
            shadow = replace(shadow, hedges=shadow.hedges + 1)
        before, shadow = shadow.state, trade_state.enter(shadow, due.row, now)
        details: dict[str, Json] = {
            "from": before.value,
            "to": due.row.to.value,
            "rule": due.row.rule,
            "reason": due.reason,
            "moves": list(planned),
            "score": due.score,
        }
        summary = f"shadow {before} → {due.row.to}: {due.reason}" + (f"; would {'; '.join(planned)}" if planned else "")
        fact = self._desk.journal.fact(FactKind.SHADOW_TRANSITION, summary, trade=trade, details=details)
        await self._desk.commit(watch, replace(trade, shadow=shadow), [fact])
        return True

    async def _would_send(self, watch: Watch, symbol: SymbolWatch, moves: Sequence[Move]) -> list[str]:
        told: list[str] = []
        snapshot = await self._desk.broker.snapshot([watch.trade.symbol])
        for move in moves:
            sight = self._moves.sight(watch, symbol, snapshot)
            planned = plan(move, sight) if sight else Impossible("no_quote", "no quote")
            if isinstance(planned, Impossible):
                told.append(f"{move.value}: not possible ({planned.reason})")
            else:
                told += [describe(action) for action in planned.actions] or [f"{move.value}: {planned.note}"]
        return told
