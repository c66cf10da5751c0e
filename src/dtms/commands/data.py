"""`dtms data`: recordings for the simulated terminal, and what comes from outside."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtms.commands.options import ConfigPath, Overrides, load
from dtms.domain.errors import Misconfigured

if TYPE_CHECKING:
    from dtms.commands.fetching import Order
    from dtms.commands.fetching_from import FromExchange, FromTerminal
    from dtms.config import Config

app = typer.Typer(help="Recorded market data for the simulated terminal.", no_args_is_help=True)

TIMEFRAMES_MIN: Final = {"M1": 1, "M5": 5, "M15": 15, "H1": 60}
DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line; times are UTC ms, None where nothing was said."""

    symbol: str
    minutes: int
    from_ms: int | None
    to_ms: int | None
    target: Path | None
    force: bool


@app.command("import")
def import_data(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Bars exported by MetaTrader (CSV).")],
    symbol: Annotated[str, typer.Option(help="The symbol of the bars.")],
    digits: Annotated[int, typer.Option(min=0, max=10, help="Decimal places of its prices.")],
    server_clock: Annotated[str, typer.Option(help="utc, utc+N, utc-N or new_york+7.")] = "new_york+7",
    target: Annotated[Path | None, typer.Option(help="Where to write; default: beside FILE, .csv.gz.")] = None,
) -> None:
    """Make a recording for the simulated terminal from bars that MetaTrader exported."""
    from dtms.terminal.simulated.importer import ImportOptions, import_export

    written = target or file.with_name(f"{file.stem}.recording.csv.gz")
    options = ImportOptions(symbol=symbol, digits=digits, server_clock=server_clock)
    try:
        bars = import_export(file, written, options)
    except (ValueError, OSError) as error:
        raise Misconfigured(f"{file}: {error}") from None
    typer.echo(f"{written}: {len(bars.ms)} bars of {bars.minutes} minutes")


@app.command("fetch")
def fetch_data(
    symbol: Annotated[str | None, typer.Argument(help="Whose bars; without it calendar and VIX alone.")] = None,
    config: ConfigPath = None,
    sets: Overrides = None,
    timeframe: Annotated[str, typer.Option(help="M1, M5, M15 or H1.")] = "M5",
    since: Annotated[
        str | None, typer.Option("--from", help="First day (UTC); default 30 days before the end.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The day after the last (UTC); default: now.")] = None,
    exchange: Annotated[
        str | None, typer.Option(help="Fetch from a crypto exchange instead, like binance:BTC/USDT.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option(help="Where to write; default: recordings in the data directory.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a recording that is there.")] = False,
) -> None:
    """Download bars from the terminal or an exchange into a recording, and calendar and VIX where URLs are configured.

    A download that was broken off goes on where it was when the same command is given again.
    """
    loaded = load(config, sets)
    failed = asyncio.run(_fetch_documents(loaded))
    if symbol is not None:
        minutes = TIMEFRAMES_MIN.get(timeframe.upper())
        if minutes is None:
            raise Misconfigured(f"--timeframe {timeframe}: must be one of {', '.join(TIMEFRAMES_MIN)}")
        asyncio.run(_fetch_bars(loaded, Wish(symbol, minutes, _moment(since), _moment(until), target, force), exchange))
    if failed:
        raise typer.Exit(1)


async def _fetch_bars(config: "Config", wish: Wish, exchange: str | None) -> None:
    from dtms.commands.fetching import download

    source, close = _source(config, wish, exchange)
    try:
        now_ms = await source.connect()
        order = _order(config, wish, source.source, source.digits, now_ms)
        bars = await download(order, source.ask, lambda told: typer.echo(told, err=True))
    finally:
        close()
    typer.echo(f"{order.target}: {len(bars.ms)} bars of {bars.minutes} minutes from {order.source}")


def _source(
    config: "Config", wish: Wish, exchange: str | None
) -> "tuple[FromExchange | FromTerminal, Callable[[], None]]":
    from dtms.commands.fetching_from import FromExchange, FromTerminal

    if exchange is not None:
        return FromExchange(exchange, wish.minutes, timeout_s=config.flow.timeout_s), lambda: None
    from dtms.bootstrap.ground import link_of

    link = link_of(config)
    return FromTerminal(link, config, wish.symbol, wish.minutes), link.close


def _order(config: "Config", wish: Wish, source: str, digits: int, now_ms: int) -> "Order":
    """Fill in what was not said.

    Raises:
        Misconfigured: for a span that is none, or a target that is there already.
    """
    from dtms.commands.fetching import MINUTE_MS, Order, refuse_overwriting

    step_ms = wish.minutes * MINUTE_MS
    to_ms = min(now_ms, wish.to_ms if wish.to_ms is not None else now_ms) // step_ms * step_ms
    from_ms = wish.from_ms if wish.from_ms is not None else to_ms - int(timedelta(days=DAYS).total_seconds() * 1000)
    if from_ms >= to_ms:
        raise Misconfigured(f"--from {_day(from_ms)} must lie before --to {_day(to_ms)}")
    name = next(name for name, minutes in TIMEFRAMES_MIN.items() if minutes == wish.minutes)
    # A name that does not change with the hour, so that the same command finds what was begun.
    ends = _day(to_ms) if wish.to_ms is not None else "now"
    begins = _day(from_ms) if wish.from_ms is not None else f"{DAYS}d"
    default = config.data_dir / "recordings" / f"{wish.symbol}_{name}_{begins}_{ends}.csv.gz"
    target = wish.target or default
    if not target.name.endswith(".csv.gz"):
        raise Misconfigured(f"--target {target}: must end in .csv.gz")
    refuse_overwriting(target, force=wish.force)
    return Order(
        symbol=wish.symbol,
        minutes=wish.minutes,
        from_ms=from_ms // step_ms * step_ms,
        to_ms=to_ms,
        source=source,
        target=target,
        digits=digits,
    )


async def _fetch_documents(config: "Config") -> bool:
    """Fetch calendar and VIX where URLs are configured, and say what came; True when one failed."""
    from dtms.adapters.clocks import SystemClock
    from dtms.adapters.sources import calendar_of, closes_of
    from dtms.adapters.sources_documents import is_url

    failed = False
    for document in (calendar_of(config, SystemClock()), closes_of(config, SystemClock())):
        if document is None or not is_url(document.location):
            continue
        await document.refetch()
        failed = failed or document.failure is not None
        typer.echo(f"{document.what}: {document.failure or f'fetched from {document.shown}'}")
    return failed


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text}: must be a day or time like 2026-01-31 or 2026-01-31T12:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%d")
