"""An event loop whose time is virtual: it jumps to the next timer instead of waiting, so runs are repeatable."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_OUTSIDE_S = 10.0


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set, and no work outside the loop can wake it."""


class _VirtualSelector(selectors.BaseSelector):
    """Wait in virtual time: with nothing to read, the time asked for has simply passed."""

    def __init__(self, pass_time: Callable[[float], None], has_outside_work: Callable[[], bool]) -> None:
        self._real = selectors.DefaultSelector()
        self._pass_time = pass_time
        self._has_outside_work = has_outside_work

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._has_outside_work():  # a thread works for the loop: virtual time stands still until it is done
            return self._outside()
        if timeout is None:
            raise Deadlock("every task waits, and nothing is left that could wake one")
        self._pass_time(timeout)
        return []

    def _outside(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(_OUTSIDE_S)
        if not ready:
            raise Deadlock(f"work outside the loop took more than {_OUTSIDE_S:g} s")
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that starts at time 0 and never waits for a timer.

    Work that it gives to threads through ``run_in_executor`` is waited for in real time, while virtual time stands
    still; other threads that wake the loop must be announced with ``outside_work``.
    """

    def __init__(self) -> None:
        self._virtual_s = 0.0
        self._outside = 0
        super().__init__(_VirtualSelector(self._pass_time, lambda: self._outside > 0))
        # Floats of months in seconds are coarser than the machine clock's resolution, which would make a timer due
        # a hair after the time that was passed for it.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual_s

    def _pass_time(self, seconds: float) -> None:
        self._virtual_s += seconds

    @contextmanager
    def outside_work(self) -> Iterator[None]:
        """Hold virtual time still while a thread that will wake the loop is at work."""
        self._outside += 1
        try:
            yield
        finally:
            self._outside -= 1

    def run_in_executor(  # type: ignore[override]  # typeshed's form depends on a later Python's type variables
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        future: asyncio.Future[_T] = super().run_in_executor(executor, func, *args)
        self._outside += 1
        future.add_done_callback(self._executed)
        return future

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        with self.outside_work():  # the executor is joined by a thread of its own
            await super().shutdown_default_executor(*timeout)

    def _executed(self, _: asyncio.Future[Any]) -> None:
        self._outside -= 1


def run_virtual(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end on a fresh virtual loop.

    Raises:
        Deadlock: when every task waits for what can never come.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
