"""Market time is carried by the monotonic clock and never steps back; virtual time passes without waiting."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.virtual_time import Deadlock, LoopClock, VirtualLoop, run_virtual

from dtms.adapters.clocks import SimulationClock, SystemClock, TerminalClock
from dtms.adapters.links import Answer
from dtms.domain.errors import BrokerUnavailable
from dtms.ports.clock import Clock

START_MS = 1_507_021_200_000


class Hands:
    """Wall and monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.wall = START_MS
        self.mono = 50.0

    def wall_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def pass_time(self, seconds: float) -> None:
        self.wall += round(seconds * 1000)
        self.mono += seconds


class ClockLink:
    """A gateway that knows nothing but the time."""

    def __init__(self, hands: Hands, rate: float) -> None:
        self._hands = hands
        self._began_s = hands.mono
        self.rate = rate
        self.skew_ms = 0
        self.is_away = False

    async def call(self, request: Mapping[str, Any]) -> Answer:
        if self.is_away:
            raise BrokerUnavailable("away")
        assert request["call"] == "clock"
        utc_ms = START_MS + self.skew_ms + round((self._hands.mono - self._began_s) * 1000 * self.rate)
        return {"value": {"simulated": True, "utc_ms": utc_ms, "rate": self.rate}}


def test_a_jump_of_the_wall_clock_moves_no_market_time() -> None:
    hands = Hands()
    clock: Clock = SystemClock(wall_ms=hands.wall_ms, monotonic=hands.monotonic)
    hands.pass_time(60)
    hands.wall += 86_400_000
    assert clock.market_ms() == START_MS + 60_000
    hands.wall -= 2 * 86_400_000
    assert clock.market_ms() == START_MS + 60_000
    assert clock.wall_ms() == hands.wall


def test_the_terminals_time_runs_at_its_rate_and_without_asking() -> None:
    hands = Hands()
    link = ClockLink(hands, rate=60)
    clock = TerminalClock(link, wall_ms=hands.wall_ms, monotonic=hands.monotonic)
    with pytest.raises(BrokerUnavailable):
        clock.market_ms()
    asyncio.run(clock.synchronise())
    link.is_away = True
    hands.pass_time(2)
    assert clock.market_ms() == START_MS + 120_000
    assert (clock.rate, clock.is_simulated) == (60, True)


def test_a_reading_that_lies_behind_holds_market_time_until_it_has_caught_up() -> None:
    hands = Hands()
    link = ClockLink(hands, rate=1)
    clock = TerminalClock(link, wall_ms=hands.wall_ms, monotonic=hands.monotonic)
    asyncio.run(clock.synchronise())
    hands.pass_time(10)
    assert clock.market_ms() == START_MS + 10_000
    link.skew_ms = -4000
    asyncio.run(clock.synchronise())
    assert clock.market_ms() == START_MS + 10_000
    hands.pass_time(5)
    assert clock.market_ms() == START_MS + 11_000


def test_sleeping_reads_the_terminals_clock_anew_and_outlives_its_absence() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        hands = Hands()
        link = ClockLink(hands, rate=60)
        clock = TerminalClock(link, resync_s=5, monotonic=lambda: hands.mono + loop.time())
        await clock.synchronise()
        link.skew_ms = 7000
        began_s = loop.time()
        await clock.sleep_market(360)
        assert loop.time() - began_s == pytest.approx(6)
        before = clock.market_ms()
        hands.mono += loop.time() - began_s  # the terminal's clock went on as well
        await clock.sleep_machine(0)
        assert clock.market_ms() > before
        link.is_away = True
        await clock.sleep_machine(10)
        await clock.sleep_machine(10)
        assert clock.market_ms() >= before + 20 * 60_000

    run_virtual(story())


def test_a_simulation_in_this_process_is_read_directly() -> None:
    class Stepped:
        rate = 0.0
        now = START_MS

        def utc_ms(self) -> int:
            self.now += 10_000
            return self.now

    clock: Clock = SimulationClock(Stepped())
    first = clock.market_ms()
    asyncio.run(clock.sleep_market(60))
    assert clock.market_ms() >= first + 60_000


class TestVirtualLoop:
    def test_weeks_pass_in_an_instant_and_to_the_millisecond(self) -> None:
        async def story() -> int:
            clock: Clock = LoopClock(START_MS)
            for _ in range(4 * 7 * 24 * 60):
                await clock.sleep_market(60)
            return clock.market_ms() - START_MS

        began = time.perf_counter()
        assert run_virtual(story()) == 4 * 7 * 86_400_000
        assert time.perf_counter() - began < 20

    def test_tasks_wake_in_the_order_of_their_timers(self) -> None:
        async def story() -> list[str]:
            woken: list[str] = []

            async def sleeper(name: str, seconds: float) -> None:
                await asyncio.sleep(seconds)
                woken.append(name)

            await asyncio.gather(sleeper("late", 3000.002), sleeper("early", 0.001), sleeper("middle", 3000.001))
            return woken

        assert run_virtual(story()) == ["early", "middle", "late"]

    def test_timeouts_are_virtual_too(self) -> None:
        async def story() -> float:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 3600)
            return asyncio.get_running_loop().time()

        assert run_virtual(story()) == pytest.approx(3600)

    def test_waiting_for_what_cannot_come_is_a_deadlock(self) -> None:
        async def story() -> None:
            await asyncio.Event().wait()

        with pytest.raises(Deadlock):
            run_virtual(story())

    def test_virtual_time_stands_still_while_a_thread_works(self) -> None:
        async def story() -> tuple[str, float]:
            watchdog = asyncio.ensure_future(asyncio.sleep(0.001))
            done = await asyncio.to_thread(lambda: time.sleep(0.05) or "done")  # type: ignore[func-returns-value]
            at_s = asyncio.get_running_loop().time()
            await watchdog
            return done, at_s

        assert run_virtual(story()) == ("done", 0.0)

    def test_announced_outside_work_may_wake_the_loop(self) -> None:
        import threading

        async def story() -> float:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            woken = asyncio.Event()
            with loop.outside_work():
                threading.Timer(0.05, lambda: loop.call_soon_threadsafe(woken.set)).start()
                await asyncio.wait_for(woken.wait(), 100)
            return loop.time()

        assert run_virtual(story()) == 0.0
