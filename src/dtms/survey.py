"""The survey: seeded random entries on every recording, end to end, counted per instrument.

Each recording is sampled in several stretches. In each a trader, who knows nothing of what comes, opens positions at
random moments and sides; the engine protects them on the simulated terminal. States are counted from the journal,
actions from the terminal's own ledger, so that nothing counts that was not done.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, IntentState
from dtms.domain.trade import State
from dtms.execute.service import Refused, Registration
from dtms.replay import Stage, stage
from dtms.terminal.simulated.actors import EntryPlan, random_entries
from dtms.terminal.simulated.api import build_world
from dtms.terminal.simulated.config import SimConfig, SymbolConfig
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.recording import BarRecording, load_recording
from dtms.terminal.simulated.spec import BUILT_IN, AccountSpec

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WARM_UP_MS = 10 * DAY_MS
"""Bars that a stretch needs before it, for the indicators."""
OPEN_SHARE = 0.75
"""How much of a stretch's first half has to be covered by bars."""
BALANCE = 1_000_000.0
STATES = tuple(state for state in State)
ACTIONS = tuple(kind for kind in ActionKind if kind not in (ActionKind.ATTACH_STOP, ActionKind.RESTORE_STOP))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How much of a recording is played."""

    entries: int = 200
    stretches: int = 10
    hours: float = 30.0
    """Length of a stretch; entries fall into its first half."""
    seed: int = 1
    lots: float = 0.4
    sl_atr: float = 3.0


@dataclass(slots=True)
class Tally:
    """What happened on one recording: trades by state visited, requests done by kind, both per trade's direction."""

    recording: str
    symbol: str
    trades: int = 0
    states: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    unproven: int = 0
    """Confirmed actions that the terminal's ledger does not show: must be 0."""


def survey_recording(path: Path, sample: Sample) -> Tally:
    """Play a recording's stretches and count."""
    symbol = path.name.split("_")[0]
    tally = Tally(recording=path.name.removesuffix(".parquet").removesuffix(".csv.gz"), symbol=symbol)
    for number, start_ms in enumerate(_starts(path, sample)):
        config = _config(path, symbol, start_ms, sample, number)
        run_virtual(_play(config, sample, tally))
    return tally


def _starts(path: Path, sample: Sample) -> list[int]:
    """Draw the stretches' starts, where the market mostly trades while entries fall; the same for a file and seed."""
    recording = load_recording(path)
    assert isinstance(recording, BarRecording)
    times, half_ms = recording.ms, int(sample.hours * HOUR_MS / 2)
    full = half_ms / (recording.minutes * MINUTE_MS)
    first, last = int(times[0]) + WARM_UP_MS, int(times[-1]) - int(sample.hours * HOUR_MS)
    dice, starts = random.Random(f"{sample.seed}:{path.name}"), list[int]()
    while len(starts) < sample.stretches:
        start = dice.randrange(first, max(last, first + 1)) // MINUTE_MS * MINUTE_MS
        bars = np.searchsorted(times, start + half_ms) - np.searchsorted(times, start)
        if bars >= OPEN_SHARE * full:
            starts.append(start)
    return sorted(starts)


def _config(path: Path, symbol: str, start_ms: int, sample: Sample, number: int) -> SimConfig:
    spec, seed = BUILT_IN[symbol], sample.seed * 1000 + number
    config = SimConfig(
        symbols=(SymbolConfig(spec=spec, recording=path),), start_ms=start_ms, account=AccountSpec(balance=BALANCE)
    )
    wanted = sample.entries // sample.stretches
    plan = EntryPlan(
        seed=seed,
        count=3 * wanted,  # some fall where the market is closed
        from_ms=start_ms + 2 * MINUTE_MS,
        to_ms=start_ms + int(sample.hours * HOUR_MS / 2),
        symbols=(spec.name,),
        lots=sample.lots,
        sl_atr=sample.sl_atr,
    )
    drawn = random_entries(plan, build_world(config))
    chosen = sorted(random.Random(seed).sample(range(len(drawn)), wanted))
    return replace(config, actors=tuple(drawn[n] for n in chosen))


async def _play(config: SimConfig, sample: Sample, tally: Tally) -> None:
    played = stage(config)
    await played.engine.start()
    known: set[int] = set()
    for _ in range(int(sample.hours * 60)):
        await played.play(1.0)
        await register_new(played, known)
    tally.trades += len(known)
    await _count(played, tally)
    await played.engine.stop()


async def register_new(played: Stage, known: set[int]) -> None:
    """Register what the trader opened since, as a trader's program does."""
    for position in played.terminal.positions_get() or ():
        if position.magic == 0 and position.ticket not in known:
            known.add(position.ticket)
            try:
                await played.engine.register(Registration(ticket=position.ticket))
            except Refused:  # closed in the same minute
                known.discard(position.ticket)


async def _count(played: Stage, tally: Tally) -> None:
    facts = await played.store.facts(limit=1_000_000)
    tally.states[State.HEALTHY.value] += sum(1 for f in facts if f.kind.value == "registered")
    for fact in facts:
        if fact.kind.value == "transition":
            tally.states[str(fact.details["to"])] += 1
            tally.rules[str(fact.details["rule"])] += 1
        elif fact.kind.value == "refusal":
            tally.refused[f"{fact.details['action']}: {fact.details.get('rail') or fact.details['rule']}"] += 1
        elif fact.kind.value == "cycle_failed":
            tally.failures += 1
    await _count_actions(played, tally)


async def _count_actions(played: Stage, tally: Tally) -> None:
    """Count confirmed intents that the ledger shows as done, by their magic number or their stop."""
    ledger = played.terminal.simulation.ledger
    done = {n.request["magic"] for n in ledger.requests if n.retcode == MT5.TRADE_RETCODE_DONE and "magic" in n.request}
    for intent in await played.store.intents():
        if intent.state is IntentState.CONFIRMED:
            tally.actions[intent.action.kind.value] += 1
            tally.unproven += played.broker.magic_of(intent.number) not in done


def recordings(folders: Iterable[Path], pattern: str) -> list[Path]:
    """Find the bar files to play."""
    found = [p for folder in folders if folder.is_dir() for p in sorted(folder.glob(pattern))]
    return [p for p in found if p.suffix == ".parquet" or p.name.endswith(".csv.gz")]


def table_of(tallies: Sequence[Tally]) -> Table:
    """Lay the counts out, a row per recording."""
    table = Table(title="Trades, states entered and actions done, per recording")
    table.add_column("recording")
    for name in ("trades", *(s.value for s in STATES), *(k.value for k in ACTIONS), "unproven", "failures"):
        table.add_column(name.replace("_", " "), justify="right")
    for tally in tallies:
        counts = [tally.trades, *(tally.states[s.value] for s in STATES), *(tally.actions[k.value] for k in ACTIONS)]
        table.add_row(tally.recording, *map(str, (*counts, tally.unproven, tally.failures)))
    return table


def as_json(tally: Tally) -> Mapping[str, object]:
    """Return one recording's counts as JSON."""
    return {
        "recording": tally.recording,
        "symbol": tally.symbol,
        "trades": tally.trades,
        "states": dict(tally.states),
        "actions": dict(tally.actions),
        "rules": dict(tally.rules),
        "refused": dict(tally.refused),
        "unproven": tally.unproven,
        "failures": tally.failures,
    }


def missing_of(tallies: Sequence[Tally]) -> list[str]:
    """Name the states and actions that no recording showed."""
    states = {s.value for s in STATES} - {s for t in tallies for s in t.states}
    actions = {k.value for k in ACTIONS} - {a for t in tallies for a in t.actions}
    return sorted(states | actions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the survey and print its table; 1 when something never occurred, failed or is not in the ledger."""
    parser = argparse.ArgumentParser(prog="python -m dtms.survey", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of bar files")
    parser.add_argument("--pattern", default="*_M*_*")
    parser.add_argument("--entries", type=int, default=200)
    parser.add_argument("--stretches", type=int, default=10)
    parser.add_argument("--hours", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", dest="as_json")
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    sample = Sample(entries=given.entries, stretches=given.stretches, hours=given.hours, seed=given.seed)
    tallies: list[Tally] = []
    for path in recordings(given.folders, given.pattern):
        print(f"playing {path.name} …", file=sys.stderr, flush=True)
        tallies.append(survey_recording(path, sample))
    if given.as_json:
        print(json.dumps([as_json(t) for t in tallies], indent=1))
    else:
        Console(width=220).print(table_of(tallies))
    missing = missing_of(tallies)
    if missing:
        print(f"never occurred: {', '.join(missing)}", file=sys.stderr)
    return 1 if missing or not tallies or any(t.failures or t.unproven for t in tallies) else 0


if __name__ == "__main__":
    raise SystemExit(main())
