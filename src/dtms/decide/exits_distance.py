"""How far behind the price Intelligent Exit's stop trails.

distance = ATR(14, M15) × (the class's multiplier, or the wide one while enough gates hold) × session × VIX
"""

from dataclasses import dataclass

from dtms.domain.managed import ExitRules
from dtms.domain.sources import Vix
from dtms.market.gates import Gates
from dtms.settings import ExitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """A trailing distance in ATR, and what made it."""

    atr: float
    multiplier: float
    gates: tuple[str, ...]
    """Those that hold, in words."""
    is_wide: bool
    session_factor: float
    vix_factor: float

    @property
    def told(self) -> str:
        wide = " wide" if self.is_wide else ""
        factors = f"session × {self.session_factor:g}, VIX × {self.vix_factor:.3g}"
        gates = f"; {', '.join(self.gates)}" if self.gates else ""
        return f"{self.atr:.3g} ATR(M15) ({self.multiplier:g}{wide}, {factors}{gates})"


def distance_of(rules: ExitRules, gates: Gates | None, vix: Vix | None, settings: ExitSettings) -> Distance:
    """Return how many ATR the stop trails behind the price; what is not known widens nothing."""
    holding = () if gates is None else gates_holding(gates, settings)
    is_wide = len(holding) >= settings.wide_gates
    multiplier = max(rules.trailing_atr, settings.wide_atr) if is_wide else rules.trailing_atr
    factor = vix_factor(vix, settings)
    return Distance(
        atr=multiplier * rules.session_factor * factor,
        multiplier=multiplier,
        gates=holding,
        is_wide=is_wide,
        session_factor=rules.session_factor,
        vix_factor=factor,
    )


def gates_holding(gates: Gates, settings: ExitSettings) -> tuple[str, ...]:
    """Return the gates that hold, in words with their figures."""
    stretch, node = gates.stretch_sigma, gates.node_distance_atr
    named = (
        (gates.is_squeezed, "squeeze"),
        (gates.timeframes_disagree, "timeframes disagree"),
        (
            stretch is not None and abs(stretch) > settings.stretch_sigma,
            f"{stretch or 0.0:.2f} σ from EMA{settings.stretch_ema}",
        ),
        (node is not None and node <= settings.node_atr, f"volume node at {node or 0.0:.2f} ATR"),
    )
    return tuple(told for holds, told in named if holds)


def vix_factor(vix: Vix | None, settings: ExitSettings) -> float:
    """Return by how much distances widen: 1 + (VIX − calm) / points above calm, at most the maximum."""
    if vix is None or not vix.value > settings.vix_calm:
        return 1.0
    return min(settings.vix_factor_max, 1.0 + (vix.value - settings.vix_calm) / settings.vix_points)
