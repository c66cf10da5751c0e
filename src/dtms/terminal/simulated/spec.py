"""What a broker declares about symbols and the account: conditions of trade, as frozen tables.

The built-in conditions are those of an ordinary retail broker; a configuration overrides any of them.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from dtms.terminal.simulated.constants import MT5

FILLING_FOK, FILLING_IOC, FILLING_BOC = 1, 2, 4
ORDERS_ALL, EXPIRATIONS_ALL = 127, 15
WEEKDAYS_TRIPLE_WEDNESDAY = (0, 1, 1, 3, 1, 1, 0)
EVERY_DAY = (1, 1, 1, 1, 1, 1, 1)
# Swap is not charged, charged in points, or taken by closing and re-opening the position at the night.
SWAP_MODES = (
    MT5.SYMBOL_SWAP_MODE_DISABLED,
    MT5.SYMBOL_SWAP_MODE_POINTS,
    MT5.SYMBOL_SWAP_MODE_REOPEN_CURRENT,
    MT5.SYMBOL_SWAP_MODE_REOPEN_BID,
)


def at_least(default: Any, least: float) -> Any:
    """Make a field whose value may not fall below a bound."""
    return field(default=default, metadata={"least": least})


def one_of(default: Any, values: Collection[int]) -> Any:
    """Make a field whose value is one of these."""
    return field(default=default, metadata={"values": values})


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSpec:
    """The conditions of one symbol, named as the broker spells it. Money is in the account's currency."""

    name: str
    description: str = ""
    path: str = ""
    digits: int
    tick_size_points: int = 1
    contract_size: int
    currency_base: str
    currency_profit: str
    calc_mode: int = MT5.SYMBOL_CALC_MODE_FOREX
    margin_factor: int = at_least(1, 1)
    # Units of the contract that are charged for a lot held both ways; None for half a contract.
    margin_hedged_units: int | None = None
    margin_hedged_use_leg: bool = False
    volume_min_lots: float = at_least(0.01, 1e-8)
    volume_max_lots: float = at_least(100.0, 1e-8)
    volume_step_lots: float = at_least(0.01, 1e-8)
    volume_limit_lots: float = at_least(0.0, 0)
    stops_level_points: int = at_least(0, 0)
    freeze_level_points: int = at_least(0, 0)
    typical_spread_points: int
    wide_spread_factor: int = 4
    spread_factor: int = at_least(1, 1)
    commission_per_lot: float = at_least(0.0, 0)
    swap_mode: int = one_of(MT5.SYMBOL_SWAP_MODE_POINTS, SWAP_MODES)
    swap_long_points: float = 0.0
    swap_short_points: float = 0.0
    swap_day_factors: tuple[int, ...] = WEEKDAYS_TRIPLE_WEDNESDAY
    filling_mask: int = one_of(FILLING_FOK | FILLING_IOC, range(8))
    expiration_mask: int = one_of(EXPIRATIONS_ALL, range(16))
    order_mask: int = one_of(ORDERS_ALL, range(128))
    exemode: int = one_of(MT5.SYMBOL_TRADE_EXECUTION_MARKET, range(4))
    trade_mode: int = one_of(MT5.SYMBOL_TRADE_MODE_FULL, range(5))

    @property
    def scale(self) -> int:
        """Points per unit of price."""
        return int(10**self.digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """The account and the terminal it is open in."""

    login: int = 5_000_001
    password: str = ""
    server: str = "Simulated-Demo"
    name: str = "Simulated account"
    company: str = "Simulated Broker"
    currency: str = "USD"
    balance: float = 10_000.0
    leverage: int = at_least(100, 1)
    trade_mode: int = one_of(MT5.ACCOUNT_TRADE_MODE_DEMO, range(3))
    margin_mode: int = one_of(MT5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING, range(3))
    fifo_close: bool = False
    hedge_allowed: bool = True
    limit_positions: int = 0
    limit_orders: int = 200
    margin_call_percent: float = 100.0
    stop_out_percent: float = 50.0
    margin_so_mode: int = one_of(MT5.ACCOUNT_STOPOUT_MODE_PERCENT, range(2))
    # In force instead of the percentages where the mode is MONEY.
    margin_call_money: float = 0.0
    stop_out_money: float = 0.0


@dataclass(slots=True, kw_only=True)
class Switches:
    """What may be switched off while the terminal runs: the five permissions to trade, and a symbol's trade mode."""

    connected: bool = True
    terminal_trade_allowed: bool = True
    tradeapi_disabled: bool = False
    account_trade_allowed: bool = True
    account_trade_expert: bool = True
    trade_modes: dict[str, int] = field(default_factory=dict)


class CommentMode(StrEnum):
    """What a broker does with the comment of a request."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    TRUNCATE_16 = "truncate_16"
    TRUNCATE_27 = "truncate_27"
    TRUNCATE_31 = "truncate_31"
    REPLACE = "replace"
    STRIP = "strip"


class DealMagic(StrEnum):
    """Whose magic number a closing deal carries."""

    REQUEST = "request"
    POSITION = "position"


class OmittedLevel(StrEnum):
    """What a change of levels does to the level that it does not name."""

    REMOVES = "removes"
    KEEPS = "keeps"


class MergedLevels(StrEnum):
    """What becomes of a netting position's levels when another entry merges into it."""

    REPLACE = "replace"
    KEEP_IF_NONE = "keep_if_none"


class PartialRest(StrEnum):
    """What becomes of the rest of a part-filled order; by its filling, only RETURN leaves a rest."""

    BY_FILLING = "by_filling"
    CANCELLED = "cancelled"
    REFILLS = "refills"


class MovedPrice(StrEnum):
    """How a price that moved beyond the deviation is refused where execution is by request or instant."""

    REQUOTE = "requote"
    PRICE_CHANGED = "price_changed"


class MarginCheck(StrEnum):
    """What must be covered by free margin: the entry as if it stood alone, or what the account then holds."""

    ENTRY = "entry"
    AFTER = "after"


@dataclass(slots=True, kw_only=True)
class Manners:
    """How brokers differ where the interface does not tell; may be changed while the terminal runs.

    The defaults are an ordinary broker's. Assigning a value checks it: TypeError for a wrong kind, ValueError for a
    value out of bounds; a text stands for the member of a closed choice.
    """

    comment_mode: CommentMode = CommentMode.ACCEPT
    # A comment with one of these characters is refused; so is any comment on a close, where closes take none.
    comment_refused_chars: str = ""
    comment_on_close: bool = True
    comment_replacement: str = "broker"
    # Whether what a stop, a target or a stop-out closes says so in its comment, as `[sl 1.23450]`.
    level_comments: bool = True
    # Whether orders, positions and deals keep the magic number of their request; 0 otherwise.
    magic_kept: bool = True
    closing_deal_magic: DealMagic = DealMagic.REQUEST
    omitted_level: OmittedLevel = OmittedLevel.REMOVES
    merged_levels: MergedLevels = MergedLevels.REPLACE
    # The distance that stops must keep though the symbol declares a stops level of 0; in points, in present spreads.
    hidden_stops_points: int = at_least(0, 0)
    hidden_stops_spreads: int = at_least(0, 0)
    # How much of an order is filled at once, 0 for all of it; whether FOK then refuses; what becomes of the rest.
    fill_lots_max: float = at_least(0.0, 0)
    fok_is_whole: bool = True
    partial_rest: PartialRest = PartialRest.BY_FILLING
    refill_delay_ms: int = at_least(5_000, 1)
    # Above 0 a market order is answered PLACED, and is filled so much later.
    execution_delay_ms: int = at_least(0, 0)
    # On a hedging account: how many positions an order opens, each so many points worse than the one before.
    step_fills: int = at_least(1, 1)
    step_slip_points: int = at_least(0, 0)
    moved_price: MovedPrice = MovedPrice.REQUOTE
    # Whether a position that the night's swap re-opened under a new ticket keeps the time of its opening.
    reopen_keeps_time: bool = True
    margin_check: MarginCheck = MarginCheck.ENTRY
    # Requests by programs in 60 s before the next is too many; 0 for no limit.
    requests_per_minute: int = at_least(0, 0)
    # Whether programs may trade on real accounts alone.
    only_real: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, checked(type(self), name, value))


def checked(kind: type, name: str, value: object) -> object:
    """Give a field's value in the field's own kind; AttributeError, TypeError or ValueError say what is wrong.

    A field of more than one kind takes what it is given.
    """
    known = {item.name: item for item in fields(kind)}
    if name not in known:
        raise AttributeError(f"{kind.__name__} has no {name!r}; it has {', '.join(known)}")
    wanted = known[name].type
    if not isinstance(wanted, type):
        return value
    if issubclass(wanted, StrEnum) and isinstance(value, str) and value not in list(wanted):
        raise ValueError(f"{name} must be one of {', '.join(wanted)}, not {value!r}")
    made = wanted(value) if _fits(wanted, value) else value
    if type(made) is not wanted:
        raise TypeError(f"{name} must be {wanted.__name__}, not {value!r}")
    least: float | None = known[name].metadata.get("least")
    if least is not None and isinstance(made, int | float) and not (least <= made < float("inf")):
        raise ValueError(f"{name} must be at least {least} and finite, not {value!r}")
    values = known[name].metadata.get("values")
    if values is not None and made not in values:
        raise ValueError(f"{name} must be one of {', '.join(map(str, values))}, not {value!r}")
    return made


def _fits(wanted: type, value: object) -> bool:
    """Tell whether a value stands for one of another kind: a text for a choice, a whole number for a number."""
    return (issubclass(wanted, StrEnum) and isinstance(value, str)) or (wanted is float and type(value) is int)


BUILT_IN: dict[str, SymbolSpec] = {
    spec.name: spec
    for spec in (
        SymbolSpec(
            name="EURUSD",
            description="Euro vs US Dollar",
            path="Forex\\EURUSD",
            digits=5,
            contract_size=100_000,
            currency_base="EUR",
            currency_profit="USD",
            stops_level_points=10,
            typical_spread_points=8,
            commission_per_lot=3.5,
            swap_long_points=-7.1,
            swap_short_points=3.2,
        ),
        SymbolSpec(
            name="GBPUSD",
            description="Great Britain Pound vs US Dollar",
            path="Forex\\GBPUSD",
            digits=5,
            contract_size=100_000,
            currency_base="GBP",
            currency_profit="USD",
            stops_level_points=15,
            typical_spread_points=12,
            commission_per_lot=3.5,
            swap_long_points=-3.4,
            swap_short_points=-2.1,
        ),
        SymbolSpec(
            name="USDJPY",
            description="US Dollar vs Japanese Yen",
            path="Forex\\USDJPY",
            digits=3,
            contract_size=100_000,
            currency_base="USD",
            currency_profit="JPY",
            stops_level_points=10,
            typical_spread_points=10,
            commission_per_lot=3.5,
            swap_long_points=8.9,
            swap_short_points=-19.6,
        ),
        SymbolSpec(
            name="XAUUSD",
            description="Gold vs US Dollar",
            path="Metals\\XAUUSD",
            digits=2,
            contract_size=100,
            currency_base="XAU",
            currency_profit="USD",
            calc_mode=MT5.SYMBOL_CALC_MODE_CFDLEVERAGE,
            volume_max_lots=50.0,
            stops_level_points=20,
            typical_spread_points=25,
            commission_per_lot=3.5,
            swap_long_points=-45.0,
            swap_short_points=18.0,
        ),
        SymbolSpec(
            name="BTCUSD",
            description="Bitcoin vs US Dollar",
            path="Crypto\\BTCUSD",
            digits=2,
            contract_size=1,
            currency_base="BTC",
            currency_profit="USD",
            calc_mode=MT5.SYMBOL_CALC_MODE_CFDLEVERAGE,
            margin_factor=5,
            volume_max_lots=10.0,
            stops_level_points=500,
            typical_spread_points=1500,
            swap_long_points=-1500.0,
            swap_short_points=-300.0,
            swap_day_factors=EVERY_DAY,
            filling_mask=FILLING_IOC,
        ),
    )
}
