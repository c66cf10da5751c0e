"""Stopwatches: a benchmark is the one place where real time is read for its own sake."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

MS = 1000.0


class CannotMeasure(Exception):
    """A benchmark could not be carried out; the message says why in one line."""


def timed(work: Callable[[], object]) -> float:
    """Do ``work`` once; seconds."""
    began = perf_counter()
    work()
    return perf_counter() - began


async def timed_async(work: Callable[[], Awaitable[object]]) -> float:
    """Await ``work`` once; seconds."""
    began = perf_counter()
    await work()
    return perf_counter() - began


async def repeated(work: Callable[[], Awaitable[object]], times: int) -> list[float]:
    """Await ``work`` several times; seconds of each."""
    return [await timed_async(work) for _ in range(times)]


@contextmanager
def settled_memory() -> Iterator[None]:
    """Leave what was built before out of the garbage collector's rounds, as in a program that has run for a while."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
