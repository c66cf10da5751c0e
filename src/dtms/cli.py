"""The commands. What is heavy is imported by the command that needs it, so that ``dtms --help`` answers at once."""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dtms import __version__
from dtms.commands import data, probe, sim, store
from dtms.commands.options import ConfigPath, Overrides, load
from dtms.domain.errors import DtmsError, Misconfigured

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dtms.config import Config

MISCONFIGURED: Final = 2
INTERRUPTED: Final = 130

app = typer.Typer(
    help="Defensive Trade Management System: protects open MetaTrader 5 positions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
config_app = typer.Typer(help="Show the effective configuration with its sources, or its schema.")
app.add_typer(config_app, name="config")
app.add_typer(data.app, name="data")
app.add_typer(sim.app, name="sim")

ModeOption = Annotated[str | None, typer.Option(help="observe, advise or auto.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]
Url = Annotated[str | None, typer.Option(help="Where the DTMS server is; default DTMS_API_URL.")]


def main() -> None:
    """Run a command; what the user can mend is one line, and exit code 2."""
    try:
        app()
    except DtmsError as error:
        typer.secho(f"dtms: {error}", fg=typer.colors.RED, err=True)
        sys.exit(MISCONFIGURED if isinstance(error, Misconfigured) else 1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@app.callback(invoke_without_command=True)
def version(shown: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if shown:
        typer.echo(f"dtms {__version__}")
        raise typer.Exit


@app.command()
def serve(
    config: ConfigPath = None, sets: Overrides = None, host: Host = None, port: Port = None, mode: ModeOption = None
) -> None:
    """Run the DTMS server: the one instance of the protection engine, and its HTTP API."""
    loaded = load(config, sets, {"api.host": host, "api.port": port, "mode": mode})
    _configure_logs(loaded, "dtms")
    from dtms.bootstrap.engine import serve as run

    raise typer.Exit(run(loaded))


@app.command()
def terminal(
    config: ConfigPath = None,
    sets: Overrides = None,
    module: Annotated[str | None, typer.Option(help="sim or metatrader5.")] = None,
    port: Port = None,
) -> None:
    """Run the terminal gateway: the one process through which every request to the terminal passes."""
    loaded = load(config, sets, {"terminal.module": module, "terminal.port": port})
    _configure_logs(loaded, "terminal")
    from dtms.bootstrap.terminal import run_terminal_process

    raise typer.Exit(run_terminal_process(loaded))


@app.command("main")
def main_api(config: ConfigPath = None, sets: Overrides = None, host: Host = None, port: Port = None) -> None:
    """Run the main API: executions, the managers beside DTMS, the registry, and what watches for new positions."""
    loaded = load(config, sets, {"main.host": host, "main.port": port})
    _configure_logs(loaded, "main")
    from dtms.bootstrap.main import run_main

    raise typer.Exit(run_main(loaded))


@app.command()
def up(config: ConfigPath = None, sets: Overrides = None, mode: ModeOption = None) -> None:
    """Run the gateway, the DTMS server and the main API together: in order, restarted when they die, stopped whole."""
    loaded = load(config, sets, {"mode": mode})
    _configure_logs(loaded, "up")
    from dtms.bootstrap.up import up as run

    given = [*(["--config", str(config)] if config else []), *(part for one in sets or [] for part in ("--set", one))]
    raise typer.Exit(run(loaded, [*given, *(["--set", f"mode={mode}"] if mode else [])]))


@app.command()
def demo(
    config: ConfigPath = None,
    sets: Overrides = None,
    port: Port = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="End after so many minutes; default: run on.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="How much faster than real time the market plays.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the last demo instead of going on with it.")] = False,
) -> None:
    """Show dtms at work: the simulated terminal, recorded market data, sample trades and the overview page."""
    loaded = load(config, sets, {"api.port": port}, {"mode": "auto"})
    _configure_logs(loaded, "demo")
    from dtms.bootstrap.demo import demo as run

    raise typer.Exit(run(loaded, minutes=minutes, rate=rate, fresh=fresh))


@app.command()
def bench(
    as_json: AsJson = False,
    only: Annotated[list[str] | None, typer.Option(help="Measure this part alone; may be given several times.")] = None,
) -> None:
    """Measure registrations, queries and cycles on this machine."""
    from dtms.bench import run

    raise typer.Exit(run(as_json, only or ()))


@app.command()
def status(config: ConfigPath = None, sets: Overrides = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show how the running DTMS server stands."""
    body = _ask(load(config, sets, {"client.api_url": url}), "/dtms/status")
    if as_json:
        typer.echo(json.dumps(body, indent=2))
        return
    system = body["dtms_status"]
    table = _table("", "")
    for name in ("mode", "halted", "active_trades", "uptime_text", "last_check", "market_time", "intents_unknown"):
        table.add_row(name.replace("_", " "), str(system[name]))
    for name, count in system["trades_by_state"].items():
        table.add_row(name, str(count))
    console = _console()
    console.print(body["summary"], markup=False)
    console.print(table)
    for warning in system["warnings"]:
        console.print(f"! {warning}", style="yellow", markup=False)


@app.command()
def trades(
    config: ConfigPath = None,
    sets: Overrides = None,
    url: Url = None,
    state: Annotated[str | None, typer.Option(help="A state, or any; default: active trades.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the trades that the running DTMS server protects."""
    loaded = load(config, sets, {"client.api_url": url})
    listed: list[dict[str, Any]] = []
    cursor: int | None = None
    while True:
        body = _ask(loaded, "/dtms/trades", {"state": state, "cursor": cursor, "limit": 500})
        listed += body["trades"]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
    else:
        console = _console()
        console.print(_trade_table(listed))
        for trade in listed:
            for warning in trade["trade_info"]["warnings"]:
                console.print(f"{trade['ticket']}: {warning}", style="yellow", markup=False)


app.command()(store.backup)
app.command()(store.restore)
app.command()(store.verify)
app.command()(probe.probe)


@config_app.callback(invoke_without_command=True)
def show_config(
    context: typer.Context, config: ConfigPath = None, sets: Overrides = None, as_json: AsJson = False
) -> None:
    """Print every effective value and its source; secrets are masked."""
    if context.invoked_subcommand is not None:
        return
    entries = load(config, sets, {}).entries
    if as_json:
        shown = {entry.key: {"value": entry.shown, "source": entry.source} for entry in entries}
        typer.echo(json.dumps(shown, indent=2))
        return
    from rich.text import Text

    table = _table("key", "value", "source")
    for entry in entries:
        style = "dim" if entry.source == "default" else "bold"
        table.add_row(entry.key, Text(json.dumps(entry.shown)), Text(entry.source), style=style)
    _console().print(table)


@config_app.command("schema")
def show_schema() -> None:
    """Print the JSON schema of the configuration file."""
    from dtms.config import schema

    typer.echo(json.dumps(schema(), indent=2))


def _configure_logs(config: "Config", service: str) -> None:
    from dtms import logs

    logs.configure(config.log.level, config.log.format, service)


def _ask(config: "Config", path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Ask the DTMS server.

    Raises:
        DtmsError: with what to do, when it does not answer or refuses.
    """
    import httpx

    base = config.client.api_url.rstrip("/")
    sent = {name: str(value) for name, value in (query or {}).items() if value is not None}
    try:
        answer = httpx.get(f"{base}{path}", params=sent, timeout=config.client.timeout_s, trust_env=False)
        body = answer.json()
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DtmsError(
            f"No DTMS server answers at {base} ({reason}). Start it with: dtms serve; "
            "or say where it is with --url or DTMS_API_URL."
        ) from None
    except ValueError:
        raise DtmsError(f"What answers at {base} is not a DTMS server.") from None
    if not isinstance(body, dict) or answer.status_code != httpx.codes.OK:
        said = body.get("message") if isinstance(body, dict) else None
        raise DtmsError(f"{base}{path} answered {answer.status_code}: {said or 'no reason given'}")
    return body


def _trade_table(listed: list[dict[str, Any]]) -> "Table":
    table = _table("ticket", "symbol", "side", "state", "score", "R", "P/L", "price", "stop")
    for trade in listed:
        info = trade["trade_info"]
        figures = (info["current_score"], info["r_multiple"], info["profit"])
        table.add_row(
            str(trade["ticket"]),
            trade["symbol"],
            trade["direction"],
            trade["state"],
            *("–" if figure is None else f"{figure:+.2f}" for figure in figures),
            *("–" if price is None else f"{price:.10g}" for price in (info["current_price"], info["sl"])),
        )
    return table


def _table(*names: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, show_header=any(names))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _console() -> "Console":
    from rich.console import Console

    # A pipe has no width of its own: what reads it should not get cut cells.
    return Console() if sys.stdout.isatty() else Console(width=200)
