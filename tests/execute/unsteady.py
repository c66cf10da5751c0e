"""A simulated terminal whose answers to ``order_send`` a test may lose, replace or delay, and a stage around it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.adapters_mt5.faulty import Answering
from tests.replay.windows import Played, Window, collected, config_of, registered, settings_of

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import run_virtual
from dtms.replay import Stage, stage
from dtms.settings import Settings
from dtms.terminal.simulated.api import SimulatedTerminal

LOST = -10005
"""The error code of an answer that did not come in time."""
Request = Mapping[str, Any]
Send = Callable[[Request], Any]


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: None, and an error code in the one slot."""

    code: int = LOST


Spoil = Callable[[Request, Send], Any]
"""Given a request and the way to send it, return what the caller sees: an answer, or ``Lost``."""


class Unsteady:
    """Pass everything on to a terminal, but let ``spoil`` answer its trade requests."""

    def __init__(self, terminal: SimulatedTerminal) -> None:
        self._terminal = terminal
        self._error: tuple[int, str] | None = None
        self.spoil: Spoil | None = None
        self.quote: Callable[[Any], Any] | None = None
        """Changes every quote that is asked for."""
        self.sent: list[Request] = []
        self.withholds = False
        """Whether the history cannot be read: None, and an error code."""

    def last_error(self) -> tuple[int, str]:
        return self._error or self._terminal.last_error()

    def order_send(self, request: Request) -> Any:
        self.sent.append(dict(request))
        self._error = None
        answer = self._terminal.order_send(request) if self.spoil is None else self.spoil(request, self._pass)
        if isinstance(answer, Lost):
            self._error = (answer.code, "made to fail")
            return None
        return answer

    def symbol_info_tick(self, symbol: str) -> Any:
        tick = self._terminal.symbol_info_tick(symbol)
        return tick if tick is None or self.quote is None else self.quote(tick)

    def _pass(self, request: Request) -> Any:
        return self._terminal.order_send(request)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._terminal, name)
        if not callable(found) or name == "simulation":
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._error = None
            if self.withholds and name == "history_orders_get":
                self._error = (-1, "made to fail")
                return None
            return found(*arguments, **named)

        return call


def letter_of(request: Request) -> str:
    """Return the letter that a request's comment has for its kind; ``S`` for a move of levels."""
    comment = str(request.get("comment") or "")
    return comment[1] if comment[:1] == "D" else "S"


@dataclass(slots=True)
class Spoiling:
    """Answer the first ``times`` requests of a kind otherwise: executed or not, with a code or with nothing."""

    letter: str
    retcode: int | None = None
    """None loses the answer."""
    executes: bool = False
    times: int = 1
    spoiled: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, send: Send) -> Any:
        if letter_of(request) != self.letter or len(self.spoiled) >= self.times:
            return send(request)
        self.spoiled.append(request)
        if self.executes:
            send(request)
        return Lost() if self.retcode is None else Answering(self.retcode)


@dataclass(slots=True)
class Scene:
    """A window played on an unsteady terminal."""

    on: Stage
    terminal: Unsteady
    ticket: int

    async def trade(self) -> Any:
        return await self.on.store.trade(self.ticket)


def set_up(window: Window, settings: Settings | None = None, **known: Any) -> tuple[Stage, Unsteady]:
    """Build a stage on the running virtual loop around an unsteady terminal."""
    changes = known.pop("changes", {})
    config = config_of(window, **changes)
    terminal = Unsteady(SimulatedTerminal(config, LoopClock(config.start_ms)))
    made: Any = terminal
    return stage(config, settings=settings or settings_of(window), terminal=made, **known), terminal


def play(
    window: Window,
    spoil: Spoil | None = None,
    *,
    hours: float | None = None,
    settings: Settings | None = None,
    during: Callable[[Scene], Awaitable[None]] | None = None,
    changes: Mapping[str, Any] | None = None,
    **known: Any,
) -> tuple[Played, Scene]:
    """Play a window with spoiled answers; ``during`` runs after the registration and may let time pass itself."""

    async def main() -> tuple[Played, Scene]:
        on, terminal = set_up(window, settings, changes=dict(changes or {}), **known)
        await on.engine.start()
        ticket = await registered(on)
        scene = Scene(on, terminal, ticket)
        terminal.spoil = spoil
        if during is not None:
            await during(scene)
        await on.play((window.hours if hours is None else hours) * 60)
        result = await collected(window, on, ticket)
        await on.engine.stop()
        return result, scene

    return run_virtual(main())
