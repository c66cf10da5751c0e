"""What the terminal says: the texts of retcodes and of `last_error()`."""

from dataclasses import dataclass

from dtms.terminal.simulated.constants import MT5

CHECK_OK = 0

RETCODE_TEXTS: dict[int, str] = {
    CHECK_OK: "Done",
    MT5.TRADE_RETCODE_REQUOTE: "Requote",
    MT5.TRADE_RETCODE_REJECT: "Request rejected",
    MT5.TRADE_RETCODE_CANCEL: "Request canceled by trader",
    MT5.TRADE_RETCODE_PLACED: "Order placed",
    MT5.TRADE_RETCODE_DONE: "Request executed",
    MT5.TRADE_RETCODE_DONE_PARTIAL: "Request executed partially",
    MT5.TRADE_RETCODE_ERROR: "Request processing error",
    MT5.TRADE_RETCODE_TIMEOUT: "Request canceled by timeout",
    MT5.TRADE_RETCODE_INVALID: "Invalid request",
    MT5.TRADE_RETCODE_INVALID_VOLUME: "Invalid volume",
    MT5.TRADE_RETCODE_INVALID_PRICE: "Invalid price",
    MT5.TRADE_RETCODE_INVALID_STOPS: "Invalid stops",
    MT5.TRADE_RETCODE_TRADE_DISABLED: "Trade disabled",
    MT5.TRADE_RETCODE_MARKET_CLOSED: "Market closed",
    MT5.TRADE_RETCODE_NO_MONEY: "No money",
    MT5.TRADE_RETCODE_PRICE_CHANGED: "Price changed",
    MT5.TRADE_RETCODE_PRICE_OFF: "Off quotes",
    MT5.TRADE_RETCODE_INVALID_EXPIRATION: "Invalid expiration",
    MT5.TRADE_RETCODE_ORDER_CHANGED: "Order changed",
    MT5.TRADE_RETCODE_TOO_MANY_REQUESTS: "Too many requests",
    MT5.TRADE_RETCODE_NO_CHANGES: "No changes",
    MT5.TRADE_RETCODE_SERVER_DISABLES_AT: "AutoTrading disabled by server",
    MT5.TRADE_RETCODE_CLIENT_DISABLES_AT: "AutoTrading disabled by client",
    MT5.TRADE_RETCODE_LOCKED: "Request locked",
    MT5.TRADE_RETCODE_FROZEN: "Order or position frozen",
    MT5.TRADE_RETCODE_INVALID_FILL: "Unsupported filling mode",
    MT5.TRADE_RETCODE_CONNECTION: "No connection",
    MT5.TRADE_RETCODE_ONLY_REAL: "Only real accounts",
    MT5.TRADE_RETCODE_LIMIT_ORDERS: "Limit of pending orders",
    MT5.TRADE_RETCODE_LIMIT_VOLUME: "Limit of volume",
    MT5.TRADE_RETCODE_INVALID_ORDER: "Invalid order",
    MT5.TRADE_RETCODE_POSITION_CLOSED: "Position doesn't exist",
    MT5.TRADE_RETCODE_INVALID_CLOSE_VOLUME: "Invalid close volume",
    MT5.TRADE_RETCODE_CLOSE_ORDER_EXIST: "Close order already exists",
    MT5.TRADE_RETCODE_LIMIT_POSITIONS: "Limit of positions",
    MT5.TRADE_RETCODE_REJECT_CANCEL: "Activation rejected, order canceled",
    MT5.TRADE_RETCODE_LONG_ONLY: "Only long positions allowed",
    MT5.TRADE_RETCODE_SHORT_ONLY: "Only short positions allowed",
    MT5.TRADE_RETCODE_CLOSE_ONLY: "Only position closing allowed",
    MT5.TRADE_RETCODE_FIFO_CLOSE: "Only FIFO closing allowed",
    10046: "Hedging is prohibited",  # in the vendor's documents, without a constant in the package
}


@dataclass(frozen=True, slots=True)
class ErrorText:
    """A value of `last_error()`."""

    code: int
    text: str


SUCCESS = ErrorText(MT5.RES_S_OK, "Success")
CALL_FAILED = ErrorText(MT5.RES_E_FAIL, "Terminal: Call failed")
INVALID_PARAMS = ErrorText(MT5.RES_E_INVALID_PARAMS, "Terminal: Invalid params")
NOT_FOUND = ErrorText(MT5.RES_E_NOT_FOUND, "Terminal: Not found")
AUTH_FAILED = ErrorText(MT5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
API_DISABLED = ErrorText(MT5.RES_E_AUTO_TRADING_DISABLED, "Auto-Trading using Python API disabled in Terminal")
NO_IPC = ErrorText(MT5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")

ERROR_TEXTS: dict[int, str] = {
    **{error.code: error.text for error in (SUCCESS, CALL_FAILED, INVALID_PARAMS, NOT_FOUND, AUTH_FAILED, NO_IPC)},
    API_DISABLED.code: API_DISABLED.text,
    MT5.RES_E_NO_MEMORY: "Terminal: Out of memory",
    MT5.RES_E_INVALID_VERSION: "Terminal: Incompatible versions, please install the latest version",
    MT5.RES_E_UNSUPPORTED: "Terminal: Unsupported function",
    MT5.RES_E_INTERNAL_FAIL: "IPC call failed",
    MT5.RES_E_INTERNAL_FAIL_SEND: "IPC send failed",
    MT5.RES_E_INTERNAL_FAIL_RECEIVE: "IPC recv failed",
    MT5.RES_E_INTERNAL_FAIL_INIT: "IPC initialize failed",
    MT5.RES_E_INTERNAL_FAIL_TIMEOUT: "IPC timeout",
}
"""The terminal's words for each code of `last_error()`."""


def bad_argument(text: str) -> ErrorText:
    """Give the error of an argument that the package refuses before anything is sent."""
    return ErrorText(MT5.RES_E_INVALID_PARAMS, text)
