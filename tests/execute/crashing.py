"""Ending an engine at its Nth write or send, wherever that is, and going on with another on the same store.

Points are counted as they come: just before and just after every commit, and just before and just after the terminal
carries a request out. The scenario is one trade on one recording, from the engine's first start to the window's end.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.execute.restarting import Lives
from tests.execute.unsteady import Request, Send
from tests.replay.judge import check_invariants
from tests.replay.windows import WARM_UP, Played, Window

from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.trade import Trade
from dtms.execute.service import Registration
from dtms.ports.store import Unit
from dtms.terminal.simulated.grid import LOT_UNITS

MINUTE_MS = 60_000
SETTLED_MIN = 10.0
"""What is open must be known after so long: the settle window, and the time after which a person is asked."""


class Crash(BaseException):
    """The process is gone; nothing in it may go on."""


@dataclass(slots=True)
class Cut:
    """Ends the process at the ``at``-th point, and keeps it ended."""

    at: int
    seen: int = 0
    what: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def point(self, what: str) -> None:
        """Pass a point, or end here.

        Raises:
            Crash: at the point, and at every one that something else of the dead process still reaches.
        """
        self.seen += 1
        if self.seen == self.at:
            self.what = what
            self.ended.set()
        if self.ended.is_set():
            raise Crash(self.what)


def arm(cut: Cut, store: SqlStore, terminal: Any) -> None:
    """Let the points of a store and a terminal be counted."""
    commit = store.commit

    async def counted(unit: Unit) -> Sequence[int]:
        what = _describe(unit)
        cut.point(f"before the commit of {what}")
        ids = await commit(unit)
        cut.point(f"after the commit of {what}")
        return ids

    def send(request: Request, through: Send) -> Any:
        what = f"{request.get('comment') or 'levels'}"
        cut.point(f"before the send of {what}")
        answer = through(request)
        cut.point(f"after the send of {what}")
        return answer

    store.commit = counted  # type: ignore[method-assign]
    terminal.spoil = send


def _describe(unit: Unit) -> str:
    parts = [f"intent {i.action.kind.value} {i.state.value}" for i in unit.intents]
    parts += [f.kind.value for f in unit.facts]
    return ", ".join(parts) or "rails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a crashed and continued scenario left."""

    played: Played
    answered: bool
    """Whether the registration had been answered before the crash."""
    cuts: tuple[str, ...]
    """Where it was ended; empty when the scenario ran through untouched."""


def crash_at(window: Window, folder: Path, *points: int) -> Ended:
    """Play a window, ending the first engine at ``points[0]``, the next at ``points[1]`` of its own life, and so on."""
    return run_virtual(_crash_at(window, folder, points))


async def _crash_at(window: Window, folder: Path, points: Sequence[int]) -> Ended:
    lives = await Lives.begin(window, folder, start=False)
    end_ms = lives.on.clock.market_ms() + int((WARM_UP.total_seconds() / 60 + window.hours * 60) * MINUTE_MS)
    answered, cuts = False, []
    for life, point in enumerate((*points, 2**62)):
        cut = Cut(point)
        if life > 0:
            lives.renew()
        arm(cut, lives.on.store, lives.terminal)
        living = asyncio.create_task(_live(lives, end_ms))
        ending = asyncio.create_task(cut.ended.wait())
        await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
        answered = answered or lives.ticket != 0
        if not cut.ended.is_set():
            ending.cancel()
            await living
            break
        cuts.append(cut.what)
        await lives.die()
    await _settle(lives)
    return Ended(played=await lives.end(), answered=answered, cuts=tuple(cuts))


async def _live(lives: Lives, end_ms: int) -> None:
    """Do what the trader and the clock do to one engine: start, register when that was not answered, go on."""
    on = lives.on
    await on.engine.start()
    opened_ms = end_ms - int(lives.window.hours * 60 * MINUTE_MS)
    if (left_ms := opened_ms + 30_000 - on.clock.market_ms()) > 0:
        await on.play(left_ms / MINUTE_MS)
    if not lives.ticket:
        (position,) = (p for p in lives.terminal.positions_get() or () if p.magic == 0)
        await on.engine.register(Registration(ticket=position.ticket))
        lives.ticket = position.ticket
    await on.play(max(0.0, (end_ms - on.clock.market_ms()) / MINUTE_MS))


async def _settle(lives: Lives) -> None:
    """Let what is open be found out."""
    await lives.on.play(SETTLED_MIN)


def judge(ended: Ended, window: Window) -> None:
    """Assert what must hold whatever was ended where, by the terminal's books."""
    played = ended.played
    check_invariants(played.books, window.spec)
    still = {i.state for i in played.intents.values()} - {
        IntentState.CONFIRMED,
        IntentState.REFUSED,
        IntentState.NOT_EXECUTED,
    }
    assert not still, f"requests whose outcome is open: {still}"
    _judge_family(played.trade, played)


def _judge_family(trade: Trade, played: Played) -> None:
    """Assert that the store's family is what the terminal holds."""
    held = {p.ticket: p for p in played.ledger.positions.values()}
    ours = {t: p for t, p in held.items() if p.magic != 0}
    assert {m.ticket for m in trade.members} == set(ours), "the family is what is open under our numbers"
    if trade.ticket in held:
        position = held[trade.ticket]
        assert trade.is_active, "a position that is open is watched"
        assert trade.volume == Decimal(position.units) / LOT_UNITS, "its volume is the terminal's"
    else:
        assert not trade.is_active or trade.unconfirmed, "a trade whose position is closed is not watched for ever"
        assert not ours, "nothing is left behind"
