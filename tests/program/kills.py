"""Hundreds of kills of real programs in a running market, with a bot that goes on registering what it opens.

    python -m tests.program.kills --kills 500 --trades 100

At the end nothing may be lost or done twice, judged by the terminal's books: every registration that was answered 200
is a trade, every request was carried out at most once, every open position is watched. It tells how long the server
took to be ready after each kill.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.program.past import PLAYED, demo_day
from tests.program.running import BTCUSD, EURUSD, Program, Site, Trader, wait_until
from tests.program.test_restarts import judge, kill_child, settle

RATE = 120
"""How much faster than real time the market plays."""
VICTIMS = ("server", "server", "server", "child", "gateway")
LOTS = {EURUSD: 0.04, BTCUSD: 0.04}
GONE = (httpx.TransportError, OSError, EOFError, AssertionError)
"""What a bot meets while somebody is dead."""


@dataclass(slots=True)
class Bot:
    """Opens positions, registers them until that is answered, and closes its oldest when it has too many."""

    site: Site
    trades: int
    dice: random.Random
    promised: set[int] = field(default_factory=set)
    """Tickets whose registration was answered 200."""
    waiting: list[int] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    ending: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Trade until told to end, whoever dies meanwhile."""
        while not self.ending.is_set():
            with suppress(*GONE):
                self._work()
            self.ending.wait(0.05)

    def _work(self) -> None:
        with self.site.trader() as trader:
            while not self.ending.is_set():
                self._open(trader)
                self._register()
                self._close(trader)
                self.ending.wait(0.1 if len(self.promised) >= self.trades else 0.0)

    def _open(self, trader: Trader) -> None:
        mine = {p["ticket"] for p in trader.positions() if p["magic"] == 0}
        self.waiting = sorted(mine - self.promised)
        if not self.waiting:
            symbol, side = self.dice.choice((EURUSD, BTCUSD)), self.dice.choice(("BUY", "SELL"))
            self.waiting = [trader.open(symbol, side, LOTS[symbol], away=0.02)]

    def _register(self) -> None:
        for ticket in self.waiting:
            answer = self.site.post("/dtms/trade/enable", {"ticket": ticket})
            if answer.status_code == 200:
                self.promised.add(ticket)

    def _close(self, trader: Trader) -> None:
        mine = sorted(p["ticket"] for p in trader.positions() if p["magic"] == 0 and p["ticket"] in self.promised)
        if len(mine) > self.trades:
            trader.close(mine[0])
            self.closed.add(mine[0])


@dataclass(slots=True)
class Soak:
    """The programs, and how long each took to be ready again."""

    site: Site
    dice: random.Random
    terminal: Program
    server: Program
    ready_s: list[float] = field(default_factory=list)

    def kill_once(self) -> None:
        """Kill one of the programs at a random moment and have it started again."""
        time.sleep(0.1 + self.dice.random())
        victim = self.dice.choice(VICTIMS)
        if victim == "child":
            kill_child(self.terminal)
        elif victim == "gateway":
            self.terminal.kill()
            self.terminal = self.site.start_terminal()
        else:
            self.server.kill()
            started = time.monotonic()
            self.server = self.site.start_server()
            self._wait_ready()
            self.ready_s.append(time.monotonic() - started)
            return
        wait_until(lambda: self.site.status_of("/dtms/health") != 200, f"unready without the {victim}", every_s=0.02)
        self._wait_ready()

    def _wait_ready(self) -> None:
        self.site.wait_ready(self.server)


def run(kills: int, trades: int, seed: int, folder: Path) -> str:
    """Run the soak and return its figures in words.

    Raises:
        AssertionError: when something was lost or done twice.
    """
    site = Site(folder, demo_day(rate=RATE), **PLAYED, **{"cadence.tick_poll_ms": 250})
    dice = random.Random(seed)
    bot = Bot(site, trades, random.Random(seed + 1))
    thread = threading.Thread(target=bot.run, daemon=True)
    try:
        soak = Soak(site, dice, *site.start())
        thread.start()
        wait_until(lambda: len(bot.promised) >= trades, f"{trades} trades registered", within_s=300)
        for number in range(1, kills + 1):
            soak.kill_once()
            if number % 25 == 0:
                print(f"{number} kills, {len(bot.promised)} registrations answered", flush=True)
        bot.ending.set()
        thread.join(30)
        wait_until(lambda: is_converged(site), "store and terminal agree", within_s=60)
        settle(site)
        assert soak.server.interrupt() == 0
        assert soak.terminal.interrupt() == 0
        stored = {row[0] for row in site.rows("SELECT ticket FROM trades")}
        assert bot.promised <= stored, f"lost registrations: {sorted(bot.promised - stored)}"
        judge(site, bot.promised)
        done = len(site.rows("SELECT number FROM intents WHERE state = 'CONFIRMED'"))
        return _told(kills, bot, done, soak.ready_s)
    finally:
        bot.ending.set()
        site.close()


def is_converged(site: Site) -> bool:
    """Answer whether the trades that are watched are the positions that are open."""
    watched = {t["ticket"] for t in site.get("/dtms/trades", limit=500)["trades"]}
    with site.trader() as trader:
        return watched == {p["ticket"] for p in trader.positions() if p["magic"] == 0}


def _told(kills: int, bot: Bot, done: int, ready_s: list[float]) -> str:
    ordered = sorted(ready_s)
    p99 = ordered[max(0, round(len(ordered) * 0.99) - 1)]
    return (
        f"{kills} kills, {len(bot.promised)} registrations answered and none lost, {done} requests done and none twice;"
        f" ready after a killed server, {len(ordered)} times: median {statistics.median(ordered):.2f} s,"
        f" p99 {p99:.2f} s, worst {ordered[-1]:.2f} s"
    )


def main() -> int:
    """Run from the command line; return 1 when a promise was broken."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=500)
    options.add_argument("--trades", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dtms-kills-"))
    try:
        print(run(given.kills, given.trades, given.seed, folder))
    except AssertionError as error:
        print(f"BROKEN, in {folder}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
