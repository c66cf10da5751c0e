"""The programs under test as processes of their own, in a folder of their own; none outlives the benchmark."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from dtms.bench import market
from dtms.bench.load import Job, Result
from dtms.bench.measure import CannotMeasure
from dtms.bench.preload import write_positions
from dtms.ops.processes import Child, start, stop

READY_S = 60.0
LOOK_S = 0.05
JOB_S = 120.0
SECRET = "bench-" + "0" * 32
OWN_SETTINGS = ("DTMS_", "API_", "MT5_")
"""Environment that configures an installation: none of it may reach the benchmark's programs."""


def free_port() -> int:
    """Return a port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True, eq=False)
class Programs:
    """What runs, and where it keeps its files."""

    folder: Path
    gateway_port: int
    children: list[Child] = field(default_factory=list)

    def _start(self, name: str, arguments: Sequence[str]) -> Child:
        child = start(name, arguments, environ=_environ(), heard=lambda _, __: None)
        self.children.append(child)
        return child

    def start_gateway(self, *, symbols: int, positions: int, magic: int) -> None:
        """Start the gateway on a simulated terminal that holds so many positions."""
        journal, described = self.folder / "terminal.jsonl", self.folder / "terminal.json"
        write_positions(journal, symbols=symbols, positions=positions, magic=magic)
        described.write_text(json.dumps(market.described(symbols, journal)), encoding="utf-8")
        self._start("terminal", ["terminal", *self._common(), "--set", f"terminal.sim_config={described}"])

    def _common(self) -> list[str]:
        sets = {"data_dir": self.folder, "terminal.port": self.gateway_port, "terminal.module": "sim"}
        return [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]

    def start_server(self, name: str, tree: Mapping[str, Any], ready_s: float = READY_S) -> tuple[Child, int]:
        """Start ``dtms serve`` on a database and settings of its own; return it with its port when ready."""
        port, path = free_port(), self.folder / f"{name}.json"
        path.write_text(json.dumps(tree), encoding="utf-8")
        own = ["--set", f"store.url=sqlite:///{(self.folder / f'{name}.db').as_posix()}", "--set", "log.format=json"]
        child = self._start(name, ["serve", "--config", str(path), *self._common(), *own, "--port", str(port)])
        self._wait(child, port, ready_s)
        return child, port

    def start_plain(self) -> int:
        """Start the baseline; return its port."""
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "-m", "dtms.bench.plain", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environ(),
        )
        child = Child(name="plain", process=process)
        self.children.append(child)
        self._wait(child, port)
        return port

    def _wait(self, child: Child, port: int, ready_s: float = READY_S) -> None:
        until_s = time.monotonic() + ready_s
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5.0, trust_env=False) as client:
            while time.monotonic() < until_s:
                self._refuse_ended()
                with suppress(httpx.TransportError):
                    if client.get("/dtms/health").status_code == httpx.codes.OK:
                        return
                time.sleep(LOOK_S)
        raise CannotMeasure(f"{child.name} was not ready within {ready_s:.0f} s: {list(child.tail)[-3:]}")

    def _refuse_ended(self) -> None:
        for child in self.children:
            if child.has_ended:
                raise CannotMeasure(f"{child.name} ended with {child.process.returncode}: {list(child.tail)[-3:]}")

    def end(self, child: Child) -> None:
        """Stop one program."""
        self.children.remove(child)
        stop(child)

    def end_all(self) -> None:
        """Stop what runs, the last one first."""
        while self.children:
            stop(self.children.pop())


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
    return kept | {"DTMS_TERMINAL_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}


@contextmanager
def programs() -> Iterator[Programs]:
    """Give a folder and processes, and take both away in the end."""
    with tempfile.TemporaryDirectory(prefix="dtms-bench-", ignore_cleanup_errors=True) as folder:
        running = Programs(folder=Path(folder), gateway_port=free_port())
        try:
            yield running
        finally:
            running.end_all()


def send(job: Job) -> Result:
    """Have another process carry out a job.

    Raises:
        CannotMeasure: when it failed, or an answer was not a 200.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dtms.bench.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        timeout=JOB_S,
        check=False,
    )
    if done.returncode != 0:
        raise CannotMeasure(f"the load client failed: {done.stderr.strip().splitlines()[-1:]}")
    result = Result(**json.loads(done.stdout))
    if set(result.statuses) != {"200"}:
        raise CannotMeasure(f"not everything was answered with 200: {result.statuses} {result.refused}")
    return result
