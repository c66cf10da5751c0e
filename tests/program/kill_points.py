"""One scenario on real programs, ended at a chosen step and gone on with: what was promised must hold.

The scenario: both programs start on a past with trades in several states; a trader opens a position and registers it;
a hedged trade is given up by hand with its hedge; everything is halted and resumed. Whatever the kill interrupted is
asked again, as any client would.

    python -m tests.program.kill_points            every step, until the scenario runs through untouched
    python -m tests.program.kill_points unit:5:after send:1:before
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tests.program.past import PLAYED, demo_day, play_past
from tests.program.running import Program, Site, Trader, wait_until
from tests.program.test_restarts import judge, settle

T = TypeVar("T")

SWITCH = Path(__file__).parent / "killswitch"
PLAN = "KILL_AT"
IN_GATEWAY = "send"
"""The kind of step that is counted in the gateway; the others are the server's."""
ANSWER_S = 60.0
"""A close whose answer was lost is known after the settle window; until then the trade cannot be given up."""
CALLS_MAX = 40
"""Once ready, the server asks the gateway four times a second for ever: no step of the scenario is the last."""
KINDS = {"unit": ("during", "after"), "call": ("before", "after"), "send": ("before", "after")}


class NotYet(Exception):
    """A client's question that found nobody ready to answer."""


class Scenario:
    """The scenario on a copy of a past."""

    def __init__(self, past: Site, folder: Path, point: str) -> None:
        self.site = Site(folder, demo_day(), **PLAYED)
        shutil.copy(past.journal, self.site.journal)
        for file in past.data.glob("dtms_trades*"):
            if file.is_file():
                shutil.copy(file, self.site.data / file.name)
        self.point = point
        self.killed = False
        self.server: Program | None = None
        self.known = {row[0] for row in self.site.rows("SELECT ticket FROM trades")}

    def play(self) -> None:
        """Go through the whole of it, and judge what is left by the terminal's books."""
        in_gateway = self.point.startswith(IN_GATEWAY)
        armed = {
            PLAN: self.point,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(SWITCH), os.environ.get("PYTHONPATH")))),
        }
        terminal = self.site.start_terminal(armed if in_gateway else None)
        self.site.server_environ = {} if in_gateway else armed
        self.server = self.site.start_server()
        self.site.server_environ = {}
        self.serving()
        hedged = self.hedged()
        ticket = self.answered(self.open)
        self.answered(lambda: self.ask("/dtms/trade/enable", {"ticket": ticket}))
        assert self.answered(lambda: self.ask("/dtms/trade/enable", {"ticket": ticket}))["already_registered"]
        if hedged is not None:
            self.answered(lambda: self.ask(f"/dtms/trade/{hedged}/disable", {"close_hedge": True}))
            self.answered(lambda: self.ask(f"/dtms/trade/{hedged}", None))
        self.answered(lambda: self.ask("/dtms/halt", {"reason": "a test"}))
        self.answered(lambda: self.ask("/dtms/resume", {}))
        self.serving()
        if in_gateway:
            self.killed = any("died" in line for line in terminal.lines)
        settle(self.site)
        assert self.server.interrupt() == 0
        assert terminal.interrupt() == 0
        judge(self.site, self.known | {ticket}, given_up={hedged} if hedged is not None else set())

    def serving(self) -> None:
        """Wait until the server is ready, starting it again when the switch ended it."""

        def ready() -> bool:
            assert self.server is not None
            if self.server.process.poll() is not None:
                assert not self.killed, f"it ended a second time:\n{self.site.logs()}"
                self.killed = True
                self.server = self.site.start_server()
            return self.site.status_of("/dtms/health") == 200

        try:
            wait_until(ready, f"ready, with a kill at {self.point}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.site.logs()}") from None

    def answered(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer, as a client does whose server or terminal went away."""
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            try:
                return ask()
            except (httpx.TransportError, OSError, EOFError, NotYet):
                time.sleep(0.3)
                self.serving()
        raise AssertionError(f"no answer, with a kill at {self.point}\n{self.site.logs()}")

    def ask(self, path: str, body: Any) -> dict[str, Any]:
        """Ask the server what must be answered 200."""
        answer = self.site.http.get(path) if body is None else self.site.post(path, body)
        if answer.status_code in (409, 503):
            raise NotYet(answer.text)
        assert answer.status_code == 200, answer.text
        read: dict[str, Any] = answer.json()
        return read

    def open(self) -> int:
        """Let the trader have one position that nobody knows, opening it when it is not there."""
        with self.site.trader() as trader:
            mine = self.unknown(trader)
            if not mine:
                trader.open()
                mine = self.unknown(trader)
        (ticket,) = mine
        return ticket

    def unknown(self, trader: Trader) -> list[int]:
        return [p["ticket"] for p in trader.positions() if p["magic"] == 0 and p["ticket"] not in self.known]

    def hedged(self) -> int | None:
        """Return a trade that stands hedged."""
        listed = self.answered(lambda: self.ask("/dtms/trades?limit=500", None))["trades"]
        return next((int(t["ticket"]) for t in listed if t["state"] == "HEDGED"), None)


def play_at(past: Site, point: str) -> bool:
    """Play the scenario with a kill at a point; False when it ran through untouched."""
    folder = Path(tempfile.mkdtemp(prefix="dtms-kill-"))
    scenario = Scenario(past, folder, point)
    try:
        scenario.play()
    finally:
        scenario.site.close()
    shutil.rmtree(folder, ignore_errors=True)
    return scenario.killed


def main(points: list[str]) -> int:
    """Play at the given points, or at every one; return 1 when a promise was broken."""
    home = Path(tempfile.mkdtemp(prefix="dtms-past-"))
    past = Site(home, demo_day(), **PLAYED)
    play_past(past)
    failed = []
    for kind, whens in KINDS.items():
        for when in whens:
            wanted = (p for p in points if p.startswith(f"{kind}:") and p.endswith(f":{when}"))
            for point in wanted if points else (f"{kind}:{n}:{when}" for n in count(1)):
                try:
                    was_killed = play_at(past, point)
                except AssertionError as error:
                    failed.append(point)
                    print(f"{point}: BROKEN: {error}", flush=True)
                    continue
                print(f"{point}: {'holds' if was_killed else 'not reached'}", flush=True)
                if not points and (not was_killed or (kind == "call" and point == f"call:{CALLS_MAX}:{when}")):
                    break
    past.close()
    print(f"{len(failed)} broken: {', '.join(failed)}" if failed else "every promise held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
