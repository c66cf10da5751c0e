"""The books and the market as the vendor's structures: prices as floats, times as the server's epoch."""

from typing import Any

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.grid import SUB_POINTS, to_lots, to_money, to_price
from dtms.terminal.simulated.infos import AccountInfo, SymbolInfo, TerminalInfo
from dtms.terminal.simulated.records import Deal, Order, Position
from dtms.terminal.simulated.spec import SymbolSpec
from dtms.terminal.simulated.structs import Tick, TradeDeal, TradeOrder, TradePosition
from dtms.terminal.simulated.world import World, hedged_units

BUILD = 5370
MAX_BARS = 100_000
PING_US = 35_000
QUOTE_FLAGS = MT5.TICK_FLAG_BID | MT5.TICK_FLAG_ASK


def server_ms(world: World, utc_ms: int) -> int:
    """Give a UTC moment as the server labels it; 0 stays 0."""
    return world.clock.to_server(utc_ms) if utc_ms else 0


def tick(world: World, spec: SymbolSpec, quote: Quote) -> Tick:
    """Show a quote."""
    ms = server_ms(world, quote.ms)
    bid, ask = to_price(quote.bid, spec.scale), to_price(quote.ask, spec.scale)
    return Tick((ms // 1000, bid, ask, 0.0, 0, ms, QUOTE_FLAGS, 0.0))


def position(world: World, held: Position) -> TradePosition:
    """Show an open position at the current prices."""
    scale = world.specs[held.symbol].scale
    opened, updated = server_ms(world, held.opened_ms), server_ms(world, held.updated_ms)
    return TradePosition(
        (
            held.ticket,
            opened // 1000,
            opened,
            updated // 1000,
            updated,
            held.type,
            held.magic,
            held.identifier,
            held.reason,
            to_lots(held.units),
            _mean_price(held, scale) if held.open_sub else held.open_points / scale,
            held.sl_points / scale,
            held.tp_points / scale,
            world.close_points(held) / scale,
            to_money(held.swap_cents),
            to_money(world.floating_cents(held)),
            held.symbol,
            held.comment,
            "",
        )
    )


def _mean_price(held: Position, scale: int) -> float:
    """Give an opening price that is a mean of several, which may lie between two points."""
    return (held.open_points * SUB_POINTS + held.open_sub) / (scale * SUB_POINTS)


def order(world: World, kept: Order) -> TradeOrder:
    """Show an order, live or finished."""
    scale = world.specs[kept.symbol].scale
    setup, done = server_ms(world, kept.setup_ms), server_ms(world, kept.done_ms)
    return TradeOrder(
        (
            kept.ticket,
            setup // 1000,
            setup,
            done // 1000,
            done,
            server_ms(world, kept.expires_ms) // 1000,
            kept.type,
            kept.type_time,
            kept.type_filling,
            kept.state,
            kept.magic,
            kept.position_id,
            kept.position_by_id,
            kept.reason,
            to_lots(kept.units_initial),
            to_lots(kept.units),
            kept.price_points / scale,
            kept.sl_points / scale,
            kept.tp_points / scale,
            _order_current(world, kept) / scale,
            kept.stoplimit_points / scale,
            kept.symbol,
            kept.comment,
            "",
        )
    )


def _order_current(world: World, kept: Order) -> int:
    quote = world.quote(kept.symbol)
    if quote is None:
        return kept.price_points
    return quote.ask if kept.type % 2 == 0 else quote.bid


def deal(world: World, made: Deal) -> TradeDeal:
    """Show a deal."""
    ms = server_ms(world, made.ms)
    scale = world.specs[made.symbol].scale if made.symbol else 1
    return TradeDeal(
        (
            made.ticket,
            made.order,
            ms // 1000,
            ms,
            made.type,
            made.entry,
            made.magic,
            made.position_id,
            made.reason,
            to_lots(made.units),
            made.price_points / scale,
            to_money(made.commission_cents),
            to_money(made.swap_cents),
            to_money(made.profit_cents),
            0.0,
            made.symbol,
            made.comment,
            "",
        )
    )


def _blank(kind: type[SymbolInfo] | type[AccountInfo] | type[TerminalInfo]) -> dict[str, Any]:
    zeros: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False}
    return {name: zeros[kind.__annotations__[name]] for name in kind.field_names}


def symbol_info(world: World, spec: SymbolSpec) -> SymbolInfo:
    """Show a symbol: its conditions, and its quote when it is in Market Watch."""
    selected = world.ledger.selected.get(spec.name, False)
    values = _blank(SymbolInfo) | _conditions(world, spec)
    values |= {"select": selected, "visible": selected}
    quote = world.quote(spec.name) if selected else None
    if quote:
        values |= _quoted(world, spec, quote)
    return SymbolInfo.named(values)


def _conditions(world: World, spec: SymbolSpec) -> dict[str, Any]:
    triple = spec.swap_day_factors.index(max(spec.swap_day_factors))
    return {
        "digits": spec.digits,
        "point": to_price(1, spec.scale),
        "spread_float": True,
        "trade_calc_mode": spec.calc_mode,
        "trade_mode": world.trade_mode(spec),
        "trade_stops_level": spec.stops_level_points,
        "trade_freeze_level": spec.freeze_level_points,
        "trade_exemode": spec.exemode,
        "swap_mode": spec.swap_mode,
        "swap_rollover3days": triple,
        "swap_long": spec.swap_long_points,
        "swap_short": spec.swap_short_points,
        "expiration_mode": spec.expiration_mask,
        "filling_mode": spec.filling_mask,
        "order_mode": spec.order_mask,
        "trade_tick_size": to_price(spec.tick_size_points, spec.scale),
        "trade_contract_size": float(spec.contract_size),
        "volume_min": spec.volume_min_lots,
        "volume_max": spec.volume_max_lots,
        "volume_step": spec.volume_step_lots,
        "volume_limit": spec.volume_limit_lots,
        "margin_hedged": hedged_contract(spec),
        "margin_hedged_use_leg": spec.margin_hedged_use_leg,
        "currency_base": spec.currency_base,
        "currency_profit": spec.currency_profit,
        "currency_margin": spec.currency_base if spec.calc_mode == MT5.SYMBOL_CALC_MODE_FOREX else spec.currency_profit,
        "description": spec.description,
        "name": spec.name,
        "path": spec.path or spec.name,
    }


def hedged_contract(spec: SymbolSpec) -> float:
    """Give the units of the contract that a covered lot is charged for."""
    part, whole = hedged_units(spec)
    return spec.contract_size * part / whole


def _quoted(world: World, spec: SymbolSpec, quote: Quote) -> dict[str, Any]:
    scale = spec.scale
    top, bottom = world.rate(spec.currency_profit, spec, quote.bid)
    tick_value = spec.tick_size_points * spec.contract_size * top / (scale * bottom)
    day = world.series[spec.name].last(MT5.TIMEFRAME_D1, world.now_ms, 0, 2)
    wide = (quote.ask - quote.bid) / scale
    today = day[-1]
    return {
        "time": server_ms(world, quote.ms) // 1000,
        "bid": quote.bid / scale,
        "ask": quote.ask / scale,
        "spread": quote.ask - quote.bid,
        "bidhigh": float(today["high"]),
        "bidlow": float(today["low"]),
        "askhigh": round(float(today["high"]) + wide, spec.digits),
        "asklow": round(float(today["low"]) + wide, spec.digits),
        "session_open": float(today["open"]),
        "session_close": float(day[0]["close"]) if len(day) > 1 else 0.0,
        "trade_tick_value": tick_value,
        "trade_tick_value_profit": tick_value,
        "trade_tick_value_loss": tick_value,
    }


def account_info(world: World) -> AccountInfo:
    """Show the account at the current prices."""
    account, balance, equity = world.account, world.ledger.balance_cents, world.equity_cents()
    margin = world.margin_used_cents()
    in_money = account.margin_so_mode == MT5.ACCOUNT_STOPOUT_MODE_MONEY
    return AccountInfo.named(
        _blank(AccountInfo)
        | {
            "login": account.login,
            "trade_mode": account.trade_mode,
            "leverage": account.leverage,
            "limit_orders": account.limit_orders,
            "margin_so_mode": account.margin_so_mode,
            "trade_allowed": world.switches.account_trade_allowed,
            "trade_expert": world.switches.account_trade_expert,
            "margin_mode": account.margin_mode,
            "currency_digits": 2,
            "fifo_close": account.fifo_close,
            "balance": to_money(balance),
            "profit": to_money(equity - balance),
            "equity": to_money(equity),
            "margin": to_money(margin),
            "margin_free": to_money(equity - margin),
            "margin_level": equity / margin * 100 if margin else 0.0,
            "margin_so_call": account.margin_call_money if in_money else account.margin_call_percent,
            "margin_so_so": account.stop_out_money if in_money else account.stop_out_percent,
            "name": account.name,
            "server": account.server,
            "currency": account.currency,
            "company": account.company,
        }
    )


def terminal_info(world: World) -> TerminalInfo:
    """Show the terminal and its permissions."""
    return TerminalInfo.named(
        _blank(TerminalInfo)
        | {
            "connected": world.switches.connected,
            "trade_allowed": world.switches.terminal_trade_allowed,
            "tradeapi_disabled": world.switches.tradeapi_disabled,
            "build": BUILD,
            "maxbars": MAX_BARS,
            "ping_last": PING_US,
            "company": world.account.company,
            "name": "Simulated terminal",
            "language": "English",
        }
    )
