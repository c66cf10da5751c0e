"""Two managers deciding on one position on the same tick, again and again, from two processes.

``python -m tests.arbitration.contested --ticks 10000``

Both look at the position, each decides on another stop, and both send at once, over one store file and one gateway.
What happened is judged by the terminal's ledger alone: no stop set but on the stop that it was decided on, none
loosened, and every loser knows why.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from tests.program.past import ledger_of
from tests.program.running import EURUSD, HOST, SECRET, Site, market, wait_until

from dtms.adapters.clocks import TerminalClock
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.remote_link import RemoteLink
from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.leases import this_holder
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, Ending, Intent, MoveStop
from dtms.domain.market import Instrument
from dtms.domain.owners import Asker, lease_key
from dtms.domain.position import Position
from dtms.domain.prices import on_grid
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Trade
from dtms.execute.authority import EngineLease
from dtms.execute.carrying import Carrier, Done, Task
from dtms.execute.leases import Leases
from dtms.ports.store import Unit
from dtms.settings import IntentSettings

PREFIX = 6001
STEPS = {Asker.DTMS: 1, Asker.EXITS: 2}
"""By how many points each manager wants the stop nearer; they never want the same."""
PROGRAM = {Asker.DTMS: "engine", Asker.EXITS: "main"}
FIRST_STOP = 0.9
RULES = frozenset({"stop_changed_meanwhile", "lease_held", "dtms_defensive"})


class Worker:
    """One manager in a process of its own."""

    def __init__(self, asker: Asker, site: Path, port: int) -> None:
        self.asker = asker
        self.link = RemoteLink(HOST, port, SECRET)
        self.clock = TerminalClock(self.link)
        self.store = SqlStore(f"sqlite:///{site / 'dtms_trades.db'}", self.clock)
        self.broker = Mt5Broker(self.link, self.clock, magic_prefix=PREFIX)
        self.instrument: Instrument | None = None

    async def open(self) -> None:
        await self.clock.synchronise()
        await self.store.open()
        await self.broker.connect()
        self.instrument = await self.broker.instrument(EURUSD)
        holder = this_holder()
        program = EngineLease(self.store, self.broker, self.clock, holder, key=PROGRAM[self.asker])
        await program.acquire()
        self.program = program
        leases = Leases(
            store=self.store,
            broker=self.broker,
            clock=self.clock,
            holder=f"{holder}:{self.asker.value}",
            draw=lambda: 0.5,
        )
        self.carrier = Carrier(
            broker=self.broker,
            store=self.store,
            clock=self.clock,
            leases=leases,
            program=program,
            settings=IntentSettings(),
        )

    async def look(self, ticket: int) -> tuple[Position, Snapshot]:
        snapshot = await self.broker.snapshot([EURUSD])
        return snapshot.positions[ticket], snapshot

    async def decide(self, position: Position, snapshot: Snapshot) -> dict[str, Any]:
        """Want the stop nearer than the one that was seen, and tell how that ended."""
        assert self.instrument is not None
        assert position.stop is not None
        wanted = on_grid(position.stop + STEPS[self.asker] * self.instrument.point, self.instrument)
        action = MoveStop(
            kind=ActionKind.TRAIL,
            position=position.ticket,
            symbol=EURUSD,
            side=position.side,
            stop=wanted,
            target=position.target,
            expected_stop=position.stop,
        )

        def is_shown(_: Intent, seen: Snapshot) -> bool:
            # The other may have gone on from there already, and never back.
            stop = seen.positions[position.ticket].stop
            return stop is not None and stop >= wanted - 1e-9

        def conclude(done: Done) -> Unit:
            return Unit()

        outcome = await self.carrier.carry(
            Task(
                asker=self.asker,
                ticket=position.ticket,
                key=lease_key(position.ticket, EURUSD, MarginMode.HEDGING),
                action=action,
                tick=snapshot.ticks[EURUSD],
                instrument=self.instrument,
                is_shown=is_shown,
                conclude=conclude,
                mode=Mode.AUTO,
            )
        )
        return {
            "decided_on": position.stop,
            "wanted": wanted,
            "ending": outcome.ending.value,
            "rule": outcome.rule,
            "reason": outcome.reason,
        }

    async def serve(self, lines: IO[str]) -> None:
        """Do what is asked, line by line; look first, tell, and decide when both have looked."""
        await self.open()
        _say({"ready": True})
        while line := (await asyncio.to_thread(lines.readline)).strip():
            position, snapshot = await self.look(int(line))
            _say({"saw": position.stop})
            await asyncio.to_thread(lines.readline)
            _say(await self.decide(position, snapshot))
            if not self.program.is_held or self.program.lease is None:
                raise SystemExit("the program's lease was lost")
            await self.program.renew()
        await self.program.release()
        await self.store.close()
        self.link.close()


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


@dataclass(slots=True)
class Told:
    """What both managers told of their ticks."""

    endings: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    unexplained: list[dict[str, Any]] = field(default_factory=list)
    done: list[tuple[float, float]] = field(default_factory=list)
    """Of what was done: the stop that it was decided on, and the new one."""

    def take(self, told: dict[str, Any]) -> None:
        self.endings[told["ending"]] += 1
        if told["ending"] == Ending.DONE.value:
            self.done.append((told["decided_on"], told["wanted"]))
            return
        self.rules[str(told["rule"])] += 1
        if told["rule"] not in RULES:
            self.unexplained.append(told)


class Pair:
    """Both managers on one position."""

    def __init__(self, site: Site, ticket: int) -> None:
        self.ticket = ticket
        self.told = Told()
        self._workers = [_start(asker, site) for asker in STEPS]
        for worker in self._workers:
            assert _answer(worker)["ready"]

    def tick(self) -> None:
        """Let both look, then let both decide at once."""
        self._both(f"{self.ticket}\n")
        for worker in self._workers:
            _answer(worker)
        self._both("go\n")
        for worker in self._workers:
            self.told.take(_answer(worker))

    def close(self) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait(20)

    def _both(self, line: str) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(line)
            worker.stdin.flush()


def _start(asker: Asker, site: Site) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.arbitration.contested",
            "--worker",
            asker.value,
            str(site.data),
            str(site.gateway_port),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _answer(worker: "subprocess.Popen[str]") -> dict[str, Any]:
    assert worker.stdout is not None
    while line := worker.stdout.readline():
        if line.startswith("{"):
            told: dict[str, Any] = json.loads(line)
            return told
    raise AssertionError(f"a manager ended with code {worker.wait()}")


def run(folder: Path, ticks: int) -> tuple[Told, Path, int]:
    """Contest one position for so many ticks; return what was told, the terminal's journal, and the ticket."""
    site = Site(folder, market("2017-10-02T07:00Z"))
    try:
        site.start_terminal()
        wait_until(lambda: _listens(site), "the gateway answers")
        with site.trader() as trader:
            ticket = trader.open(EURUSD, "BUY", 0.4, away=1 - FIRST_STOP / trader.quote(EURUSD)["ask"])
            (position,) = [p for p in trader.positions() if p["ticket"] == ticket]
        asyncio.run(_register(site, position))
        pair = Pair(site, ticket)
        for _ in range(ticks):
            pair.tick()
        pair.close()
        return pair.told, site.journal, ticket
    finally:
        site.close()


def _listens(site: Site) -> bool:
    try:
        with site.trader():
            return True
    except (OSError, EOFError):
        return False


async def _register(site: Site, position: dict[str, Any]) -> None:
    """Put the trade under DTMS's protection, as its server does."""
    worker = Worker(Asker.DTMS, site.data, site.gateway_port)
    await worker.clock.synchronise()
    await worker.store.open()
    account = await worker.broker.connect()
    found = (await worker.broker.positions([int(position["ticket"])]))[int(position["ticket"])]
    trade = Trade(
        ticket=found.ticket,
        identifier=found.identifier,
        login=account.login,
        server=account.server,
        symbol=found.symbol,
        side=found.side,
        entry=found.entry,
        initial_volume=found.volume,
        initial_stop=found.stop,
        risk=abs(found.entry - (found.stop or 0.0)),
        nominal_risk=False,
        registered_ms=worker.clock.market_ms(),
        opened_ms=found.opened_ms,
        volume=found.volume,
        stop=found.stop,
        target=None,
    )
    await worker.store.commit(Unit(create=(trade,)))
    await worker.store.close()
    worker.link.close()


@dataclass(frozen=True, slots=True)
class Judged:
    """What the ledger shows."""

    changes: int
    loosened: int
    stale: int
    """Changes that were made under another stop than the one that they were decided on."""


def judge(told: Told, journal: Path, ticket: int) -> Judged:
    """Judge by the terminal's ledger what became of one position's stop."""
    levels = [level.sl_points for level in ledger_of(journal).levels if level.position == ticket]
    pairs = list(pairwise(levels))
    meant = Counter((_points(before), _points(after)) for before, after in told.done)
    return Judged(
        changes=len(pairs),
        loosened=sum(after < before for before, after in pairs),
        stale=sum((Counter(pairs) - meant).values()),
    )


def _points(price: float) -> int:
    return int((Decimal(repr(price)) * 100_000).to_integral_value())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=10_000)
    parser.add_argument("--worker", nargs=3, metavar=("ASKER", "FOLDER", "PORT"))
    given = parser.parse_args(arguments)
    if given.worker:
        asker, folder, port = given.worker
        asyncio.run(Worker(Asker(asker), Path(folder), int(port)).serve(sys.stdin))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        told, journal, ticket = run(Path(folder), given.ticks)
        judged = judge(told, journal, ticket)
    print(f"{given.ticks} ticks, {2 * given.ticks} decisions: {dict(told.endings)}; losers: {dict(told.rules)}")
    print(f"by the ledger: {judged.changes} changes, {judged.loosened} loosened, {judged.stale} under another stop")
    print(f"not explained: {len(told.unexplained)} {told.unexplained[:3]}")
    return int(bool(judged.loosened or judged.stale or told.unexplained))


if __name__ == "__main__":
    sys.exit(main())
