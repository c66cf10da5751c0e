"""Real programs for the tests: a gateway and a server as processes of their own, in a folder of their own.

``Site`` is one installation: free ports, a data folder, the simulated terminal's file. Its programs are started,
stopped, killed and started again as an operator would; everything still running at the end is ended.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pysqlite3.dbapi2 as driver

from dtms.terminal.protocol import POSITION_FIELDS, RESULT_FIELDS, TICK_FIELDS, decode, encode
from dtms.terminal.simulated.constants import MT5

HOST = "127.0.0.1"
SECRET = "a-secret-of-the-tests-" + "x" * 20
EURUSD, BTCUSD = "EURUSD.m", "BTCUSD.m"
READY_S = 40.0
CONSOLE = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
"""What Ctrl-C sends; Windows can send only its sibling to another group."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str, within_s: float = READY_S, every_s: float = 0.05) -> None:
    """Wait for a condition; fail with ``what`` when it does not come."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"waited {within_s:.0f} s in vain: {what}"
        time.sleep(every_s)


class Program:
    """One ``python -m dtms …`` in a process group of its own, with everything that it wrote."""

    def __init__(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dtms", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env=clean_environ() | dict(environ or {}),
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            start_new_session=os.name != "nt",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip() for line in self.process.stdout)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The structured log lines."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry.get("event") == name]

    def family(self) -> list[psutil.Process]:
        """Return the process and all that it started."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def interrupt(self, within_s: float = 12.0) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(CONSOLE)
        return self.ended(within_s)

    def ended(self, within_s: float) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(within_s)
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """End it as a power cut does, children included."""
        for process in self.family():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait(10)
        self._reader.join(5)


def clean_environ() -> dict[str, str]:
    """Return this process's environment without what would configure dtms."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DTMS_", "MT5_"))}
    return kept | {"PYTHONUNBUFFERED": "1"}


def market(start: str, **more: Any) -> dict[str, Any]:
    """Describe a simulated terminal on the recordings that come with dtms."""
    symbols = [
        {"name": name, "like": name[:6], "recording": f"shipped:{name[:6]}_H1_2017"} for name in (EURUSD, BTCUSD)
    ]
    return {"start": start, "rate": 1, "account": {"balance": 250_000}, "symbols": symbols, **more}


class Site:
    """One installation with its programs."""

    def __init__(self, folder: Path, terminal: Mapping[str, Any], **settings: Any) -> None:
        self.folder = folder
        self.api_port, self.gateway_port, self.main_port = free_port(), free_port(), free_port()
        self.settings = {"log.format": "json", "mode": "auto", **settings}
        self.programs: list[Program] = []
        self.server_environ: Mapping[str, str] = {}
        """Added to the environment of the servers that are started."""
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "terminal_secret").write_text(SECRET, encoding="ascii")
        self.journal = folder / "terminal.jsonl"
        self.describe(terminal)
        self.http = httpx.Client(base_url=f"http://{HOST}:{self.api_port}", trust_env=False, timeout=15.0)
        self.main = httpx.Client(base_url=f"http://{HOST}:{self.main_port}", trust_env=False, timeout=15.0)

    def describe(self, terminal: Mapping[str, Any]) -> None:
        """Write the simulated terminal's file."""
        described = dict(terminal) | {"journal": str(self.journal)}
        (self.folder / "terminal.json").write_text(json.dumps(described), encoding="utf-8")

    # --- programs --------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Program:
        """Start any command in this installation's folder."""
        program = Program(arguments, self.folder, environ)
        self.programs.append(program)
        return program

    def _sets(self, **settings: Any) -> list[str]:
        values = {"data_dir": self.data, "terminal.port": self.gateway_port, **self.settings, **settings}
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    def start_terminal(self, environ: Mapping[str, str] | None = None) -> Program:
        sets = self._sets(**{"terminal.sim_config": self.folder / "terminal.json"})
        return self.run("terminal", *sets, environ=environ)

    def start_server(self, *more: str, **settings: Any) -> Program:
        store = f"sqlite:///{(self.data / 'dtms_trades.db').as_posix()}"
        own: dict[str, Any] = {"store.url": store, "api.port": self.api_port, **settings}
        return self.run("serve", *self._sets(**own), *more, environ=self.server_environ)

    def start_main(self, environ: Mapping[str, str] | None = None, **settings: Any) -> Program:
        store = f"sqlite:///{(self.data / 'dtms_trades.db').as_posix()}"
        own: dict[str, Any] = {
            "store.url": store,
            "main.port": self.main_port,
            "client.api_url": f"http://{HOST}:{self.api_port}",
            **settings,
        }
        return self.run("main", *self._sets(**own), environ=environ)

    def wait_main(self, program: Program) -> None:
        """Wait until the main API is ready."""

        def ready() -> bool:
            assert program.process.poll() is None, f"the main program ended:\n{program.text}"
            try:
                return self.main.get("/health").status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(ready, "the main API is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def start_all(self) -> tuple[Program, Program, Program]:
        """Start the three programs and wait until all are ready."""
        terminal, server, main = self.start_terminal(), self.start_server(), self.start_main()
        self.wait_ready(server)
        self.wait_main(main)
        return terminal, server, main

    def start(self, **settings: Any) -> tuple[Program, Program]:
        """Start both and wait until the server is ready."""
        terminal, server = self.start_terminal(), self.start_server(**settings)
        self.wait_ready(server)
        return terminal, server

    def wait_ready(self, server: Program) -> None:
        def ready() -> bool:
            assert server.process.poll() is None, f"the server ended:\n{server.text}"
            return self.status_of("/dtms/health") == 200

        try:
            wait_until(ready, "ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(line for program in self.programs for line in program.lines[-12:])

    def close(self) -> None:
        """End everything that still runs."""
        self.http.close()
        self.main.close()
        for program in reversed(self.programs):
            program.kill()

    # --- asking ----------------------------------------------------------------------------------------------------

    def status_of(self, path: str) -> int:
        """Return a GET's status; 0 when nobody answers."""
        try:
            return self.http.get(path).status_code
        except httpx.TransportError:
            return 0

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET what must answer 200."""
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.http.post(path, json={} if body is None else body)

    def done(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST what must answer 200."""
        answer = self.post(path, body)
        assert answer.status_code == 200, answer.text
        done: dict[str, Any] = answer.json()
        return done

    def trade(self, ticket: int) -> dict[str, Any]:
        return self.get(f"/dtms/trade/{ticket}")

    # --- what lies on the disk --------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read the store's file beside the server, as a stranger."""
        uri = f"{(self.data / 'dtms_trades.db').as_uri()}?mode=ro"
        connection = driver.connect(uri, uri=True)
        try:
            return list(connection.execute(query, values).fetchall())
        finally:
            connection.close()

    def dump(self) -> tuple[list[tuple[Any, ...]], ...]:
        """Return everything that was ever kept of trades, of requests to the broker, and in the journal."""
        return tuple(self.rows(f"SELECT * FROM {table} ORDER BY 1") for table in ("trades", "intents", "facts"))

    # --- the trader -------------------------------------------------------------------------------------------------

    @contextmanager
    def trader(self) -> Iterator["Trader"]:
        """Sit at the same terminal as another program that trades."""
        with Client((HOST, self.gateway_port), authkey=SECRET.encode()) as line:
            yield Trader(line)


class Trader:
    """Opens and closes positions by hand, beside dtms: its requests carry no magic number."""

    def __init__(self, line: "Connection[Any, Any]") -> None:
        self._line = line
        answer = self.ask("fence", key="trader", token=1)
        self._fence = {"key": "trader", "token": 1, "instance": answer["instance"]}

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        self._line.send_bytes(encode({"call": call, **arguments}))
        assert self._line.poll(20), "the gateway does not answer"
        answer = decode(self._line.recv_bytes())
        assert "value" in answer, answer
        return answer

    def quote(self, symbol: str) -> dict[str, Any]:
        (row,) = self.ask("quotes", symbols=[symbol])["value"].values()
        return dict(zip(TICK_FIELDS, row, strict=True))

    def positions(self) -> list[dict[str, Any]]:
        return [dict(zip(POSITION_FIELDS, row, strict=True)) for row in self.ask("positions_get")["value"]]

    def open(self, symbol: str = EURUSD, side: str = "BUY", lots: float = 0.4, away: float | None = 0.01) -> int:
        """Open a position with its stop ``away`` (a share of the price), and return its ticket."""
        quote, buys = self.quote(symbol), side == "BUY"
        price = quote["ask"] if buys else quote["bid"]
        stop = 0.0 if away is None else round(price * (1 - away if buys else 1 + away), 5 if symbol == EURUSD else 2)
        result = self.send(
            action=MT5.TRADE_ACTION_DEAL,
            symbol=symbol,
            volume=lots,
            type=MT5.ORDER_TYPE_BUY if buys else MT5.ORDER_TYPE_SELL,
            price=price,
            sl=stop,
        )
        return int(result["order"])

    def close(self, ticket: int) -> None:
        """Close a position whole."""
        (position,) = [p for p in self.positions() if p["ticket"] == ticket]
        quote = self.quote(position["symbol"])
        self.send(
            action=MT5.TRADE_ACTION_DEAL,
            symbol=position["symbol"],
            position=ticket,
            volume=position["volume"],
            type=1 - position["type"],
            price=quote["bid"] if position["type"] == 0 else quote["ask"],
        )

    def send(self, **request: Any) -> dict[str, Any]:
        filling = MT5.ORDER_FILLING_FOK if request["symbol"] == EURUSD else MT5.ORDER_FILLING_IOC
        request |= {"deviation": 500, "type_filling": filling}
        result = dict(zip(RESULT_FIELDS, self.ask("send", request=request, **self._fence)["value"], strict=True))
        assert result["retcode"] == MT5.TRADE_RETCODE_DONE, result
        return result
