"""Stops that stood at the broker a moment ago, so that an old list loosens none.

A list can be old, and no deal tells of a stop that was moved: one that a list shows looser than it was is believed, as
somebody may have moved it; but for a while nothing is sent that is looser than what was seen before.
"""

from dtms.domain.prices import ZERO
from dtms.domain.trade import Trade
from dtms.execute.book import Watch

SEEN_MS = 300_000
"""How long a stop that is listed looser now still counts, in market time: longer than any list is old."""


def remember(watch: Watch, later: Trade, now_ms: int) -> None:
    """Note which stops on the trade's side a new look shows looser than they were, before it is believed."""
    listed, known = _stops(later), seen(watch, now_ms)
    for ticket, stop in _stops(watch.trade).items():
        if stop is None or ticket not in listed:
            continue
        now = listed[ticket]
        if now is None or _tighter(watch.trade, stop, now) != now:
            watch.seen_stops[ticket] = known[ticket], now_ms


def seen(watch: Watch, now_ms: int) -> dict[int, float]:
    """Return the tightest stop per ticket that stood at the broker a moment ago."""
    known = {ticket: stop for ticket, stop in _stops(watch.trade).items() if stop is not None}
    for ticket, (stop, at_ms) in watch.seen_stops.items():
        if now_ms - at_ms < SEEN_MS:
            known[ticket] = _tighter(watch.trade, stop, known.get(ticket, stop))
    return known


def _stops(trade: Trade) -> dict[int, float | None]:
    own = {trade.position: trade.stop} if trade.volume > ZERO else {}
    return own | {m.ticket: m.stop for m in trade.readds}


def _tighter(trade: Trade, one: float, other: float) -> float:
    return max(one, other) if trade.side.sign > 0 else min(one, other)
