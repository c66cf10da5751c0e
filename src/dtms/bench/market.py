"""The market of the benchmarks: many symbols on the recordings that come with dtms."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from dtms.terminal.simulated.config import SHIPPED, SimConfig, SymbolConfig
from dtms.terminal.simulated.recording import parse_time_ms
from dtms.terminal.simulated.spec import BUILT_IN, AccountSpec

START = "2017-09-27T12:00Z"
"""A Wednesday noon on which both recordings trade."""
RECORDED = (("EURUSD", "EURUSD_H1_2017"), ("BTCUSD", "BTCUSD_H1_2017"))
BALANCE = 1_000_000_000.0


def names(count: int) -> list[str]:
    """Name ``count`` symbols, the recordings taking turns."""
    return [f"{RECORDED[i % len(RECORDED)][0]}.{i:03d}" for i in range(count)]


def config(symbols: int, **changes: Any) -> SimConfig:
    """Describe a simulated terminal with so many symbols."""
    made = SimConfig(
        symbols=tuple(_symbol(name) for name in names(symbols)),
        start_ms=parse_time_ms(START),
        account=AccountSpec(balance=BALANCE, leverage=500),
    )
    return replace(made, **changes)


def described(symbols: int, journal: Path) -> dict[str, Any]:
    """Describe the same terminal as its program reads it, going on from a journal."""
    return {
        "start": START,
        "rate": 1.0,
        "journal": str(journal.resolve()),
        "account": {"balance": BALANCE, "leverage": 500},
        "symbols": [
            {"name": name, "like": name.split(".")[0], "recording": f"shipped:{dict(RECORDED)[name.split('.')[0]]}"}
            for name in names(symbols)
        ],
    }


def _symbol(name: str) -> SymbolConfig:
    like = name.split(".")[0]
    spec = replace(BUILT_IN[like], name=name)
    return SymbolConfig(spec=spec, recording=SHIPPED / f"{dict(RECORDED)[like]}.csv.gz")
