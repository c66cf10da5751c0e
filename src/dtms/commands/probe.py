"""Finding out what a broker really does, by small orders on one symbol of a demo account."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtms.commands.options import ConfigPath, Overrides, load

if TYPE_CHECKING:
    from rich.console import Console

    from dtms.config import Config
    from dtms.probe.findings import Report
    from dtms.probe.run import Ordered, Tell

INCOMPLETE: Final = 3
NOT_CLEAN: Final = 4
WIDE: Final = 200


def probe(
    symbol: Annotated[str, typer.Argument(help="A liquid symbol, as the broker spells it, without positions.")],
    config: ConfigPath = None,
    sets: Overrides = None,
    real: Annotated[bool, typer.Option("--real", help="Also on a real account, with the smallest volume.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="This experiment alone; may be given several times.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Find out what the connected broker really does; some 60 small orders, all closed again.

    Ends with 0 when everything was found out, 3 when something was not, 4 when something could not be closed.
    """
    from dtms.probe.run import EXPERIMENTS, Ordered

    if unknown := [name for name in only or () if name not in EXPERIMENTS]:
        raise typer.BadParameter(f"no experiment is called {unknown[0]!r}; there are {', '.join(EXPERIMENTS)}")
    ordered = Ordered(symbol=symbol, real=real, only=tuple(only or ()))
    report = asyncio.run(_run(load(config, sets), ordered, _tell))
    _show(report, as_json=as_json)
    raise typer.Exit(NOT_CLEAN if not report.is_clean else 0 if report.is_complete else INCOMPLETE)


def _tell(line: str) -> None:
    """Show what is being found out, beside what is printed at the end."""
    typer.echo(f"  {line}", err=True)


async def _run(config: "Config", ordered: "Ordered", tell: "Tell") -> "Report":
    """Put store, gateway and clock together, and probe while holding the engine's authority.

    Raises:
        DtmsError: with what stands in the way.
    """
    from dtms.adapters.clocks import SystemClock, TerminalClock
    from dtms.adapters.mt5 import Mt5Broker
    from dtms.adapters.remote_link import RemoteLink
    from dtms.adapters.store_sql.leases import this_holder
    from dtms.adapters.store_sql.store import SqlStore
    from dtms.config.secret import terminal_secret
    from dtms.domain.errors import Misconfigured
    from dtms.probe.authority import held
    from dtms.probe.requests import PREFIX
    from dtms.probe.run import Probe

    if config.magic_prefix == PREFIX:
        raise Misconfigured(f"magic_prefix = {PREFIX} is the probe's own: choose another")
    link = RemoteLink(config.terminal.host, config.terminal.port, terminal_secret(config))
    terminal_clock = TerminalClock(link)
    store = None
    try:
        await terminal_clock.synchronise()
        clock = terminal_clock if terminal_clock.is_simulated else SystemClock()
        broker = Mt5Broker(
            link,
            clock,
            magic_prefix=config.magic_prefix,
            expected_login=config.mt5.login,
            expected_server=config.mt5.server,
        )
        store = SqlStore(config.store.url, clock)
        await store.open()
        async with held(store, broker, clock, this_holder()) as lease:
            probing = Probe(link=link, broker=broker, store=store, clock=clock, lease=lease, tell=tell)
            return await probing.run(ordered)
    finally:
        if store is not None:
            await store.close()
        link.close()


def _show(report: "Report", *, as_json: bool) -> None:
    from dtms.probe.shown import table_of, warnings_of

    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
        return
    console = _console()
    console.print(table_of(report))
    for warning in warnings_of(report):
        console.print(f"! {warning}", style="yellow", markup=False)


def _console() -> "Console":
    from rich.console import Console

    # A pipe has no width of its own: what reads it should not get cut cells.
    return Console() if sys.stdout.isatty() else Console(width=WIDE)
