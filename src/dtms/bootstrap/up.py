"""``dtms up``: the programs of one installation together."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx
from rich.console import Console
from rich.markup import escape

from dtms.bootstrap.ground import link_of
from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.domain.errors import BrokerUnavailable, DtmsError
from dtms.ops.household import Ended, Household, IsReady, Program
from dtms.server.run import on_signals

GATEWAY, SERVER, MAIN = "terminal", "dtms", "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What all programs are started with."""

    common: Sequence[str]
    """Options of every program."""
    gateway: Sequence[str] = ()
    server: Sequence[str] = ()
    main: Sequence[str] = ()


def programs(config: Config, given: Given) -> Sequence[Program]:
    """Return the programs in the order in which one needs the other."""
    server, main = _url(config.api.host, config.api.port), _url(config.main.host, config.main.port)
    return (
        Program(name=GATEWAY, arguments=["terminal", *given.common, *given.gateway], is_ready=gateway_answers(config)),
        Program(
            name=SERVER, arguments=["serve", *given.common, *given.server], is_ready=answers(server, "/dtms/health")
        ),
        Program(name=MAIN, arguments=["main", *given.common, *given.main], is_ready=answers(main, "/health")),
    )


def up(config: Config, arguments: Sequence[str]) -> int:
    """Run the programs until stopped; ``arguments`` are the options that each is given. Return the exit code."""
    console = Console(soft_wrap=True)
    environ = dict(os.environ) | {"DTMS_TERMINAL_SECRET": terminal_secret(config), "PYTHONUNBUFFERED": "1"}
    household = Household(
        programs(config, Given(common=arguments)), environ=environ, hear=_tell(console), console=console
    )
    try:
        return asyncio.run(_up(household, config, console))
    except DtmsError as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return 1


async def _up(household: Household, config: Config, console: Console) -> int:
    stopping = asyncio.Event()
    code = 0
    with on_signals(stopping.set):
        try:
            await household.start(stopping)
            if not stopping.is_set():
                console.print(f"[bold green]dtms is up[/]: {_url(config.api.host, config.api.port)} protects, ", end="")
                console.print(f"{_url(config.main.host, config.main.port)} trades (Ctrl-C stops both)")
            await household.keep(stopping)
        except Ended as ended:
            console.print(f"[red]{escape(str(ended))}[/]")
            code = 2
        finally:
            code = max(code, await household.stop())
    console.print("stopped")
    return code


def _url(host: str, port: int) -> str:
    return f"http://{host}:{port}"


def _tell(console: Console) -> Callable[[str, str], None]:
    return lambda name, line: console.print(f"[dim]{name}[/] {escape(line)}")


def gateway_answers(config: Config) -> IsReady:
    """Return a look at whether the gateway answers."""

    async def is_ready() -> str | None:
        link = link_of(config)
        try:
            await link.call({"call": "clock"})
        except BrokerUnavailable as error:
            return str(error)
        except DtmsError as error:
            return f"it does not answer: {error}"
        finally:
            link.close()
        return None

    return is_ready


def answers(url: str, path: str) -> IsReady:
    """Return a look at whether a program's health answers 200."""

    async def is_ready() -> str | None:
        try:
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=5.0) as client:
                answer = await client.get(path)
        except httpx.HTTPError:
            return "starting"
        return None if answer.status_code == httpx.codes.OK else _reason(answer)

    return is_ready


def _reason(answer: httpx.Response) -> str:
    try:
        body: Mapping[str, object] = answer.json()
    except ValueError:
        return f"answers {answer.status_code}"
    reasons = body.get("reasons")
    return "; ".join(map(str, reasons)) if isinstance(reasons, list) and reasons else str(body.get("message") or "")
