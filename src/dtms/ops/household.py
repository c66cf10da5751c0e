"""The programs of one installation: started in order, each ready before the next, restarted when they die.

Whoever is ready late is waited for; whoever dies is started again, with pauses that grow while it keeps dying. A
program that cannot work as it is configured (exit code 2) ends them all, with its own words.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape

from dtms.ops.processes import Child, start, stop

LOOK_S = 0.25
MISCONFIGURED = 2
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0
"""A program that ran for so long did not keep dying."""

IsReady = Callable[[], Awaitable[str | None]]
"""Answers None when the program is ready, else what it waits for."""
Hear = Callable[[str, str], None]


class Ended(Exception):
    """The programs cannot go on; the message says why, with the last lines of the one that ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: what is started, and how one sees that it is ready."""

    name: str
    arguments: Sequence[str]
    is_ready: IsReady
    ready_s: float = 60.0
    """How long its readiness is waited for before somebody is told."""


@dataclass(slots=True, eq=False)
class _Running:
    program: Program
    child: Child
    since_s: float
    deaths: int = 0
    restart_at_s: float | None = None
    lines: list[str] = field(default_factory=list)


class Household:
    """Keeps programs running."""

    def __init__(
        self, programs: Sequence[Program], *, environ: Mapping[str, str], hear: Hear, console: Console
    ) -> None:
        self._programs = programs
        self._environ = environ
        self._hear = hear
        self._console = console
        self._running: list[_Running] = []

    async def start(self, stopping: asyncio.Event) -> None:
        """Start all in order, each when the one before is ready.

        Raises:
            Ended: when one cannot be started; the others run until ``stop``.
        """
        for program in self._programs:
            if stopping.is_set():
                return
            self._running.append(_Running(program, self._started(program), time.monotonic()))
            await self._wait_for(program, stopping)

    async def keep(self, stopping: asyncio.Event) -> None:
        """Restart what dies, until ``stopping`` is set.

        Raises:
            Ended: when one cannot work as it is configured.
        """
        while not stopping.is_set():
            self.look()
            try:
                await asyncio.wait_for(stopping.wait(), LOOK_S)
            except TimeoutError:
                continue

    async def stop(self) -> int:
        """Stop all, the last one first; return the worst exit code."""
        codes = [await asyncio.to_thread(stop, running.child) for running in reversed(self._running)]
        return max(codes, default=0)

    def look(self) -> None:
        """Look at every program once; start again what died a while ago.

        Raises:
            Ended: when one cannot work as it is configured.
        """
        now_s = time.monotonic()
        for running in self._running:
            if running.restart_at_s is None and running.child.has_ended:
                self._note_death(running, now_s)
            if running.restart_at_s is not None and now_s >= running.restart_at_s:
                running.child, running.since_s, running.restart_at_s = self._started(running.program), now_s, None

    def _note_death(self, running: _Running, now_s: float) -> None:
        code = running.child.process.returncode
        if code == MISCONFIGURED:
            raise _ended(running.child)
        running.deaths = 1 if now_s - running.since_s >= STEADY_S else running.deaths + 1
        pause_s = PAUSES_S[min(running.deaths, len(PAUSES_S)) - 1]
        running.restart_at_s = now_s + pause_s
        tail = escape("\n  ".join(running.child.tail))
        self._console.print(
            f"[red]{running.program.name} ended with code {code}; it is started again in {pause_s:.0f} s[/]\n  {tail}"
        )

    def _started(self, program: Program) -> Child:
        return start(program.name, program.arguments, environ=self._environ, heard=self._hear)

    async def _wait_for(self, program: Program, stopping: asyncio.Event) -> None:
        """Wait until a program is ready, telling each step; one that takes too long is told of, and waited for on."""
        before, until_s = "", time.monotonic() + program.ready_s
        while not stopping.is_set():
            self.look()
            reason = await program.is_ready()
            if reason is None:
                return
            if reason != before:
                self._console.print(f"[dim]{program.name}: {escape(reason)}[/]")
                before = reason
            if time.monotonic() >= until_s:
                self._console.print(f"[yellow]{program.name} is not ready after {program.ready_s:.0f} s: {reason}[/]")
                until_s = float("inf")
            await asyncio.sleep(LOOK_S)


def _ended(child: Child) -> Ended:
    tail = "\n  ".join(child.tail)
    return Ended(f"{child.name} ended with code {child.process.returncode}:\n  {tail}")
