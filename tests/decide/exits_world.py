"""Sightings of one EURUSD position under Intelligent Exit, true in every part that a test does not change.

The entry is 1.1, R is 30 pips, and the target 60 pips away, so that progress is half the R-multiple.
"""

from dataclasses import replace
from typing import Any

from tests.decide.builders import NOW, instrument, position, tick

from dtms.decide.adoption import adopt
from dtms.decide.exits import propose
from dtms.decide.exits_rules import rules_of
from dtms.decide.proposals import Proposal, Sighting
from dtms.domain.actions import MoveStop
from dtms.domain.managed import ExitRules, Managed
from dtms.domain.market import Side, Timeframe
from dtms.domain.sources import Vix
from dtms.market.gates import Gates
from dtms.market.levels import Levels
from dtms.market.regime import Session
from dtms.settings import Settings

R, WAY, SPREAD = 0.0030, 0.0060, 0.00008
TICKET = 1
SETTINGS = Settings()
OPEN_GATES = Gates(close_ms=NOW, is_squeezed=False, timeframes_disagree=False, stretch_sigma=0.5, node_distance_atr=1.0)
ALL_GATES = Gates(close_ms=NOW, is_squeezed=True, timeframes_disagree=True, stretch_sigma=-2.5, node_distance_atr=0.1)


def rules(*, symbol: str = "EURUSD", scalp: bool = False, session: Session = Session.LONDON, **of: Any) -> ExitRules:
    return replace(rules_of(symbol, session, scalp, SETTINGS.exits), **of)


def managed(side: Side, of: ExitRules, volume: str = "0.4", **changes: Any) -> Managed:
    held = position(TICKET, side, volume, target=target(side))
    made = adopt(held, of, login=1, server="S", now_ms=NOW - 60_000, atr_m15=0.0010, settings=SETTINGS)
    return replace(made, **changes)


def target(side: Side) -> float:
    return 1.1 + side.sign * WAY


def levels(atr: float = 0.0010) -> dict[Timeframe, Levels]:
    read = Levels(
        symbol="EURUSD",
        timeframe=Timeframe.M15,
        close_ms=NOW,
        close=1.1,
        atr=atr,
        atr_baseline=atr,
        swing_lows=(),
        swing_highs=(),
    )
    return {Timeframe.M15: read}


def sighting(
    side: Side, of: ExitRules | None = None, *, progress: float = 0.0, volume: str = "0.4", **known: Any
) -> Sighting:
    """See a position that went so far of its way; whatever is named replaces what the sighting has of it."""
    frozen = of or rules()
    memory: dict[str, Any] = known.pop("memory", {})
    quote = known.pop("tick", tick(side, progress * WAY, SPREAD))
    held: dict[str, Any] = {"target": target(side), "price_now": quote.closing(side), **known.pop("held", {})}
    base: dict[str, Any] = {
        "managed": managed(side, frozen, volume, **memory),
        "position": position(TICKET, side, volume, **held),
        "tick": quote,
        "instrument": instrument(),
        "now_ms": NOW,
        "levels": levels(),
        "gates": OPEN_GATES,
        "median_spread": SPREAD,
    }
    return Sighting(**{**base, **known})


def after_breakeven(side: Side, of: ExitRules | None = None, **known: Any) -> Sighting:
    """See a position whose stop stands at breakeven."""
    stop = round(1.1 + side.sign * SPREAD, 5)
    held = {"stop": stop, **known.pop("held", {})}
    memory = {"breakeven_done": True, "partial_done": True, "stop": stop, **known.pop("memory", {})}
    return sighting(side, of, held=held, memory=memory, **known)


def only(seen: Sighting, settings: Settings = SETTINGS) -> Proposal:
    """Return the one proposal."""
    (found,) = propose(seen, settings).proposals
    return found


def moved(seen: Sighting, settings: Settings = SETTINGS) -> MoveStop:
    """Return the one proposal's move of the stop."""
    action = only(seen, settings).action
    assert isinstance(action, MoveStop)
    return action


def nothing(seen: Sighting, settings: Settings = SETTINGS) -> dict[str, str]:
    """Return why nothing is proposed."""
    proposed = propose(seen, settings)
    assert not proposed.proposals
    return dict(proposed.notes)


def vix(value: float) -> Vix:
    return Vix(value=value, at_ms=NOW, source="test")
