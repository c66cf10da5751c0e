"""What somebody wants planned, checked as a whole: a plan, or everything that is wrong with it, field by field."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from math import isfinite

from dtms.decide.conditions import Condition, conditions_json, parse, prices_of
from dtms.decide.conditions_facts import MarketFacts
from dtms.decide.conditions_params import Fault, InvalidConditions
from dtms.decide.plans_structure import relied_on
from dtms.domain.errors import DtmsError
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Side, Tick, TradeMode
from dtms.domain.plans import OrderType, Plan
from dtms.domain.prices import away_from_market, floor_lots, on_grid
from dtms.domain.strategies import Strategy, UnknownStrategy, strategy_of
from dtms.settings import PlanSettings

HOUR_MS = 3_600_000
NOTES_MAX, BRACKET_MAX = 1_000, 64
_AWAY_MAX = 0.5
"""Share of the price by which a level may differ from it."""


class InvalidPlan(DtmsError):
    """A plan that cannot be: an error of whoever wrote it, with one fault per field."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in self.faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A plan as somebody wrote it; prices and volumes as given, nothing of it checked."""

    symbol: str
    direction: str
    entry: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    volume: Decimal | None = None
    risk_pct: float | None = None
    conditions: Json = None
    strategy_type: str | None = None
    order_type: str = "market"
    expires_hours: float | None = None
    entry_levels: tuple[float, ...] = ()
    tolerance: float | None = None
    notes: str | None = None
    bracket_id: str | None = None
    created_by: str | None = None
    correlation_id: str | None = None


def draft_of(plan: Plan) -> Draft:
    """Return the plan as it would be written, to be changed and validated again; its expiry is left to the default."""
    return Draft(
        symbol=plan.symbol,
        direction=plan.side.direction,
        entry=plan.entry,
        stop_loss=plan.stop,
        take_profit=plan.target,
        volume=plan.volume,
        risk_pct=plan.risk_pct,
        conditions=dict(plan.conditions),
        strategy_type=plan.strategy_type,
        order_type=plan.order_type.value,
        entry_levels=plan.entry_levels,
        tolerance=plan.tolerance,
        notes=plan.notes,
        bracket_id=plan.bracket_id,
        created_by=plan.created_by,
        correlation_id=plan.correlation_id,
    )


def validate(
    draft: Draft,
    *,
    plan_id: str,
    instrument: Instrument,
    tick: Tick,
    now_ms: int,
    settings: PlanSettings,
    facts: MarketFacts | None = None,
) -> Plan:
    """Make a plan of a draft: prices on the grid, defaults filled in, conditions written out.

    Args:
        facts: the symbol's market, by which the structure that the plan stands on is recorded.

    Raises:
        InvalidPlan: with everything that is wrong.
    """
    check = _Check(draft, instrument, tick, settings)
    check.run()
    if check.faults or check.side is None or check.condition is None or check.entry is None:
        raise InvalidPlan(check.faults)
    conditions = conditions_json(check.condition)
    return Plan(
        id=plan_id,
        symbol=instrument.symbol,
        side=check.side,
        entry=check.entry,
        stop=check.stop,
        target=check.target,
        volume=draft.volume,
        risk_pct=draft.risk_pct,
        conditions=conditions if isinstance(conditions, dict) else {},
        strategy_type=check.strategy.value,
        order_type=check.order_type,
        expires_ms=now_ms + int(check.expires_h * HOUR_MS),
        entry_levels=check.levels,
        tolerance=check.tolerance,
        notes=draft.notes,
        bracket_id=draft.bracket_id,
        created_ms=now_ms,
        created_by=draft.created_by,
        created_price=tick.opening(check.side),
        status_ms=now_ms,
        relies_on=relied_on(check.condition, facts) if facts is not None else {},
        correlation_id=draft.correlation_id,
    )


class _Check:
    """One draft under examination: what was understood of it, and every fault."""

    def __init__(self, draft: Draft, instrument: Instrument, tick: Tick, settings: PlanSettings) -> None:
        self._draft, self._instrument, self._tick, self._settings = draft, instrument, tick, settings
        self.faults: list[Fault] = []
        self.side: Side | None = None
        self.strategy = Strategy.DEFAULT_STANDARD
        self.order_type = OrderType.MARKET
        self.condition: Condition | None = None
        self.entry: float | None = None
        self.levels: tuple[float, ...] = ()
        self.stop: float | None = None
        self.target: float | None = None
        self.tolerance: float | None = None
        self.expires_h = 0.0

    def run(self) -> None:
        """Ask every rule; those that need a side or an entry are left out without one."""
        self._read_words()
        self._read_conditions()
        if self.side is not None:
            self._read_prices(self.side)
            self._judge_mode(self.side)
        if self.side is not None and self.entry is not None:
            self._judge_levels(self.side, (self.entry, *self.levels))
            self._read_tolerance(self.entry, (self.entry, *self.levels))
        self._judge_size()
        self._read_expiry()

    def _note(self, field: str, message: str, near: tuple[str, ...] = ()) -> None:
        self.faults.append(Fault(field, message, near))

    def _read_words(self) -> None:
        draft = self._draft
        try:
            self.side = Side.of_direction(draft.direction)
        except ValueError as error:
            self._note("direction", str(error))
        try:
            self.strategy = strategy_of(draft.strategy_type or Strategy.DEFAULT_STANDARD)
        except UnknownStrategy as error:
            self._note("strategy_type", str(error), error.near)
        try:
            self.order_type = OrderType(draft.order_type)
        except ValueError:
            self._note("order_type", f"must be one of {', '.join(OrderType)}")
        for name, text, limit in (("notes", draft.notes, NOTES_MAX), ("bracket_id", draft.bracket_id, BRACKET_MAX)):
            if text is not None and len(text) > limit:
                self._note(name, f"must have at most {limit} characters")

    def _read_conditions(self) -> None:
        try:
            self.condition = parse(self._draft.conditions, self.side or Side.LONG)  # without a side: told already
        except InvalidConditions as error:
            self.faults.extend(error.faults)

    # --- prices ---

    def _read_prices(self, side: Side) -> None:
        draft = self._draft
        grid: Callable[[float], float] = lambda price: on_grid(price, self._instrument)  # noqa: E731
        if len(draft.entry_levels) > self._settings.levels_max:
            self._note("entry_levels", f"must be at most {self._settings.levels_max} prices")
            return
        if draft.entry_levels and self.order_type is not OrderType.MARKET:
            self._note("entry_levels", f"a {self.order_type.value} order rests at one price: give entry alone")
        levels = [self._price(f"entry_levels[{n}]", one, grid) for n, one in enumerate(draft.entry_levels)]
        self.levels = tuple(level for level in levels if level is not None)
        if draft.entry is None and not draft.entry_levels:
            self._note("entry", "is required, unless entry_levels are given")
        self.entry = self._price("entry", draft.entry, grid)
        if draft.entry is None and self.levels:
            self.entry = self.levels[0]
        self.stop = self._price("stop_loss", draft.stop_loss, lambda p: away_from_market(p, side, self._instrument))
        self.target = self._price("take_profit", draft.take_profit, grid)

    def _price(self, field: str, price: float | None, grid: Callable[[float], float]) -> float | None:
        """Put a price on the grid; None when it is absent, or cannot be."""
        if price is None:
            return None
        if not isfinite(price) or price <= 0.0:
            self._note(field, "must be a positive number")
            return None
        now = (self._tick.bid + self._tick.ask) / 2.0
        if abs(price - now) > _AWAY_MAX * now:
            self._note(field, f"is more than 50 % away from the price, {now:.10g}")
            return None
        return grid(price)

    def _judge_levels(self, side: Side, entries: tuple[float, ...]) -> None:
        room = max(self._instrument.stops_level, self._instrument.tick_size)
        for field, level, sign in (("stop_loss", self.stop, -1), ("take_profit", self.target, 1)):
            wrong = [e for e in entries if level is not None and (level - e) * side.sign * sign < room * (1.0 - 1e-9)]
            if level is None or not wrong:
                continue
            where = "above" if sign == side.sign else "below"
            told = f"for a {side.direction} must lie {where} the entry {wrong[0]:.10g} by at least {room:.6g}"
            self._note(field, f"{told}, and is {level:.10g}")

    def _read_tolerance(self, entry: float, entries: tuple[float, ...]) -> None:
        given = self._draft.tolerance
        if given is None:
            is_priced = self.condition is not None and prices_of(self.condition)
            if self.order_type is OrderType.MARKET and not is_priced:
                self.tolerance = entry * self._settings.tolerance_percent / 100.0
            return
        stop, room = self.stop, self._instrument.stops_level
        widest = entry * _AWAY_MAX if stop is None else min(abs(level - stop) for level in entries) - room
        if not 0.0 < given < widest:
            self._note("tolerance", f"must be positive and less than {widest:.6g}, so that the stop has room")
        self.tolerance = given

    # --- the rest ---

    def _judge_mode(self, side: Side) -> None:
        mode, refused = self._instrument.trade_mode, (TradeMode.DISABLED, TradeMode.CLOSE_ONLY)
        against = TradeMode.SHORT_ONLY if side is Side.LONG else TradeMode.LONG_ONLY
        if mode in refused or mode is against:
            self._note("symbol", f"{self._instrument.symbol} is {mode.value}: it cannot be opened to {side.direction}")

    def _judge_size(self) -> None:
        draft = self._draft
        if (draft.volume is None) is (draft.risk_pct is None):
            self._note("volume", "either volume or risk_pct must be given, and not both")
        if draft.volume is not None:
            self._judge_volume(draft.volume)
        if draft.risk_pct is not None:
            limit = self._settings.risk_percent_max
            if not 0.0 < draft.risk_pct <= limit:
                self._note("risk_pct", f"must be above 0 and at most {limit:g} %")
            if draft.stop_loss is None:
                self._note("stop_loss", "is required with risk_pct: without a stop no risk is known")

    def _judge_volume(self, volume: Decimal) -> None:
        of = self._instrument
        if not volume.is_finite() or not of.volume_min <= volume <= of.volume_max:
            self._note("volume", f"must lie between {of.volume_min} and {of.volume_max}")
        elif floor_lots(volume, of) != volume:
            self._note("volume", f"must be a multiple of {of.volume_step}")

    def _read_expiry(self) -> None:
        rules, given = self._settings, self._draft.expires_hours
        defaults = {
            Strategy.MICRO_SCALP: rules.expires_micro_scalp_h,
            Strategy.MEAN_REVERSION_RANGE_SCALP: rules.expires_range_scalp_h,
        }
        self.expires_h = defaults.get(self.strategy, rules.expires_h) if given is None else given
        if not 0.0 < self.expires_h <= rules.expires_max_h:
            self._note("expires_hours", f"must be above 0 and at most {rules.expires_max_h:g}")


def amended(plan: Plan, fresh: Plan, *, is_expiry_given: bool) -> Plan:
    """Return ``plan`` with what ``fresh``, the same draft changed and validated anew, says of it.

    Its birth stays: when, by whom, and at which price it was made. So does its expiry unless a new one was given.
    """
    return replace(
        fresh,
        id=plan.id,
        created_ms=plan.created_ms,
        created_by=plan.created_by,
        created_price=plan.created_price,
        expires_ms=fresh.expires_ms if is_expiry_given else plan.expires_ms,
        version=plan.version + 1,
    )
