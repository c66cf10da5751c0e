"""Which answer means what: every return code of a send, every error code behind a None, every refusal of the gateway.

An unknown code is an unknown outcome. ``sent`` is False where the request certainly never left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dtms.adapters.refusals import ADVICE
from dtms.ports.broker import Advice, Answer
from dtms.terminal.protocol import Refusal

INVALID_FILL = 10030
INVALID_PARAMS = -2


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code says about a request."""

    name: str
    answer: Answer
    sent: bool = True


RETCODES: Mapping[int, Meaning] = {
    10004: Meaning("REQUOTE", Answer.PRICE),
    10006: Meaning("REJECT", Answer.STATE),
    10007: Meaning("CANCEL", Answer.STATE),
    10008: Meaning("PLACED", Answer.AMBIG),
    10009: Meaning("DONE", Answer.OK),
    10010: Meaning("DONE_PARTIAL", Answer.OK),
    10011: Meaning("ERROR", Answer.AMBIG),
    10012: Meaning("TIMEOUT", Answer.AMBIG),
    10013: Meaning("INVALID", Answer.FIX),
    10014: Meaning("INVALID_VOLUME", Answer.FIX),
    10015: Meaning("INVALID_PRICE", Answer.FIX),
    10016: Meaning("INVALID_STOPS", Answer.FIX),
    10017: Meaning("TRADE_DISABLED", Answer.POLICY),
    10018: Meaning("MARKET_CLOSED", Answer.WAIT),
    10019: Meaning("NO_MONEY", Answer.POLICY),
    10020: Meaning("PRICE_CHANGED", Answer.PRICE),
    10021: Meaning("PRICE_OFF", Answer.PRICE),
    10022: Meaning("INVALID_EXPIRATION", Answer.FIX),
    10023: Meaning("ORDER_CHANGED", Answer.STATE),
    10024: Meaning("TOO_MANY_REQUESTS", Answer.WAIT),
    10025: Meaning("NO_CHANGES", Answer.NOOP),
    10026: Meaning("SERVER_DISABLES_AT", Answer.POLICY),
    10027: Meaning("CLIENT_DISABLES_AT", Answer.POLICY),
    10028: Meaning("LOCKED", Answer.WAIT),
    10029: Meaning("FROZEN", Answer.WAIT),
    INVALID_FILL: Meaning("INVALID_FILL", Answer.FIX),
    10031: Meaning("CONNECTION", Answer.AMBIG),
    10032: Meaning("ONLY_REAL", Answer.POLICY),
    10033: Meaning("LIMIT_ORDERS", Answer.POLICY),
    10034: Meaning("LIMIT_VOLUME", Answer.POLICY),
    10035: Meaning("INVALID_ORDER", Answer.FIX),
    10036: Meaning("POSITION_CLOSED", Answer.STATE),
    10038: Meaning("INVALID_CLOSE_VOLUME", Answer.STATE),
    10039: Meaning("CLOSE_ORDER_EXIST", Answer.STATE),
    10040: Meaning("LIMIT_POSITIONS", Answer.POLICY),
    10041: Meaning("REJECT_CANCEL", Answer.POLICY),
    10042: Meaning("LONG_ONLY", Answer.POLICY),
    10043: Meaning("SHORT_ONLY", Answer.POLICY),
    10044: Meaning("CLOSE_ONLY", Answer.POLICY),
    10045: Meaning("FIFO_CLOSE", Answer.POLICY),
    10046: Meaning("HEDGE_PROHIBITED", Answer.POLICY),  # in the vendor's documents, without a constant in the package
}

ERRORS: Mapping[int, Meaning] = {
    -1: Meaning("RES_E_FAIL", Answer.AMBIG),
    INVALID_PARAMS: Meaning("RES_E_INVALID_PARAMS", Answer.FIX, sent=False),
    -3: Meaning("RES_E_NO_MEMORY", Answer.POLICY, sent=False),
    -4: Meaning("RES_E_NOT_FOUND", Answer.AMBIG),
    -5: Meaning("RES_E_INVALID_VERSION", Answer.POLICY, sent=False),
    -6: Meaning("RES_E_AUTH_FAILED", Answer.POLICY, sent=False),
    -7: Meaning("RES_E_UNSUPPORTED", Answer.POLICY, sent=False),
    -8: Meaning("RES_E_AUTO_TRADING_DISABLED", Answer.POLICY, sent=False),
    -10000: Meaning("RES_E_INTERNAL_FAIL", Answer.AMBIG),
    -10001: Meaning("RES_E_INTERNAL_FAIL_SEND", Answer.AMBIG),
    -10002: Meaning("RES_E_INTERNAL_FAIL_RECEIVE", Answer.AMBIG),
    -10003: Meaning("RES_E_INTERNAL_FAIL_INIT", Answer.STATE, sent=False),
    -10004: Meaning("RES_E_INTERNAL_FAIL_CONNECT", Answer.STATE, sent=False),
    -10005: Meaning("RES_E_INTERNAL_FAIL_TIMEOUT", Answer.AMBIG),
}

REFUSALS: Mapping[Refusal, Meaning] = {
    Refusal.UNKNOWN_CALL: Meaning("GATEWAY_UNKNOWN_CALL", Answer.FIX, sent=False),
    Refusal.BAD_REQUEST: Meaning("GATEWAY_BAD_REQUEST", Answer.FIX, sent=False),
    Refusal.ACCOUNT: Meaning("GATEWAY_WRONG_ACCOUNT", Answer.WAIT, sent=False),  # it says nothing of ours
    Refusal.DISCONNECTED: Meaning("GATEWAY_DISCONNECTED", Answer.WAIT, sent=False),
    Refusal.FENCED: Meaning("GATEWAY_FENCED", Answer.STATE, sent=False),
    Refusal.OTHER_INSTANCE: Meaning("GATEWAY_OTHER_INSTANCE", Answer.STATE, sent=False),
    Refusal.BUDGET: Meaning("GATEWAY_BUDGET", Answer.WAIT, sent=False),
    Refusal.LATE: Meaning("GATEWAY_LATE", Answer.WAIT, sent=False),
}

_LOOK = "Look at the terminal before anything is sent again."

NO_ANSWER = Meaning("NO_ANSWER", Answer.AMBIG)
UNREACHABLE = Meaning("GATEWAY_UNREACHABLE", Answer.WAIT, sent=False)
NO_SYMBOL = Meaning("UNKNOWN_SYMBOL", Answer.FIX, sent=False)


def meaning_of_retcode(retcode: int) -> Meaning:
    """Look up the return code of a send."""
    return RETCODES.get(retcode, Meaning(f"RETCODE_{retcode}", Answer.AMBIG))


def meaning_of_check(retcode: int) -> Meaning:
    """Look up the return code of a check, of which none is what says that all is well."""
    return Meaning("ACCEPTABLE", Answer.OK) if retcode == 0 else meaning_of_retcode(retcode)


def explain(retcode: int) -> Advice:
    """Say in words what a code means, and what can be done about it."""
    return ADVICE.get(retcode, Advice(f"The broker answered with code {retcode}, which is not known.", _LOOK))


def meaning_of_error(code: int) -> Meaning:
    """Look up the error code that came with a send answered by None."""
    return ERRORS.get(code, Meaning(f"ERROR_{code}", Answer.AMBIG))
