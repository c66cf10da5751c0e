"""Search the shipped recordings for a day whose sample trades show every state and action, and write the demo's file.

    python tools/demo_window.py --tries 60 --write src/dtms/recordings/demo.json

The demo's trades are seeded random entries like the survey's; this picks the day, it does not touch the market. A day
is taken when each state and action occurs soon, and at least twice, so that the phase of a live run's clock does not
matter.
"""

import argparse
import json
import random
from collections import defaultdict
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import structlog

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact, FactKind
from dtms.replay import stage
from dtms.survey import ACTIONS, STATES, register_new
from dtms.terminal.simulated.actors import Act, EntryPlan, random_entries
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
    acts: list[Act] = []
    for name, lots in (("EURUSD.m", 1.2), ("BTCUSD.m", 0.8)):
        plan = EntryPlan(
            seed=seed,
            count=entries,
            from_ms=start_ms + 600_000,
            to_ms=start_ms + int(hours * HOUR_MS),
            symbols=(name,),
            lots=lots,
            sl_atr=3.0,
            tp_atr=4.0,
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
            "tp": {"atr": 4.0},
        }
        for number, act in enumerate(sorted(acts, key=lambda a: a.at_ms))
    ]
    return described


async def play(described: dict[str, Any], hours: float) -> dict[str, dict[str, list[float]]]:
    """Play a day; answer, per symbol, at which hours each state was entered and each action done."""
    config = load_config(described)
    played = stage(config)
    await played.engine.start()
    known: set[int] = set()
    for _ in range(int(hours * 60)):
        await played.play(1.0)
        await register_new(played, known)
    seen: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in SYMBOLS}
    for fact in await played.store.facts(limit=1_000_000):
        for name in names_in(fact):
            seen[str(fact.symbol)][name].append(round((fact.market_ms - config.start_ms) / HOUR_MS, 2))
    await played.engine.stop()
    return seen


def names_in(fact: Fact) -> list[str]:
    """Name the state or action that a fact tells of."""
    match fact.kind:
        case FactKind.REGISTERED:
            return ["HEALTHY"]
        case FactKind.TRANSITION:
            return [str(fact.details["to"])]
        case FactKind.ACTION if fact.details["success"]:
            return [str(fact.details["action"])]
        case _:
            return []


def complete_at(seen: dict[str, dict[str, list[float]]], times: int) -> float:
    """Return the hour by which everything wanted happened so many times; inf for never."""
    wanted = [s.value for s in STATES] + [a.value for a in ACTIONS]
    together = {name: sorted(h for symbol in seen.values() for h in symbol.get(name, ())) for name in wanted}
    hours = [found[times - 1] if len(found) >= times else inf for found in together.values()]

    return max(hours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=40)
    parser.add_argument("--entries", type=int, default=12, help="per instrument")
    parser.add_argument("--hours", type=float, default=16.0, help="market hours within which all must have happened")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    dice = random.Random(given.seed)
    first = int(datetime(2017, 8, 1, tzinfo=UTC).timestamp() * 1000)
    best = (inf, inf)
    for number in range(given.tries):
        day = first + dice.randrange(120) * 24 * HOUR_MS
        start_ms = day + dice.randrange(24) * HOUR_MS
        if datetime.fromtimestamp(start_ms / 1000, UTC).weekday() > 3:
            continue
        described = with_trades(start_ms, given.seed * 1000 + number, given.entries, given.hours * 0.6)
        seen = run_virtual(play(described, given.hours))
        found = (complete_at(seen, 2), complete_at(seen, 1))
        names = {name for symbol in seen.values() for name in symbol}
        print(number, described["start"], found, len(names), flush=True)
        if found < best:
            best = found
            if given.write:
                given.write.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
