"""A position under the Universal manager on a recorded market, with a broker that refuses what a real one refuses."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

import numpy as np
from tests.decide.builders import instrument, position
from tests.market.recorded import aggregate, closed_before

from dtms.decide.adoption import adopt
from dtms.decide.proposals import Proposal, Sighting
from dtms.decide.strategies import resolve
from dtms.decide.universal import propose
from dtms.domain.actions import ClosePosition, MoveStop
from dtms.domain.managed import Managed, UniversalRules
from dtms.domain.market import Bars, Instrument, Side, Tick, Timeframe
from dtms.domain.position import Position
from dtms.market.levels import Levels, LevelsBook
from dtms.market.regime import session_at
from dtms.settings import Settings

SETTINGS = Settings()
SPREAD_TICKS = 25
GOLD = instrument(symbol="XAUUSD", digits=2, point=0.01, tick_size=0.01, contract_size=100.0, stops_level_points=20)
EURO = instrument(stops_level_points=10)


def turned(bars: Bars, about: float) -> Bars:
    """Turn a market upside down about a price; exact while all prices and their mirror images are of one magnitude."""
    return replace(bars, open=about - bars.open, high=about - bars.low, low=about - bars.high, close=about - bars.close)


@dataclass(slots=True, kw_only=True)
class Refused(Exception):
    """What a broker would not have done."""

    told: str


@dataclass(slots=True, kw_only=True)
class Done:
    """One action that was carried out, at which bar's close."""

    row: int
    rule: str
    stop: float | None
    volume: Decimal | None


@dataclass(kw_only=True)
class Ride:
    """One position after another, each held until its stop is hit or ``hold`` bars have passed."""

    bars: Bars
    grid: Instrument
    side: Side
    strategy: str
    first: int = 1_500
    last: int = 3_500
    hold: int = 400
    risk_atr: float = 2.0
    done: list[Done] = field(default_factory=list)
    trades: int = 0

    @cached_property
    def frames(self) -> dict[Timeframe, Bars]:
        base = self.bars.timeframe
        longer = [tf for tf in (Timeframe.M5, Timeframe.M15) if tf > base]
        return {base: self.bars} | {tf: aggregate(self.bars, tf) for tf in longer}

    def __post_init__(self) -> None:
        self._book = LevelsBook()

    @property
    def _spread(self) -> float:
        return SPREAD_TICKS * self.grid.tick_size

    def run(self) -> list[Done]:
        row = self.first
        while row < self.last:
            row = self._trade(row) + 1
            self.trades += 1
        return self.done

    def _tick(self, row: int) -> Tick:
        """Quote the close so that its mirror image is quoted in the mirrored market."""
        close, at_ms = float(self.bars.close[row]), int(self.bars.time_ms[row]) + self.bars.timeframe.ms
        if self.side is Side.LONG:
            return Tick(at_ms, close, close + self._spread)
        return Tick(at_ms, close - self._spread, close)

    def _levels(self, row: int, timeframe: Timeframe) -> dict[Timeframe, Levels]:
        at_ms = int(self.bars.time_ms[row]) + self.bars.timeframe.ms
        bars = (
            self.bars[: row + 1] if timeframe is self.bars.timeframe else closed_before(self.frames[timeframe], at_ms)
        )
        read = self._book.read(bars, SETTINGS)
        return {} if read is None else {timeframe: read}

    def _open(self, row: int) -> tuple[Position, Managed]:
        tick = self._tick(row)
        m5 = self._levels(row, max(Timeframe.M5, self.bars.timeframe))
        atr = next(iter(m5.values())).atr
        entry = tick.opening(self.side)
        ticks = np.ceil(self.risk_atr * atr / self.grid.tick_size) * self.grid.tick_size
        held = position(
            1, self.side, "0.4", symbol=self.grid.symbol, entry=entry, opened_ms=tick.time_ms,
            stop=entry - self.side.sign * float(ticks), target=entry + self.side.sign * 50.0 * float(ticks),
        )  # fmt: skip
        session = session_at(tick.time_ms)
        rules = resolve(self.strategy, self.grid.symbol, session, None, SETTINGS.universal)
        return held, adopt(held, rules, login=1, server="S", now_ms=tick.time_ms, atr_m15=None, settings=SETTINGS)

    def _is_hit(self, row: int, held: Position) -> bool:
        assert held.stop is not None
        worst = self.bars.low[row] if self.side is Side.LONG else self.bars.high[row]
        return bool((worst - held.stop) * self.side.sign <= 0.0)

    def _trade(self, row: int) -> int:
        held, memory = self._open(row)
        rules = memory.rules
        assert isinstance(rules, UniversalRules)
        for at in range(row + 1, min(row + self.hold, self.last)):
            if self._is_hit(at, held):
                return at
            for seen in self._looks(at, held, memory, rules):
                proposed = propose(seen, SETTINGS)
                memory = proposed.memory or memory
                for proposal in proposed.proposals:
                    held, memory = self._carried_out(at, held, seen, proposal)
        return min(row + self.hold, self.last)

    def _looks(self, row: int, held: Position, memory: Managed, rules: UniversalRules) -> Iterator[Sighting]:
        tick = self._tick(row)
        yield Sighting(
            managed=memory,
            position=replace(held, price_now=tick.closing(self.side)),
            tick=tick,
            instrument=self.grid,
            now_ms=tick.time_ms,
            levels=self._levels(row, rules.timeframe),
            median_spread=self._spread,
        )

    def _carried_out(self, row: int, held: Position, seen: Sighting, proposal: Proposal) -> tuple[Position, Managed]:
        action = proposal.action
        if isinstance(action, MoveStop):
            self._judge_stop(action, held, seen)
            self.done.append(Done(row=row, rule=proposal.rule, stop=action.stop, volume=None))
            return replace(held, stop=action.stop), proposal.after
        assert isinstance(action, ClosePosition)
        self._judge_close(action, held)
        self.done.append(Done(row=row, rule=proposal.rule, stop=None, volume=action.volume))
        return replace(held, volume=held.volume - action.volume), proposal.after

    def _judge_stop(self, action: MoveStop, held: Position, seen: Sighting) -> None:
        grid, gap = self.grid, (seen.tick.closing(self.side) - action.stop) * self.side.sign
        steps = action.stop / grid.tick_size
        assert held.stop is not None
        broken = {
            "loosens the stop": (action.stop - held.stop) * self.side.sign < grid.tick_size * 0.99,
            "is off the tick grid": abs(steps - round(steps)) > 1e-6,
            "is too near to the market": gap < grid.stops_level + seen.tick.spread - 1e-9,
            "changes the target": action.target != held.target,
            "expects another stop": action.expected_stop != held.stop,
        }
        if any(broken.values()):
            raise Refused(told=f"{action} on {held}: {[told for told, is_so in broken.items() if is_so]}")

    def _judge_close(self, action: ClosePosition, held: Position) -> None:
        rest = held.volume - action.volume
        on_step = action.volume % self.grid.volume_step == 0
        if not (on_step and action.volume >= self.grid.volume_min and rest >= self.grid.volume_min):
            raise Refused(told=f"{action} on {held.volume} lots")
