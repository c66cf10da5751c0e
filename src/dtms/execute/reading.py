"""What the engine's memory shows of itself and of its trades."""

from collections.abc import Callable, Sequence

from dtms.decide.capabilities import closes_in_order, hedging_refused
from dtms.decide.guards import rail_figures
from dtms.domain.actions import Intent
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Json
from dtms.domain.prices import ZERO
from dtms.domain.sources import Standing
from dtms.domain.trade import State, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.desk import Desk
from dtms.execute.lifecycle import Lifecycle
from dtms.execute.monitor import Monitor
from dtms.execute.pending import Pendings
from dtms.execute.service import Live, Status, UnknownIntent
from dtms.ports.sources import warnings_of


class Reading:
    """Answers from memory."""

    def __init__(
        self,
        *,
        desk: Desk,
        book: Book,
        monitor: Monitor,
        life: Lifecycle,
        pendings: Pendings,
        warnings: tuple[str, ...],
    ) -> None:
        self._desk = desk
        self._book = book
        self._monitor = monitor
        self._life = life
        self._pendings = pendings
        self._warnings = warnings
        self.parts: dict[str, Callable[[], Json]] = {"store": self._store, "sources": self.tell_sources}
        """What other parts tell of themselves, by the name under which the status shows it."""

    def status(self) -> Status:
        counts, unknown = self._monitor.counts, list[UnknownIntent]()
        by_state, attention = dict.fromkeys(State, 0), list[str]()
        for ticket, watch in self._book.watches.items():  # once, as there can be thousands
            by_state[watch.trade.machine.state] += 1
            unknown += [self._unknown(watch, intent) for intent in watch.open_intents.values()]
            if watch.trade.needs_attention is not None:
                attention.append(f"trade {ticket}: {watch.trade.needs_attention}")
        return Status(
            uptime_s=self._desk.clock.machine_s() - self._life.started_s,
            market_ms=self._market_ms(),
            active_trades=len(self._book.watches),
            trades_by_state={state.value: n for state, n in by_state.items() if state is not State.CLOSED},
            fast_checks=counts.fast,
            deep_checks=counts.deep,
            actions_executed=self._desk.actions,
            transitions=self._desk.transitions,
            last_check_ms=counts.last_check_ms,
            mode=self._desk.mode,
            halted=self._desk.halted,
            halt_reason=self._life.controls.halt_reason,
            rails=rail_figures(self._desk.rails, self._desk.settings.rails),
            intents_unknown=len(unknown),
            unknown_intents=tuple(unknown),
            pending=self._pendings.all(),
            parts={name: tell() for name, tell in self.parts.items()},
            account=self._account(),
            warnings=(
                *self._warnings,
                *warnings_of(self._standings()),
                *self._monitor.counts.stale.values(),
                *attention,
            ),
        )

    def _unknown(self, watch: Watch, intent: Intent) -> UnknownIntent:
        now_ms = self._market_ms() or intent.created_ms
        return UnknownIntent(
            number=intent.number,
            ticket=intent.ticket,
            kind=intent.action.kind.value,
            state=intent.state.value,
            age_s=(now_ms - intent.created_ms) / 1000,
            reason=watch.noted.get(f"intent {intent.number}") or intent.message or "no answer yet",
        )

    def _store(self) -> dict[str, Json]:
        is_ok = self._life.store_ok
        return {"ok": is_ok, "state": "ok" if is_ok else "failed: not trusted until it was reopened and verified"}

    def _standings(self) -> Sequence[Standing]:
        """Return how the sources outside the terminal stand, once market time is known."""
        now_ms = self._market_ms()
        return () if now_ms is None else self._desk.sources.standings(now_ms)

    def tell_sources(self) -> list[Json]:
        """Tell of each source outside the terminal whether it can be used, and why not."""
        return [{"name": s.name, "state": s.state.value, "told": s.told} for s in self._standings()]

    def _market_ms(self) -> int | None:
        try:
            return self._desk.clock.market_ms()
        except BrokerUnavailable:  # the terminal was never asked yet
            return None

    def _account(self) -> dict[str, Json]:
        account = self._life.account
        if account is None:
            return {}
        refused = hedging_refused(account, self._desk.learned)
        return {
            "login": account.login,
            "server": account.server,
            "currency": account.currency,
            "balance": account.balance,
            "equity": self._desk.rails.equity or account.equity,
            "margin_mode": account.margin_mode.value,
            "hedging_possible": refused is None,
            "no_hedging_because": refused,
            "fifo": closes_in_order(account, self._desk.learned),
        }

    def live(self, ticket: int) -> Live | None:
        watch = self._book.watches.get(self._book.ticket_of(ticket) or ticket)
        return None if watch is None else self._live(watch)

    def live_trades(self) -> Sequence[Live]:
        return [self._live(watch) for watch in self._book.watches.values()]

    def _live(self, watch: Watch) -> Live:
        symbol, trade = self._book.symbols[watch.trade.symbol], watch.trade
        tick, machine, protection = symbol.tick, trade.machine, self._desk.settings.protection
        price = tick.closing(trade.side) if tick is not None else None
        now = self._desk.clock.market_ms()

        def left(since: int | None, minutes: float) -> float | None:
            return None if since is None else max(0.0, minutes - symbol.bars.traded_minutes(since, now))

        return Live(
            trade=trade,
            price=price,
            profit=None
            if price is None
            else _profit(trade, price, symbol.instrument.tick_value / symbol.instrument.tick_size),
            score=symbol.view.score(trade.side).total if symbol.view is not None else None,
            view=symbol.view,
            last_fast_ms=watch.last_fast_ms,
            last_deep_ms=watch.last_deep_ms,
            flat_left_min=left(machine.flat_since_ms, protection.flat_min),
            recovery_left_min=left(machine.recovery_since_ms, protection.recovery_min),
            held=watch.held,
        )


def _profit(trade: Trade, price: float, money_per_price: float) -> float:
    """Floating profit of the trade's side in account currency, without swap and commission."""
    own = (price - trade.entry) * float(trade.volume)
    readded = sum((price - m.entry) * float(m.volume) for m in trade.readds)
    hedged = sum((m.entry - price) * float(m.volume) for m in trade.hedges)
    return round((own + readded + hedged) * trade.side.sign * money_per_price, 2) if trade.volume > ZERO else 0.0
