"""What Intelligent Exit does with a position: rules by class of symbol and session, frozen when it is taken over."""

from collections.abc import Mapping
from decimal import Decimal

from dtms.domain.managed import ExitRules
from dtms.domain.strategies import Strategy
from dtms.domain.symbols import SymbolClass, class_of
from dtms.market.regime import Session
from dtms.settings import ExitSettings

SCALPS = frozenset({Strategy.MEAN_REVERSION_RANGE_SCALP.value, Strategy.MICRO_SCALP.value})


def is_scalp(strategy_type: str | None) -> bool:
    """Answer whether a strategy takes its profit early; a position without a strategy does not."""
    return strategy_type in SCALPS


def rules_of(symbol: str, session: Session, is_scalp: bool, settings: ExitSettings) -> ExitRules:
    """Resolve the rules of one position, which are then frozen into it."""
    kind = class_of(symbol)
    breakeven = settings.breakeven_progress_scalp if is_scalp else settings.breakeven_progress
    partial = settings.partial_progress_scalp if is_scalp else settings.partial_progress
    return ExitRules(
        symbol_class=kind.value,
        is_scalp=is_scalp,
        breakeven_progress=breakeven[kind.value],
        partial_progress=partial[kind.value],
        partial_share=Decimal(str(settings.partial_share)),
        trailing_atr=settings.trailing_atr[kind.value],
        session_factor=_session_factors(kind, settings)[session.value],
        min_change_r=settings.min_change_r,
        cooldown_s=settings.cooldown_s,
    )


def _session_factors(kind: SymbolClass, settings: ExitSettings) -> Mapping[str, float]:
    by_class = {
        SymbolClass.CRYPTO: settings.session_crypto,
        SymbolClass.GOLD: settings.session_gold,
        SymbolClass.FX: settings.session_fx,
        SymbolClass.OTHER: settings.session_other,
    }
    return by_class[kind]
