"""Small true values for the tests of deciding: a view, a situation, a trade, what the broker holds."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from dtms.decide.defence import Sight
from dtms.decide.trade_state import Situation
from dtms.domain.account import Account, MarginMode
from dtms.domain.market import Filling, Instrument, Side, Tick, Timeframe, TradeMode
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Member, Role, State, Trade
from dtms.market.regime import Regime, Session, Structure, Volatility
from dtms.market.score import Score
from dtms.market.structure import Break, BreakKind
from dtms.market.view import MarketView
from dtms.settings import ProtectionSettings, RailSettings

NOW = 1_700_000_100_000
M15 = Timeframe.M15.ms
TICKET, HEDGE, READD = 1, 2, 3


def score(side: Side, total: float, *, confluence: bool = False, scale: float = 1.0) -> Score:
    return Score(
        side=side, total=total, readings=(), absent=(), scale=scale, confluence_against=confluence, summary=f"{total}"
    )


def broken(
    side: Side, close_ms: int, *, kind: BreakKind = BreakKind.BOS, timeframe: Timeframe = Timeframe.M15
) -> Break:
    return Break(kind=kind, side=side, timeframe=timeframe, close_ms=close_ms, level=1.1)


def view(
    total: float = 0.0,
    *,
    confluence: bool = False,
    scale: float = 1.0,
    flip: Side | None = None,
    breaks: tuple[Break, ...] = (),
    m15_close_ms: int = NOW,
) -> MarketView:
    """Make a view that gives each side's trades the same total."""
    return MarketView(
        symbol="EURUSD",
        m5_close_ms=NOW,
        m15_close_ms=m15_close_ms,
        close=1.1,
        atr_m15=0.0010,
        atr_m5=0.0006,
        regime=Regime(
            session=Session.LONDON,
            volatility=Volatility.NORMAL,
            structure=Structure.TREND,
            atr_ratio=1.0,
            width_ratio=1.0,
            slope_factor=1.0,
        ),
        vwap=1.1,
        slope_atr=0.0,
        slope_threshold_atr=0.05,
        long=score(Side.LONG, total, confluence=confluence, scale=scale),
        short=score(Side.SHORT, total, confluence=confluence, scale=scale),
        flip=flip,
        breaks=breaks,
    )


def situation(side: Side, of: MarketView, **known: Any) -> Situation:
    settings = known.pop("settings", ProtectionSettings())
    return Situation(side=side, view=of, score=of.score(side), settings=settings, **known)


def machine(state: State, **known: Any) -> Machine:
    """Make an armed machine in a state, with the timers that run in it."""
    running = {
        State.HEDGED: {"flat_since_ms": NOW - 60_000},
        State.RECOVERING: {"recovery_since_ms": NOW - 60_000},
    }
    base = {"armed": True, "entered_ms": NOW - 60_000, **running.get(state, {})}
    return Machine(state=state, **{**base, **known})


def instrument(**changes: Any) -> Instrument:
    base = Instrument(
        symbol="EURUSD",
        digits=5,
        point=0.00001,
        tick_size=0.00001,
        tick_value=1.0,
        contract_size=100_000.0,
        volume_min=Decimal("0.01"),
        volume_max=Decimal(100),
        volume_step=Decimal("0.01"),
        stops_level_points=10,
        freeze_level_points=0,
        trade_mode=TradeMode.FULL,
        fillings=(Filling.FOK, Filling.IOC),
        currency_base="EUR",
        currency_profit="USD",
    )
    return replace(base, **changes)


def account(**changes: Any) -> Account:
    base = Account(
        login=1,
        server="S",
        currency="USD",
        balance=10_000.0,
        equity=10_000.0,
        margin=0.0,
        margin_free=10_000.0,
        margin_mode=MarginMode.HEDGING,
        fifo_close=False,
        trade_allowed=True,
        is_demo=True,
    )
    return replace(base, **changes)


def position(ticket: int, side: Side, volume: str, **changes: Any) -> Position:
    base = Position(
        ticket=ticket,
        identifier=ticket,
        symbol="EURUSD",
        side=side,
        volume=Decimal(volume),
        entry=1.10000,
        stop=1.10000 - side.sign * 0.0030,
        target=None,
        price_now=1.1,
        profit=0.0,
        swap=0.0,
        magic=0,
        comment="",
        opened_ms=NOW - 3_600_000,
    )
    return replace(base, **changes)


def member(of: Position, role: Role, intent: int = 7) -> Member:
    return Member(
        ticket=of.ticket,
        identifier=of.identifier,
        role=role,
        side=of.side,
        volume=of.volume,
        entry=of.entry,
        stop=of.stop,
        target=of.target,
        intent=intent,
        opened_ms=of.opened_ms,
    )


def trade(side: Side, volume: str = "0.4", **changes: Any) -> Trade:
    base = Trade(
        ticket=TICKET,
        identifier=TICKET,
        login=1,
        server="S",
        symbol="EURUSD",
        side=side,
        entry=1.10000,
        initial_volume=Decimal("0.4"),
        initial_stop=1.10000 - side.sign * 0.0030,
        risk=0.0030,
        nominal_risk=False,
        registered_ms=NOW - 3_600_000,
        opened_ms=NOW - 3_600_000,
        volume=Decimal(volume),
        stop=1.10000 - side.sign * 0.0030,
        target=None,
        machine=Machine(armed=True),
    )
    return replace(base, **changes)


def tick(side: Side, profit: float = 0.0, spread: float = 0.00008) -> Tick:
    """Quote so that closing a trade of ``side``, entered at 1.1, brings ``profit`` as a price difference."""
    closing = 1.10000 + side.sign * profit
    return Tick(NOW, closing, closing + spread) if side is Side.LONG else Tick(NOW, closing - spread, closing)


def sight(side: Side, **known: Any) -> Sight:
    """See a trade of 0.4 lots at its entry, with nothing else open; any part can be given."""
    volume = known.pop("volume", "0.4")
    own = known.pop("own", position(TICKET, side, volume))
    base: dict[str, Any] = {
        "trade": trade(side, volume),
        "own": own,
        "readds": (),
        "hedges": (),
        "tick": tick(side),
        "instrument": instrument(),
        "account": account(),
        "atr_m15": 0.0010,
        "protection": ProtectionSettings(),
        "rails": RailSettings(),
    }
    return Sight(**{**base, **known})
