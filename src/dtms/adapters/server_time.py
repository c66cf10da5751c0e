"""The trade server's clock: what to subtract from its times to have UTC, measured from fresh ticks, in half hours.

Servers mostly run on New York time + 7 hours, that is UTC+2 or +3 with the summer time of the United States. When the
measured offset agrees with that, it is used for past times as well, so that a bar of last winter is not read with the
summer's offset; any other offset is taken as fixed until the next measurement differs.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np

from dtms.domain.market import Ints

HOUR_MS = 3_600_000
QUANTUM_MS = HOUR_MS // 2
_STANDARD_MS = 2 * HOUR_MS  # of New York time + 7 h outside summer time
_FRESH_MS = 60_000
_RESIDUAL_MS_MAX = 120_000
_OFFSETS_MS = range(-12 * HOUR_MS, 14 * HOUR_MS + 1)


@lru_cache(maxsize=256)
def us_summer_ms(year: int) -> tuple[int, int]:
    """Return the start and end of the United States' summer time in UTC ms: 2:00 on a Sunday in March and November."""
    return _nth_sunday_ms(year, 3, 2, hour=7), _nth_sunday_ms(year, 11, 1, hour=6)


def _nth_sunday_ms(year: int, month: int, nth: int, *, hour: int) -> int:
    first = date(year, month, 1)
    day = first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp()) * 1000


def is_us_summer(utc_ms: int) -> bool:
    """Tell whether the United States have summer time."""
    year = 1970 + int(utc_ms // 31_556_952_000)
    start, end = us_summer_ms(year)
    return start <= utc_ms < end


def _are_us_summer(utc_ms: Ints) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros(utc_ms.shape, dtype=np.bool_)
    if len(utc_ms):
        for year in range(1970 + int(utc_ms.min() // 31_556_952_000), 1971 + int(utc_ms.max() // 31_556_952_000)):
            start, end = us_summer_ms(year)
            mask |= (utc_ms >= start) & (utc_ms < end)
    return mask


class ServerTime:
    """Convert between server time and UTC, both in milliseconds; learns the offset from ticks as they come."""

    def __init__(self) -> None:
        self.is_measured = False
        self.residual_s = 0.0
        """Seconds between the newest fresh tick and the market clock; large when the machine's clock is wrong."""
        self._base_ms = _STANDARD_MS
        self._has_summer = True
        self._newest_ms = 0
        self._looked_ms = 0
        self._candidate_ms: int | None = None

    def offset_ms(self, utc_ms: int) -> int:
        """Return server time minus UTC at a moment."""
        return self._base_ms + (HOUR_MS if self._has_summer and is_us_summer(utc_ms) else 0)

    def to_server(self, utc_ms: int) -> int:
        return utc_ms + self.offset_ms(utc_ms)

    def to_utc(self, server_ms: int, now_ms: int | None = None) -> int:
        """Convert one time; in the hour that autumn repeats, the first of the two is meant.

        With ``now_ms`` (UTC) given, the later one is meant as soon as it has come.
        """
        winter = server_ms - self._base_ms
        if not (self._has_summer and is_us_summer(winter - HOUR_MS)):
            return winter
        is_repeated = not is_us_summer(winter)
        has_come = now_ms is not None and winter <= now_ms + _RESIDUAL_MS_MAX
        return winter if is_repeated and has_come else winter - HOUR_MS

    def to_utc_array(self, server_ms: Ints) -> Ints:
        winter = server_ms - self._base_ms
        if not self._has_summer:
            return winter
        return np.where(_are_us_summer(winter - HOUR_MS), winter - HOUR_MS, winter)

    def observe(self, newest_ms: int, utc_ms: int) -> None:
        """Learn from the newest tick seen, in server time, at ``utc_ms``.

        A tick is fresh when it is newer than the one seen at a look less than a minute ago: only then does its time
        tell the server's clock.
        """
        is_fresh = 0 < self._newest_ms < newest_ms and utc_ms - self._looked_ms <= _FRESH_MS
        self._newest_ms, self._looked_ms = max(newest_ms, self._newest_ms), utc_ms
        if is_fresh:
            self._measure(newest_ms - utc_ms, utc_ms)

    def assume(self, utc_ms: int) -> None:
        """Settle for the likeliest offset while no fresh tick is to be had; the next fresh one corrects it."""
        difference = self._newest_ms - utc_ms
        offset = _quantised(difference)
        if not _is_weekend(utc_ms) and abs(difference - offset) <= _FRESH_MS and offset in _OFFSETS_MS:
            self._adopt(offset, utc_ms)

    def _measure(self, difference_ms: int, utc_ms: int) -> None:
        offset = _quantised(difference_ms)
        self.residual_s = (difference_ms - offset) / 1000
        if abs(difference_ms - offset) > _RESIDUAL_MS_MAX or offset not in _OFFSETS_MS:
            return
        if self.is_measured and offset not in (self.offset_ms(utc_ms), self._candidate_ms):
            self._candidate_ms = offset  # a change must be seen twice
            return
        self._candidate_ms = None
        self.is_measured = True
        if offset != self.offset_ms(utc_ms):
            self._adopt(offset, utc_ms)

    def _adopt(self, offset_ms: int, utc_ms: int) -> None:
        summer = HOUR_MS if is_us_summer(utc_ms) else 0
        self._has_summer = offset_ms - summer == _STANDARD_MS
        self._base_ms = _STANDARD_MS if self._has_summer else offset_ms


def _quantised(difference_ms: int) -> int:
    return (difference_ms + QUANTUM_MS // 2) // QUANTUM_MS * QUANTUM_MS


def _is_weekend(utc_ms: int) -> bool:
    """Tell whether currency markets are surely closed: Friday 22:00 to Sunday 21:00 UTC."""
    hour = (utc_ms // HOUR_MS - 4 * 24) % 168  # the epoch was a Thursday, so this counts from Monday 0:00
    return 4 * 24 + 22 <= hour < 6 * 24 + 21
