"""Clocks that jump: the trade server's, which the caller only sees, and the simulated time that a person moves on."""

from dtms.terminal.simulated.clock import SimClock, SteppedClock
from dtms.terminal.simulated.series import Series
from dtms.terminal.simulated.server_time import Int64s, ServerClock
from dtms.terminal.simulated.world import World

MINUTE_MS = 60_000


class JumpedClock(ServerClock):
    """A server's clock that shows another time after a moment; what was labelled up to then keeps it."""

    def __init__(self, before: ServerClock, at_ms: int, shift_ms: int) -> None:
        super().__init__("utc")
        self._before = before
        self._at_ms = at_ms
        self._shift_ms = shift_ms

    def offset_ms(self, utc_ms: int) -> int:
        """Give server time minus UTC at a UTC moment."""
        return self._before.offset_ms(utc_ms) + (self._shift_ms if utc_ms > self._at_ms else 0)

    def to_server_many(self, utc_ms: Int64s) -> Int64s:
        """Give the server times of many UTC moments."""
        return self._before.to_server_many(utc_ms) + (utc_ms > self._at_ms) * self._shift_ms


def jump_server_clock(world: World, at_ms: int, minutes: int) -> None:
    """Let the trade server's clock jump at a moment; bars made from then on have its new hours."""
    world.clock = JumpedClock(world.clock, at_ms, minutes * MINUTE_MS)
    world.series = {name: Series(feed, world.clock) for name, feed in world.feeds.items()}


class SkippingClock:
    """A running clock that a person can move on."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._skipped_ms = 0

    @property
    def rate(self) -> float:
        """Simulated seconds that pass in one real second."""
        return self._clock.rate

    def now_ms(self) -> int:
        """Give the simulated UTC time in milliseconds."""
        return self._clock.now_ms() + self._skipped_ms

    def skip(self, ms: int) -> None:
        """Move on."""
        self._skipped_ms += ms


def move_on(clock: SimClock, ms: int) -> None:
    """Move a simulated clock on.

    Raises:
        ValueError: for a step back, and for a clock that its owner alone moves.
    """
    if ms < 0:
        raise ValueError("simulated time cannot go back")
    match clock:
        case SteppedClock():
            clock.advance_to(clock.now_ms() + ms)
        case SkippingClock():
            clock.skip(ms)
        case _:
            raise ValueError("this simulation's clock is moved by the program that it runs in")
