"""Clocks of the simulation: they say which moment of the recorded market is now, in UTC milliseconds."""

from collections.abc import Callable
from typing import Protocol


class SimClock(Protocol):
    """Say the simulated UTC time."""

    @property
    def rate(self) -> float:
        """Simulated seconds that pass in one real second; 0 when only steps move it."""

    def now_ms(self) -> int:
        """Give the simulated UTC time in milliseconds."""


class SteppedClock:
    """A clock that stands still until it is advanced."""

    rate = 0.0

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """Give the simulated UTC time in milliseconds."""
        return self._now_ms

    def advance_to(self, ms: int) -> None:
        """Move to a later moment; a market cannot run backwards (ValueError)."""
        if ms < self._now_ms:
            raise ValueError(f"simulated time cannot go back from {self._now_ms} to {ms}")
        self._now_ms = ms

    def advance(self, seconds: float) -> None:
        """Move on by seconds."""
        self.advance_to(self._now_ms + round(seconds * 1000))


class AcceleratedClock:
    """A clock that runs `rate` times as fast as the monotonic clock it is given (in seconds)."""

    def __init__(self, start_ms: int, rate: float, monotonic: Callable[[], float]) -> None:
        if rate <= 0:
            raise ValueError(f"rate must be above 0, not {rate}")
        self.rate = rate
        self._start_ms = start_ms
        self._monotonic = monotonic
        self._began_s = monotonic()

    def now_ms(self) -> int:
        """Give the simulated UTC time in milliseconds."""
        return self._start_ms + int((self._monotonic() - self._began_s) * 1000 * self.rate)
