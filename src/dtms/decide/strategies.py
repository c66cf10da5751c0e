"""What each strategy means for the stop of its trade: one table, resolved once per trade and frozen into it.

The strategy's row comes first, then what configuration says of the strategy, then of the class of symbols, then of the
symbol; last the session of the registration: its factor on the ATR multiplier, and breakeven's R in the Asian one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from dtms.domain.managed import TrailingMethod, UniversalRules
from dtms.domain.market import Timeframe
from dtms.domain.strategies import Strategy, strategy_of
from dtms.domain.symbols import SymbolClass, canonical, class_of
from dtms.market.regime import Session
from dtms.settings import UniversalSettings

_M1, _M5, _M15 = Timeframe.M1, Timeframe.M5, Timeframe.M15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One strategy's figures; distances in ATR of ``timeframe``, breakeven, partial and changes in R."""

    trailing: TrailingMethod
    timeframe: Timeframe
    breakeven_r: float = 1.0
    breakeven_asian_r: float | None = None
    """None: as in any other session."""
    atr_multiplier: float = 2.0
    """Of methods that do not trail by ATR: where they have nothing else to hang on."""
    lookback: int = 1
    buffer_atr: float = 0.5
    min_change_r: float = 0.1
    cooldown_s: float = 60.0
    partial_r: float | None = None
    partial_share: float = 0.5


_DEFAULT = Row(trailing=TrailingMethod.ATR, timeframe=_M15)

# fmt: off
ROWS: Mapping[Strategy, Row] = dict.fromkeys(Strategy, _DEFAULT) | {
    Strategy.BREAKOUT_IB_VOLATILITY_TRAP: Row(
        breakeven_r=1.0, breakeven_asian_r=0.75, trailing=TrailingMethod.STRUCTURE_ATR_HYBRID, timeframe=_M5,
        atr_multiplier=1.5, lookback=2, cooldown_s=20.0, partial_r=1.5, partial_share=0.5,
    ),
    Strategy.TREND_CONTINUATION_PULLBACK: Row(
        breakeven_r=1.0, trailing=TrailingMethod.STRUCTURE, timeframe=_M5, lookback=1, buffer_atr=0.5, cooldown_s=45.0,
    ),
    Strategy.LIQUIDITY_SWEEP_REVERSAL: Row(
        breakeven_r=0.5, trailing=TrailingMethod.MICRO_CHOCH, timeframe=_M1, cooldown_s=15.0,
    ),
    Strategy.ORDER_BLOCK_REJECTION: Row(
        breakeven_r=1.0, breakeven_asian_r=0.75, trailing=TrailingMethod.DISPLACEMENT_OR_STRUCTURE, timeframe=_M5,
        cooldown_s=30.0,
    ),
    # Its timeframe is only that of the volatility beside which a partial would be taken.
    Strategy.MEAN_REVERSION_RANGE_SCALP: Row(
        breakeven_r=0.5, trailing=TrailingMethod.NONE, timeframe=_M5, cooldown_s=10.0,
    ),
}
"""Every strategy; those that are not named have the default's row."""
# fmt: on


def row_of(strategy: Strategy, symbol: str, settings: UniversalSettings) -> Row:
    """Return a strategy's row for a symbol, with all that configuration changes of it."""
    changes: dict[str, Any] = dict(settings.strategies.get(strategy.value, {}))
    for key in (class_of(symbol).value, canonical(symbol)):
        changes |= next((row for name, row in settings.symbols.items() if _names(name, key)), {})
    if "lookback" in changes:
        changes["lookback"] = int(changes["lookback"])
    return replace(ROWS[strategy], **changes)


def _names(name: str, key: str) -> bool:
    """Answer whether a row's name is the class or the symbol, in whichever broker's spelling."""
    return name == key or (name not in _CLASSES and canonical(name) == key)


_CLASSES = frozenset(kind.value for kind in SymbolClass)


def session_factor(symbol: str, session: Session, settings: UniversalSettings) -> float:
    """Return the session's factor on the ATR multiplier, by class of symbol."""
    by_class: Mapping[SymbolClass, Mapping[str, float]] = {
        SymbolClass.CRYPTO: settings.session_crypto,
        SymbolClass.GOLD: settings.session_gold,
        SymbolClass.FX: settings.session_fx,
        SymbolClass.OTHER: settings.session_other,
    }
    return by_class[class_of(symbol)][session.value]


def resolve(
    strategy_type: str, symbol: str, session: Session, atr_baseline: float | None, settings: UniversalSettings
) -> UniversalRules:
    """Resolve the rules of one trade, which are then frozen into it.

    Args:
        atr_baseline: ATR's baseline on the timeframe of the strategy's row; None when it is not known.

    Raises:
        UnknownStrategy: with the valid names, and near ones.
    """
    strategy = strategy_of(strategy_type)
    row = row_of(strategy, symbol, settings)
    asian_r = row.breakeven_asian_r if session is Session.ASIAN else None
    return UniversalRules(
        strategy_type=strategy.value,
        session=session.value,
        breakeven_r=row.breakeven_r if asian_r is None else asian_r,
        trailing=row.trailing,
        timeframe=row.timeframe,
        atr_multiplier=row.atr_multiplier,
        lookback=row.lookback,
        buffer_atr=row.buffer_atr,
        min_change_r=row.min_change_r,
        cooldown_s=row.cooldown_s,
        partial_r=row.partial_r,
        partial_share=Decimal(str(row.partial_share)) if row.partial_r is not None else None,
        session_factor=session_factor(symbol, session, settings),
        baseline_atr=atr_baseline,
    )


def timeframe_of(strategy_type: str) -> Timeframe:
    """Return the timeframe on which a strategy trails, and its ATR baseline is measured.

    Raises:
        UnknownStrategy: with the valid names, and near ones.
    """
    return ROWS[strategy_of(strategy_type)].timeframe
