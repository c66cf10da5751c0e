"""Everything that a terminal can do to its caller: each kind by name, what it means, which calls it concerns.

A kind is added here, as one row, and beside the kinds of its sort in `faults_replies`, `faults_lists`, `faults_prices`
or `faults_people`, as one function. Arguments are given by their default, which is also their type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_names import (
    ASKING,
    BARS,
    BOOKS,
    CALLS,
    HISTORY,
    IDENTITY,
    LOST_CODES,
    QUOTES,
    REQUOTE_RETCODES,
    SEND,
    SESSION,
    TICKS,
    UNCLEAR_RETCODES,
    Value,
)


class FaultKind(StrEnum):
    """What a terminal does to its caller."""

    LOST_EXECUTED = "lost_executed"
    LOST_UNEXECUTED = "lost_unexecuted"
    LOST_LATE = "lost_late"
    UNCLEAR_EXECUTED = "unclear_executed"
    UNCLEAR_UNEXECUTED = "unclear_unexecuted"
    UNCLEAR_LATE = "unclear_late"
    PLACED_LATE = "placed_late"
    PLACED_NEVER = "placed_never"
    RETCODE = "retcode"
    UNKNOWN_RETCODE = "unknown_retcode"
    REQUOTE = "requote"
    TOO_MANY_REQUESTS = "too_many_requests"
    LOCKED = "locked"
    FROZEN = "frozen"
    MARKET_CLOSED = "market_closed"
    BAD_ARGUMENT = "bad_argument"
    NONE = "none"
    HANG = "hang"
    SLOW = "slow"
    LAG = "lag"
    STALE_LIST = "stale_list"
    PARTIAL_LIST = "partial_list"
    EMPTY_LIST = "empty_list"
    OFFLINE = "offline"
    EMPTY_OFFLINE = "empty_offline"
    RESTART = "restart"
    WRONG_ACCOUNT = "wrong_account"
    CLOCK_JUMP = "clock_jump"
    FROZEN_CLOCK = "frozen_clock"
    FROZEN_QUOTE = "frozen_quote"
    NAN_PRICE = "nan_price"
    ZERO_PRICE = "zero_price"
    NEGATIVE_PRICE = "negative_price"
    CROSSED_PRICE = "crossed_price"
    WIDE_SPREAD = "wide_spread"
    SPIKE = "spike"
    GAP = "gap"
    WRONG_DIGITS = "wrong_digits"
    REPEATED_TICK = "repeated_tick"
    OLDER_TICK = "older_tick"
    NAN_BAR = "nan_bar"
    ZERO_BAR = "zero_bar"
    SPIKE_BAR = "spike_bar"
    REPEATED_BAR = "repeated_bar"
    DISORDERED_BARS = "disordered_bars"
    MISSING_BAR = "missing_bar"
    OUTSIDE_STOP = "outside_stop"
    OUTSIDE_TARGET = "outside_target"
    OUTSIDE_CLOSE = "outside_close"
    OUTSIDE_OPEN = "outside_open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is known of a kind: its meaning, the calls it concerns unless others are given, its arguments' defaults.

    `times` is how often it happens unless told otherwise, 0 without end; `choices` are an argument's only values;
    `may_concern` are the calls that it can be told to concern; `is_for_deals` leaves out requests that are no deals.
    """

    meaning: str
    calls: frozenset[str]
    arguments: Mapping[str, Value] = field(default_factory=dict)
    choices: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    times: int = 1
    may_concern: frozenset[str] = frozenset()
    is_for_deals: bool = False


K = FaultKind
LOST: Mapping[str, Value] = {"code": MT5.RES_E_INTERNAL_FAIL_TIMEOUT}
UNCLEAR: Mapping[str, Value] = {"retcode": MT5.TRADE_RETCODE_TIMEOUT}
LATE: Mapping[str, Value] = {"late_s": 0.0}
LOST_CHOICES = {"code": LOST_CODES}
UNCLEAR_CHOICES = {"retcode": UNCLEAR_RETCODES}
PRICES = QUOTES | TICKS
PERSON: Mapping[str, Value] = {"ticket": 0, "reason": "mobile"}
PERSON_CHOICES = {"reason": ("client", "mobile", "web", "expert")}


def _refusal(retcode: int, meaning: str) -> Row:
    return Row(meaning=meaning, calls=SEND, arguments={"retcode": retcode}, choices={"retcode": (retcode,)})


def _price(meaning: str, times: int = 1, **arguments: Value) -> Row:
    return Row(meaning=meaning, calls=PRICES, arguments=arguments, times=times)


def _bar(meaning: str, **arguments: Value) -> Row:
    return Row(meaning=meaning, calls=BARS, arguments={"back": 1, **arguments})


def _person(meaning: str, **arguments: Value) -> Row:
    return Row(
        meaning=meaning, calls=SEND, arguments={**PERSON, **arguments}, choices=PERSON_CHOICES, may_concern=CALLS
    )


ROWS: Mapping[FaultKind, Row] = {
    # The reply to a request. `late_s` of 0 draws 0.5 to 20 seconds.
    K.LOST_EXECUTED: Row(
        meaning="the request is carried out, its reply is lost: None with a code",
        calls=SEND,
        arguments=LOST,
        choices=LOST_CHOICES,
    ),
    K.LOST_UNEXECUTED: Row(
        meaning="the same reply, and the request is never carried out",
        calls=SEND,
        arguments=LOST,
        choices=LOST_CHOICES,
    ),
    K.LOST_LATE: Row(
        meaning="the same reply; the request waits in the terminal and is judged and carried out later",
        calls=SEND,
        arguments={**LOST, **LATE},
        choices=LOST_CHOICES,
    ),
    K.UNCLEAR_EXECUTED: Row(
        meaning="a retcode that says nothing (10012, 10011, 10031); the request is carried out",
        calls=SEND,
        arguments=UNCLEAR,
        choices=UNCLEAR_CHOICES,
    ),
    K.UNCLEAR_UNEXECUTED: Row(
        meaning="a retcode that says nothing; the request is never carried out",
        calls=SEND,
        arguments=UNCLEAR,
        choices=UNCLEAR_CHOICES,
    ),
    K.UNCLEAR_LATE: Row(
        meaning="a retcode that says nothing; the request is judged and carried out later",
        calls=SEND,
        arguments={**UNCLEAR, **LATE},
        choices=UNCLEAR_CHOICES,
    ),
    K.PLACED_LATE: Row(
        meaning="10008: accepted, listed as an order, filled later under that order's number",
        calls=SEND,
        arguments=LATE,
        is_for_deals=True,
    ),
    K.PLACED_NEVER: Row(
        meaning="10008: accepted, listed as an order, expires later without a deal",
        calls=SEND,
        arguments=LATE,
        is_for_deals=True,
    ),
    K.RETCODE: Row(
        meaning="any retcode, whether the request is carried out or not",
        calls=SEND,
        arguments={"retcode": MT5.TRADE_RETCODE_REJECT, "executed": False},
    ),
    K.UNKNOWN_RETCODE: Row(
        meaning="a retcode that nobody has described",
        calls=SEND,
        arguments={"retcode": 10999, "executed": False},
    ),
    K.REQUOTE: Row(
        meaning="a new price, further against the request each time (10004, 10020, 10021)",
        calls=SEND,
        arguments={"retcode": MT5.TRADE_RETCODE_REQUOTE, "move_points": 5},
        choices={"retcode": REQUOTE_RETCODES},
        times=2,
    ),
    K.TOO_MANY_REQUESTS: _refusal(MT5.TRADE_RETCODE_TOO_MANY_REQUESTS, "10024: too many requests; not carried out"),
    K.LOCKED: _refusal(MT5.TRADE_RETCODE_LOCKED, "10028: the request is locked for processing; not carried out"),
    K.FROZEN: _refusal(MT5.TRADE_RETCODE_FROZEN, "10029: order or position frozen; not carried out"),
    K.MARKET_CLOSED: _refusal(MT5.TRADE_RETCODE_MARKET_CLOSED, "10018: market closed; not carried out"),
    K.BAD_ARGUMENT: Row(
        meaning="None with -2: the package refuses an argument before anything is sent",
        calls=SEND,
        arguments={"argument": "comment"},
    ),
    # Any call.
    K.NONE: Row(
        meaning="None (False where the call answers yes or no) with a code of last_error; nothing is carried out",
        calls=ASKING,
        arguments={"code": MT5.RES_E_INTERNAL_FAIL_TIMEOUT},
        may_concern=CALLS,
    ),
    K.HANG: Row(
        meaning="the call blocks for so many real seconds; a request is carried out before, or never",
        calls=SEND,
        arguments={"seconds": 3600.0, "executed": False},
        may_concern=CALLS,
    ),
    K.SLOW: Row(
        meaning="the call answers, after so many real seconds",
        calls=CALLS,
        arguments={"seconds": 1.0},
        times=0,
    ),
    # Lists.
    K.LAG: Row(
        meaning="changes show later in the lists, each after its own lag, so in any order",
        calls=BOOKS | HISTORY,
        arguments={"ms_min": 300, "ms_max": 800},
        times=0,
    ),
    K.STALE_LIST: Row(
        meaning="lists as of so many seconds ago",
        calls=BOOKS | HISTORY,
        arguments={"age_s": 10.0},
    ),
    K.PARTIAL_LIST: Row(
        meaning="so many rows are missing from each list",
        calls=BOOKS | HISTORY,
        arguments={"missing": 1},
    ),
    K.EMPTY_LIST: Row(
        meaning="lists are empty while the terminal says that it is connected",
        calls=BOOKS | HISTORY,
    ),
    # The connection. These say `connected` = False while they last.
    K.OFFLINE: Row(
        meaning="no connection to the trade server: requests answer 10031 and are not carried out, lists stay",
        calls=CALLS - SESSION,
        times=0,
    ),
    K.EMPTY_OFFLINE: Row(
        meaning="no connection, and the lists are empty",
        calls=CALLS - SESSION,
        times=0,
    ),
    K.RESTART: Row(
        meaning="the terminal restarts: None with -10004, then unconnected and empty, then partial lists, then all",
        calls=CALLS,
        arguments={"none_s": 10.0, "empty_s": 10.0, "partial_s": 10.0},
    ),
    K.WRONG_ACCOUNT: Row(
        meaning="the pipe leads to another terminal: other login and server, empty lists, requests go to that account",
        calls=IDENTITY | BOOKS | HISTORY | SEND,
        arguments={"login": 9_999_999, "server": "Elsewhere-Live"},
        times=0,
    ),
    # Clocks.
    K.CLOCK_JUMP: Row(
        meaning="the trade server's clock jumps by so many minutes and stays there",
        calls=CALLS,
        arguments={"minutes": 60},
        choices={"minutes": tuple(range(-180, 181, 30))},
    ),
    K.FROZEN_CLOCK: _price("the quote's time stands still, its prices go on", times=0),
    K.FROZEN_QUOTE: _price("time and prices of the quote stand still", times=0),
    # Prices.
    K.NAN_PRICE: _price("bid and ask are not numbers"),
    K.ZERO_PRICE: _price("bid and ask are 0"),
    K.NEGATIVE_PRICE: _price("bid and ask are negative"),
    K.CROSSED_PRICE: _price("bid above ask, by so many points", points=50),
    K.WIDE_SPREAD: _price("the ask is so many times the spread away", factor=20.0),
    K.SPIKE: _price("a price of so many times the market's, for one tick", factor=10.0),
    K.GAP: _price("the price stands so many points away", points=500),
    K.WRONG_DIGITS: _price("the price has digits that the symbol has not"),
    K.REPEATED_TICK: _price("the tick before once more, or rows twice"),
    K.OLDER_TICK: _price("an older tick than the last one shown, or rows out of order", seconds=60),
    K.NAN_BAR: _bar("a bar's prices are not numbers"),
    K.ZERO_BAR: _bar("a bar's prices are 0"),
    K.SPIKE_BAR: _bar("a bar's high is so many times the market's price", factor=10.0),
    K.REPEATED_BAR: _bar("a bar comes twice"),
    K.DISORDERED_BARS: _bar("a bar stands before its predecessor"),
    K.MISSING_BAR: _bar("a bar is missing"),
    # Other people, acting at the trade server before the call. `ticket` of 0: the position named, else the oldest.
    K.OUTSIDE_STOP: _person("somebody sets the stop, 0 removes it", price=0.0),
    K.OUTSIDE_TARGET: _person("somebody sets the target, 0 removes it", price=0.0),
    K.OUTSIDE_CLOSE: _person("somebody closes the position, or so many lots of it", lots=0.0),
    K.OUTSIDE_OPEN: _person("somebody opens a position", symbol="", side="BUY", lots=0.1),
}
