"""The trade server's wall clock, which the terminal labels as if it were UTC.

Two kinds: a fixed number of hours from UTC, and the usual "New York + 7 hours" whose midnight is 17:00 in New York,
with the United States' changes of summer time (second Sunday of March and first Sunday of November, 02:00 local;
the rule since 2007, applied to all years). Own rule, because Windows has no time zone database of its own.
"""

import bisect
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FIRST_YEAR, LAST_YEAR = 1990, 2060
Int64s = NDArray[np.int64]


def _sunday(year: int, month: int, nth: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


def _new_york_changes() -> tuple[list[int], list[int]]:
    """Give the UTC milliseconds at which New York + 7 changes, and the hours that hold from then on."""
    moments, hours = [0], [2]
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        spring = _sunday(year, 3, 2) + timedelta(hours=7)
        autumn = _sunday(year, 11, 1) + timedelta(hours=6)
        moments += [int(spring.timestamp() * 1000), int(autumn.timestamp() * 1000)]
        hours += [3, 2]
    return moments, hours


class ServerClock:
    """Convert between UTC and server time, both in milliseconds."""

    def __init__(self, zone: str) -> None:
        """Read `utc`, `utc+N`, `utc-N` (whole hours) or `new_york+7`; ValueError for anything else."""
        if zone == "new_york+7":
            self._moments, self._hours = _new_york_changes()
        else:
            self._moments, self._hours = [0], [_fixed_hours(zone)]
        self._moments_ms = np.array(self._moments, dtype=np.int64)
        self._offsets_ms = np.array(self._hours, dtype=np.int64) * HOUR_MS

    def offset_ms(self, utc_ms: int) -> int:
        """Give server time minus UTC at a UTC moment."""
        return self._hours[max(0, bisect.bisect_right(self._moments, utc_ms) - 1)] * HOUR_MS

    def to_server(self, utc_ms: int) -> int:
        """Give the server time of a UTC moment."""
        return utc_ms + self.offset_ms(utc_ms)

    def to_utc(self, server_ms: int) -> int:
        """Give the UTC moment of a server time; in the hour that occurs twice, the later one."""
        guess = server_ms - self.offset_ms(server_ms)
        return server_ms - self.offset_ms(guess)

    def to_server_many(self, utc_ms: Int64s) -> Int64s:
        """Give the server times of many UTC moments."""
        at = np.maximum(np.searchsorted(self._moments_ms, utc_ms, side="right") - 1, 0)
        return np.asarray(utc_ms + self._offsets_ms[at], dtype=np.int64)

    def next_midnight_utc(self, utc_ms: int) -> int:
        """Give the UTC moment of the first server midnight after a UTC moment."""
        server_day = self.to_server(utc_ms) // DAY_MS + 1
        return self.to_utc(server_day * DAY_MS)


def _fixed_hours(zone: str) -> int:
    if zone == "utc":
        return 0
    sign, hours = zone[3:4], zone[4:]
    if not zone.startswith("utc") or sign not in ("+", "-") or not hours.isdigit() or int(hours) > 14:
        raise ValueError(f"unknown server clock {zone!r}: use utc, utc+2 or new_york+7")
    return int(hours) if sign == "+" else -int(hours)
