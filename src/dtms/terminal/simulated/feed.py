"""The recorded market of one symbol: its quote at any moment, its sessions, and the ticks between two moments.

Ticks are made in blocks of four days when they are first needed, and a few blocks are kept.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dtms.terminal.simulated.recording import BarRecording, Recording, RecordingError, TickRecording
from dtms.terminal.simulated.server_time import DAY_MS, ServerClock
from dtms.terminal.simulated.spec import SymbolSpec
from dtms.terminal.simulated.ticks import (
    MINUTE_MS,
    TICKS_PER_MINUTE,
    Bars,
    Floats,
    Int64s,
    SpreadRule,
    TickBlock,
    draw_block,
    symbol_salt,
)

BLOCK_MS = 4 * DAY_MS
BLOCKS_KEPT = 16
TIMEFRAMES_PLAYED_MINUTES = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)
# Thin markets skip minutes; a silence this long is a closed market.
CLOSED_AFTER_MS = 20 * MINUTE_MS
REOPEN_WIDE_MINUTES = 5
ROLLOVER_BEFORE_MINUTES, ROLLOVER_AFTER_MINUTES = 5, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A quote in points and when it was made (UTC ms)."""

    ms: int
    bid: int
    ask: int


class Feed:
    """Play one recording under one symbol's conditions."""

    def __init__(self, recording: Recording, spec: SymbolSpec, clock: ServerClock) -> None:
        self.spec = spec
        self._clock = clock
        self._salt = symbol_salt(str(recording.about.get("symbol", spec.name)))
        self._blocks: OrderedDict[int, TickBlock] = OrderedDict()
        self._widenings = [(0, spec.spread_factor)] if spec.spread_factor > 1 else []
        self._ticks = recording if isinstance(recording, TickRecording) else None
        if isinstance(recording, BarRecording):
            self.minutes = recording.minutes
            self.base = bars_in_points(recording, spec)
        else:
            self.minutes = 1
            self.base = _tick_block(recording, spec).minutes
        if self.minutes not in TIMEFRAMES_PLAYED_MINUTES:
            raise RecordingError(f"{spec.name}: bars of {self.minutes} minutes cannot be played, use M1 to H1")
        self._step_ms = self.minutes * MINUTE_MS
        gaps = np.diff(self.base.ms) - self._step_ms
        self._reopens = np.concatenate(([True], gaps >= CLOSED_AFTER_MS))
        self._numbers = np.unique(self.base.ms // BLOCK_MS)

    @property
    def first_ms(self) -> int:
        """The start of the recording, UTC ms."""
        return int(self.base.ms[0])

    @property
    def end_ms(self) -> int:
        """The end of the recording, UTC ms."""
        return int(self.base.ms[-1]) + self._step_ms

    def base_index(self, ms: int) -> int:
        """Give the row of the recorded bar begun at or before a moment, -1 before the first."""
        return int(np.searchsorted(self.base.ms, ms, side="right")) - 1

    def is_open(self, ms: int) -> bool:
        """Tell whether the market trades at a moment: no closed silence, and inside the recording."""
        at = self.base_index(ms)
        if at < 0:
            return False
        if ms < int(self.base.ms[at]) + self._step_ms:
            return True
        return at + 1 < len(self.base) and not self._reopens[at + 1]

    def next_open_ms(self, ms: int) -> int | None:
        """Give the first moment from `ms` on at which the market trades, None after the recording's end."""
        if self.is_open(ms):
            return ms
        at = self.base_index(ms) + 1
        return int(self.base.ms[at]) if at < len(self.base) else None

    def quote(self, ms: int) -> Quote | None:
        """Give the last quote at or before a moment, None before the first."""
        return self.quote_until(ms)[0]

    def quote_until(self, ms: int) -> tuple[Quote | None, int]:
        """Give the last quote at or before a moment, and up to when it certainly is the last."""
        at = self.base_index(ms)
        while at >= 0:
            number = int(self.base.ms[at]) // BLOCK_MS
            block = self.block(number)
            k = int(np.searchsorted(block.ms, ms, side="right")) - 1
            if k >= 0:
                until_ms = int(block.ms[k + 1]) - 1 if k + 1 < len(block.ms) else ms
                return Quote(ms=int(block.ms[k]), bid=int(block.bid[k]), ask=int(block.ask[k])), max(until_ms, ms)
            at = self.base_index(number * BLOCK_MS - 1)
        return None, ms

    def spans(self, after_ms: int, upto_ms: int) -> Iterator[tuple[TickBlock, int, int]]:
        """Give the ticks after one moment up to another, as (block, start, stop), in order."""
        low, high = after_ms // BLOCK_MS, upto_ms // BLOCK_MS
        first, last = np.searchsorted(self._numbers, (low, high + 1))
        for number in self._numbers[first:last]:
            block = self.block(int(number))
            start = int(np.searchsorted(block.ms, after_ms, side="right"))
            stop = int(np.searchsorted(block.ms, upto_ms, side="right"))
            if start < stop:
                yield block, start, stop

    def block(self, number: int) -> TickBlock:
        """Give the ticks of one stretch of four days, drawn when first asked for."""
        kept = self._blocks.get(number)
        if kept is not None:
            self._blocks.move_to_end(number)
            return kept
        made = self._widened(self._make_block(number))
        self._blocks[number] = made
        if len(self._blocks) > BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return made

    def widen(self, after_ms: int, factor: int) -> None:
        """Multiply the spread of every tick after a moment, until the next such change."""
        self._widenings.append((after_ms, factor))
        self._blocks.clear()

    def _widened(self, block: TickBlock) -> TickBlock:
        if not self._widenings:
            return block
        factors = np.ones(len(block.ms), dtype=np.int64)
        for after_ms, factor in self._widenings:
            factors[np.searchsorted(block.ms, after_ms, side="right") :] = factor
        return replace(block, ask=block.bid + (block.ask - block.bid) * factors)

    def _make_block(self, number: int) -> TickBlock:
        begin, end = number * BLOCK_MS, (number + 1) * BLOCK_MS
        if self._ticks is not None:
            start, stop = np.searchsorted(self._ticks.ms, (begin, end))
            return _tick_block(_cut(self._ticks, int(start), int(stop)), self.spec)
        start, stop = (int(i) for i in np.searchsorted(self.base.ms, (begin, end)))
        rule = SpreadRule(
            typical_points=self.spec.typical_spread_points,
            wide_factor=self.spec.wide_spread_factor,
            wide=self._wide_minutes(start, stop),
        )
        return draw_block(self.base.slice(start, stop), self.minutes, self._salt, rule)

    def _wide_minutes(self, start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Tell which minutes of the bars have a wide spread: around the server's midnight, and after a reopening."""
        ms = self.base.ms[start:stop]
        within = np.arange(self.minutes, dtype=np.int64)[None, :]
        minute = (self._clock.to_server_many(ms)[:, None] // MINUTE_MS + within) % 1440
        rollover = (minute >= 1440 - ROLLOVER_BEFORE_MINUTES) | (minute < ROLLOVER_AFTER_MINUTES)
        opened_ms = np.where(self._reopens, self.base.ms, 0)
        since = ms - np.maximum.accumulate(opened_ms)[start:stop]
        return rollover | (since[:, None] // MINUTE_MS + within < REOPEN_WIDE_MINUTES)


def bars_in_points(recording: BarRecording, spec: SymbolSpec) -> Bars:
    """Put recorded bars on the symbol's grid; an unknown spread becomes the typical, an unknown volume our ticks."""
    ticks = recording.minutes * TICKS_PER_MINUTE
    return Bars(
        ms=recording.ms,
        open=_points(recording.open, spec),
        high=_points(recording.high, spec),
        low=_points(recording.low, spec),
        close=_points(recording.close, spec),
        volume=np.where(recording.volume < 0, ticks, recording.volume),
        spread_points=np.where(recording.spread_points > 0, recording.spread_points, spec.typical_spread_points),
    )


def _points(prices: Floats, spec: SymbolSpec) -> Int64s:
    return np.rint(prices * spec.scale).astype(np.int64)


def _cut(ticks: TickRecording, start: int, stop: int) -> TickRecording:
    return TickRecording(ms=ticks.ms[start:stop], bid=ticks.bid[start:stop], ask=ticks.ask[start:stop])


def _tick_block(ticks: TickRecording, spec: SymbolSpec) -> TickBlock:
    """Make a block of recorded ticks, with the minutes that they make on the bid side."""
    bid = _points(ticks.bid, spec)
    ask = np.maximum(_points(ticks.ask, spec), bid)
    starts, first = np.unique(ticks.ms // MINUTE_MS, return_index=True)
    counts = np.diff(np.append(first, len(bid)))
    made = Bars(
        ms=starts * MINUTE_MS,
        open=bid[first],
        high=np.maximum.reduceat(bid, first),
        low=np.minimum.reduceat(bid, first),
        close=bid[first + counts - 1],
        volume=counts.astype(np.int64),
        spread_points=np.minimum.reduceat(ask - bid, first),
    )
    return TickBlock(ms=ticks.ms, bid=bid, ask=ask, minutes=made, first=first.astype(np.int64))
