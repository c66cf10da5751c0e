"""The one writer, and group commit: what arrives while one commit is being synced goes into the next."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from dtms.adapters.store_sql.writer import Committer, Outcome, Transaction, Work, failed
from dtms.domain.errors import StoreFailed

T = TypeVar("T")

BATCH_MAX = 1024


class Writer(Protocol):
    """Where works are handed in."""

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        """Return the work's value once it is durable, or raise why it is not."""
        ...

    async def stop(self) -> None: ...


class InlineWriter:
    """Commit each work within the call: no thread, the same order every time."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        outcome = self._committer.apply((work,))[0]
        if outcome.error is not None:
            raise outcome.error
        return cast(T, outcome.value)

    async def stop(self) -> None:
        self._committer.close()


@dataclass(frozen=True, slots=True)
class _Waiting:
    work: Work
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


class ThreadWriter:
    """Commit what waits, in one thread, and answer on the loops that asked."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._queue: deque[_Waiting] = deque()
        self._taken: list[_Waiting] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[Transaction], T]) -> T:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(work, loop, loop.create_future())
        with self._wake:
            if self._stopping:
                raise StoreFailed("the store is closed")
            self._queue.append(waiting)
            self._wake.notify()
        return cast(T, await waiting.future)

    async def stop(self) -> None:
        """Commit what waits, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        try:
            while self._wait():
                self._turn()
        finally:
            # Reached early only by a defect: whoever waits must hear of it instead of waiting for ever.
            with self._wake:
                self._stopping = True
            self._answer_all(StoreFailed("the store's writer has ended"))
            self._committer.close()

    def _wait(self) -> bool:
        """Wait for work; False once stopped and nothing is left."""
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            return bool(self._queue)

    def _turn(self) -> None:
        outcomes = self._committer.apply(self._take(), self._take)
        if isinstance(outcomes[0].error, StoreFailed):
            self._answer_all(outcomes[0].error)
            return
        taken, self._taken = self._taken, []
        _answer(taken, outcomes)

    def _take(self) -> list[Work]:
        queue, taken = self._queue, self._taken
        works: list[Work] = []
        while queue and len(taken) < BATCH_MAX:
            taken.append(queue.popleft())
            works.append(taken[-1].work)
        return works

    def _answer_all(self, error: StoreFailed) -> None:
        """Fail all that is taken or waits: after a store error nothing is acknowledged."""
        with self._wake:
            waiting = [*self._taken, *self._queue]
            self._taken = []
            self._queue.clear()
        _answer(waiting, failed(error, len(waiting)))


def _answer(waiting: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
    """Resolve the futures, with one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for each, outcome in zip(waiting, outcomes, strict=True):
        by_loop.setdefault(each.loop, []).append((each.future, outcome))
    for loop, answers in by_loop.items():
        # A loop that has closed meanwhile says so with RuntimeError: nobody is left to hear the answer.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: Sequence[tuple["asyncio.Future[Any]", Outcome]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)
