"""The monitoring loop's one cycle: quotes, closed bars, who is due, fast checks, deep checks.

A fast check looks at price and position; a deep check scores and steps. What reduces goes first: trades whose next row
adds risk are stepped when all others were. One trade's failure is recorded and isolated to that trade.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from typing import TypeVar

import structlog

from dtms.decide import trade_state
from dtms.decide.defence import attached_stop, breakeven_price
from dtms.decide.guards import observe_account
from dtms.decide.recovery import owes
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side, Tick
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Machine, Mode, State, Trade
from dtms.execute.book import Book, SymbolWatch, Watch
from dtms.execute.cycle import Cycle
from dtms.execute.desk import Desk
from dtms.execute.feeds import Feeds, Fresh
from dtms.execute.isolation import Isolation
from dtms.execute.looks import Look, SideLook, look_at
from dtms.execute.moves import Moves
from dtms.execute.presence import Presence, is_as_known
from dtms.execute.restoring import Restoring
from dtms.execute.strays import Strays
from dtms.market.regime import Volatility
from dtms.ports.store import Unit
from dtms.settings import Settings

log = structlog.get_logger(__name__)

SLICE = 128
"""Trades between two moments at which the event loop may serve others."""
NEVER = 2**62
HURRY_MS = 1_000
SCAN_SLICE = 256
INFINITY = float("inf")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arming:
    """A trade that is to be armed: as it was, as it will be, and what is told of it."""

    watch: Watch
    before: Trade
    after: Trade
    fact: Fact


class Why(IntEnum):
    """Why a trade is looked at; the higher wins."""

    FAST = 1
    SCHEDULED = 2
    FAVOURABLE = 3
    ADVERSE = 4


@dataclass(slots=True)
class Counts:
    """What the monitor did since it was made."""

    cycles: int = 0
    fast: int = 0
    deep: int = 0
    failures: int = 0
    last_check_ms: int | None = None
    stale: dict[str, str] = field(default_factory=dict)


class Monitor:
    """Looks at every watched trade when it is due."""

    def __init__(
        self,
        *,
        desk: Desk,
        book: Book,
        feeds: Feeds,
        cycle: Cycle,
        moves: Moves,
        presence: Presence,
        isolation: Isolation,
        strays: Strays,
        restoring: Restoring,
        before: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """``before`` is done at the beginning of every cycle."""
        self._desk = desk
        self.book = book
        self._feeds = feeds
        self._cycle = cycle
        self._moves = moves
        self._presence = presence
        self._isolation = isolation
        self._strays = strays
        self._restoring = restoring
        self._before = before
        self._next_scan_ms = 0
        self._next_strays_ms = 0
        self.counts = Counts()

    def scan_soon(self) -> None:
        """Look through all trades in the next cycle: one was added or changed."""
        self._next_scan_ms = 0

    @property
    def active(self) -> int:
        """How many trades are watched."""
        return len(self.book.watches)

    def use(self, settings: Settings) -> None:
        """Read every view by new settings."""
        self._desk.executor.settings = settings.intents
        for symbol in self.book.symbols.values():
            self._feeds.reread(symbol, settings)

    async def run_cycle(self) -> None:
        """Look once at everything that is due.

        Raises:
            BrokerUnavailable: when no sound answer was had; nothing was concluded from it.
            StoreFailed: when a fact could not be kept.
        """
        for work in self._before:
            await work()
        symbols, settings = self.book.active_symbols(), self._desk.settings
        if symbols:
            await self._feeds.quotes(symbols)
            fresh = await self._feeds.bars(symbols, settings)
            due = await self._due(symbols, fresh)
            if due:
                await self._look(symbols, due)
        await self._look_around()
        self._hurry()
        self.counts.cycles += 1
        self.counts.failures = self._isolation.failures
        self.counts.last_check_ms = self._desk.clock.market_ms()

    def _hurry(self) -> None:
        """Look through all trades soon, where something was left undone for a moment."""
        if self._desk.is_hurried:
            self._desk.is_hurried = False
            self._next_scan_ms = min(self._next_scan_ms, self._desk.clock.market_ms() + HURRY_MS)

    # --- who is due ------------------------------------------------------------------------------------------------

    async def _due(self, symbols: Sequence[SymbolWatch], fresh: Sequence[Fresh]) -> dict[int, Why]:
        due: dict[int, Why] = {}
        for symbol in symbols:
            if symbol.tick is not None:
                due.update((watch.ticket, Why.ADVERSE) for watch in symbol.triggered(symbol.tick))
        for news in fresh:
            self._due_to_news(news, due)
        now = self._desk.clock.market_ms()
        if now >= self._next_scan_ms:
            await self._scan(now, due)
        return due

    def _due_to_news(self, news: Fresh, due: dict[int, Why]) -> None:
        """A closed M15 bar is for all; a turn on M5 for those that it concerns."""
        against = {side: news.turned_against(side) for side in Side}
        with_ = {side: news.turned_with(side) for side in Side}
        for ticket, watch in news.symbol.watches.items():
            side, state = watch.trade.side, self._desk.machine(watch.trade).state
            if against[side]:
                due[ticket] = Why.ADVERSE
            elif with_[side] and state is State.HEDGED and self._is_cool(watch):
                due[ticket] = max(due.get(ticket, Why.FAST), Why.FAVOURABLE)
            elif news.has_new_m15:
                due[ticket] = max(due.get(ticket, Why.FAST), Why.SCHEDULED)

    def _is_cool(self, watch: Watch) -> bool:
        since = self._desk.clock.market_ms() - (watch.last_deep_ms or 0)
        return since >= self._desk.settings.cadence.deep_cooldown_s * 1000

    async def _scan(self, now: int, due: dict[int, Why]) -> None:
        """Find trades whose time has come, and when the next one's will."""
        self._next_scan_ms = NEVER  # whoever adds a trade while others are served sets it back
        deep_ms, soonest = int(self._desk.settings.cadence.deep_s_max * 1000), NEVER
        for index, watch in enumerate(list(self.book.watches.values())):
            if index % SCAN_SLICE == SCAN_SLICE - 1:
                await asyncio.sleep(0)
            deep_at = self._deep_at(watch, deep_ms, now)
            if deep_at <= now:
                due[watch.ticket] = max(due.get(watch.ticket, Why.FAST), Why.SCHEDULED)
                deep_at = now + 1000
            if watch.next_fast_ms <= now:
                due.setdefault(watch.ticket, Why.FAST)
            soonest = min(soonest, deep_at, max(watch.next_fast_ms, now + 1000))
        self._next_scan_ms = min(self._next_scan_ms, soonest)

    def _deep_at(self, watch: Watch, deep_ms: int, now: int) -> int:
        """Return when a trade is to be checked at the latest: by cadence, to try anew, or as a timer may be over."""
        deep_at, trade = (watch.last_deep_ms or -deep_ms) + deep_ms, watch.trade
        if trade.retry is not None:
            deep_at = min(deep_at, max(trade.retry.not_before_ms, (watch.last_fast_ms or 0) + 1000))
        ends = trade_state.timer_ends_ms(self._desk.machine(trade), self._desk.settings.protection)
        if ends is None:
            return deep_at
        return min(deep_at, ends if ends > now else watch.next_fast_ms)

    # --- looking ---------------------------------------------------------------------------------------------------

    async def _look(self, symbols: Sequence[SymbolWatch], due: dict[int, Why]) -> None:
        fast = self._fast_due(due)
        snapshot = await self._desk.broker.snapshot([s.name for s in symbols]) if fast else None
        if snapshot is not None:
            self._feeds.take(symbols, snapshot.ticks)
            await self._observe_account(snapshot)
        cadence = self._desk.settings.cadence
        facts = self._feeds.judge(symbols, cadence.stale_s, cadence.stale_checks_alert)
        if facts:
            await self._desk.store.commit(Unit(facts=facts))
        self.counts.stale = {s.name: s.stale for s in symbols if s.stale}
        if snapshot is not None:
            await self._settle_strays(snapshot)  # before a trade is judged that lacks what stands there
            await self.fast_pass([*fast, *self._broken_families(fast, snapshot)], snapshot)
        await self.deep_pass([t for t, why in due.items() if why > Why.FAST])

    async def _look_around(self) -> None:
        """Look for positions that no trade knows, as often as at a trade, when no trade was to be looked at."""
        if self._desk.clock.market_ms() >= self._next_strays_ms:
            await self._settle_strays(await self._desk.broker.snapshot([]))

    async def _settle_strays(self, snapshot: Snapshot) -> None:
        self._next_strays_ms = snapshot.taken_ms + int(self._desk.settings.cadence.fast_s * 1000)
        acted = self._strays.acted
        await self._strays.settle(snapshot)
        if self._strays.acted > acted:
            self.scan_soon()

    def _fast_due(self, due: Mapping[int, Why]) -> list[int]:
        """Return the trades whose positions are to be looked at: it is time, or the price moved against them."""
        now, watches = self._desk.clock.market_ms(), self.book.watches
        found = [
            (watch, why) for t, why in due.items() if (watch := watches.get(t)) is not None
        ]  # some ended meanwhile
        return [w.ticket for w, why in found if why is Why.ADVERSE or w.next_fast_ms <= now]

    def _broken_families(self, due: Sequence[int], snapshot: Snapshot) -> list[int]:
        """Return the trades that lack a leg in this look, due or not: what is left of them may stand alone."""
        found = []
        for ticket in self.book.families() - set(due):
            trade = self.book.watches[ticket].trade
            if any(m.ticket not in snapshot.positions for m in trade.members) or (
                trade.volume > ZERO and trade.position not in snapshot.positions
            ):
                found.append(ticket)
        return found

    async def _observe_account(self, snapshot: Snapshot) -> None:
        desk, account = self._desk, snapshot.account
        before = desk.rails
        desk.rails = observe_account(
            before,
            now_ms=snapshot.taken_ms,
            balance=account.balance,
            equity=account.equity,
            settings=desk.settings.rails,
            broker_offset_ms=desk.broker.server_offset_ms(snapshot.taken_ms),
        )
        sent, desk.executor.requests = desk.executor.requests, 0
        if sent:
            desk.rails = replace(desk.rails, requests_today=desk.rails.requests_today + sent)
        if replace(desk.rails, equity=None) != replace(before, equity=None):
            await desk.store.commit(Unit(rails=desk.rails.as_json()))

    # --- fast ------------------------------------------------------------------------------------------------------

    async def fast_pass(self, tickets: Iterable[int], snapshot: Snapshot) -> None:
        """Check price and position of the trades that are due."""
        armed: list[Arming] = []
        due, paces = list(tickets), {s.name: self._pace_ms(s) for s in self.book.symbols.values()}
        for start in range(0, len(due), SLICE):
            if start:
                await asyncio.sleep(0)
            for watch in self._noted(due[start : start + SLICE], snapshot, paces, armed):
                news = await self._isolation.run(watch, partial(self._fast, watch, snapshot))
                armed += [news] if news is not None else []
        await self._arm(armed)

    async def _arm(self, armed: Sequence[Arming]) -> None:
        """Commit all that were armed in a pass, but for those that somebody changed meanwhile or is changing now."""
        still = [
            a
            for a in armed
            if a.watch.trade is a.before
            and not a.watch.lock.locked()
            and self.book.watches.get(a.watch.ticket) is a.watch
        ]
        if still:
            await self._desk.store.commit(Unit(trades=[a.after for a in still], facts=[a.fact for a in still]))
        for arming in still:
            if arming.watch.trade is arming.before:
                arming.watch.trade = arming.after

    def _noted(
        self, tickets: Iterable[int], snapshot: Snapshot, paces: Mapping[str, int], armed: list[Arming]
    ) -> list[Watch]:
        """Note a fast check of these trades; return those for which it has more to do than arming."""
        now, hedged_ms = self._desk.clock.market_ms(), int(self._desk.settings.cadence.fast_hedged_s * 1000)
        more: list[Watch] = []
        for ticket in tickets:
            watch = self.book.watches.get(ticket)
            if watch is None:
                continue
            trade = watch.trade
            is_hedged = trade.machine.state is State.HEDGED
            watch.last_fast_ms, watch.next_fast_ms = now, now + (hedged_ms if is_hedged else paces[trade.symbol])
            self.counts.fast += 1
            if not self._is_as_known(watch, snapshot):
                more.append(watch)
            elif not self._desk.machine(trade).armed and (news := self._arming(watch, now)) is not None:
                armed.append(news)
        return more

    def _is_as_known(self, watch: Watch, snapshot: Snapshot) -> bool:
        """Answer whether the broker has the family as remembered, and nothing waits to be done for it."""
        trade = watch.trade
        return (
            not watch.open_intents
            and not watch.lock.locked()
            and trade.volume != ZERO
            and is_as_known(trade, snapshot.positions)
            and not self._waits(trade)
        )

    def _waits(self, trade: Trade) -> bool:
        """Answer whether something is to be done outside the table's rows, now or at its price."""
        return (
            trade.machine.breakeven_pending
            or owes(trade)
            or (trade.nominal_risk and trade.stop is None)
            or (bool(trade.members) and bool(self._presence.surplus(trade)))
        )

    async def _fast(self, watch: Watch, snapshot: Snapshot) -> Arming | None:
        symbol = self.book.symbols[watch.trade.symbol]
        was_unconfirmed = watch.trade.unconfirmed
        await self._presence.check(watch, snapshot)
        self._isolation.answered(watch)
        if was_unconfirmed and not watch.trade.unconfirmed:
            self._check_soon(watch)  # it was held while nobody could say whether its position was there
        if watch.trade.is_active and _lost(watch.trade) and (watch.trade.volume == ZERO or symbol.stale is None):
            # Nothing is added here: a hedge that its stop just closed is not opened again on the score that opened it.
            await self._cycle.step(watch, symbol, adding=False)
            return None
        if self._acts(watch):
            await self._pending(watch, symbol)
        return self._arming(watch, self._desk.clock.market_ms())

    def _check_soon(self, watch: Watch) -> None:
        watch.last_deep_ms = None
        self.scan_soon()

    def _acts(self, watch: Watch) -> bool:
        return self._desk.mode_of(watch.trade) is Mode.AUTO and not self._desk.halted

    async def _pending(self, watch: Watch, symbol: SymbolWatch) -> None:
        """Do what waited for its moment outside the table's rows."""
        trade = watch.trade
        if not trade.alongside and self._restoring.is_due(watch, symbol):
            await self._restoring.restore(watch, symbol)
            trade = watch.trade
        if trade.machine.breakeven_pending and self._beyond_breakeven(watch, symbol):
            await self._moves.pending_breakeven(watch, symbol)
        if (surplus := self._presence.surplus(trade)) and not watch.open_intents:
            await self._moves.close_members(watch, symbol, {member.ticket for member in surplus})
        bare = trade.nominal_risk and trade.stop is None
        if bare and not trade.alongside and self._desk.settings.protection.attach_stop:
            await self._moves.protect(watch, symbol, attached_stop)

    def _beyond_breakeven(self, watch: Watch, symbol: SymbolWatch) -> bool:
        tick, trade = symbol.tick, watch.trade
        if tick is None:
            return False
        price = breakeven_price(trade, tick, symbol.instrument, watch.cost_money or 0.0)
        clearance = symbol.instrument.stops_level + tick.spread
        return (tick.closing(trade.side) - price) * trade.side.sign >= clearance

    def _arming(self, watch: Watch, now: int) -> Arming | None:
        trade, tick = watch.trade, self.book.symbols[watch.trade.symbol].tick
        machine = self._desk.machine(trade)
        if machine.armed or tick is None:
            return None
        reason = trade_state.armed(
            machine,
            age_min=(now - trade.opened_ms) / 60_000,
            r_multiple=trade.r_multiple(tick.closing(trade.side)),
            settings=self._desk.settings.protection,
        )
        if reason is None:
            return None
        fact = self._desk.journal.fact(FactKind.ARMED, f"armed: {reason}", trade=trade, details={"reason": reason})
        armed = replace(machine, armed=True)
        if self._desk.mode_of(trade) is Mode.AUTO:
            return Arming(watch, trade, replace(trade, machine=armed), fact)
        return Arming(watch, trade, replace(trade, shadow=armed), fact)

    def _pace_ms(self, symbol: SymbolWatch) -> int:
        """Return the time between two fast checks of a trade without a hedge."""
        cadence, view = self._desk.settings.cadence, symbol.view
        volatility = view.regime.volatility if view is not None else Volatility.NORMAL
        seconds = {Volatility.HIGH: cadence.fast_high_volatility_s, Volatility.LOW: cadence.fast_flat_s}
        return int(seconds.get(volatility, cadence.fast_s) * 1000)

    # --- deep ------------------------------------------------------------------------------------------------------

    async def deep_pass(self, tickets: Sequence[int]) -> None:
        """Step every trade of ``tickets``; what adds risk comes after all that does not."""
        adding: list[Watch] = []
        looks: dict[str, Look] = {}
        for start in range(0, len(tickets), SLICE):
            if start:
                await asyncio.sleep(0)
            for watch, symbol in self._touched(tickets[start : start + SLICE], looks):
                if await self._step(watch, symbol, adding=False):
                    adding.append(watch)
        for watch in adding:
            await self._step(watch, self.book.symbols[watch.trade.symbol], adding=True)
        for look in looks.values():
            look.symbol.reband()

    def _touched(self, tickets: Sequence[int], looks: dict[str, Look]) -> list[tuple[Watch, SymbolWatch]]:
        """Touch these trades and return those that stepping could do something to."""
        now, cadence = self._desk.clock.market_ms(), self._desk.settings.cadence
        watches, found = self.book.watches, []
        for ticket in tickets:
            watch = watches.get(ticket)
            if watch is None:
                continue
            look = looks.get(watch.trade.symbol)
            if look is None:
                symbol = self.book.symbols[watch.trade.symbol]
                look = looks[symbol.name] = look_at(symbol, cadence)
            if self._touch(watch, look, now):
                found.append((watch, look.symbol))
        return found

    def _touch(self, watch: Watch, look: Look, now: int) -> bool:
        """Note a deep check, set the trade's guard levels anew, and answer whether stepping it could do anything."""
        trade = watch.trade
        machine, side = self._desk.machine(trade), look.long if trade.side is Side.LONG else look.short
        self.counts.deep += 1
        watch.last_deep_ms, watch.held = now, look.held
        if side is not None:
            watch.last_deep_price = side.price
            self._set_guards(watch, machine, look, side)
        if look.held is not None or side is None or side.outlook is None:
            return trade.volume == ZERO and trade.is_active
        if trade.unconfirmed:
            watch.held = "the broker does not list the position"
            return False
        if trade.retry is not None or trade.volume == ZERO or (machine.state is State.HEDGED and not trade.hedges):
            return True
        return trade_state.may_be_due(machine, side.outlook, now, self._desk.settings.protection)

    def _set_guards(self, watch: Watch, machine: Machine, look: Look, side: SideLook) -> None:
        """Set the prices at which this trade is looked at again at once."""
        price, sign = side.price, side.sign
        against = price - sign * min(side.adverse_max, self._desk.settings.cadence.adverse_r * watch.trade.risk)
        ahead = sign * INFINITY
        # Most trades wait for nothing in their favour, and this runs for every trade in every pass.
        if not machine.armed or machine.breakeven_pending or machine.state is State.HEDGED:
            assert look.tick is not None
            waited = self._levels_ahead(watch, look.symbol, look.tick)
            levels = [level for level in waited if (level - price) * sign > 0]
            ahead = min(levels, key=lambda level: (level - price) * sign, default=ahead)
        watch.guard_low, watch.guard_high = (against, ahead) if sign > 0 else (ahead, against)

    def _levels_ahead(self, watch: Watch, symbol: SymbolWatch, tick: Tick) -> Iterable[float]:
        """Yield the prices in the trade's favour at which something is to be done: arming, breakeven, hedge stop."""
        trade = watch.trade
        machine, sign = self._desk.machine(trade), trade.side.sign
        if not machine.armed:
            yield trade.entry + sign * self._desk.settings.protection.armed_r * trade.risk
        if machine.breakeven_pending:
            price = breakeven_price(trade, tick, symbol.instrument, watch.cost_money or 0.0)
            yield price + sign * (symbol.instrument.stops_level + tick.spread)
        for hedge in trade.hedges if machine.state is State.HEDGED else ():
            if hedge.stop is not None:
                yield hedge.stop

    async def _step(self, watch: Watch, symbol: SymbolWatch, *, adding: bool) -> bool:
        still_due = await self._isolation.run(watch, partial(self._cycle.step, watch, symbol, adding=adding))
        self.book.index(watch.trade)
        return bool(still_due)


def _lost(trade: Trade) -> bool:
    """Answer whether the broker closed what the state stands on: the position, or the hedge."""
    return trade.volume == ZERO or (trade.machine.state is State.HEDGED and not trade.hedges)
