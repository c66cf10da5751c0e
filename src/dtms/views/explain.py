"""Why a trade scores what it scores, now or at a past moment, in words with figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from dtms.domain.facts import Fact, Json
from dtms.domain.trade import State, Trade
from dtms.settings import ProtectionSettings
from dtms.views.moments import rfc3339, signed

THRESHOLDS: Final = ("warn_l1", "warn_l1_exit", "warn_l2", "warn_l2_exit", "hedge_at", "recovered_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What an explanation is made of; ``body`` None means that nothing was scored yet at that moment."""

    trade: Trade
    at_ms: int
    state: str
    bar_ms: int | None
    body: Mapping[str, Json] | None
    thresholds: Mapping[str, float]
    past: bool


def thresholds_at(settings: ProtectionSettings, later_changes: Sequence[Fact]) -> dict[str, float]:
    """Return the thresholds before ``later_changes`` (settings changes, oldest first): each is taken back in turn."""
    values = {name: value for name, value in asdict(settings).items() if name in THRESHOLDS}
    for fact in reversed(later_changes):
        changes = fact.details.get("changes", fact.details)
        for key, change in changes.items() if isinstance(changes, dict) else ():
            old = change.get("old") if isinstance(change, dict) else None
            name = key.removeprefix("protection.")
            if name in values and name != key and isinstance(old, int | float):
                values[name] = float(old)
    return values


def explain_view(what: Explained, *, stale: bool) -> dict[str, Json]:
    """Show ``/dtms/trade/{ticket}/explain``."""
    readings = _list(what.body, "readings")
    absent = _list(what.body, "absent")
    scale = _number(what.body, "scale", 1.0)
    return {
        "success": True,
        "summary": _summary(what, readings, scale),
        "ticket": what.trade.ticket,
        "symbol": what.trade.symbol,
        "direction": what.trade.side.direction,
        "at": rfc3339(what.at_ms),
        "past": what.past,
        "state": what.state,
        "score": _number(what.body, "total", None),
        "scored_bar_close": rfc3339(what.bar_ms) if what.bar_ms else None,
        "scale": scale,
        "thresholds": dict(what.thresholds),
        "effective_thresholds": {name: value * (scale or 1.0) for name, value in what.thresholds.items()},
        "layers": [_layer(r) for r in readings if isinstance(r, dict)],
        "absent": absent,
        "regime": what.body.get("regime") if what.body else None,
        "breakdown": dict(what.body) if what.body else None,
        "words": list(_words(readings, absent)),
        "stale": stale,
        "error": None,
    }


def _summary(what: Explained, readings: Sequence[Json], scale: float | None) -> str:
    verb = f"was at {rfc3339(what.at_ms)}" if what.past else "is"
    who = f"Ticket {what.trade.ticket} ({what.trade.symbol} {what.trade.side.direction}) {verb} {what.state}"
    total = _number(what.body, "total", None)
    if total is None:
        return f"{who}; nothing has been scored for it yet."
    layers = sorted((r for r in readings if isinstance(r, dict)), key=lambda r: abs(_number(r, "points", 0.0) or 0.0))
    strongest = f"; the strongest voice is {layers[-1].get('layer')} ({layers[-1].get('reason')})" if layers else ""
    return f"{who} with a score of {signed(total)}; {_next_threshold(what, total, scale or 1.0)}{strongest}."


def _next_threshold(what: Explained, total: float, scale: float) -> str:
    """Say how far the next step down is."""
    below = {State.HEALTHY: "warn_l1", State.WARNING_L1: "warn_l2", State.WARNING_L2: "hedge_at"}
    name = next((n for state, n in below.items() if state.value == what.state), None)
    if name is None:
        return "its next step does not hang on a falling score"
    level = what.thresholds[name] * scale
    place = f"{total - level:.2f} above" if total > level else f"{level - total:.2f} below"
    return f"{place} the next threshold down ({name} {level:.2f})"


def _layer(reading: Mapping[str, Json]) -> dict[str, Json]:
    points = _number(reading, "points", 0.0) or 0.0
    stance = "against the trade" if points < 0 else "for the trade" if points > 0 else "neutral"
    return {**reading, "stance": stance}


def _words(readings: Iterable[Json], absent: Iterable[Json]) -> Iterable[str]:
    for reading in readings:
        if isinstance(reading, dict):
            layer = _layer(reading)
            points, factor = _number(reading, "points", None), _number(reading, "factor", 1.0)
            yield f"{layer['layer']} {signed(points)} ({layer['stance']}, factor {factor:g}): {layer['reason']}"
    for name in absent:
        yield f"{name}: absent, no data; the thresholds are scaled to the layers that are present"


def _list(body: Mapping[str, Json] | None, key: str) -> list[Json]:
    value = body.get(key) if body else None
    return value if isinstance(value, list) else []


def _number(body: Mapping[str, Json] | None, key: str, otherwise: float | None) -> float | None:
    value = body.get(key) if body else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
