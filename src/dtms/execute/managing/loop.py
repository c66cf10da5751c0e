"""The main program's one cycle: what others did, quotes and bars, a look at the positions, who is due, what is done.

A position is looked at by its manager's pace, on a closed bar of its trailing timeframe, when a quote reaches a price
at which something waits, and when something of it changed. What goes wrong with one is recorded and leaves the others
alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from dtms.domain.actions import Ending, Outcome
from dtms.domain.errors import BrokerUnavailable, PermissionGone, StoreFailed, WrongAccount
from dtms.domain.facts import FactKind
from dtms.domain.market import Timeframe
from dtms.execute.book import SymbolWatch
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.deliberation import Deliberation, Wanted
from dtms.execute.managing.floor import Charge, Floor, is_woken
from dtms.execute.managing.hand import Hand
from dtms.execute.managing.news import News
from dtms.execute.managing.presence import Presence
from dtms.execute.managing.resolving import EVERY_MS, Resolving
from dtms.execute.managing.sights import Closes, Sights
from dtms.execute.managing.steps import Look, Step, Wants
from dtms.execute.managing.table import MANAGERS
from dtms.execute.managing.taking import Taking
from dtms.ports.store import Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

LOOK_MS = 1_000
"""Market time between two looks at the positions."""
ACTING_S = 1.0
"""After so long spent with acting the rest waits for the next cycle: quotes and states are read anew before."""


@dataclass(slots=True)
class Counts:
    """What the loop did since it was made."""

    cycles: int = 0
    failures: int = 0
    stale: dict[str, str] = field(default_factory=dict)
    last_check_ms: int | None = None


class Round:
    """Looks at every managed position when it is due, and runs the steps."""

    def __init__(
        self,
        *,
        bench: Bench,
        floor: Floor,
        sights: Sights,
        news: News,
        presence: Presence,
        resolving: Resolving,
        taking: Taking,
        hand: Hand,
        steps: Sequence[Step],
    ) -> None:
        self._bench = bench
        self._floor = floor
        self._sights = sights
        self._news = news
        self._presence = presence
        self._resolving = resolving
        self._taking = taking
        self._hand = hand
        self._steps = steps
        self._deliberation = Deliberation(bench, floor, sights)
        self._resolve_ms = 0
        self._broken: dict[str, str] = {}
        """Steps that failed in their last run, and how."""
        self.counts = Counts()

    @property
    def active(self) -> int:
        """How many positions are managed."""
        return len(self._floor.charges)

    @property
    def looks(self) -> int:
        """How often a manager looked at a position."""
        return self._deliberation.looks

    def scan_soon(self) -> None:
        """Look at everything in the next cycle."""
        for charge in self._floor.charges.values():
            charge.next_ms = 0

    def use(self, settings: Settings) -> None:
        """Act by new settings from now on."""
        for carrier in self._bench.carriers:
            carrier.settings = settings.intents
        for symbol in self._floor.book.symbols.values():
            self._sights.feeds.reread(symbol, settings)

    async def run_cycle(self) -> None:
        """Look once at everything that is due.

        Raises:
            BrokerUnavailable: when no sound answer was had; nothing was concluded from it.
            StoreFailed, PermissionGone: when nothing may be written any more.
        """
        await self._news.read()
        symbols = await self._sights.symbols(self.wants())
        closes = await self._sights.read(symbols)
        due = self._due(closes)
        look = await self.look(symbols, closes, at_once=bool(due))
        if look.is_new:
            await self._judge(symbols)
            await self._presence.check(look.snapshot)
        await self._resolve(look.now_ms)
        await self._taking.run(look)
        if not self._bench.halted:
            await self._manage(due, look)
        for step in self._steps:
            await self._run(step, look)
        self.counts.cycles += 1
        self.counts.last_check_ms = self._bench.clock.market_ms()

    def wants(self) -> Wants:
        """Collect whose market the steps need to see."""
        found: dict[str, frozenset[Timeframe]] = {}
        for step in self._steps:
            for symbol, extra in step.wants().items():
                found[symbol] = found.get(symbol, frozenset()) | extra
        return found

    async def look(self, symbols: Sequence[SymbolWatch], closes: Closes, *, at_once: bool) -> Look:
        """Return what this cycle sees; the broker's lists are read once a second, and before anything is decided."""
        bench, seen = self._bench, self._floor.snapshot
        is_new = seen is None or at_once or bench.clock.market_ms() >= seen.taken_ms + LOOK_MS
        if seen is None or is_new:
            seen = await bench.broker.snapshot([s.name for s in symbols])
            self._sights.feeds.take(symbols, seen.ticks)
            bench.margin_mode = seen.account.margin_mode
            self._floor.take(seen)
        return Look(
            now_ms=bench.clock.market_ms(),
            snapshot=seen,
            is_new=is_new,
            symbols={s.name: s for s in symbols},
            settings=bench.settings,
            mode=bench.mode,
            halted=bench.halted,
            fresh=closes.fresh,
        )

    async def _judge(self, symbols: Sequence[SymbolWatch]) -> None:
        """Mark symbols whose data are too old to decide on, and tell of them."""
        facts = self._sights.judge(symbols)
        self.counts.stale = {s.name: s.stale for s in symbols if s.stale}
        if facts:
            await self._bench.store.commit(Unit(facts=facts))

    async def _resolve(self, now_ms: int) -> None:
        """Look for what unanswered requests did, every two seconds."""
        if now_ms >= self._resolve_ms:
            self._resolve_ms = now_ms + EVERY_MS
            await self._resolving.resolve()

    # --- the managers --------------------------------------------------------------------------------------------

    def _due(self, closes: Closes) -> list[Charge]:
        """Return what is to be looked at now."""
        now, symbols = self._bench.clock.market_ms(), self._floor.book.symbols
        due = []
        for charge in self._floor.charges.values():
            managed = charge.managed
            if charge.next_ms <= now or MANAGERS[managed.manager].bar(managed) in closes.of(managed.symbol):
                due.append(charge)
            elif now >= charge.looked_ms + LOOK_MS and (watch := symbols.get(managed.symbol)) is not None:
                due += [charge] if watch.tick is not None and is_woken(charge, watch.tick) else []
        return due

    async def _manage(self, due: Sequence[Charge], look: Look) -> None:
        """Let the managers look at what is due, and do what they want to be done, most urgent first."""
        known = {charge.key for charge in due}
        changed = [c for c in self._floor.charges.values() if c.next_ms == 0 and c.key not in known]
        still = [c for c in (*due, *changed) if self._floor.charges.get(c.key) is c]
        if not still:
            return
        wanted, failed = await self._deliberation.run(still, look.snapshot)
        for charge, error in failed:
            await self._failed(charge, error)
        until_s = self._bench.clock.machine_s() + ACTING_S
        for one in wanted:
            if self._bench.clock.machine_s() >= until_s:
                one.charge.next_ms = 0
            else:
                await self._act(one)

    async def _act(self, one: Wanted) -> None:
        """Have one proposal carried out; what goes wrong with it is recorded, and leaves the others alone.

        Raises:
            BrokerUnavailable: when the broker answers nobody.
            StoreFailed, PermissionGone: when nothing may be written any more.
        """
        charge = one.charge
        async with charge.lock:
            if self._floor.charges.get(charge.key) is not charge or charge.managed is not one.memory:
                return  # it left the manager's hands, or something of it changed, while others were served
            try:
                outcome = await self._hand.carry(charge, one.proposal, one.sighting)
            except (WrongAccount, StoreFailed, PermissionGone):
                raise
            except Exception as error:
                if isinstance(error, BrokerUnavailable) and not await self._is_answering():
                    raise
                await self._failed(charge, error)
                return
        self._follow(charge, outcome)

    def _follow(self, charge: Charge, outcome: Outcome | None) -> None:
        """Look again at once after what was done, and where what was decided on has changed meanwhile."""
        if outcome is not None and (outcome.again or outcome.ending is Ending.DONE):
            charge.next_ms = 0

    async def _is_answering(self) -> bool:
        try:
            await self._bench.broker.snapshot([])
        except WrongAccount:
            raise
        except BrokerUnavailable:
            return False
        return True

    async def _failed(self, charge: Charge, error: Exception) -> None:
        """Record what went wrong with one position, once; what was half-made in memory is not believed."""
        self.counts.failures += 1
        told = f"{type(error).__name__}: {error}"
        if charge.noted.get("failed") == told:
            return
        log.error("managing_failed", ticket=charge.managed.ticket, manager=charge.managed.manager.value, exc_info=error)
        charge.noted["failed"] = told
        managed = replace(charge.managed, needs_attention=f"managing it failed: {told}")
        fact = self._bench.fact(FactKind.CYCLE_FAILED, f"managing it failed: {told}", managed, {"alert": "ERROR"})
        await self._bench.store.commit(Unit(managed=(managed,), facts=(fact,)))
        charge.managed = managed

    # --- the steps -----------------------------------------------------------------------------------------------

    async def recover(self, look: Look) -> None:
        """Let every step match its memory with store and broker."""
        for step in self._steps:
            await self._guarded(step, partial(step.recover, look))

    async def _run(self, step: Step, look: Look) -> None:
        await self._guarded(step, partial(step.run, look))

    async def _guarded(self, step: Step, work: Callable[[], Awaitable[None]]) -> None:
        """Do a step's work; what goes wrong in it is recorded once, and leaves the rest of the loop alone."""
        try:
            await work()
        except (BrokerUnavailable, StoreFailed, PermissionGone):
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a step: it records and isolates
            await self._broke(step, error)
            return
        self._broken.pop(step.name, None)

    async def _broke(self, step: Step, error: Exception) -> None:
        self.counts.failures += 1
        told = f"{type(error).__name__}: {error}"
        if self._broken.get(step.name) == told:
            return
        log.error("step_failed", step=step.name, exc_info=error)
        self._broken[step.name] = told
        details = {"step": step.name, "alert": "ERROR"}
        fact = self._bench.journal.fact(FactKind.CYCLE_FAILED, f"{step.name} failed: {told}", details=details)
        await self._bench.store.commit(Unit(facts=(fact,)))
