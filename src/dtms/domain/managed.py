"""A position in the hands of the Universal SL/TP manager or of Intelligent Exit: frozen rules, and what was done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Owner


class TrailingMethod(StrEnum):
    """How a stop follows the price."""

    ATR = "atr"
    STRUCTURE = "structure"
    STRUCTURE_ATR_HYBRID = "structure_atr_hybrid"
    MICRO_CHOCH = "micro_choch"
    DISPLACEMENT_OR_STRUCTURE = "displacement_or_structure"
    NONE = "none"
    """Breakeven only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniversalRules:
    """What the Universal manager does with one trade, resolved once at its registration and frozen."""

    strategy_type: str
    session: str
    """The session at registration, which the factors were taken from."""
    breakeven_r: float
    trailing: TrailingMethod
    timeframe: Timeframe
    atr_multiplier: float
    lookback: int
    buffer_atr: float
    min_change_r: float
    cooldown_s: float
    partial_r: float | None
    partial_share: Decimal | None
    session_factor: float
    baseline_atr: float | None
    """ATR's baseline on ``timeframe`` at registration; None when it was not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRules:
    """What Intelligent Exit does with one position; progress is the share of the way from entry to target."""

    symbol_class: str
    is_scalp: bool
    breakeven_progress: float
    partial_progress: float
    partial_share: Decimal
    trailing_atr: float
    session_factor: float
    min_change_r: float
    cooldown_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """One position under a manager; prices as the broker holds them, volumes in lots, times market milliseconds (UTC).

    ``initial_stop``, ``risk`` (R, a price difference), ``initial_volume`` and ``rules`` never change.
    """

    ticket: int
    manager: Owner
    identifier: int
    login: int
    server: str
    symbol: str
    side: Side
    entry: float
    initial_volume: Decimal
    initial_stop: float | None
    risk: float
    nominal_risk: bool
    rules: UniversalRules | ExitRules
    opened_ms: int
    registered_ms: int

    volume: Decimal
    stop: float | None
    target: float | None
    costs: float = 0.0
    """Commission and fees of the opening deal, in account currency, negative when paid."""
    breakeven_done: bool = False
    partial_done: bool = False
    moved_ms: int = 0
    """When this manager last moved the stop; 0 for never."""
    trailing_active: bool = False
    unconfirmed: bool = False
    """Missing at the broker without evidence of its closing."""
    needs_attention: str | None = None
    not_before_ms: Mapping[str, int] = field(default_factory=dict)
    """By kind of action: after failures it is not tried again before this market time."""
    failures: Mapping[str, int] = field(default_factory=dict)
    proposed: str | None = None
    """The last proposal that was recorded and not carried out, because of the mode."""
    closed_ms: int | None = None
    """When it ended, or was taken out of the manager's hands."""
    close_reason: str | None = None
    realised: float = 0.0
    version: int = 0

    @property
    def is_active(self) -> bool:
        return self.closed_ms is None

    def r_multiple(self, price: float) -> float:
        """Return the profit at ``price`` in units of R."""
        return (price - self.entry) * self.side.sign / self.risk
