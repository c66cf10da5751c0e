"""The vendor's structures, turned into the words of the house: UTC, Decimal lots, absent levels as None."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from dtms.adapters.server_time import ServerTime
from dtms.domain.account import Account, MarginMode
from dtms.domain.market import Bars, Filling, FlowBars, Instrument, Lifetime, Side, Tick, Timeframe, TradeMode
from dtms.domain.position import Deal, DealEntry, DealReason, Order, OrderKind, OrderState, Position
from dtms.domain.prices import lots
from dtms.terminal import protocol

Row = Sequence[Any]

_SIDES = {0: Side.LONG, 1: Side.SHORT}
_ORDER_SIDES = {**dict.fromkeys((0, 2, 4, 6), Side.LONG), **dict.fromkeys((1, 3, 5, 7), Side.SHORT)}
_ORDER_KINDS = {
    **dict.fromkeys((0, 1), OrderKind.MARKET),
    **dict.fromkeys((2, 3), OrderKind.LIMIT),
    **dict.fromkeys((4, 5), OrderKind.STOP),
    **dict.fromkeys((6, 7), OrderKind.STOP_LIMIT),
    8: OrderKind.CLOSE_BY,
}
_MARGIN_MODES = {0: MarginMode.NETTING, 1: MarginMode.EXCHANGE, 2: MarginMode.HEDGING}
_ENTRIES = {0: DealEntry.IN, 1: DealEntry.OUT, 2: DealEntry.INOUT, 3: DealEntry.OUT_BY}
_REASONS = {
    0: DealReason.CLIENT,
    1: DealReason.MOBILE,
    2: DealReason.WEB,
    3: DealReason.EXPERT,
    4: DealReason.STOP,
    5: DealReason.TARGET,
    6: DealReason.STOP_OUT,
    7: DealReason.ROLLOVER,
}
_TRADE_MODES = {
    0: TradeMode.DISABLED,
    1: TradeMode.LONG_ONLY,
    2: TradeMode.SHORT_ONLY,
    3: TradeMode.CLOSE_ONLY,
    4: TradeMode.FULL,
}
_ORDER_STATES = {
    2: OrderState.CANCELLED,
    3: OrderState.PARTIAL,
    4: OrderState.FILLED,
    5: OrderState.REJECTED,
    6: OrderState.EXPIRED,
}
_LIFETIMES = {1: Lifetime.GTC, 2: Lifetime.DAY, 4: Lifetime.SPECIFIED, 8: Lifetime.SPECIFIED_DAY}
_REAL_ACCOUNT = 2
_MARKET_EXECUTION = 2
_NOTHING_STATES = frozenset({OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})


def fields(names: Sequence[str], row: Row) -> dict[str, Any]:
    """Name the values of a structure."""
    return dict(zip(names, row, strict=True))


def is_connected(terminal: Row) -> bool:
    return bool(fields(protocol.TERMINAL_FIELDS, terminal)["connected"])


def to_account(row: Row, terminal: Row) -> Account:
    """Read the account; trading is allowed when server, expert advisors, terminal and Python interface all say so."""
    account, at = fields(protocol.ACCOUNT_FIELDS, row), fields(protocol.TERMINAL_FIELDS, terminal)
    return Account(
        login=account["login"],
        server=account["server"],
        currency=account["currency"],
        balance=account["balance"],
        equity=account["equity"],
        margin=account["margin"],
        margin_free=account["margin_free"],
        margin_mode=_MARGIN_MODES[account["margin_mode"]],
        fifo_close=bool(account["fifo_close"]),
        trade_allowed=bool(
            account["trade_allowed"] and account["trade_expert"] and at["trade_allowed"] and not at["tradeapi_disabled"]
        ),
        is_demo=account["trade_mode"] != _REAL_ACCOUNT,
    )


def to_position(row: Row, clock: ServerTime) -> Position:
    """Read a position; by place and not by name, because there can be thousands in one answer."""
    (
        ticket,
        time_s,
        time_ms,
        _,
        _,
        kind,
        magic,
        identifier,
        _,
        volume,
        entry,
        stop,
        target,
        now,
        swap,
        profit,
        *words,
    ) = row
    symbol, comment, _ = words
    return Position(
        ticket=ticket,
        identifier=identifier,
        symbol=symbol,
        side=_SIDES[kind],
        volume=lots(volume),
        entry=entry,
        stop=level(stop),
        target=level(target),
        price_now=now,
        profit=profit,
        swap=swap,
        magic=magic,
        comment=comment,
        opened_ms=clock.to_utc(time_ms or time_s * 1000),
    )


def to_order(row: Row, clock: ServerTime) -> Order:
    """Read an order; in a state that nobody knows it counts as working, so that nothing is concluded from it."""
    found = fields(protocol.ORDER_FIELDS, row)
    expires_s = found["time_expiration"]
    return Order(
        ticket=found["ticket"],
        symbol=found["symbol"],
        side=_ORDER_SIDES.get(found["type"], Side.LONG),
        volume=lots(found["volume_initial"]),
        magic=found["magic"],
        comment=found["comment"],
        position_id=found["position_id"],
        left=lots(found["volume_current"]),
        state=_ORDER_STATES.get(found["state"], OrderState.WORKING),
        set_up_ms=clock.to_utc(_moment(found, "time_setup")),
        kind=_ORDER_KINDS.get(found["type"], OrderKind.MARKET),
        price=level(found["price_open"]),
        stop=level(found["sl"]),
        target=level(found["tp"]),
        expires_ms=clock.to_utc(expires_s * 1000) if expires_s else None,
        reason=_REASONS.get(found["reason"], DealReason.OTHER),
    )


def came_to_something(order: Order) -> bool:
    """Tell whether a past order can have changed anything: not rejected, expired or cancelled untouched."""
    return order.state not in _NOTHING_STATES or order.filled > 0


def to_deals(rows: Sequence[Row], clock: ServerTime) -> list[Deal]:
    """Read the deals that traded something; balance, credit and fee entries are left out."""
    named = [fields(protocol.DEAL_FIELDS, row) for row in rows]
    return [_deal(found, clock) for found in named if found["type"] in _SIDES]


def _deal(found: Mapping[str, Any], clock: ServerTime) -> Deal:
    return Deal(
        ticket=found["ticket"],
        order=found["order"],
        position_id=found["position_id"],
        symbol=found["symbol"],
        side=_SIDES[found["type"]],
        entry=_ENTRIES[found["entry"]],
        reason=_REASONS.get(found["reason"], DealReason.OTHER),
        volume=lots(found["volume"]),
        price=found["price"],
        commission=found["commission"],
        swap=found["swap"],
        profit=found["profit"],
        fee=found["fee"],
        magic=found["magic"],
        comment=found["comment"],
        time_ms=clock.to_utc(_moment(found, "time")),
    )


def tick_server_ms(row: Row) -> int:
    return _moment(fields(protocol.TICK_FIELDS, row), "time")


def to_tick(row: Row, clock: ServerTime, now_ms: int) -> Tick | None:
    """Read a quote; None when the terminal has none yet, which it shows as zeros."""
    found = fields(protocol.TICK_FIELDS, row)
    if found["bid"] == 0 and found["ask"] == 0:
        return None
    return Tick(clock.to_utc(_moment(found, "time"), now_ms), _number(found["bid"]), _number(found["ask"]))


def to_instrument(row: Row) -> Instrument:
    found = fields(protocol.SYMBOL_FIELDS, row)
    return Instrument(
        symbol=found["name"],
        digits=found["digits"],
        point=found["point"],
        tick_size=found["trade_tick_size"] or found["point"],
        tick_value=found["trade_tick_value_loss"] or found["trade_tick_value"],
        contract_size=found["trade_contract_size"],
        volume_min=lots(found["volume_min"]),
        volume_max=lots(found["volume_max"]),
        volume_step=lots(found["volume_step"]),
        stops_level_points=found["trade_stops_level"],
        freeze_level_points=found["trade_freeze_level"],
        trade_mode=_TRADE_MODES[found["trade_mode"]],
        fillings=_fillings(found["filling_mode"], found["trade_exemode"]),
        currency_base=found["currency_base"],
        currency_profit=found["currency_profit"],
        lifetimes=tuple(lifetime for bit, lifetime in _LIFETIMES.items() if found["expiration_mode"] & bit),
    )


def _fillings(mask: int, execution: int) -> tuple[Filling, ...]:
    """Read the mask of allowed fillings, whose bits are not the numbers that a request uses."""
    allowed = [filling for bit, filling in ((1, Filling.FOK), (2, Filling.IOC)) if mask & bit]
    if execution != _MARKET_EXECUTION:
        allowed.append(Filling.RETURN)
    return tuple(allowed)


def to_bars(
    columns: Sequence[Sequence[Any]] | None, symbol: str, timeframe: Timeframe, point: float, clock: ServerTime
) -> Bars:
    """Read bars, the forming one included; None (the terminal has no history) makes no bars."""
    parts = [np.array(column, dtype=np.float64) for column in columns or [[]] * len(protocol.RATE_COLUMNS)]
    bars = dict(zip(protocol.RATE_COLUMNS, parts, strict=True))
    return Bars(
        symbol=symbol,
        timeframe=timeframe,
        time_ms=clock.to_utc_array(bars["time"].astype(np.int64) * 1000),
        open=bars["open"],
        high=bars["high"],
        low=bars["low"],
        close=bars["close"],
        volume=bars["tick_volume"],
        spread=bars["spread"] * point,
    )


def to_flow(columns: Sequence[Sequence[float]], clock: ServerTime) -> FlowBars:
    times, signed, total, *spread = columns
    return FlowBars(
        time_ms=clock.to_utc_array(np.array(times, dtype=np.int64)),
        signed=np.array(signed, dtype=np.float64),
        total=np.array(total, dtype=np.float64),
        spread=np.array(spread[0], dtype=np.float64) if spread else None,
    )


def level(price: float) -> float | None:
    """Read a stop or target: the terminal writes an absent one as zero."""
    return price or None


def volume_of(value: float) -> Decimal | None:
    return lots(value) if value else None


def _moment(found: Mapping[str, Any], name: str) -> int:
    """Return a time in milliseconds of server time, from the precise field where the build fills it."""
    return int(found[f"{name}_msc"] or found[name] * 1000)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
