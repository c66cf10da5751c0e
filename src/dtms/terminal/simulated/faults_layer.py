"""The layer between the vendor-shaped functions and their callers: every call passes it while a fault is in place."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar

from dtms.terminal.simulated import faults_lists, faults_people, faults_prices, faults_replies
from dtms.terminal.simulated.answers import SUCCESS
from dtms.terminal.simulated.faults import Fault, parse_fault
from dtms.terminal.simulated.faults_books import Memory
from dtms.terminal.simulated.faults_call import Armed, Call
from dtms.terminal.simulated.faults_clock import jump_server_clock
from dtms.terminal.simulated.faults_kept import FaultFile, Kept
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_late import Agenda, Waiting
from dtms.terminal.simulated.faults_names import CALLS
from dtms.terminal.simulated.faults_site import Act, Site, Sleep
from dtms.terminal.simulated.session import Session

ACTS: Mapping[FaultKind, Act] = {
    **faults_replies.ACTS,
    **faults_lists.ACTS,
    **faults_prices.ACTS,
    **faults_people.ACTS,
}
REAL_TIME = frozenset({FaultKind.HANG, FaultKind.SLOW})
"""What takes real seconds, and so needs a terminal that runs by a real clock."""
Kind = TypeVar("Kind", bound=type)


def faultable(terminal: Kind) -> Kind:
    """Let the vendor's functions of a class pass the layer; without faults that is the look at one attribute."""
    for name in CALLS:
        setattr(terminal, name, _passing(name, getattr(terminal, name)))
    return terminal


def _passing(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        layer: FaultLayer | None = self._layer
        if layer is None:
            return inner(self, *arguments, **named)
        return layer.call(name, partial(inner, self, *arguments, **named), arguments, named)

    return call


class FaultLayer:
    """Hold the faults in place, and let calls meet them; this is `terminal.simulation.faults`."""

    def __init__(self, terminal: Any, site: Site, file: FaultFile) -> None:
        self._terminal = terminal
        self._site = site
        self._file = file
        self._armed: list[Armed] = []
        self._is_inside = False
        self.fired: Counter[FaultKind] = Counter()
        """How many calls met each kind."""
        site.agenda.on_taken = self._keep

    def add(self, fault: Fault | Mapping[str, Any]) -> Fault:
        """Put a fault in place, given as such or as JSON.

        Raises:
            ValueError: for what is none, and for one that takes real time where time is virtual.
        """
        made = fault if isinstance(fault, Fault) else parse_fault(fault)
        if made.kind in REAL_TIME and self._site.sleep is None:
            raise ValueError(f"{made.kind}: this terminal's time is virtual, so a call cannot take real seconds")
        self._armed.append(Armed(fault=made))
        self._settle()
        return made

    def clear(self, kind: FaultKind | None = None) -> int:
        """Take all faults away, or those of a kind; what waits already is still carried out. Gives their number."""
        left = [armed for armed in self._armed if kind is not None and armed.fault.kind != kind]
        taken = len(self._armed) - len(left)
        self._armed = left
        self._settle()
        return taken

    @property
    def active(self) -> tuple[Armed, ...]:
        """The faults in place."""
        return tuple(self._armed)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """The requests that wait in the terminal."""
        return tuple(self._site.agenda.waiting)

    @property
    def elsewhere(self) -> tuple[Mapping[str, Any], ...]:
        """The requests that went to another account."""
        return tuple(self._site.elsewhere)

    def start(self, configured: Iterable[Fault]) -> None:
        """Go on with what was kept of an earlier life, or begin with the configured faults."""
        faults = tuple(configured)
        kept = self._file.read(faults)
        if kept is None:
            for fault in faults:
                self.add(fault)
            return
        self._armed = list(kept.armed)
        self._site.agenda.waiting = list(kept.waiting)
        self.fired = Counter(kept.fired)
        for at_ms, minutes in kept.clock_jumps:
            jump_server_clock(self._site.world, at_ms, minutes)
        self._site.clock_jumps = list(kept.clock_jumps)
        self._settle()

    def call(self, name: str, plain: Callable[[], Any], arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Carry out a call as the faults have it; calls that a call makes itself meet none."""
        if self._is_inside:
            return plain()
        self._is_inside = True
        try:
            now_ms = self._terminal.simulation.utc_ms()
            met = Call(name=name, plain=plain, arguments=arguments, named=named, now_ms=now_ms)
            self._meet(met)
            return self._answer(met)
        finally:
            self._is_inside = False
            self._drop_spent()

    def _meet(self, call: Call) -> None:
        """Let the faults have their effect on a call; what they did is kept before a call can block for ever."""
        fired = {id(armed): armed.fired for armed in self._armed}
        met = [armed for armed in self._armed if armed.takes(call)]
        for armed in met:
            self.fired[armed.fault.kind] += 1
            ACTS[armed.fault.kind](self._site, call, armed)
        if any(armed.fault.times and armed.fired != fired[id(armed)] for armed in met):
            self._keep()

    def _answer(self, call: Call) -> Any:
        if call.delay_s and self._site.sleep is not None:
            self._site.sleep(call.delay_s)
        with self._pretending(call):
            answer = call.instead() if call.instead else call.plain()
        if call.instead is None and answer is not None:
            for change in call.after:
                answer = change(answer)
        return answer

    @contextmanager
    def _pretending(self, call: Call) -> Iterator[None]:
        """Show other books, or no connection, for the length of one call."""
        terminal, switches = self._terminal, self._site.world.switches
        connected = switches.connected
        terminal._shown = call.books
        switches.connected = connected and not call.is_offline
        try:
            yield
        finally:
            terminal._shown = None
            switches.connected = connected

    def _drop_spent(self) -> None:
        now_ms = self._terminal.simulation.utc_ms()
        left = [armed for armed in self._armed if not armed.is_spent(now_ms)]
        if len(left) != len(self._armed):
            self._armed = left
            self._settle()

    def _settle(self) -> None:
        """Stand in the way of calls while there is something to do, and out of it otherwise."""
        terminal = self._terminal
        is_needed = bool(self._armed)
        if is_needed and terminal._layer is None:
            self._site.memory = terminal._journal = Memory(self._site.world.ledger, terminal._journal)
            terminal._layer = self
        elif not is_needed and terminal._layer is not None:
            assert self._site.memory is not None
            terminal._journal, self._site.memory = self._site.memory.journal, None
            terminal._layer = None
        self._keep()

    def _keep(self) -> None:
        self._file.write(
            Kept(
                armed=tuple(self._armed),
                waiting=self.waiting,
                fired=dict(self.fired),
                clock_jumps=tuple(self._site.clock_jumps),
            )
        )


def make_layer(terminal: Session, agenda: Agenda, sleep: Sleep | None, file: FaultFile) -> FaultLayer:
    """Make the layer of a terminal, which must be of a `faultable` class."""
    own: Any = terminal

    def fail(error: Any) -> None:
        own._error = error

    def disconnect() -> None:
        own._initialized = False

    own._error = SUCCESS
    site = Site(
        world=own._world,
        server=own._server,
        agenda=agenda,
        read_request=own._request,
        make_result=own._result,
        fail=fail,
        catch_up=own._catch_up,
        disconnect=disconnect,
        sleep=sleep,
    )
    return FaultLayer(terminal, site, file)
