"""What a broker declares about symbols and the account: conditions of trade, as frozen tables.

The built-in conditions are those of an ordinary retail broker; a configuration overrides any of them.
"""

from dataclasses import dataclass, field

from dtms.terminal.simulated.condition_fields import at_least, one_of
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
