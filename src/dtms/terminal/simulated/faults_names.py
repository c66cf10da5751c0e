"""The names that faults use: functions and groups of them, codes and retcodes that say nothing, types of values."""

from collections.abc import Mapping

from dtms.terminal.simulated.constants import MT5

Value = bool | int | float | str

LOST_CODES = (
    MT5.RES_E_INTERNAL_FAIL_TIMEOUT,
    MT5.RES_E_INTERNAL_FAIL_SEND,
    MT5.RES_E_INTERNAL_FAIL_RECEIVE,
    MT5.RES_E_INTERNAL_FAIL,
    MT5.RES_E_FAIL,
    MT5.RES_E_NOT_FOUND,
)
"""Codes after which nobody knows whether the request was carried out."""
UNCLEAR_RETCODES = (MT5.TRADE_RETCODE_TIMEOUT, MT5.TRADE_RETCODE_ERROR, MT5.TRADE_RETCODE_CONNECTION)
"""Retcodes after which nobody knows, either."""
REQUOTE_RETCODES = (MT5.TRADE_RETCODE_REQUOTE, MT5.TRADE_RETCODE_PRICE_CHANGED, MT5.TRADE_RETCODE_PRICE_OFF)

SEND = frozenset({"order_send"})
POSITION_LISTS = frozenset({"positions_get", "positions_total"})
BOOKS = POSITION_LISTS | {"orders_get", "orders_total"}
HISTORY = frozenset({"history_orders_get", "history_orders_total", "history_deals_get", "history_deals_total"})
QUOTES = frozenset({"symbol_info_tick", "symbol_info"})
TICKS = frozenset({"copy_ticks_from", "copy_ticks_range"})
BARS = frozenset({"copy_rates_from", "copy_rates_from_pos", "copy_rates_range"})
IDENTITY = frozenset({"terminal_info", "account_info"})
SESSION = frozenset({"initialize", "login"})
OTHERS = frozenset(
    {"version", "symbols_total", "symbols_get", "symbol_select", "order_check", "order_calc_margin"}
    | {"order_calc_profit", "market_book_add", "market_book_get", "market_book_release"}
)
ASKING = BOOKS | HISTORY | QUOTES | TICKS | BARS | IDENTITY | OTHERS
CALLS = SEND | SESSION | ASKING
"""The functions that can fail; `shutdown` and `last_error` cannot."""
GROUPS: Mapping[str, frozenset[str]] = {
    "all": CALLS,
    "asking": ASKING,
    "books": BOOKS,
    "history": HISTORY,
    "quotes": QUOTES,
    "ticks": TICKS,
    "bars": BARS,
    "identity": IDENTITY,
}
"""Names under which several calls may be given at once."""
