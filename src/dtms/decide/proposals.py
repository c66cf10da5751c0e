"""What a manager sees of one position, and what it proposes. Proposing functions are pure: sight in, proposals out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dtms.domain.actions import Action
from dtms.domain.managed import Managed
from dtms.domain.market import Instrument, Tick, Timeframe
from dtms.domain.position import Position
from dtms.domain.sources import Vix
from dtms.market.gates import Gates
from dtms.market.levels import Levels
from dtms.market.view import MarketView


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One position as a manager sees it at ``now_ms`` (market time)."""

    managed: Managed
    position: Position
    """As the broker lists it now; it wins over what is remembered."""
    tick: Tick
    instrument: Instrument
    now_ms: int
    levels: Mapping[Timeframe, Levels]
    """By timeframe; one whose bars are too few or too old is missing."""
    view: MarketView | None = None
    gates: Gates | None = None
    vix: Vix | None = None
    cost_money: float = 0.0
    """Commission, fees and swap so far, in account currency, negative when paid."""
    median_spread: float | None = None
    seen_stops: Mapping[int, float] = field(default_factory=dict)
    """Stops that were seen at the broker a moment ago, by ticket: a list that shows a looser one can be an old list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One action that a manager would have done now.

    ``after`` is its memory once the broker confirmed the action, but for volume and stop, which follow the broker.
    """

    action: Action
    rule: str
    """breakeven, partial, trail, and the like: a word for the journal."""
    reason: str
    """With its figures, in words a trader reads."""
    after: Managed


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a manager proposes, most urgent first, and why it proposes no more than that.

    ``memory`` is what it remembers whether or not anything is done, None when nothing of it changed.
    """

    proposals: Sequence[Proposal] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    """By rule (breakeven, partial, trail): why not, with figures."""
    alerts: Sequence[str] = ()
    memory: Managed | None = None
