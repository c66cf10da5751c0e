"""The clocks: the machine's, the one that a simulated terminal keeps, and the one of a loop with virtual time.

Market time is UTC in milliseconds. It is carried by a monotonic clock, so a jump of the machine's wall clock moves
nothing, and it never steps back.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from dtms.adapters.links import Link
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown

Monotonic = Callable[[], float]
_STEP_POLL_S = 0.01


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SystemClock:
    """Market time is UTC as read once at the start, carried by the monotonic clock."""

    def __init__(self, *, wall_ms: Callable[[], int] = _wall_ms, monotonic: Monotonic = time.monotonic) -> None:
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._start_ms = wall_ms()
        self._start_s = monotonic()

    def market_ms(self) -> int:
        return self._start_ms + int((self._monotonic() - self._start_s) * 1000)

    def machine_s(self) -> float:
        return self._monotonic()

    def wall_ms(self) -> int:
        return self._wall_ms()

    async def sleep_market(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_machine(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TerminalClock:
    """Market time is what the gateway's terminal says, carried by the monotonic clock times its rate (0 when stepped).

    ``synchronise`` must have succeeded once before ``market_ms`` is asked. It is repeated at a sleep when the last one
    is older than ``resync_s``; a reading that lies behind holds market time still until it has caught up.
    """

    def __init__(
        self,
        link: Link,
        *,
        resync_s: float = 5.0,
        wall_ms: Callable[[], int] = _wall_ms,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._link = link
        self._resync_s = resync_s
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._anchor: tuple[int, float] | None = None
        self._latest_ms = 0
        self.rate = 1.0
        self.is_simulated = False

    async def synchronise(self) -> None:
        """Read the terminal's clock.

        Raises:
            BrokerUnavailable: when the gateway gives none.
        """
        before = self._monotonic()
        try:
            answer = await self._link.call({"call": "clock"})
        except OutcomeUnknown as lost:
            raise BrokerUnavailable(str(lost)) from lost
        value = answer.get("value")
        if value is None:
            raise BrokerUnavailable(f"no clock from the gateway: {answer.get('message')}")
        after = self._monotonic()
        self.rate, self.is_simulated = float(value["rate"]), bool(value["simulated"])
        self._anchor = int(value["utc_ms"]), (before + after) / 2

    def market_ms(self) -> int:
        if self._anchor is None:
            raise BrokerUnavailable("market time was never read from the terminal")
        at_ms, at_s = self._anchor
        self._latest_ms = max(self._latest_ms, at_ms + int((self._monotonic() - at_s) * 1000 * self.rate))
        return self._latest_ms

    def machine_s(self) -> float:
        return self._monotonic()

    def wall_ms(self) -> int:
        return self._wall_ms()

    async def sleep_market(self, seconds: float) -> None:
        await self._resync_when_due()
        if self.rate > 0:
            await asyncio.sleep(seconds / self.rate)
            return
        until_ms = self.market_ms() + round(seconds * 1000)
        while self.market_ms() < until_ms:
            await asyncio.sleep(_STEP_POLL_S)
            await self.synchronise()

    async def sleep_machine(self, seconds: float) -> None:
        await self._resync_when_due()
        await asyncio.sleep(seconds)

    async def _resync_when_due(self) -> None:
        if self._anchor is not None and self._monotonic() - self._anchor[1] >= self._resync_s:
            try:
                await self.synchronise()
            except BrokerUnavailable:
                # Market time goes on without the gateway; the next sleep asks again.
                self._anchor = self.market_ms(), self._monotonic()


class Simulation(Protocol):
    """What a simulated terminal tells of its own time."""

    @property
    def rate(self) -> float: ...

    def utc_ms(self) -> int: ...


class SimulationClock:
    """Market time is read directly from a simulated terminal in this process."""

    def __init__(self, simulation: Simulation, *, monotonic: Monotonic = time.monotonic) -> None:
        self._simulation = simulation
        self._monotonic = monotonic
        self._latest_ms = 0

    def market_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self._simulation.utc_ms())
        return self._latest_ms

    def machine_s(self) -> float:
        return self._monotonic()

    def wall_ms(self) -> int:
        return _wall_ms()

    async def sleep_market(self, seconds: float) -> None:
        if self._simulation.rate > 0:
            await asyncio.sleep(seconds / self._simulation.rate)
            return
        until_ms = self.market_ms() + round(seconds * 1000)
        while self.market_ms() < until_ms:  # somebody steps this clock
            await self.sleep_machine(_STEP_POLL_S)

    async def sleep_machine(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LoopClock:
    """All three times are those of the running loop, from ``start_ms`` on: with a virtual loop, weeks pass in seconds.

    Made inside the loop, or given it. It serves a simulated terminal as its clock too (``now_ms`` and ``rate``), so
    that both see one time.
    """

    rate = 1.0

    def __init__(self, start_ms: int, loop: asyncio.AbstractEventLoop | None = None, *, machine_s: float = 0.0) -> None:
        """Begin at a market time, and at ``machine_s`` of a machine that runs on when the loop before it ended."""
        self._start_ms = start_ms
        self._loop = loop or asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._machine_s = machine_s

    def machine_s(self) -> float:
        return self._machine_s + self._loop.time() - self._start_s

    def market_ms(self) -> int:
        return self._start_ms + round((self._loop.time() - self._start_s) * 1000)

    def now_ms(self) -> int:
        return self.market_ms()

    def wall_ms(self) -> int:
        return self.market_ms()

    async def sleep_market(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_machine(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
