"""What all calls of the terminal share: the connection to it, the one slot of `last_error()`, and time."""

from datetime import datetime
from fnmatch import fnmatchcase

from dtms.terminal.simulated.answers import NO_IPC, SUCCESS, ErrorText
from dtms.terminal.simulated.clock import SimClock
from dtms.terminal.simulated.engine import Engine
from dtms.terminal.simulated.journal import Journal
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World


class Session:
    """Play the market up to now before each call, and keep the last error after it."""

    def __init__(self, world: World, server: TradeServer, engine: Engine, clock: SimClock, journal: Journal) -> None:
        self._world = world
        self._server = server
        self._engine = engine
        self._clock = clock
        self._journal = journal
        self._initialized = False
        self._error = SUCCESS
        self._books: set[str] = set()

    def _begin(self) -> bool:
        """Bring the world up to now; False, with the error set, when there is no connection to the terminal."""
        if not self._initialized:
            self._error = NO_IPC
            return False
        self._error = SUCCESS
        self._catch_up()
        return True

    def _catch_up(self) -> None:
        self._engine.play_to(max(self._clock.now_ms(), self._world.now_ms))
        self._write()

    def _write(self) -> None:
        self._journal.write(self._world.now_ms, self._world.ledger.take_unwritten())

    def _fail(self, error: ErrorText) -> None:
        """Set the error that `last_error()` gives next, and answer None."""
        self._error = error


def server_seconds(moment: object) -> int | None:
    """Read a time argument as the package does: a datetime, or seconds; None when it is neither."""
    if isinstance(moment, datetime):
        return int(moment.timestamp())
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return int(moment)
    return None


def in_group(symbol: str, group: str) -> bool:
    """Tell whether a symbol is in a group such as `*USD*,!EUR*`: some pattern takes it, and none refuses it."""
    patterns = [pattern.strip() for pattern in group.split(",") if pattern.strip()]
    takes = [pattern for pattern in patterns if not pattern.startswith("!")]
    refused = any(fnmatchcase(symbol, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not refused and any(fnmatchcase(symbol, pattern) for pattern in takes or ["*"])
