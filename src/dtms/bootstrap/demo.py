"""The demo: every program on the simulated terminal, and a trader's own programs beside them."""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from dtms.adapters.remote_link import RemoteLink
from dtms.bootstrap.ground import link_of
from dtms.bootstrap.up import Given, programs
from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.domain.errors import DtmsError
from dtms.ops.demo import ListPositions, Teller, trade
from dtms.ops.demo_main import SecondTrader
from dtms.ops.household import Ended, Household
from dtms.server.listen import bind
from dtms.server.run import on_signals
from dtms.terminal.protocol import POSITION_FIELDS

DEMO_FILE = Path(__file__).parent.parent / "recordings" / "demo.json"
DEMO_POLL_MS = 50
"""At 600 times real time this is half a minute of market."""


def demo(config: Config, *, minutes: float | None, rate: float | None, fresh: bool = False) -> int:
    """Run the demo until it is stopped, or for some minutes; return its exit code."""
    folder = config.data_dir / "demo"
    # A program that runs there already would be taken for the demo's own, and given its trades.
    bind(config.api.host, config.api.port).close()
    bind(config.main.host, config.main.port, "main").close()
    bind(config.terminal.host, config.terminal.port, "terminal").close()
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(soft_wrap=True)
    try:
        return asyncio.run(_demo(config, _demo_terminal(folder, rate), folder, minutes, console))
    except (Ended, DtmsError) as error:
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
    environ = dict(os.environ) | {"DTMS_TERMINAL_SECRET": terminal_secret(config), "PYTHONUNBUFFERED": "1"}
    wanted = programs(config, _given(config, terminal, folder))
    household = Household(wanted, environ=environ, hear=Teller(console).hear, console=console)
    server, main = (f"http://{at.host}:{at.port}" for at in (config.api, config.main))
    link, stopping = link_of(config), asyncio.Event()
    try:
        with on_signals(stopping.set):
            await household.start(stopping)
            told = "Ctrl-C stops, and starting again goes on"
            console.print(f"[bold green]dtms is protecting at {server}[/], trading at {main} ({told})")
            if minutes is not None:
                asyncio.get_running_loop().call_later(minutes * 60, stopping.set)
            async with _client(server) as first, _client(main) as second:
                traders = (
                    trade(first, _positions(link), console, stopping),
                    SecondTrader(second, console).run(stopping),
                )
                async with asyncio.TaskGroup() as tasks:
                    for trader in traders:
                        tasks.create_task(trader)
                    tasks.create_task(household.keep(stopping))
    except* Ended as ended:
        raise ended.exceptions[0] from None
    finally:
        link.close()
        code = await household.stop()
    console.print("stopped; everything is kept for the next start")
    return code


def _given(config: Config, terminal: Path, folder: Path) -> Given:
    """Return the options of each program: the simulated terminal, a fast market, acting by itself."""
    values: Mapping[str, object] = {
        "data_dir": folder,
        "terminal.port": config.terminal.port,
        "terminal.module": "sim",
        "terminal.sim_config": terminal,
        "store.url": f"sqlite:///{(folder / 'dtms_trades.db').as_posix()}",
        "log.format": "json",
        "cadence.tick_poll_ms": DEMO_POLL_MS,
        "api.port": config.api.port,
        "main.port": config.main.port,
        "client.api_url": f"http://{config.api.host}:{config.api.port}",
        "mode": "auto",
    }
    return Given(common=[part for key, value in values.items() for part in ("--set", f"{key}={value}")])


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=10.0)


def _positions(link: RemoteLink) -> ListPositions:
    async def look() -> Sequence[Mapping[str, Any]]:
        """Look at the terminal as a trader's own program does: without sending anything."""
        answer = await link.call({"call": "positions_get"})
        return [dict(zip(POSITION_FIELDS, row, strict=True)) for row in answer.get("value") or ()]

    return look
