"""A probe at a simulated terminal in this process, in virtual time, with a real store."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.adapters_mt5.bench import EURUSD, described

from dtms.adapters.clocks import LoopClock
from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.probe.authority import held
from dtms.probe.findings import Report
from dtms.probe.requests import PREFIX
from dtms.probe.run import Ordered, Probe
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.config import load_config

T = TypeVar("T")


class Cut(BaseException):
    """The process ends here."""


def _nothing() -> None:
    """Let it go on."""


@dataclass(slots=True)
class Counted:
    """A link that ends the process at a send: before it goes out, or after it was answered."""

    inner: LocalLink
    cut_at: int | None = None
    is_after: bool = False
    at: Mapping[int, Callable[[], None]] = field(default_factory=dict)
    """What happens before the nth send."""
    sends: int = 0
    is_dead: bool = False

    async def call(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.is_dead:
            raise Cut
        if request["call"] != "send":
            return await self.inner.call(request)
        self.sends += 1
        self.at.get(self.sends, _nothing)()
        is_last = self.sends == self.cut_at
        self.is_dead = is_last
        if is_last and not self.is_after:
            raise Cut
        answer = await self.inner.call(request)
        if is_last:
            raise Cut
        return answer


@dataclass(slots=True)
class Site:
    """One terminal and one store; a probe may be run there again and again."""

    terminal: SimulatedTerminal
    clock: LoopClock
    url: str
    told: list[str] = field(default_factory=list)
    runs: int = 0
    link: Counted | None = None
    gateway: Gateway | None = None

    async def probe(
        self,
        *,
        cut_at: int | None = None,
        is_after: bool = False,
        at: Mapping[int, Callable[[], None]] | None = None,
        **ordered: Any,
    ) -> Report:
        """Run a probe as a process of its own would."""
        self.runs += 1
        gateway = Gateway(self.terminal, instance=1, now=self.clock.machine_s, requests_per_day=1_000_000)
        self.gateway = gateway
        self.link = Counted(LocalLink(gateway), cut_at=cut_at, is_after=is_after, at=at or {})
        store = SqlStore(self.url, self.clock, inline=True)
        await store.open()
        broker = Mt5Broker(self.link, self.clock, magic_prefix=77)
        try:
            async with held(store, broker, self.clock, f"probe:{self.runs}:0") as lease:
                probe = Probe(
                    link=self.link,
                    broker=broker,
                    store=store,
                    clock=self.clock,
                    lease=lease,
                    tell=self.told.append,
                )
                return await probe.run(Ordered(**{"symbol": EURUSD, **ordered}))
        finally:
            await store.close()

    @property
    def own(self) -> list[Any]:
        """The probe's own positions in the terminal's books, by their numbers."""
        return [one for one in self.terminal.simulation.ledger.positions.values() if one.magic >> 40 == PREFIX]

    @property
    def positions(self) -> Sequence[Any]:
        return list(self.terminal.simulation.ledger.positions.values())


def at_site(
    story: Callable[[Site], Coroutine[Any, Any, T]], folder: Path, description: Mapping[str, Any] | None = None
) -> T:
    """Tell a story at a terminal of its own."""

    async def main() -> T:
        config = load_config(description or described())
        clock = LoopClock(config.start_ms)
        terminal = SimulatedTerminal(config, clock)
        return await story(Site(terminal, clock, f"sqlite:///{(folder / 'store.db').as_posix()}"))

    return run_virtual(main())


def probed(folder: Path, description: Mapping[str, Any] | None = None, **ordered: Any) -> tuple[Report, Site]:
    """Run one probe; gives what it found, and the site after it."""

    async def story(site: Site) -> tuple[Report, Site]:
        return await site.probe(**ordered), site

    return at_site(story, folder, description)
