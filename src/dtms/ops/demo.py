"""The demo: a trader's program beside dtms, on the simulated terminal.

It registers what the sample trader opens over HTTP, as any bot would, and tells what happens until it is stopped.
Everything it shows was asked of the API, or is in the programs' logs.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

LOOK_S = 0.25

ListPositions = Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
"""The trader's own look at the terminal: tickets, symbols and magic numbers."""

STYLES = {
    "WARNING_L1": "yellow",
    "WARNING_L2": "dark_orange",
    "HEDGED": "red",
    "RECOVERING": "cyan",
    "HEALTHY": "green",
}


class Teller:
    """Tells a child's log lines in words: what was done to which trade, at which market time."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def hear(self, name: str, line: str) -> None:
        """Print a line worth a trader's attention."""
        try:
            entry = json.loads(line)
        except ValueError:
            if line.strip():
                self._console.print(f"[dim]{name}: {escape(line)}[/]")
            return
        if entry.get("ticket") and entry.get("told"):
            self._tell(entry)
        elif entry.get("level") in ("error", "critical"):
            self._console.print(f"[red]{name}: {escape(line)}[/]")

    def _tell(self, entry: Mapping[str, Any]) -> None:
        at = datetime.fromtimestamp(entry.get("market_ms", 0) / 1000, UTC).strftime("%a %d %b %H:%M")
        event, told = str(entry["event"]), escape(str(entry["told"]))
        self._console.print(
            f"[dim]{at}[/]  {entry.get('symbol') or ''} #{entry['ticket']}  [{_style(event, told)}]{event}[/]  {told}"
        )


def _style(event: str, told: str) -> str:
    if event == "transition":
        to = told.partition("→ ")[2].partition(":")[0]
        return STYLES.get(to, "bold")
    return {"action": "blue", "closed": "bold", "refusal": "magenta"}.get(event, "dim")


async def trade(
    client: httpx.AsyncClient,
    positions: ListPositions,
    console: Console,
    stopping: asyncio.Event,
) -> None:
    """Register what the sample trader opens, until ``stopping`` is set."""
    known: set[int] = set()
    while not stopping.is_set():
        try:
            await _register(client, positions, known, console)
        except httpx.TransportError as error:
            console.print(f"[red]the server does not answer: {error}[/]")
        try:
            await asyncio.wait_for(stopping.wait(), LOOK_S)
        except TimeoutError:
            continue


async def _register(client: httpx.AsyncClient, positions: ListPositions, known: set[int], console: Console) -> None:
    for position in await positions():
        ticket = int(position["ticket"])
        if ticket in known or position["magic"] != 0:
            continue
        known.add(ticket)
        answer = await client.post("/dtms/trade/enable", json={"ticket": ticket, "action": "enable"})
        console.print(f"[bold]{answer.json().get('summary') or answer.json().get('message')}[/]")
