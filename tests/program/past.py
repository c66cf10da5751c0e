"""A past for real programs to start on: the demo's day, played in virtual time until trades stand in several states.

What is left are the two files that programs leave behind, the store and the terminal's journal, written by the same
parts that the programs are made of.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.trade import State
from dtms.replay import MAGIC_PREFIX, stage
from dtms.survey import register_new
from dtms.terminal.simulated.config import SHIPPED, load_config
from dtms.terminal.simulated.journal import read_journal
from dtms.terminal.simulated.ledger import Ledger

from .running import Site

DAY_MIN = 24 * 60
BESIDE_HEDGED = (State.WARNING_L1, State.WARNING_L2, State.RECOVERING)
PLAYED = {"magic_prefix": MAGIC_PREFIX}
"""Settings of a site that goes on with a played past."""


def demo_day(**changes: Any) -> dict[str, Any]:
    """Describe the market of the demo's day, at real speed unless ``changes`` say otherwise."""
    day: dict[str, Any] = json.loads((SHIPPED / "demo.json").read_text(encoding="utf-8"))
    return day | {"rate": 1} | changes


def play_past(site: Site) -> Counter[str]:
    """Play until trades stand hedged and others in other defensive states; return how many stand in which state."""
    described = demo_day(journal=str(site.journal))
    store = f"sqlite:///{(site.data / 'dtms_trades.db').as_posix()}"

    async def play() -> Counter[str]:
        played = stage(load_config(described), store_url=store)
        await played.engine.start()
        known: set[int] = set()
        standing: Counter[str] = Counter()
        for _ in range(DAY_MIN):
            await played.play(1.0)
            await register_new(played, known)
            standing = Counter(live.trade.state.value for live in played.engine.live_trades())
            if standing[State.HEDGED] and any(standing[state] for state in BESIDE_HEDGED):
                break
        await played.engine.stop()
        played.gateway.shutdown()
        return standing

    return run_virtual(play())


def ledger_of(journal: Path) -> Ledger:
    """Read the terminal's books back from its journal."""
    resumed = read_journal(journal)
    assert resumed is not None
    ledger = Ledger()
    for change in resumed.changes:
        ledger.apply(change)
    return ledger
