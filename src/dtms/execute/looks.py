"""What a pass sees of one symbol, worked out once per side instead of once per trade."""

from dataclasses import dataclass

from dtms.decide.trade_state import Outlook
from dtms.domain.market import Side, Tick
from dtms.execute.book import SymbolWatch
from dtms.settings import CadenceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SideLook:
    """What the trades of one side have in common; ``adverse_max`` is a price difference."""

    sign: int
    price: float
    """At which a position of this side is closed."""
    adverse_max: float
    """The percentage's share of the adverse move that triggers a look."""
    outlook: Outlook | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    symbol: SymbolWatch
    tick: Tick | None
    held: str | None
    """Why the symbol's trades are held without transitions, when they are."""
    long: SideLook | None
    short: SideLook | None

    def of(self, side: Side) -> SideLook | None:
        return self.long if side is Side.LONG else self.short


def look_at(symbol: SymbolWatch, cadence: CadenceSettings) -> Look:
    """Look at a symbol as it stands now."""
    tick = symbol.tick
    is_blind = tick is None or symbol.stale is not None or symbol.view is None
    return Look(
        symbol=symbol,
        tick=tick,
        held=(symbol.stale or "no quote yet") if is_blind else None,
        long=_side(symbol, tick, Side.LONG, cadence),
        short=_side(symbol, tick, Side.SHORT, cadence),
    )


def _side(symbol: SymbolWatch, tick: Tick | None, side: Side, cadence: CadenceSettings) -> SideLook | None:
    if tick is None:
        return None
    price = tick.closing(side)
    return SideLook(
        sign=side.sign,
        price=price,
        adverse_max=cadence.adverse_percent / 100.0 * price,
        outlook=symbol.outlooks.get(side),
    )
