"""Search the shipped recordings for a day whose sample trades show every state and action, and write the demo's file.

    python tools/demo_window.py --tries 60 --write src/dtms/recordings/demo.json

The demo's trades are seeded random entries like the survey's; this picks the day, it does not touch the market. A day
is taken when each state and action occurs at least twice, so that the phase of a live run's clock does not matter.
"""

import argparse
import json
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.replay import stage
from dtms.survey import ACTIONS, STATES, register_new
from dtms.terminal.simulated.actors import EntryPlan, random_entries
from dtms.terminal.simulated.api import build_world
from dtms.terminal.simulated.config import load_config

HOUR_MS = 3_600_000
SYMBOLS = ("EURUSD.m", "BTCUSD.m")


def base(start_ms: int) -> dict[str, Any]:
    """Describe the demo's terminal without its trades."""
    return {
        "start": datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "rate": 600,
        "account": {"balance": 250_000},
        "symbols": [{"name": name, "like": name[:6], "recording": f"shipped:{name[:6]}_H1_2017"} for name in SYMBOLS],
    }


def with_trades(start_ms: int, seed: int, entries: int, hours: float) -> dict[str, Any]:
    """Add seeded random entries of both instruments."""
    described = base(start_ms)
    world = build_world(load_config(described))
    acts = []
    for name, lots in (("EURUSD.m", 1.2), ("BTCUSD.m", 0.8)):
        plan = EntryPlan(
            seed=seed,
            count=entries,
            from_ms=start_ms + 600_000,
            to_ms=start_ms + int(hours * HOUR_MS),
            symbols=(name,),
            lots=lots,
            sl_atr=3.0,
        )
        acts += random_entries(plan, world)
    described["actors"] = [
        {
            "at": datetime.fromtimestamp(act.at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "kind": "open",
            "name": f"sample-{number}",
            "symbol": act.symbol,
            "side": act.side,
            "lots": act.lots,
            "sl": {"atr": 3.0},
        }
        for number, act in enumerate(sorted(acts, key=lambda a: a.at_ms))
    ]
    return described


async def play(described: dict[str, Any], hours: float) -> dict[str, Counter[str]]:
    """Play a day and count states and actions per symbol."""
    played = stage(load_config(described))
    await played.engine.start()
    known: set[int] = set()
    for _ in range(int(hours * 60)):
        await played.play(1.0)
        await register_new(played, known)
    counts: dict[str, Counter[str]] = {name: Counter() for name in SYMBOLS}
    symbol_of = {}
    for fact in await played.store.facts(limit=1_000_000):
        if fact.kind.value == "registered" and fact.symbol:
            symbol_of[fact.ticket] = fact.symbol
            counts[fact.symbol]["HEALTHY"] += 1
        elif fact.kind.value == "transition" and fact.symbol:
            counts[fact.symbol][str(fact.details["to"])] += 1
    for intent in await played.store.intents():
        if intent.state is IntentState.CONFIRMED:
            counts[symbol_of[intent.ticket]][intent.action.kind.value] += 1
    await played.engine.stop()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--entries", type=int, default=12, help="per instrument")
    parser.add_argument("--hours", type=float, default=20.0, help="market hours within which all must have happened")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    dice = random.Random(given.seed)
    first = int(datetime(2017, 8, 1, tzinfo=UTC).timestamp() * 1000)
    best: tuple[int, dict[str, Any]] = (-1, {})
    for number in range(given.tries):
        day = first + dice.randrange(120) * 24 * HOUR_MS
        if datetime.fromtimestamp(day / 1000, UTC).weekday() > 3:
            continue
        start_ms = day + dice.choice((0, 6, 8, 12)) * HOUR_MS
        described = with_trades(start_ms, given.seed * 1000 + number, given.entries, given.hours * 0.6)
        counts = run_virtual(play(described, given.hours))
        total = sum(counts.values(), Counter())
        wanted = [s.value for s in STATES] + [a.value for a in ACTIONS]
        reached = sum(min(total[name], 2) for name in wanted)
        print(number, described["start"], f"{reached}/{2 * len(wanted)}", dict(total), flush=True)
        if reached > best[0]:
            best = (reached, described)
            if given.write:
                given.write.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        if reached == 2 * len(wanted) and all(counts[n]["HEDGED"] for n in SYMBOLS):
            break


if __name__ == "__main__":
    main()
