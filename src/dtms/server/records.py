"""What the journal adds to a trade, kept while the trade does not change, so that a page of trades stays cheap."""

from collections import OrderedDict
from typing import Final

from dtms.domain.facts import FactKind
from dtms.domain.trade import Trade
from dtms.execute.service import Live
from dtms.ports.store import Store
from dtms.views.trade import Record

_TRANSITIONS: Final = frozenset({FactKind.TRANSITION.value, FactKind.SHADOW_TRANSITION.value})
_TRANSITIONS_MAX: Final = 100
_SCORES_MAX: Final = 50
_KEPT_MAX: Final = 5_000

_Stamp = tuple[object, ...]


class Records:
    """Reads records through the store; a record is read again once its trade or its newest score changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[int, tuple[_Stamp, Record]] = OrderedDict()

    async def of(self, trade: Trade, live: Live | None, now_ms: int) -> Record:
        """Return a trade's record; ``now_ms`` is market time."""
        scored_ms = live.view.m5_close_ms if live is not None and live.view is not None else None
        stamp = (trade.version, trade.machine.entered_ms, trade.state, trade.shadow, scored_ms)
        kept = self._kept.get(trade.ticket)
        # Without a live trade nothing tells when something new was scored, so nothing is kept.
        if live is not None and kept is not None and kept[0] == stamp:
            self._kept.move_to_end(trade.ticket)
            return kept[1]
        record = await self._read(trade, now_ms)
        self._keep(trade.ticket, stamp, record)
        return record

    async def _read(self, trade: Trade, now_ms: int) -> Record:
        transitions = await self._store.facts(
            ticket=trade.ticket, kinds=_TRANSITIONS, limit=_TRANSITIONS_MAX, newest=True
        )
        evaluations = await self._store.evaluations(
            trade.symbol,
            trade.side.direction,
            from_ms=trade.registered_ms,
            to_ms=trade.closed_ms or now_ms,
            limit=_SCORES_MAX,
            newest=True,
        )
        return Record(
            transitions=tuple(transitions),
            scores=tuple((e.bar_ms, e.score) for e in evaluations),
            breakdown=evaluations[-1].body if evaluations else None,
        )

    def _keep(self, ticket: int, stamp: _Stamp, record: Record) -> None:
        self._kept[ticket] = (stamp, record)
        self._kept.move_to_end(ticket)
        while len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
