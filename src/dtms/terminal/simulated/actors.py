"""Outside traders: people with a phone, other programs. They act at set times, through the same trade rules.

An act opens a position, or changes or closes one that an earlier act of the same name opened. Stops and targets are
given as a price, as points, or as multiples of ATR(14) on M15 from the price of the act.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from dtms.terminal.simulated import conditions
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.fills import Outcome
from dtms.terminal.simulated.grid import to_lots, to_points, to_price
from dtms.terminal.simulated.records import Acted, Position, Reason
from dtms.terminal.simulated.requests import read_request
from dtms.terminal.simulated.spec import FILLING_FOK, SymbolSpec
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World

ATR_BARS = 14
ACCEPTED = (MT5.TRADE_RETCODE_DONE, MT5.TRADE_RETCODE_DONE_PARTIAL, MT5.TRADE_RETCODE_PLACED)
NOT_DONE = Outcome(retcode=MT5.TRADE_RETCODE_INVALID)


class Kind(StrEnum):
    """What an act does."""

    OPEN = "open"
    MODIFY = "modify"
    CLOSE = "close"
    RENUMBER = "renumber"
    SET = "set"


class Unit(StrEnum):
    """How a level is given."""

    PRICE = "price"
    POINTS = "points"
    ATR = "atr"


OF_THE_BROKER = (Kind.RENUMBER, Kind.SET)


@dataclass(frozen=True, slots=True)
class Level:
    """A stop or target: a price, or a distance from the price of the act."""

    unit: Unit
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of an outside trader. `name` ties changes and closes to the opening; `lots` of 0 closes everything.

    An act of the broker's own sets a condition, by its dotted name, to a value, or gives a position a new ticket.
    """

    at_ms: int
    kind: Kind
    name: str = ""
    symbol: str = ""
    side: str = "BUY"
    lots: float = 0.0
    sl: Level | None = None
    tp: Level | None = None
    magic: int = 0
    comment: str = ""
    reason: Reason = Reason.CLIENT
    setting: str = ""
    value: object = None


class Script:
    """Carry out acts in the order of their times, each once."""

    def __init__(self, acts: Sequence[Act], world: World, server: TradeServer) -> None:
        """Lay out the acts; ValueError for one that sets what cannot be set."""
        for act in acts:
            if act.kind == Kind.SET:
                conditions.judged(world.specs, act.setting, act.value)
        self._acts = sorted(enumerate(acts), key=lambda pair: (pair[1].at_ms, pair[0]))
        self._world = world
        self._server = server
        self._next = 0

    def next_ms(self) -> int | None:
        """Give the time of the next act that has not been done, None after the last."""
        while self._next < len(self._acts) and self._acts[self._next][0] in self._world.ledger.acted:
            self._next += 1
        return self._acts[self._next][1].at_ms if self._next < len(self._acts) else None

    def run_next(self) -> None:
        """Do the next act, and note its outcome whether it was refused or not."""
        index, act = self._acts[self._next]
        outcome = self._broker_act(act) if act.kind in OF_THE_BROKER else self._trader_act(act)
        ticket = outcome.order if outcome.retcode in ACCEPTED else 0
        self._world.ledger.apply(Acted(index=index, ticket=ticket, retcode=outcome.retcode))

    def _trader_act(self, act: Act) -> Outcome:
        request = self._request(act)
        return self._server.send(request, act.reason) if request else NOT_DONE

    def _broker_act(self, act: Act) -> Outcome:
        if act.kind == Kind.SET:
            self._world.set(act.setting, act.value)
            return Outcome(retcode=MT5.TRADE_RETCODE_DONE)
        position = self._position(act.name)
        if position is None:
            return NOT_DONE
        return Outcome(retcode=MT5.TRADE_RETCODE_DONE, order=self._server.renumber(position).ticket)

    def _request(self, act: Act) -> TradeRequest | None:
        quote = self._world.quote(act.symbol)
        if quote is None:
            return None
        values = self._opening(act, quote) if act.kind == Kind.OPEN else self._on_position(act, quote)
        made = read_request(values, self._world.manners) if values else None
        return made if isinstance(made, TradeRequest) else None

    def _opening(self, act: Act, quote: Quote) -> dict[str, Any]:
        spec, buys = self._world.specs[act.symbol], act.side == "BUY"
        entry = quote.ask if buys else quote.bid
        return {
            "action": MT5.TRADE_ACTION_DEAL,
            "symbol": act.symbol,
            "volume": act.lots,
            "type": MT5.ORDER_TYPE_BUY if buys else MT5.ORDER_TYPE_SELL,
            "price": to_price(entry, spec.scale),
            "deviation": 1_000,
            "sl": self._level(act, act.sl, entry, -1 if buys else 1),
            "tp": self._level(act, act.tp, entry, 1 if buys else -1),
            "type_filling": _filling(spec),
            "magic": act.magic,
            "comment": act.comment,
        }

    def _on_position(self, act: Act, quote: Quote) -> dict[str, Any] | None:
        position = self._position(act.name)
        if position is None:
            return None
        spec, buys = self._world.specs[position.symbol], position.type == MT5.POSITION_TYPE_BUY
        price = quote.bid if buys else quote.ask
        if act.kind == Kind.MODIFY:
            held_sl, held_tp = to_price(position.sl_points, spec.scale), to_price(position.tp_points, spec.scale)
            return {
                "action": MT5.TRADE_ACTION_SLTP,
                "symbol": position.symbol,
                "position": position.ticket,
                "sl": self._level(act, act.sl, price, -1 if buys else 1) if act.sl else held_sl,
                "tp": self._level(act, act.tp, price, 1 if buys else -1) if act.tp else held_tp,
            }
        return {
            "action": MT5.TRADE_ACTION_DEAL,
            "symbol": position.symbol,
            "position": position.ticket,
            "volume": act.lots or to_lots(position.units),
            "type": 1 - position.type,
            "price": to_price(price, spec.scale),
            "deviation": 1_000,
            "type_filling": _filling(spec),
            "magic": act.magic,
            "comment": act.comment,
        }

    def _position(self, name: str) -> Position | None:
        """Give the position that the opening act of this name opened or merged into, None when it is gone."""
        ledger, ticket = self._world.ledger, self._ticket(name)
        order = ledger.history_orders.get(ticket) or ledger.orders.get(ticket)
        return ledger.identified(order.position_id) if order else None

    def _ticket(self, name: str) -> int:
        """Give the ticket of the order that the opening act of this name got, 0 if none."""
        for index, act in self._acts:
            done = self._world.ledger.acted.get(index)
            if act.name == name and act.kind == Kind.OPEN and done:
                return done.ticket
        return 0

    def _level(self, act: Act, level: Level | None, price_points: int, sign: int) -> float:
        """Give a level's price on the symbol's grid, 0.0 for none."""
        if level is None:
            return 0.0
        spec = self._world.specs[act.symbol]
        if level.unit == Unit.PRICE:
            return level.value
        away = level.value if level.unit == Unit.POINTS else level.value * self.atr_points(act.symbol)
        step = spec.tick_size_points
        return to_price(round((price_points + sign * away) / step) * step, spec.scale)

    def atr_points(self, symbol: str) -> float:
        """Give the mean true range of the last 14 closed M15 bars, in points."""
        rows = self._world.series[symbol].last(MT5.TIMEFRAME_M15, self._world.now_ms, 1, ATR_BARS + 1)
        before = rows["close"][:-1]
        ranges = np.maximum(rows["high"][1:], before) - np.minimum(rows["low"][1:], before)
        scale = self._world.specs[symbol].scale
        return float(to_points(float(ranges.mean()), scale)) if len(ranges) else 0.0


def _filling(spec: SymbolSpec) -> int:
    return MT5.ORDER_FILLING_FOK if spec.filling_mask & FILLING_FOK else MT5.ORDER_FILLING_IOC


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlan:
    """What seeded entries are drawn from: `count` entries over a span of time, stop and target in ATR."""

    seed: int
    count: int
    from_ms: int
    to_ms: int
    symbols: tuple[str, ...]
    lots: float = 0.1
    sl_atr: float = 3.0
    tp_atr: float = 0.0
    magic: int = 0
    comment: str = ""


def random_entries(plan: EntryPlan, world: World) -> tuple[Act, ...]:
    """Draw entries at random open moments, in a random direction; the same for the same plan and recordings."""
    dice = random.Random(plan.seed)
    acts = [_random_entry(plan, world, dice, i) for i in range(plan.count)]
    return tuple(sorted((act for act in acts if act), key=lambda act: act.at_ms))


def _random_entry(plan: EntryPlan, world: World, dice: random.Random, number: int) -> Act | None:
    symbol, side = dice.choice(plan.symbols), dice.choice(("BUY", "SELL"))
    at_ms = world.feeds[symbol].next_open_ms(dice.randrange(plan.from_ms, plan.to_ms))
    if at_ms is None or at_ms >= plan.to_ms:
        return None
    act = Act(at_ms=at_ms, kind=Kind.OPEN, name=f"entry-{plan.seed}-{number}", symbol=symbol, side=side, lots=plan.lots)
    return replace(
        act,
        sl=Level(Unit.ATR, plan.sl_atr) if plan.sl_atr else None,
        tp=Level(Unit.ATR, plan.tp_atr) if plan.tp_atr else None,
        magic=plan.magic,
        comment=plan.comment,
    )
