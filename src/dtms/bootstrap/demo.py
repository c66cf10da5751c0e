"""The demo: every program on the simulated terminal, and a trader's own programs beside them."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from dtms.adapters.remote_link import RemoteLink
from dtms.bootstrap.ground import link_of
from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.domain.errors import DtmsError
from dtms.ops.demo import DemoFailed, ListPositions, Teller, trade, wait_until_ready
from dtms.ops.processes import Child, start, stop
from dtms.server.listen import bind
from dtms.server.run import on_signals
from dtms.terminal.protocol import POSITION_FIELDS

DEMO_FILE = Path(__file__).parent.parent / "recordings" / "demo.json"
DEMO_POLL_MS = 50
"""At 600 times real time this is half a minute of market."""


def demo(config: Config, *, minutes: float | None, rate: float | None, fresh: bool = False) -> int:
    """Run the demo until it is stopped, or for some minutes; return its exit code."""
    folder = config.data_dir / "demo"
    # A server or gateway that runs there already would be taken for the demo's own, and given its trades.
    bind(config.api.host, config.api.port).close()
    bind(config.terminal.host, config.terminal.port, "terminal").close()
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(soft_wrap=True)
    try:
        return asyncio.run(_demo(config, _demo_terminal(folder, rate), folder, minutes, console))
    except (DemoFailed, DtmsError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1


def _demo_terminal(folder: Path, rate: float | None) -> Path:
    """Write the simulated terminal's file; it goes on from its journal when there is one."""
    described = json.loads(DEMO_FILE.read_text(encoding="utf-8"))
    described |= {"journal": str((folder / "terminal.jsonl").resolve())} | ({"rate": rate} if rate else {})
    path = folder / "terminal.json"
    path.write_text(json.dumps(described, indent=1), encoding="utf-8")
    return path


async def _demo(config: Config, terminal: Path, folder: Path, minutes: float | None, console: Console) -> int:
    teller = Teller(console)
    environ = dict(os.environ) | {"DTMS_TERMINAL_SECRET": terminal_secret(config), "PYTHONUNBUFFERED": "1"}
    common = ["--set", f"data_dir={folder}", "--set", f"terminal.port={config.terminal.port}"]
    sim = ["--set", "terminal.module=sim", "--set", f"terminal.sim_config={terminal}"]
    own = ["--set", f"store.url=sqlite:///{(folder / 'dtms_trades.db').as_posix()}", "--set", "log.format=json"]
    own += ["--set", f"cadence.tick_poll_ms={DEMO_POLL_MS}", "--port", str(config.api.port), "--mode", "auto"]
    children: list[Child] = []
    link = link_of(config)
    stopping = asyncio.Event()
    try:
        with on_signals(stopping.set):
            children.append(start("terminal", ["terminal", *common, *sim], environ=environ, heard=teller.hear))
            children.append(start("dtms", ["serve", *common, *sim, *own], environ=environ, heard=teller.hear))
            url = f"http://{config.api.host}:{config.api.port}"
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10.0) as client:
                await wait_until_ready(client, children, console, stopping)
                console.print(f"[bold green]dtms is protecting at {url}[/] (Ctrl-C stops, and starting again goes on)")
                await _for_minutes(trade(client, _positions(link), children, console, stopping), minutes, stopping)
    finally:
        link.close()
        codes = [await asyncio.to_thread(stop, child) for child in reversed(children)]
    console.print("stopped; everything is kept for the next start")
    return max(codes, default=0)


async def _for_minutes(work: Awaitable[None], minutes: float | None, stopping: asyncio.Event) -> None:
    if minutes is not None:
        asyncio.get_running_loop().call_later(minutes * 60, stopping.set)
    await work


def _positions(link: RemoteLink) -> ListPositions:
    async def look() -> Sequence[Mapping[str, Any]]:
        """Look at the terminal as a trader's own program does: without sending anything."""
        answer = await link.call({"call": "positions_get"})
        return [dict(zip(POSITION_FIELDS, row, strict=True)) for row in answer.get("value") or ()]

    return look
