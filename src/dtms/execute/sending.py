"""Sending what was planned, action by action: what sizing sees, and what is learned from how each ended."""

from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.decide.defence import Plan, Sight, family_sight_positions
from dtms.domain.actions import Action, Ending, OpenPosition, Outcome, Serves
from dtms.domain.market import Instrument
from dtms.domain.position import Position
from dtms.domain.prices import ZERO, floor_lots
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade
from dtms.execute.answers import is_gone
from dtms.execute.book import SymbolWatch, Watch
from dtms.execute.carrying import MEANWHILE, NOT_LISTED
from dtms.execute.desk import Desk
from dtms.execute.executor import After, Order
from dtms.execute.holding import Holding
from dtms.execute.seen_stops import seen

LOOK_SOON_MS = 1_000


@dataclass(frozen=True, slots=True)
class Serving:
    """The transition that actions serve, and what is committed together with the last of them."""

    serves: Serves | None = None
    after: After | None = None


NOTHING_SERVED = Serving()


class Sending:
    """Carries planned actions out; the caller holds the trade's lock."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.holding = Holding(desk)

    def sight(self, watch: Watch, symbol: SymbolWatch, snapshot: Snapshot) -> Sight | None:
        """Gather what sizing sees; None without a sound quote."""
        tick = snapshot.ticks.get(watch.trade.symbol)
        if tick is None or not tick.is_sound:
            return None
        own, readds, hedges = family_sight_positions(watch.trade, dict(snapshot.positions))
        open_lots = sum((p.volume for p in (own, *readds) if p is not None), ZERO)
        unresolved = any(i.action.kind.changes_exposure for i in watch.open_intents.values())
        return Sight(
            trade=replace(watch.trade, reduce_only=watch.trade.reduce_only or unresolved),
            own=own,
            readds=readds,
            hedges=hedges,
            tick=tick,
            instrument=symbol.instrument,
            account=snapshot.account,
            atr_m15=symbol.view.atr_m15 if symbol.view is not None else float("nan"),
            part_left=self._part_left(watch.trade, open_lots, symbol.instrument),
            protection=self._desk.settings.protection,
            rails=self._desk.settings.rails,
            cost_money=(watch.cost_money or 0.0) + (own.swap if own else 0.0),
            learned=self._desk.learned,
            symbol_order=self._desk.closing_order(snapshot, watch.trade.symbol),
            strange=self._strange(watch.trade, snapshot),
            seen_stops=seen(watch, self._desk.clock.market_ms()),
        )

    def _strange(self, trade: Trade, snapshot: Snapshot) -> frozenset[int]:
        known = {trade.position, *(m.ticket for m in trade.members)}
        strange = (p for p in snapshot.positions.values() if p.symbol == trade.symbol and p.ticket not in known)
        numbers = (self._desk.broker.number_in(p.magic, p.comment) for p in strange)
        return frozenset(number for number in numbers if number is not None)

    def _part_left(self, trade: Trade, open_lots: Decimal, instrument: Instrument) -> Decimal | None:
        """Return what is left of a part that was begun: never more than a part of what is open now would be."""
        protection = self._desk.settings.protection
        if trade.part_left is None or protection.partial_below_minimum == "close_all":
            return trade.part_left
        share = Decimal(str(protection.close_share))
        return min(trade.part_left, floor_lots(open_lots * share, instrument))

    async def carry_out(
        self, watch: Watch, symbol: SymbolWatch, sight: Sight, planned: Plan, serving: Serving
    ) -> Outcome:
        """Carry actions out in order, up to the first that is not done; return how the last one ended."""
        outcome = Outcome(ending=Ending.DONE, reason="")
        for action in planned.actions:
            last = action is planned.actions[-1]
            order = Order(
                watch=watch,
                action=action,
                serves=serving.serves,
                tick=sight.tick,
                instrument=sight.instrument,
                margin_mode=sight.account.margin_mode,
                beside=_beside(sight) if isinstance(action, OpenPosition) else (),
                after=serving.after if last else None,
                strange=sight.strange,
            )
            outcome = await self._desk.executor.run(order)
            await self._note(watch, symbol, sight, action, outcome)
            if outcome.ending is not Ending.DONE:
                break
        return outcome

    async def _note(self, watch: Watch, symbol: SymbolWatch, sight: Sight, action: Action, outcome: Outcome) -> None:
        """Learn from how an action ended, and look for what it left open."""
        if outcome.ending is Ending.DONE:
            self._desk.actions += 1
        if outcome.ending is Ending.UNKNOWN:
            soon = self._desk.clock.market_ms() + LOOK_SOON_MS
            watch.next_fast_ms = min(watch.next_fast_ms, soon)
        if is_gone(outcome, action) or outcome.rule in (NOT_LISTED, *MEANWHILE):
            watch.next_fast_ms = 0
        await self.holding.note(outcome, sight, symbol)
        if outcome.retcode is not None:
            await self._desk.learn(outcome.retcode, action)


def _beside(sight: Sight) -> tuple[Position, ...]:
    """Return the family: its lots say how much may be added."""
    return (*sight.side_positions, *sight.hedges)
