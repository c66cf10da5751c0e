"""Callers who ask together are answered together: one piece of work for all that waited while the last one ran."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from dtms.domain.errors import InvariantBroken

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
LINGER_S = 0.002


@dataclass(slots=True)
class _Caller(Generic[Asked, Answered]):
    asked: Asked
    answer: asyncio.Future[Answered]


class Together(Generic[Asked, Answered]):
    """Hands batches to ``work``, one at a time, and each caller his part of what it returns."""

    def __init__(self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Answered]]]) -> None:
        self._do = work
        self._waiting: list[_Caller[Asked, Answered]] = []
        self._worker: asyncio.Task[None] | None = None
        self._awaited = 0
        self._enough = asyncio.Event()

    async def ask(self, asked: Asked) -> Answered:
        """Return the answer to one caller; whatever the work raises, everybody who waited for it hears."""
        caller: _Caller[Asked, Answered] = _Caller(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(caller)
        if len(self._waiting) >= self._awaited:
            self._enough.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await caller.answer

    async def _work(self) -> None:
        together = 0
        while self._waiting:
            await self._linger(together)
            batch, self._waiting = self._waiting, []
            await self._settle(batch)
            together = len(batch) + len(self._waiting)

    async def _linger(self, together: int) -> None:
        """Wait a moment for those who asked together before, so that they share the work again.

        Without it, callers who wait for their answers fall into two halves that take turns. One caller never waits.
        """
        if len(self._waiting) >= together:
            return
        self._awaited = together
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._enough.wait()
        self._awaited = 0

    async def _settle(self, batch: Sequence[_Caller[Asked, Answered]]) -> None:
        (found,) = await asyncio.gather(self._all([c.asked for c in batch]), return_exceptions=True)
        answers: Sequence[Answered] = () if isinstance(found, BaseException) else found
        for caller, answer in zip(batch, answers, strict=False):
            if not caller.answer.done():
                caller.answer.set_result(answer)
        error = found if isinstance(found, BaseException) else InvariantBroken("somebody was left without an answer")
        for caller in batch:
            if not caller.answer.done():
                caller.answer.set_exception(error)

    async def _all(self, asked: Sequence[Asked]) -> Sequence[Answered]:
        return await self._do(asked)
