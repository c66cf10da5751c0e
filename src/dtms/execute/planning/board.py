"""Memory of the plans that something can still come of: a cache of the store, with the prices at which each is due."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dtms.decide.conditions import Condition, parse, timeframes_of
from dtms.decide.plans import Judgement, watched_prices
from dtms.domain.market import Tick, Timeframe
from dtms.domain.plans import Plan, PlanStatus
from dtms.ports.store import Store

JUDGED = frozenset({PlanStatus.PENDING, PlanStatus.PENDING_ORDER_PLACED})
"""What the market decides on; of the others the broker's books tell."""


@dataclass(slots=True, eq=False)
class Card:
    """One plan, and what is remembered of it only while the process lives."""

    plan: Plan
    condition: Condition
    judged: Judgement | None = None
    """What its last look came to."""
    looked_ms: int = 0
    not_before_ms: int = 0
    """Market time before which it is not tried again, after it was stopped."""
    asked_ms: int = 0
    """When the broker's history was last asked for it."""
    held: str | None = None
    """The rule that stops it although it is due, as it was last recorded."""
    failed: str | None = None
    """What went wrong when it was last followed."""
    stops: int = 0
    """How often in a row it was stopped."""


@dataclass(slots=True)
class _Levels:
    """The watched prices of one symbol, rising, and whose each is."""

    prices: list[float] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)


class Board:
    """Every open plan by its id, and which prices of a symbol somebody waits for."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self._levels: dict[str, _Levels] = {}
        self._wants: dict[str, frozenset[Timeframe]] | None = None
        self._brackets: dict[str, set[str]] = {}
        """Plans by the bracket that they are of."""

    def replace_all(self, plans: Sequence[Plan]) -> None:
        """Believe the store: these are the plans that are open."""
        known = {plan.id for plan in plans}
        for card in [c for c in self.cards.values() if c.plan.id not in known]:
            self._forget(card.plan)
        for plan in sorted(plans, key=lambda one: not one.status.is_open):
            self.put(plan)

    def put(self, plan: Plan) -> None:
        """Know a plan as it was committed; one that is at its end is forgotten."""
        card = self.cards.get(plan.id)
        if card is not None and plan.version < card.plan.version:
            return
        if not plan.status.is_open and not self._beats(plan):
            self._forget(plan)
            return
        if card is None:
            self.cards[plan.id] = Card(plan, parse(plan.conditions, plan.side))
        else:
            self._leave_bracket(card.plan)
            if card.plan.conditions != plan.conditions or card.plan.side is not plan.side:
                card.condition = parse(plan.conditions, plan.side)
            if card.plan.status is not plan.status:
                card.judged, card.asked_ms = None, 0
            card.plan = plan
        if plan.bracket_id is not None:
            self._brackets.setdefault(plan.bracket_id, set()).add(plan.id)
        self._outdate(plan.symbol)

    def _forget(self, plan: Plan) -> None:
        card = self.cards.pop(plan.id, None)
        if card is not None:
            self._leave_bracket(card.plan)
            self._outdate(plan.symbol)
            for other in self.bracket(plan):
                if not other.status.is_open and not self._beats(other):
                    self._forget(other)

    def _beats(self, plan: Plan) -> bool:
        """Answer whether a plan that is closed still keeps open ones of its bracket from executing."""
        others = (other for other in self.bracket(plan) if other.id != plan.id)
        return plan.status is PlanStatus.CLOSED and any(other.status.is_open for other in others)

    def _leave_bracket(self, plan: Plan) -> None:
        of = self._brackets.get(plan.bracket_id or "", set())
        of.discard(plan.id)
        if not of:
            self._brackets.pop(plan.bracket_id or "", None)

    def _outdate(self, symbol: str) -> None:
        self._levels.pop(symbol, None)
        self._wants = None

    # --- what is looked for --------------------------------------------------------------------------------------

    def with_status(self, *statuses: PlanStatus) -> list[Card]:
        return [card for card in self.cards.values() if card.plan.status in statuses]

    def of_symbol(self, symbol: str) -> list[Card]:
        """Return what is to be judged of a symbol, oldest first."""
        found = (c for c in self.cards.values() if c.plan.symbol == symbol and c.plan.status in JUDGED)
        return sorted(found, key=lambda card: (card.plan.created_ms, card.plan.id))

    def of(self, ids: Iterable[str]) -> list[Card]:
        """Return plans by their ids, oldest first."""
        found = (self.cards[one] for one in ids if one in self.cards)
        return sorted(found, key=lambda card: (card.plan.created_ms, card.plan.id))

    def plans(self) -> Iterator[Plan]:
        return (card.plan for card in self.cards.values())

    def bracket(self, plan: Plan) -> list[Plan]:
        """Return the open plans of a plan's bracket, itself among them; none when it is of none.

        One that won stays known after its end for as long as others are open.
        """
        found = (self.cards.get(name) for name in sorted(self._brackets.get(plan.bracket_id or "", ())))
        return [card.plan for card in found if card is not None]

    def wants(self) -> dict[str, frozenset[Timeframe]]:
        """Return the symbols that somebody waits for, with the timeframes that his conditions ask about."""
        if self._wants is None:
            found: dict[str, frozenset[Timeframe]] = {}
            for card in self.with_status(*JUDGED):
                needed = timeframes_of(card.condition)
                found[card.plan.symbol] = found.get(card.plan.symbol, frozenset()) | needed
            self._wants = found
        return self._wants

    def near(self, tick: Tick, before: Tick | None, symbol: str, near_percent: float) -> set[str]:
        """Return the plans that wait for a price near a quote, or between it and the one before.

        The prices are sorted once, so a quote that is near none of them costs two searches, however many wait.
        """
        levels = self._levels.get(symbol)
        if levels is None:
            levels = self._levels[symbol] = self._sorted(symbol)
        margin = near_percent / 100.0
        low, high = tick.bid, tick.ask
        if before is not None:
            low, high = min(low, before.bid), max(high, before.ask)
        first = bisect_left(levels.prices, low / (1.0 + margin))
        last = bisect_right(levels.prices, high / (1.0 - margin))
        return set(levels.plans[first:last])

    def _sorted(self, symbol: str) -> _Levels:
        pairs = sorted((price, c.plan.id) for c in self.of_symbol(symbol) for price in _awaited(c))
        return _Levels([price for price, _ in pairs], [plan for _, plan in pairs])


async def reread(store: Store, board: Board, plan: Plan) -> None:
    """Know a plan, and those of its bracket, as the store has them."""
    bracket = [other.id for other in board.bracket(plan)]
    for plan_id in dict.fromkeys((plan.id, *bracket)):
        row = await store.plan(plan_id)
        if row is not None:
            board.put(row)


def _awaited(card: Card) -> tuple[float, ...]:
    """Return the prices of a plan that waits; one whose order rests is filled by the broker."""
    is_pending = card.plan.status is PlanStatus.PENDING
    return watched_prices(card.plan, card.condition) if is_pending else ()
