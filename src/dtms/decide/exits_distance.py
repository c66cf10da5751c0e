"""How far behind the price Intelligent Exit's stop trails.

distance = ATR(14, M15) × (the class's multiplier, or the wide one while enough gates hold) × session × VIX
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dtms.domain.managed import ExitRules
from dtms.domain.sources import Vix
from dtms.market.gates import Gates
from dtms.settings import ExitSettings


class Gate(Enum):
    """What speaks for a wide distance."""

    SQUEEZE = auto()
    TIMEFRAMES = auto()
    STRETCH = auto()
    NODE = auto()


_HOLDS: Mapping[Gate, Callable[[Gates, ExitSettings], bool]] = {
    Gate.SQUEEZE: lambda read, _: read.is_squeezed,
    Gate.TIMEFRAMES: lambda read, _: read.timeframes_disagree,
    Gate.STRETCH: lambda read, of: read.stretch_sigma is not None and abs(read.stretch_sigma) > of.stretch_sigma,
    Gate.NODE: lambda read, of: read.node_distance_atr is not None and read.node_distance_atr <= of.node_atr,
}
"""What is not known does not hold."""

_WORDS: Mapping[Gate, Callable[[Gates], str]] = {
    Gate.SQUEEZE: lambda _: "squeeze",
    Gate.TIMEFRAMES: lambda _: "timeframes disagree",
    Gate.STRETCH: lambda read: f"{read.stretch_sigma or 0.0:.2f} σ from its slow average",
    Gate.NODE: lambda read: f"volume node at {read.node_distance_atr or 0.0:.2f} ATR",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """A trailing distance in ATR, and what made it."""

    atr: float
    multiplier: float
    read: Gates | None
    holding: tuple[Gate, ...]
    is_wide: bool
    session_factor: float
    vix_factor: float

    @property
    def told(self) -> str:
        wide = " wide" if self.is_wide else ""
        factors = f"session × {self.session_factor:g}, VIX × {self.vix_factor:.3g}"
        return f"{self.atr:.3g} ATR(M15) ({self.multiplier:g}{wide}, {factors}{self._gates_told})"

    @property
    def _gates_told(self) -> str:
        if self.read is None:
            return "; gates unknown"
        return "".join(f"; {_WORDS[gate](self.read)}" for gate in self.holding)


def distance_of(rules: ExitRules, gates: Gates | None, vix: Vix | None, settings: ExitSettings) -> Distance:
    """Return how many ATR the stop trails behind the price; what is not known widens nothing."""
    holding = () if gates is None else tuple(gate for gate, holds in _HOLDS.items() if holds(gates, settings))
    is_wide = len(holding) >= settings.wide_gates
    multiplier = max(rules.trailing_atr, settings.wide_atr) if is_wide else rules.trailing_atr
    factor = vix_factor(vix, settings)
    return Distance(
        atr=multiplier * rules.session_factor * factor,
        multiplier=multiplier,
        read=gates,
        holding=holding,
        is_wide=is_wide,
        session_factor=rules.session_factor,
        vix_factor=factor,
    )


def vix_factor(vix: Vix | None, settings: ExitSettings) -> float:
    """Return by how much distances widen: 1 + (VIX − calm) / points above calm, at most the maximum."""
    if vix is None or not vix.value > settings.vix_calm:
        return 1.0
    return min(settings.vix_factor_max, 1.0 + (vix.value - settings.vix_calm) / settings.vix_points)
