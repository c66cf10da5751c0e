"""Sightings of one EURUSD position under the Universal manager, true in every part that a test does not change."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.decide.builders import NOW, instrument, position, tick

from dtms.decide.adoption import adopt
from dtms.decide.proposals import Proposal, Sighting
from dtms.decide.strategies import resolve
from dtms.decide.universal import propose
from dtms.domain.managed import Managed, UniversalRules
from dtms.domain.market import Side, Tick, Timeframe
from dtms.market.levels import Levels, Swing
from dtms.market.regime import Session
from dtms.settings import Settings

R = 0.0030
TICKET = 1
SETTINGS = Settings()


def rules(strategy: str = "default_standard", *, session: Session = Session.LONDON, **changes: Any) -> UniversalRules:
    made = resolve(strategy, "EURUSD", session, 0.0010, SETTINGS.universal)
    return replace(made, **changes)


def levels(side: Side, timeframe: Timeframe = Timeframe.M15, **changes: Any) -> Levels:
    """Make levels around 1.1 whose swings lie behind a position of ``side``, 10 and 20 pips from the entry."""
    swings = tuple(Swing(1.1 + side.sign * distance, NOW - 60_000) for distance in (-0.0020, 0.0010))
    base = Levels(
        symbol="EURUSD",
        timeframe=timeframe,
        close_ms=NOW - 60_000,
        close=1.1,
        atr=0.0010,
        atr_baseline=0.0010,
        swing_lows=swings if side is Side.LONG else (),
        swing_highs=swings if side is Side.SHORT else (),
    )
    return replace(base, **changes)


def managed(side: Side, of: UniversalRules, volume: str = "0.4", **changes: Any) -> Managed:
    held = position(TICKET, side, volume)
    made = adopt(held, of, login=1, server="S", now_ms=NOW - 60_000, atr_m15=0.0010, settings=SETTINGS)
    return replace(made, **changes)


def sighting(
    side: Side, of: UniversalRules | None = None, *, profit_r: float = 0.0, volume: str = "0.4", **known: Any
) -> Sighting:
    """See a position with R of 30 pips at ``profit_r``; whatever is named replaces what the sighting has of it."""
    frozen = of or rules()
    memory: dict[str, Any] = known.pop("memory", {})
    held: dict[str, Any] = known.pop("held", {})
    quote = known.pop("tick", tick(side, profit_r * R))
    base: dict[str, Any] = {
        "managed": managed(side, frozen, volume, **memory),
        "position": position(TICKET, side, volume, **{"price_now": quote.closing(side), **held}),
        "tick": quote,
        "instrument": instrument(),
        "now_ms": NOW,
        "levels": {frozen.timeframe: levels(side, frozen.timeframe)},
        "median_spread": 0.00008,
    }
    return Sighting(**{**base, **known})


def after_breakeven(side: Side, of: UniversalRules | None = None, **known: Any) -> Sighting:
    """See a position whose stop stands at breakeven."""
    stop = 1.1 + side.sign * 0.00008
    held = {"stop": stop, **known.pop("held", {})}
    memory = {"breakeven_done": True, "stop": stop, **known.pop("memory", {})}
    return sighting(side, of, held=held, memory=memory, **known)


def only(seen: Sighting, settings: Settings = SETTINGS) -> Proposal:
    """Return the one proposal."""
    (found,) = propose(seen, settings).proposals
    return found


def quoted(seen: Sighting, quote: Tick) -> Sighting:
    """See the same position at another quote."""
    return replace(seen, tick=quote, position=replace(seen.position, price_now=quote.closing(seen.position.side)))


def with_volume(seen: Sighting, volume: str) -> Sighting:
    return replace(seen, position=replace(seen.position, volume=Decimal(volume)))
