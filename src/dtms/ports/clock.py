"""Time, as everything but the adapters sees it."""

from typing import Protocol


class Clock(Protocol):
    """Market time drives decisions; machine time drives leases, retries and HTTP."""

    def market_ms(self) -> int:
        """Return market time, UTC milliseconds; never steps back, goes on when ticks stop."""
        ...

    def machine_s(self) -> float:
        """Return monotonic seconds of this machine."""
        ...

    def wall_ms(self) -> int:
        """Return the machine's UTC time in milliseconds, for display and records alone."""
        ...

    async def sleep_market(self, seconds: float) -> None:
        """Sleep for a span of market time."""
        ...

    async def sleep_machine(self, seconds: float) -> None:
        """Sleep for a span of machine time."""
        ...
