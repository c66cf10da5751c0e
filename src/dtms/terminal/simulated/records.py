"""What the trade server keeps: positions, orders, deals, and what was asked of it. Prices in points, money in cents.

Each of these is also a change: applying them in order to an empty ledger gives the ledger.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from dtms.terminal.simulated.constants import MT5

BUY, SELL = MT5.POSITION_TYPE_BUY, MT5.POSITION_TYPE_SELL
LIVE_STATES = frozenset({MT5.ORDER_STATE_STARTED, MT5.ORDER_STATE_PLACED, MT5.ORDER_STATE_PARTIAL})


class Reason(IntEnum):
    """Who or what caused an order or a deal: the vendor's numbers."""

    CLIENT = MT5.DEAL_REASON_CLIENT
    MOBILE = MT5.DEAL_REASON_MOBILE
    WEB = MT5.DEAL_REASON_WEB
    EXPERT = MT5.DEAL_REASON_EXPERT
    SL = MT5.DEAL_REASON_SL
    TP = MT5.DEAL_REASON_TP
    SO = MT5.DEAL_REASON_SO
    ROLLOVER = MT5.DEAL_REASON_ROLLOVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """An open position; one with no units left is closed. A stop or target of 0 is none.

    The opening price of a position that grew is a mean, which need not be a whole number of points: `open_sub` is
    what it has beyond them, in 1e-8 points. The ticket may change, the identifier never does.
    """

    ticket: int
    identifier: int
    symbol: str
    type: int
    units: int
    open_points: int
    sl_points: int
    tp_points: int
    magic: int
    reason: int
    comment: str
    opened_ms: int
    updated_ms: int
    swap_cents: int = 0
    open_sub: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order; live while its state is one of LIVE_STATES, history afterwards.

    A market order that was not filled at once is live until `due_ms`, when more of it is filled; one that `closes`
    reduces the position of its `position_id`, and no other.
    """

    ticket: int
    symbol: str
    type: int
    state: int
    type_filling: int
    type_time: int
    units_initial: int
    units: int
    price_points: int
    stoplimit_points: int = 0
    sl_points: int = 0
    tp_points: int = 0
    magic: int = 0
    reason: int = Reason.EXPERT
    comment: str = ""
    setup_ms: int = 0
    done_ms: int = 0
    expires_ms: int = 0
    position_id: int = 0
    position_by_id: int = 0
    due_ms: int = 0
    closes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """A deal on the account; a balance deal has no symbol."""

    ticket: int
    order: int
    symbol: str
    type: int
    entry: int
    units: int
    price_points: int
    magic: int
    position_id: int
    reason: int
    comment: str
    ms: int
    commission_cents: int = 0
    swap_cents: int = 0
    profit_cents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """A stop or target that was set, with the market at that moment."""

    position: int
    ms: int
    sl_points: int
    tp_points: int
    bid_points: int
    ask_points: int
    reason: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNote:
    """A request and its answer, with the market and the account's equity after it."""

    request_id: int
    ms: int
    reason: int
    request: dict[str, Any]
    retcode: int
    deal: int = 0
    order: int = 0
    units: int = 0
    price_points: int = 0
    bid_points: int = 0
    ask_points: int = 0
    equity_cents: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """A symbol put into Market Watch or taken out of it."""

    symbol: str
    selected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """A scripted act of an outside trader that was done; the ticket is 0 when it was refused."""

    index: int
    ticket: int
    retcode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A condition that was changed while running, by its dotted name."""

    name: str
    value: Any
    ms: int


Change = Setting | Position | Order | Deal | LevelChange | RequestNote | Selection | Acted
