"""What the main API shows: executions, changes, the registry, and the broker's books."""

from collections.abc import Sequence
from decimal import Decimal

from dtms.domain.account import Account
from dtms.domain.facts import Json
from dtms.domain.market import Bars, Side
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Closed, Executed, Modified
from dtms.execute.trading.service import Changed, Entry, Leased, OrderSeen, PositionSeen, Price
from dtms.views.moments import epoch_s, rfc3339

_TYPES = {Side.LONG: 0, Side.SHORT: 1}
_NAMES = {
    Owner.DTMS: "DTMS",
    Owner.UNIVERSAL: "the Universal SL/TP manager",
    Owner.EXITS: "Intelligent Exit",
    Owner.NOBODY: "nobody",
}


def _number(lots: Decimal | None) -> float | None:
    return None if lots is None else float(lots)


def _state(state: State | None) -> str | None:
    return None if state is None else state.value


def executed_view(done: Executed) -> dict[str, Json]:
    """Show what ``POST /mt5/execute`` came to."""
    what = f"{done.symbol} {done.side.direction} {done.volume} lots"
    if done.unknown:
        summary = f"Nobody can say yet whether {what} was executed; it is looked for as intent {done.intent}."
    elif done.way is not None:
        summary = f"A {done.way.value} order for {what} is placed."
    else:
        summary = f"{what} is open at {done.price}; {_NAMES[done.protection.manager]} looks after it."
    return {
        "success": done.ok,
        "ok": done.ok,
        "unknown": done.unknown,
        "summary": summary,
        "order_id": done.ticket if done.ticket is not None else done.order,
        "deal_id": done.deal,
        "tickets": list(done.tickets),
        "retcode": done.retcode,
        "comment": done.comment,
        "volume": _number(done.volume),
        "volume_asked": _number(done.asked),
        "price": done.price,
        "symbol": done.symbol,
        "direction": done.side.direction,
        "stop_loss": done.stop,
        "take_profit": done.target,
        "intent": done.intent,
        "sizing": dict(done.sizing),
        "protection": {
            "manager": done.protection.manager.value,
            "registered": done.protection.registered,
            "queued": done.protection.queued,
        },
        "error": None,
    }


def modified_view(done: Modified) -> dict[str, Json]:
    """Show what ``POST /mt5/modify_position`` came to."""
    if done.unknown:
        summary = f"Nobody can say yet whether the levels of position {done.ticket} were changed."
    elif not done.changed:
        summary = f"The levels of position {done.ticket} stand so already."
    else:
        summary = (
            f"Position {done.ticket}: stop {done.old_stop} → {done.stop}, target {done.old_target} → {done.target}."
        )
    return {
        "success": done.ok,
        "ok": done.ok,
        "unknown": done.unknown,
        "summary": summary,
        "ticket": done.ticket,
        "symbol": done.symbol,
        "direction": done.side.direction,
        "changed": done.changed,
        "old": {"stop_loss": done.old_stop, "take_profit": done.old_target},
        "new": {"stop_loss": done.stop, "take_profit": done.target},
        "asked_as": done.asked_as,
        "intent": done.intent,
        "retcode": done.retcode,
        "comment": done.comment,
        "error": None,
    }


def closed_view(done: Closed) -> dict[str, Json]:
    """Show what ``POST /mt5/close_position`` came to."""
    if done.unknown:
        summary = f"Nobody can say yet whether position {done.ticket} was closed."
    else:
        summary = f"{done.volume} lots of position {done.ticket} are closed at {done.price}; {done.left} are left."
    return {
        "success": done.ok,
        "ok": done.ok,
        "unknown": done.unknown,
        "summary": summary,
        "ticket": done.ticket,
        "symbol": done.symbol,
        "direction": done.side.direction,
        "volume": _number(done.volume),
        "left": _number(done.left),
        "old_volume": _number(done.old_volume),
        "price": done.price,
        "asked_as": done.asked_as,
        "order_id": done.order,
        "deal_id": done.deal,
        "intent": done.intent,
        "retcode": done.retcode,
        "comment": done.comment,
        "error": None,
    }


def entry_view(entry: Entry) -> dict[str, Json]:
    """Show one entry of the registry."""
    known: dict[str, Json] = {}
    if entry.symbol is not None and entry.side is not None:
        known = {"symbol": entry.symbol, "direction": entry.side.direction}
    lease: Json = None
    if entry.lease is not None:
        lease = {"holder": entry.lease.holder, "left_s": round(entry.lease.left_s, 3)}
    whose = entry.managed_by or "nobody"
    return {
        "success": True,
        "summary": f"Position {entry.ticket} is managed by {whose}.",
        "ticket": entry.ticket,
        "managed_by": entry.managed_by,
        "breakeven_triggered": entry.breakeven,
        **known,
        "strategy_type": entry.strategy_type,
        "dtms_state": _state(entry.dtms_state),
        "alongside": entry.alongside,
        "lease": lease,
        "read_at": rfc3339(entry.read_ms) if entry.read_ms else None,
        "error": None,
    }


def changed_view(changed: Changed) -> dict[str, Json]:
    """Show a change of owner."""
    before, now = changed.before or "nobody", changed.entry.managed_by or "nobody"
    summary = f"Position {changed.entry.ticket}: {before} → {now}."
    if changed.queued:
        summary += " Its registration with DTMS is on its way."
    return {**entry_view(changed.entry), "before": changed.before, "queued": changed.queued, "summary": summary}


def leased_view(leased: Leased) -> dict[str, Json]:
    """Show a lease that another program has."""
    return {
        "success": True,
        "summary": f"{leased.holder} holds the lease of {leased.ticket} with token {leased.token}.",
        "ticket": leased.ticket,
        "holder": leased.holder,
        "token": leased.token,
        "expires_at": rfc3339(leased.expires_ms),
        "expires_epoch": epoch_s(leased.expires_ms),
        "managed_by": leased.managed_by,
        "breakeven_triggered": leased.breakeven,
        "dtms_state": _state(leased.dtms_state),
        "current_stop": leased.current_stop,
        "error": None,
    }


def account_view(account: Account) -> dict[str, Json]:
    """Show the account."""
    return {
        "success": True,
        "summary": f"Account {account.login} at {account.server}: equity {account.equity:.2f} {account.currency}.",
        "login": account.login,
        "server": account.server,
        "currency": account.currency,
        "balance": account.balance,
        "equity": account.equity,
        "margin": account.margin,
        "free_margin": account.margin_free,
        "margin_mode": account.margin_mode.value,
        "fifo": account.fifo_close,
        "trade_allowed": account.trade_allowed,
        "demo": account.is_demo,
        "error": None,
    }


def positions_view(seen: Sequence[PositionSeen]) -> dict[str, Json]:
    """Show positions."""
    return {
        "success": True,
        "summary": f"{len(seen)} positions are open.",
        "positions": [_position(one) for one in seen],
        "error": None,
    }


def _position(seen: PositionSeen) -> Json:
    position = seen.position
    return {
        "ticket": position.ticket,
        "symbol": position.symbol,
        "type": _TYPES[position.side],
        "direction": position.side.direction,
        "volume": float(position.volume),
        "open_price": position.entry,
        "current_price": position.price_now,
        "sl": position.stop,
        "tp": position.target,
        "profit": position.profit,
        "swap": position.swap,
        "comment": position.comment,
        "magic": position.magic,
        "opened_at": rfc3339(position.opened_ms),
        "managed_by": seen.managed_by,
        "dtms_state": _state(seen.dtms_state),
        "of_trade": seen.of_trade,
    }


def orders_view(seen: Sequence[OrderSeen]) -> dict[str, Json]:
    """Show orders that wait for their price."""
    return {
        "success": True,
        "summary": f"{len(seen)} orders wait.",
        "orders": [_order(one) for one in seen],
        "error": None,
    }


def _order(seen: OrderSeen) -> Json:
    order = seen.order
    return {
        "ticket": order.ticket,
        "symbol": order.symbol,
        "direction": order.side.direction,
        "volume": float(order.left or order.volume),
        "magic": order.magic,
        "comment": order.comment,
        "placed_at": rfc3339(order.set_up_ms),
        "intent": seen.intent,
    }


def price_view(price: Price) -> dict[str, Json]:
    """Show a symbol's newest quote."""
    tick, instrument = price.tick, price.instrument
    return {
        "success": True,
        "summary": f"{instrument.symbol} {tick.bid:.10g} / {tick.ask:.10g}.",
        "symbol": instrument.symbol,
        "bid": tick.bid,
        "ask": tick.ask,
        "spread": tick.spread,
        "spread_points": round(tick.spread / instrument.point, 1),
        "digits": instrument.digits,
        "point": instrument.point,
        "time": rfc3339(tick.time_ms),
        "time_epoch": epoch_s(tick.time_ms),
        "error": None,
    }


def candles_view(bars: Bars) -> dict[str, Json]:
    """Show closed bars, oldest first; times are those of opening."""
    columns = zip(
        bars.time_ms.tolist(),
        bars.open.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        bars.close.tolist(),
        bars.volume.tolist(),
        strict=True,
    )
    return {
        "success": True,
        "summary": f"{len(bars)} closed {bars.timeframe.name} bars of {bars.symbol}.",
        "symbol": bars.symbol,
        "timeframe": bars.timeframe.name,
        "candles": [
            {"time": rfc3339(at), "epoch": at // 1000, "open": o, "high": h, "low": lo, "close": c, "volume": v}
            for at, o, h, lo, c, v in columns
        ],
        "error": None,
    }
