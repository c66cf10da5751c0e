"""Any of the three programs killed at random, again and again, while both managers and DTMS are at work.

``python -m tests.arbitration.killed_at_random --seconds 120 --seed 7``

What ends is started again at once, whatever state the others are in. Afterwards store and ledger must agree: no intent
carried out twice, no stop loosened, every position in the hands that it was in.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
from tests.arbitration.books import broken
from tests.arbitration.day import MAIN, SERVER, TERMINAL, Day, samples
from tests.arbitration.kept import DTMS, EXITS, UNIVERSAL, facts
from tests.program.running import wait_until

RATE = 300.0
OPENED_EVERY_S = 120.0
EXECUTED_EVERY_S = 0.5
BETWEEN_S = (2.0, 9.0)
"""Shortest and longest time between two kills: a start takes some seconds, and is hit by some of them."""
BACK_WITHIN_S = 90.0


class Killer:
    """Kills, and starts again what ended."""

    def __init__(self, day: Day, seed: int) -> None:
        self._day = day
        self._draw = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        """Programs that ended by themselves, because another was not there."""
        self.executed = 0

    def work(self, seconds: float) -> None:
        """Trade, and kill, for so long."""
        until, next_s = time.monotonic() + seconds, time.monotonic() + 1.0
        while (now_s := time.monotonic()) < until:
            if now_s >= next_s:
                self._kill(self._draw.choice((TERMINAL, SERVER, MAIN)))
                next_s = time.monotonic() + self._draw.uniform(*BETWEEN_S)
            self.keep()
            self._trade()
            time.sleep(EXECUTED_EVERY_S)

    def _kill(self, what: str) -> None:
        self._day.kill(what)
        self.kills[what] += 1
        self._day.start_again(what, wait=False)

    def keep(self) -> None:
        """Start again what ended by itself."""
        for what, program in self._day.programs.items():
            if program.process.poll() is not None:
                self.ended[what] += 1
                self._day.start_again(what, wait=False)

    def _trade(self) -> None:
        try:
            self.executed += self._day.execute_next().status_code == 200
        except (httpx.TransportError, OSError, EOFError, AssertionError):
            return  # whom it would have asked is not there

    def bring_back(self) -> None:
        """Wait until all three serve again."""

        def serving() -> bool:
            self.keep()
            try:
                ready = self._day.site.main.get("/health").status_code == 200
            except httpx.TransportError:
                return False
            return ready and self._day.site.status_of("/dtms/health") == 200

        wait_until(serving, "all three serve again", within_s=BACK_WITHIN_S, every_s=0.3)


def done(day: Day) -> Counter[str]:
    """Count what each manager did."""
    return Counter(fact.manager for fact in facts(day.site, "action") if fact.is_done)


def make_day(folder: Path, seconds: float) -> Day:
    actors = samples(int((seconds + 120) * RATE / OPENED_EVERY_S), OPENED_EVERY_S)
    return Day(folder, rate=RATE, actors=actors)


def run(day: Day, seconds: float, seed: int) -> tuple[Killer, list[str]]:
    """Trade and kill for so long; return what was done, and what is not as it must be."""
    killer = Killer(day, seed)
    day.trade_for(3.0, 0.3)
    killer.work(seconds)
    killer.bring_back()
    day.settle()
    day.calm()
    return killer, broken(day.site)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, make_day(Path(folder), given.seconds) as day:
        killer, wrong = run(day, given.seconds, given.seed)
        did = done(day)
    print(f"killed {dict(killer.kills)}, ended by themselves {dict(killer.ended)}, executed {killer.executed}")
    print(f"done: {', '.join(f'{who} {did[who]}' for who in (DTMS, UNIVERSAL, EXITS))}")
    for told in wrong:
        print(f"WRONG: {told}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
