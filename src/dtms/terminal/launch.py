"""The gateway program: a parent that starts the child which holds the terminal, watches it, and starts it anew.

The vendor's calls have no time limit and can hang; only another process can end that. Every start has a new instance
number, by which clients notice that what they announced is forgotten. Runs alone as ``python -m dtms.terminal.launch``
in a Python that has nothing but the vendor's package.
"""

import argparse
import importlib
import json
import logging
import multiprocessing
import platform
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from dtms.terminal.protocol import PORT
from dtms.terminal.service import STOP, CannotLoad, Load, ServiceOptions, serve

log = logging.getLogger("dtms.terminal")

_POLL_S = 0.2
_STOP_S = 6.0
_RESTART_S_MIN, _RESTART_S_MAX = 0.5, 30.0
_STEADY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalOptions:
    """What ``run_terminal`` needs: the service, and which module it loads."""

    service: ServiceOptions
    module: str = "sim"
    """``sim``, or ``metatrader5``."""
    config: Path | None = None
    """The simulated terminal's JSON file."""
    new_instance: Callable[[], int] = field(default=lambda: secrets.randbelow(2**48) + 1)


class Ending(Enum):
    """How one life of the child ended."""

    STOPPED = "stopped"
    FATAL = "fatal"
    DIED = "died"
    HUNG = "hung"


def load_simulated(config: Path | None) -> Any:
    """Build the simulated terminal from its JSON file.

    Raises:
        CannotLoad: when the file cannot be read or does not describe one.
    """
    if config is None:
        raise CannotLoad("the simulated terminal needs a configuration file")
    # The simulation needs numpy and the recordings; a gateway to the real terminal must start without them.
    api = importlib.import_module("dtms.terminal.simulated.api")
    read = importlib.import_module("dtms.terminal.simulated.config")
    try:
        return api.open_terminal(read.load_config(config), time.monotonic, time.time)
    except (OSError, ValueError, LookupError, TypeError) as wrong:
        raise CannotLoad(f"the simulated terminal cannot start from {config}: {wrong}") from wrong


def load_metatrader5() -> Any:
    """Import the vendor's package.

    Raises:
        CannotLoad: where it cannot exist or is not installed.
    """
    if platform.system() != "Windows":
        raise CannotLoad(
            "the MetaTrader5 package exists for Windows alone: run this gateway there, or in Wine's Python"
        )
    try:
        return importlib.import_module("MetaTrader5")
    except ImportError as missing:
        raise CannotLoad(f"the MetaTrader5 package is not installed here: {missing}") from missing


def loader_of(options: TerminalOptions) -> Load:
    """Choose how the child gets its module."""
    return partial(load_simulated, options.config) if options.module == "sim" else load_metatrader5


class Keeper:
    """Keep one child alive until told to stop."""

    def __init__(
        self, options: TerminalOptions, load: Load, stop: threading.Event, on_ready: Callable[[int, int], None]
    ) -> None:
        self._options = options
        self._service = options.service
        self._load = load
        self._stop = stop
        self._on_ready = on_ready
        self._was_ready = False

    def run(self) -> int:
        """Run child after child; returns the exit code: 0 when stopped, 2 when it can never work."""
        pause_s = _RESTART_S_MIN
        while not self._stop.is_set():
            began_s = time.monotonic()
            match self._live():
                case Ending.STOPPED:
                    break
                case Ending.FATAL:
                    return 2
                case Ending.DIED | Ending.HUNG as ending:
                    pause_s = _RESTART_S_MIN if time.monotonic() - began_s > _STEADY_S else pause_s
                    log.error("gateway child %s: starting a new one in %.1f s", ending.value, pause_s)
                    self._stop.wait(pause_s)
                    pause_s = min(pause_s * 2, _RESTART_S_MAX)
        return 0

    def _live(self) -> Ending:
        context = multiprocessing.get_context("spawn")
        deadline = context.RawValue("d", 0.0)
        here, there = context.Pipe()
        instance = self._options.new_instance()
        child = context.Process(
            target=serve, args=(self._service, self._load, instance, deadline, there), name="dtms-terminal", daemon=True
        )
        child.start()
        there.close()
        try:
            return self._watch(child, here, deadline)
        finally:
            _end(child, here)

    def _watch(self, child: Any, here: "Connection[Any, Any]", deadline: Any) -> Ending:
        while True:
            ready = wait([here, child.sentinel], timeout=_POLL_S)
            if self._stop.is_set():
                return Ending.STOPPED
            if here in ready and (ending := self._hear(here)) is not None:
                return ending
            if child.sentinel in ready:
                return Ending.DIED
            until_s = deadline.value
            if until_s and time.monotonic() > until_s:
                log.error("a call to the terminal hangs: ending the gateway child")
                child.kill()
                return Ending.HUNG

    def _hear(self, here: "Connection[Any, Any]") -> Ending | None:
        try:
            said = json.loads(here.recv_bytes())
        except (OSError, EOFError):
            return Ending.DIED
        if "fatal" in said:
            log.error("%s", said["fatal"])
            # What worked once may work again, so only a first start gives up.
            return Ending.DIED if self._was_ready else Ending.FATAL
        self._was_ready = True
        self._service = replace(self._service, port=said["ready"])
        self._on_ready(said["ready"], said["instance"])
        return None


def _end(child: Any, here: "Connection[Any, Any]") -> None:
    """See to it that the child is gone: asked first, killed when it does not go."""
    with suppress(OSError):
        here.send_bytes(STOP)
    child.join(_STOP_S)
    if child.is_alive():
        child.kill()
        child.join()
    here.close()


def run_terminal(
    options: TerminalOptions,
    *,
    load: Load | None = None,
    stop: threading.Event | None = None,
    on_ready: Callable[[int, int], None] | None = None,
) -> int:
    """Run the gateway until Ctrl-C, a termination signal, or ``stop``.

    ``load`` builds the terminal's module in the child and must be importable there; ``on_ready`` gets port and instance
    number at every start of a child. Returns the exit code.
    """
    ended = stop or threading.Event()
    keeper = Keeper(options, load or loader_of(options), ended, on_ready or _announce_ready)
    with _signals(ended):
        return keeper.run()


def _announce_ready(port: int, instance: int) -> None:
    log.info("terminal gateway ready on port %d, instance %d", port, instance)


@contextmanager
def _signals(ended: threading.Event) -> Iterator[None]:
    """Let the console's and the system's signals end the program; signals belong to the main thread alone."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    before = {name: signal.signal(getattr(signal, name), lambda *_: ended.set()) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dtms terminal", description="The gateway that holds the terminal.")
    parser.add_argument("--module", choices=("sim", "metatrader5"), default="sim")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--secret-file", type=Path, required=True, help="file that holds the shared secret")
    parser.add_argument("--config", type=Path, help="the simulated terminal's JSON file")
    parser.add_argument("--credentials", type=Path, help="JSON file: path, login, password, server for the terminal")
    parser.add_argument("--login", type=int, help="the expected account")
    parser.add_argument("--server", help="the expected trade server")
    parser.add_argument("--requests-per-day", type=int, default=2000)
    parser.add_argument("--reserve", type=int, default=500)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = _parser().parse_args(arguments)
    try:
        secret = given.secret_file.read_text(encoding="utf-8").strip()
        credentials = json.loads(given.credentials.read_text(encoding="utf-8")) if given.credentials else {}
    except (OSError, ValueError) as unreadable:
        log.error("cannot read a file: %s", unreadable)
        return 2
    if not secret:
        log.error("the secret file is empty")
        return 2
    service = ServiceOptions(
        host=given.host,
        port=given.port,
        secret=secret,
        login=given.login,
        server=given.server,
        credentials=credentials,
        requests_per_day=given.requests_per_day,
        reserve=given.reserve,
    )
    return run_terminal(TerminalOptions(service=service, module=given.module, config=given.config))


if __name__ == "__main__":
    sys.exit(main())
