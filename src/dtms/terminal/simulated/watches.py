"""Looking ahead: the next tick at which something happens to a symbol, searched for once and remembered.

A band holds the prices within which nothing happens. Stretches whose prices stay inside it as a whole are passed over
without a look at their ticks, so quiet times cost nothing however long they are.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dtms.terminal.simulated.feed import BLOCK_MS, Feed
from dtms.terminal.simulated.ticks import TickBlock

NOWHERE_LOW, NOWHERE_HIGH = -(1 << 60), 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prices in points at which something happens: at or below `floor`, at or above `ceiling`, for each side."""

    bid_floor: int = NOWHERE_LOW
    bid_ceiling: int = NOWHERE_HIGH
    ask_floor: int = NOWHERE_LOW
    ask_ceiling: int = NOWHERE_HIGH


ANY_TICK = Band(bid_floor=NOWHERE_HIGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is known of a symbol's future: nothing happens up to `clear_ms`; something does at `trigger_ms`.

    It holds as long as `version`, which names what the band was made from, is what it was.
    """

    version: Hashable
    band: Band
    clear_ms: int
    trigger_ms: int | None = None

    @property
    def quiet_until_ms(self) -> int:
        """The last moment at which certainly nothing happens."""
        return self.clear_ms if self.trigger_ms is None else self.trigger_ms - 1


def searched(watch: Watch, feed: Feed, upto_ms: int) -> Watch:
    """Look for the first tick outside the band, at least up to a moment."""
    while watch.trigger_ms is None and watch.clear_ms < upto_ms:
        end_ms = ((watch.clear_ms + 1) // BLOCK_MS + 1) * BLOCK_MS - 1
        found = None
        for block, start, stop in feed.spans(watch.clear_ms, end_ms):
            found = first_outside(block, start, stop, watch.band)
        watch = replace(watch, clear_ms=end_ms, trigger_ms=found)
    return watch


def first_outside(block: TickBlock, start: int, stop: int, band: Band) -> int | None:
    """Give the time of the first tick outside the band."""
    if _holds(band, block):
        return None
    bid, ask = block.bid[start:stop], block.ask[start:stop]
    outside: NDArray[np.bool_] = np.zeros(stop - start, dtype=np.bool_)
    if band.bid_floor > NOWHERE_LOW:
        outside |= bid <= band.bid_floor
    if band.bid_ceiling < NOWHERE_HIGH:
        outside |= bid >= band.bid_ceiling
    if band.ask_floor > NOWHERE_LOW:
        outside |= ask <= band.ask_floor
    if band.ask_ceiling < NOWHERE_HIGH:
        outside |= ask >= band.ask_ceiling
    at = int(outside.argmax())
    return int(block.ms[start + at]) if outside[at] else None


def _holds(band: Band, block: TickBlock) -> bool:
    """Tell whether a whole stretch stays inside the band."""
    bids = band.bid_floor < block.bids[0] and block.bids[1] < band.bid_ceiling
    return bids and band.ask_floor < block.asks[0] and block.asks[1] < band.ask_ceiling
