"""What acting needs at hand, shared by all that acts: ports, settings, rails and switches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dtms.decide.capabilities import NOTHING_LEARNED, Learned, closes_in_order, learn, told_of
from dtms.decide.defence import by_age
from dtms.decide.guards import RailState
from dtms.domain.account import MarginMode
from dtms.domain.actions import Action, Ending, MoveStop
from dtms.domain.calendar import Release
from dtms.domain.facts import Fact, FactKind
from dtms.domain.owners import lease_key
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Machine, Mode, Trade
from dtms.execute.book import Watch
from dtms.execute.executor import Executor
from dtms.execute.journal import Journal
from dtms.execute.leases import Leases
from dtms.ports.broker import Broker
from dtms.ports.clock import Clock
from dtms.ports.sources import Sources
from dtms.ports.store import Free, Kept, KeptKind, Store, Unit
from dtms.settings import Settings


@dataclass(slots=True)
class Desk:
    """What the cycle acts with and under; settings, rails and switches change between cycles."""

    broker: Broker
    store: Store
    clock: Clock
    executor: Executor
    journal: Journal
    settings: Settings
    rails: RailState
    sources: Sources
    mode: Mode
    leases: Leases
    account: tuple[int, str] = (0, "")
    """Login and server of the connected account."""
    margin_mode: MarginMode = MarginMode.HEDGING
    halted: bool = False
    learned: Learned = NOTHING_LEARNED
    """What refusals taught of the account and its symbols."""
    is_hurried: bool = False
    """Whether the next look through all trades is to be soon."""
    transitions: int = 0
    actions: int = 0

    @property
    def releases(self) -> Sequence[Release]:
        """The scheduled releases as they are known now."""
        return self.sources.releases(self.clock.market_ms())

    def mode_of(self, trade: Trade) -> Mode:
        return trade.mode or self.mode

    def acts(self, watch: Watch) -> bool:
        """Answer whether dtms may act on a trade, or only watches it."""
        return self.mode_of(watch.trade) is Mode.AUTO

    def machine(self, trade: Trade) -> Machine:
        """Return the machine that steps: the real one, or the shadow of a trade that is only watched."""
        if self.mode_of(trade) is Mode.AUTO:
            return trade.machine
        return trade.shadow or trade.machine

    def key_of(self, trade: Trade) -> str:
        """Return the key of the lease under which a trade is changed."""
        return lease_key(trade.ticket, trade.symbol, self.margin_mode)

    async def commit(self, watch: Watch, trade: Trade, facts: Sequence[Fact]) -> None:
        """Commit a trade and what is told of it, then believe it.

        Raises:
            LeaseHeld: when somebody else has its lease, and what others judge by would change.
        """
        unit = Unit(trades=(trade,), facts=facts)
        await (self.keep(unit, trade) if is_governed(watch.trade, trade) else self.store.commit(unit))
        self.believe(watch, trade, facts)

    async def keep(self, unit: Unit, *trades: Trade, wait_s: float | None = None) -> None:
        """Commit what others judge by of these trades, once nobody else has one of their leases.

        Raises:
            LeaseHeld: when somebody had one for as long as one may wait; ``wait_s`` is what the leases say, or given.
        """
        free = Free(holder=self.leases.holder, keys=[self.key_of(trade) for trade in trades])
        unit = replace(unit, free=free)
        await self.leases.when_free(lambda: self.store.commit(unit), wait_s)

    def hurry(self) -> None:
        """Have everything looked through again soon: something was left undone that will be possible in a moment."""
        self.is_hurried = True

    def closing_order(self, snapshot: Snapshot, symbol: str) -> tuple[int, ...]:
        """Return the order in which an account that closes first in, first out lets a symbol's positions be closed."""
        in_order = closes_in_order(snapshot.account, self.learned)
        return by_age(snapshot.positions.values(), symbol) if in_order else ()

    async def learn(self, retcode: int, action: Action) -> None:
        """Remember what a refusal taught, durably where it stays true."""
        if isinstance(action, MoveStop):
            return
        learned = learn(self.learned, retcode, action.symbol, action.side)
        if learned == self.learned:
            return
        self.learned = learned  # before the commit: a slow disk must not let a second order go out
        told = f"learned from {retcode}: {told_of(learned, action.symbol, action.side)}"
        fact = self.journal.fact(FactKind.LEARNED, told, details={"retcode": retcode, "symbol": action.symbol})
        await self.store.commit(Unit(keep=(self.kept_learned(),), facts=(fact,)))

    @property
    def learned_key(self) -> str:
        login, server = self.account
        return f"{server}:{login}:learned"

    def kept_learned(self) -> Kept:
        return Kept(kind=KeptKind.PROBE, key=self.learned_key, body=self.learned.as_json(), at_ms=self.clock.wall_ms())

    def believe(self, watch: Watch, trade: Trade, facts: Sequence[Fact]) -> None:
        """Take over what was committed, and tell the operator."""
        watch.trade = trade
        self.journal.tell(facts)


@dataclass(frozen=True, slots=True)
class Told:
    """How a move ended, in one word and in words; ``soon`` says that what held it up is over in a moment."""

    ending: Ending
    reason: str = ""
    wait: bool = False
    soon: bool = False


def is_governed(before: Trade, after: Trade) -> bool:
    """Answer whether a change touches what other managers judge by: state, owner, mode, flags."""
    return _governing(before) != _governing(after)


def _governing(trade: Trade) -> tuple[object, ...]:
    return trade.machine.state, trade.owner, trade.mode, trade.alongside, trade.by_watcher, trade.disabled


def in_brackets(reason: str) -> str:
    """Add a reason in words, when there is one."""
    return f" ({reason})" if reason else ""
