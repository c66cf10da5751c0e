"""While DTMS defends a trade, nobody below it commits a change of it: on real programs, in a market that runs fast.

``python -m tests.arbitration.standing_back --seconds 120``

Intelligent Exit works beside DTMS on positions that were opened by hand, and the Universal manager owns positions that
DTMS was told to defend alongside. Another program, which ranks as low as Intelligent Exit, wants a nearer stop of every
position all the time. A journal's facts are numbered in the order of their commits: what one of the three did must be
committed before DTMS turned defensive, or after it ceased to be.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from tests.arbitration.books import broken
from tests.arbitration.day import DIGITS, ROWS, Day, samples
from tests.arbitration.kept import DEFENSIVE, EXITS, UNIVERSAL, Defence, Told, defences, facts, states
from tests.program.running import BTCUSD, EURUSD

RATE = 600.0
OPENED_EVERY_S = 90.0
"""Market time between two positions that are opened by hand."""
ANOTHER = "another program"
BELOW = frozenset({EXITS, UNIVERSAL, ANOTHER})
WITHIN_MS = 1_000
RIVAL = "a-rival"
JSON = {"Content-Type": "application/json"}
UNEASY = DEFENSIVE | {"WARNING_L1"}
LIKES_UNEASY = 0.8
"""How often the other program turns to a trade that DTMS is uneasy about."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a journal tells of standing back."""

    defences: int = 0
    transitions: int = 0
    done_below: Counter[str] = field(default_factory=Counter)
    """By manager: changes that were made while DTMS was not defensive."""
    refused: Counter[str] = field(default_factory=Counter)
    """By manager: proposals that were not carried out because DTMS was defensive, told once per reason."""
    answers: Counter[str] = field(default_factory=Counter)
    """What the other program was answered."""
    crossed: list[str] = field(default_factory=list)
    """Changes by a lower manager that were committed while DTMS was defensive."""
    late: list[str] = field(default_factory=list)
    """Those of them later than a second after it turned."""

    def line(self) -> str:
        below = f"below it {dict(self.done_below)} done, {dict(self.refused)} refused as dtms_defensive"
        return (
            f"{self.transitions} transitions, {self.defences} defences; {below}; "
            f"the other program: {dict(self.answers)}; {len(self.crossed)} crossed, "
            f"{len(self.late)} later than {WITHIN_MS} ms"
        )


class Rival:
    """A program of somebody else that brings one stop after the other nearer, as far as it is let."""

    PAUSE_S = 0.02

    def __init__(self, day: Day) -> None:
        self._main = str(day.site.main.base_url)
        self._day = day
        self._draw = random.Random(11)
        self._is_over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> "Rival":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _work(self) -> None:
        with self._day.site.trader() as trader, httpx.Client(base_url=self._main, trust_env=False, timeout=30) as main:
            while not self._is_over.wait(self.PAUSE_S):
                uneasy = {ticket for ticket, state in states(self._day.site).items() if state in UNEASY}
                here = [p for p in trader.positions() if p["sl"]]
                wanted = [p for p in here if p["ticket"] in uneasy] if self._draw.random() < LIKES_UNEASY else here
                if wanted:
                    self._try(main, self._draw.choice(wanted))

    def _try(self, main: httpx.Client, position: dict[str, Any]) -> None:
        """Ask for a nearer stop, every other time under a lease of its own."""
        lease = f"/trade-registry/{position['ticket']}/lease"
        if self._draw.random() < 0.5:
            self.answers[_said(main.post("/mt5/modify_position", json=_nearer(position)))] += 1
            return
        taken = main.post(lease, json={"holder": RIVAL})
        if taken.status_code != 200:
            self.answers[f"lease: {_said(taken)}"] += 1
            return
        token, state = taken.json()["token"], taken.json()["dtms_state"]
        said = _said(main.post("/mt5/modify_position", json={**_nearer(position), "lease_token": token}))
        self.answers[f"under its lease: {said}"] += 1
        if said == ("done" if state in DEFENSIVE else "dtms_defensive"):  # or what else stood in its way
            self.wrong.append(f"{position['ticket']}: DTMS was {state} when the lease was given, and the answer {said}")
        given_back = main.delete(lease, params={"token": token, "holder": RIVAL})
        if given_back.status_code != 200:
            self.wrong.append(f"{position['ticket']}: its lease was not taken back: {given_back.text}")


def _nearer(position: dict[str, Any]) -> dict[str, Any]:
    """Return a request for a stop that is three points nearer."""
    digits = DIGITS[position["symbol"]]
    stop = round(position["sl"] + (3 if position["type"] == 0 else -3) * 10**-digits, digits)
    return {"ticket": position["ticket"], "stop_loss": stop}


def _said(answer: httpx.Response) -> str:
    """Return by which rule something was refused, or that it was done."""
    if answer.status_code == 200:
        return "done"
    told = answer.json()
    return str((told.get("details") or {}).get("rule") or told["error"])


def judge(journal: Sequence[Told]) -> Seen:
    """Judge by the order of commits."""
    seen, spans = Seen(), list(defences(journal))
    seen.defences = len(spans)
    seen.transitions = sum(fact.kind == "transition" for fact in journal)
    by_ticket: dict[int, list[Defence]] = {}
    for span in spans:
        by_ticket.setdefault(span.ticket, []).append(span)
    for fact in (f for f in journal if below(f) in BELOW):
        if fact.kind == "refusal" and fact.details.get("rule") == "dtms_defensive":
            seen.refused[below(fact)] += 1
        if not fact.is_done or fact.ticket is None:
            continue
        seen.done_below[below(fact)] += 1
        for span in (s for s in by_ticket.get(fact.ticket, ()) if s.covers(fact)):
            after_ms = fact.machine_ms - span.since.machine_ms
            seen.crossed.append(f"{below(fact)} {after_ms} ms after {span.since.summary!r}: {fact.summary}")
            seen.late += [fact.summary] if after_ms > WITHIN_MS else []
    return seen


def below(fact: Told) -> str:
    """Return who did what a fact tells of; a program that asks over HTTP is ANOTHER, whatever rank it has."""
    return ANOTHER if fact.details.get("asker") == EXITS else fact.manager


def alongside(day: Day, count: int) -> None:
    """Let the Universal manager own some positions, and have DTMS defend them."""
    ways = cycle((symbol, side) for symbol in (EURUSD, BTCUSD) for side in ("buy", "sell"))
    for row, (symbol, side) in zip(cycle(ROWS), ways, strict=False):
        answer = day.execute(symbol, side, row)
        if answer.status_code == 200:
            day.site.post("/dtms/trade/enable", {"ticket": answer.json()["order_id"], "alongside": True})
            count -= 1
        if not count:
            return


def run(day: Day, seconds: float) -> Seen:
    """Let the market run, and judge what the journal tells of it."""
    until = time.monotonic() + seconds
    with Rival(day) as rival:
        while time.monotonic() < until:
            alongside(day, 4)
            time.sleep(1.0)
    seen = judge(facts(day.site))
    seen.answers = rival.answers
    seen.crossed += rival.wrong
    return seen


def make_day(folder: Path, seconds: float) -> Day:
    actors = samples(int((seconds + 30) * RATE / OPENED_EVERY_S), OPENED_EVERY_S)
    return Day(folder, rate=RATE, actors=actors)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, make_day(Path(folder), given.seconds) as day:
        seen = run(day, given.seconds)
        wrong = broken(day.site, whole=False)
    print(seen.line())
    for told in (*seen.crossed, *wrong):
        print(f"WRONG: {told}")
    return int(bool(seen.crossed or wrong))


if __name__ == "__main__":
    sys.exit(main())
