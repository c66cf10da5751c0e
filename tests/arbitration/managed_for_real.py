"""Both managers on recorded markets, through the real programs: every rule acts, and no stop is ever made worse.

``python -m tests.arbitration.managed_for_real --seconds 120``

Every row of the strategies is executed on both symbols and both sides, again and again; positions that were opened by
hand are DTMS's, with Intelligent Exit beside. What was done is judged by the terminal's ledger.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.arbitration.books import broken
from tests.arbitration.day import ROWS, Day, samples
from tests.arbitration.kept import EXITS, UNIVERSAL, facts, managed

from dtms.decide.strategies import ROWS as TABLE

RATE = 600.0
OPENED_EVERY_S = 300.0
EXECUTED_EVERY_S = 0.25
MORE = 8
"""How many quarters more the day may last until every rule has acted: not every market gives all of them a reason."""
EXITS_RULES = ("breakeven", "partial", "trail")


def rules() -> set[tuple[str, str]]:
    """Return all that has to act: of each strategy its breakeven, its way of trailing and its partial, and Exits'."""
    found = {(EXITS, rule) for rule in EXITS_RULES}
    for strategy in ROWS:
        row = TABLE[strategy]
        found.add((strategy.value, "breakeven"))
        if row.trailing.value != "none":
            found.add((strategy.value, f"trail by {row.trailing.value}"))
        if row.partial_r is not None:
            found.add((strategy.value, "partial"))
    return found


def acted(day: Day) -> Counter[tuple[str, str]]:
    """Count what was done, by Intelligent Exit or the strategy, and by rule."""
    held = {row.ticket: row.body["rules"] for row in managed(day.site) if row.manager == UNIVERSAL}
    done: Counter[tuple[str, str]] = Counter()
    for fact in facts(day.site, "action"):
        if not fact.is_done or fact.ticket is None:
            continue
        rule = str(fact.details.get("rule"))
        if fact.manager == EXITS:
            done[EXITS, rule] += 1
        elif fact.manager == UNIVERSAL:
            own = held[fact.ticket]
            done[own["strategy_type"], f"trail by {own['trailing']}" if rule == "trail" else rule] += 1
    return done


def make_day(folder: Path, seconds: float) -> Day:
    actors = samples(int((3 * seconds + 60) * RATE / OPENED_EVERY_S), OPENED_EVERY_S)
    return Day(folder, rate=RATE, actors=actors)


def line(done: Counter[tuple[str, str]]) -> str:
    return "; ".join(f"{who} {rule} ×{count}" for (who, rule), count in sorted(done.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, make_day(Path(folder), given.seconds) as day:
        executed = day.trade_for(given.seconds, EXECUTED_EVERY_S)
        for _ in range(MORE):
            if rules() <= acted(day).keys():
                break
            executed += day.trade_for(given.seconds / 4, EXECUTED_EVERY_S)
        day.settle()
        done = acted(day)
        day.calm()
        wrong = broken(day.site)
    print(f"{executed} executed; {line(done)}")
    silent = rules() - done.keys()
    for told in wrong:
        print(f"WRONG: {told}")
    if silent:
        print(f"never acted: {sorted(silent)}")
    return int(bool(wrong or silent))


if __name__ == "__main__":
    sys.exit(main())
