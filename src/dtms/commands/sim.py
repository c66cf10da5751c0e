"""`dtms sim`: what a terminal, a broker or a person with a phone can do to a simulated terminal while it runs.

Everything goes through the gateway that the configuration names, as one request among the others; a gateway that
holds a real terminal knows no such request.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtms.commands.options import ConfigPath, Overrides, load
from dtms.domain.errors import DtmsError, Misconfigured

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

app = typer.Typer(help="Do to a simulated terminal what a broker, a failure or a person does.", no_args_is_help=True)
act_app = typer.Typer(help="Act at the account as another person does: on the phone, on the web.", no_args_is_help=True)
app.add_typer(act_app, name="act")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
By = Annotated[str, typer.Option("--by", help="client, mobile or web.")]
Ticket = Annotated[int, typer.Argument(help="The position.")]
LEDGER_ROWS = 20


@app.command()
def faults(as_json: AsJson = False) -> None:
    """List every kind of fault with its meaning and arguments."""
    from dtms.terminal.simulated.faults_control import kinds

    known = kinds()
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    table = _table("kind", "what happens", "arguments", "times")
    for kind in known:
        arguments = ", ".join(f"{name}={value}" for name, value in kind["arguments"].items())
        table.add_row(kind["kind"], kind["meaning"], arguments, str(kind["times"] or "no end"))
    _console().print(table)


@app.command()
def fault(
    kind: Annotated[str, typer.Argument(help="A kind that `dtms sim faults` lists.")],
    config: ConfigPath = None,
    sets: Overrides = None,
    times: Annotated[int | None, typer.Option(min=0, help="How often it happens; 0 without end.")] = None,
    nth: Annotated[int | None, typer.Option(min=1, help="From the nth matching call on.")] = None,
    call: Annotated[list[str] | None, typer.Option(help="A function, or a group: books, history, quotes …")] = None,
    of: Annotated[str | None, typer.Option(help="opening, closing, levels or pending requests alone.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Calls about this symbol alone.")] = None,
    probability: Annotated[float | None, typer.Option(min=0, max=1, help="Of the calls that match.")] = None,
    seed: Annotated[int | None, typer.Option(help="What chance is drawn from.")] = None,
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Seconds of terminal time it goes on.")] = None,
    arg: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of the kind.")] = None,
) -> None:
    """Put a fault in place."""
    given: dict[str, Any] = {
        "times": times,
        "nth": nth,
        "calls": call,
        "of": of,
        "symbol": symbol,
        "probability": probability,
        "seed": seed,
        "for_s": for_s,
    }
    made = {"kind": kind, **{name: value for name, value in given.items() if value is not None}}
    made |= {name: _value(value) for name, value in map(_pair, arg or [])}
    typer.echo(json.dumps(_ask({"do": "add", "fault": made}, config, sets)))


@app.command()
def active(config: ConfigPath = None, sets: Overrides = None) -> None:
    """Show the faults in place, how often each kind happened, and the requests that wait in the terminal."""
    typer.echo(json.dumps(_ask({"do": "faults"}, config, sets), indent=2))


@app.command()
def clear(
    kind: Annotated[str | None, typer.Argument(help="Only this kind.")] = None,
    config: ConfigPath = None,
    sets: Overrides = None,
) -> None:
    """Take faults away; a request that waits already is still carried out."""
    taken = _ask({"do": "clear", **({"kind": kind} if kind else {})}, config, sets)
    typer.echo(f"{taken} taken away")


@app.command("set")
def set_condition(
    name: Annotated[str, typer.Argument(help="A name that `dtms sim conditions` lists, or its last part.")],
    value: Annotated[str, typer.Argument(help="The value, as JSON or as text.")],
    config: ConfigPath = None,
    sets: Overrides = None,
) -> None:
    """Change a permission, a habit of the broker or a condition of a symbol."""
    for changed, now in _ask({"do": "set", "name": name, "value": _value(value)}, config, sets).items():
        typer.echo(f"{changed} = {json.dumps(now)}")


@app.command()
def conditions(config: ConfigPath = None, sets: Overrides = None, as_json: AsJson = False) -> None:
    """List what can be changed while the terminal runs, with the present values."""
    known = _ask({"do": "conditions"}, config, sets)
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    table = _table("name", "value")
    for name, value in known.items():
        table.add_row(name, json.dumps(value))
    _console().print(table)


@app.command()
def advance(
    seconds: Annotated[float, typer.Argument(min=0, help="Seconds of market to pass over.")],
    config: ConfigPath = None,
    sets: Overrides = None,
) -> None:
    """Move the simulated clock on; everything in between happens."""
    typer.echo(f"now {_ask({'do': 'advance', 'seconds': seconds}, config, sets)} ms UTC")


@app.command()
def ledger(
    config: ConfigPath = None,
    sets: Overrides = None,
    last: Annotated[int, typer.Option(min=0, max=1000, help="So many deals and requests.")] = LEDGER_ROWS,
    as_json: AsJson = False,
) -> None:
    """Show the terminal's own books: what really happened, whatever anybody was told."""
    books = _ask({"do": "ledger", "last": last}, config, sets)
    if as_json:
        typer.echo(json.dumps(books, indent=2))
        return
    console = _console()
    console.print(f"balance {books['balance']:.2f}, equity {books['equity']:.2f}", markup=False)
    shown = {
        "positions": ("ticket", "identifier", "symbol", "type", "volume", "price_open", "sl", "tp", "magic", "comment"),
        "orders": ("ticket", "symbol", "type", "state", "volume_current", "price_open", "magic", "comment"),
        "deals": ("ticket", "order", "position_id", "symbol", "type", "entry", "volume", "price", "magic", "reason"),
        "requests": ("request_id", "retcode", "order", "deal", "lots", "price", "reason"),
    }
    for title, names in shown.items():
        table = _table(*names)
        table.title = title
        for row in books[title]:
            table.add_row(*(str(row[name]) for name in names))
        console.print(table)


@act_app.command("close")
def act_close(
    ticket: Ticket,
    config: ConfigPath = None,
    sets: Overrides = None,
    lots: Annotated[float, typer.Option(min=0, help="So much of it; 0 closes all.")] = 0.0,
    by: By = "mobile",
) -> None:
    """Close a position, or a part of it."""
    _told(_ask({"do": "act", "act": "close", "ticket": ticket, "lots": lots, "reason": by}, config, sets))


@act_app.command("modify")
def act_modify(
    ticket: Ticket,
    config: ConfigPath = None,
    sets: Overrides = None,
    stop: Annotated[float | None, typer.Option(min=0, help="The stop; 0 removes it.")] = None,
    target: Annotated[float | None, typer.Option(min=0, help="The target; 0 removes it.")] = None,
    by: By = "mobile",
) -> None:
    """Set or remove stop and target."""
    levels = {name: value for name, value in (("sl", stop), ("tp", target)) if value is not None}
    _told(_ask({"do": "act", "act": "modify", "ticket": ticket, "reason": by, **levels}, config, sets))


@act_app.command("open")
def act_open(
    symbol: Annotated[str, typer.Argument(help="The symbol, as the broker spells it.")],
    side: Annotated[str, typer.Argument(help="BUY or SELL.")],
    lots: Annotated[float, typer.Argument(min=0, help="The volume.")],
    config: ConfigPath = None,
    sets: Overrides = None,
    stop: Annotated[float, typer.Option(min=0, help="The stop.")] = 0.0,
    target: Annotated[float, typer.Option(min=0, help="The target.")] = 0.0,
    by: By = "mobile",
) -> None:
    """Open a position at the market."""
    levels = {"sl": stop, "tp": target}
    asked = {"do": "act", "act": "open", "symbol": symbol, "side": side.upper(), "lots": lots, "reason": by, **levels}
    _told(_ask(asked, config, sets))


def _told(outcome: Mapping[str, Any]) -> None:
    typer.echo(f"retcode {outcome['retcode']}, order {outcome['order']}, deal {outcome['deal']}")


def _ask(message: Mapping[str, Any], path: Path | None, sets: list[str] | None) -> Any:
    """Ask the simulated terminal behind the configured gateway.

    Raises:
        DtmsError: with what to do, when nobody answers or the terminal is no simulation.
        Misconfigured: when the message is wrong.
    """
    from dtms.adapters.remote_link import RemoteLink
    from dtms.config.secret import terminal_secret

    config = load(path, sets)
    link = RemoteLink(config.terminal.host, config.terminal.port, terminal_secret(config))
    try:
        answer = asyncio.run(link.call({"call": "simulation", **message}))
    finally:
        link.close()
    if "value" in answer:
        return answer["value"]
    if answer.get("refused") == "unknown_call":
        raise DtmsError("The gateway holds a real terminal: nothing can be done to it from here.")
    raise Misconfigured(str(answer["message"]))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise Misconfigured(f"{text}: must be NAME=VALUE")
    return name.strip(), value


def _value(text: str) -> Any:
    """Read a value as JSON, and what is none as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(*names: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _console() -> "Console":
    from rich.console import Console

    # A pipe has no width of its own: what reads it should not get cut cells.
    return Console() if sys.stdout.isatty() else Console(width=200)
