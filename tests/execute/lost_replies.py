"""Thousands of lost replies, judged by the terminal's own books: `python -m tests.execute.lost_replies --count 10000`.

Eager thresholds send every trade through the whole table on recorded markets: tightened, halved, hedged, turned or
given up, re-added, closed. Most replies to its requests are lost, by a seeded draw: carried out at once, not at all,
0.5 to 20 seconds later, after the settle window, or placed and filled later or never. The judge reads the terminal's
ledger alone, beside the numbers of the stored intents: no two hedges of a trade open at once, no part closed twice in
one visit, no request carried out twice, nothing left when its trade has ended.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any

import structlog
from tests.execute.unsteady import Request, Send, Unsteady, letter_of
from tests.replay.judge import DONE, is_ours, lots

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, Intent, IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import State, Trade
from dtms.execute.service import Refused, Registration
from dtms.replay import replay_settings, stage
from dtms.settings import Settings
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults import Fault
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_names import LOST_CODES, UNCLEAR_RETCODES
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import Deal

LETTERS = {"H": "hedge", "R": "re-add", "P": "part", "S": "stop", "C": "close all", "X": "close hedge"}
RECORDINGS = {"BTCUSD_H1_2017": "2017-11-08T09:05Z", "EURUSD_H1_2017": "2017-09-08T09:05Z"}
TRADES, HOURS, POLL_MS = 32, 3.0, 5_000
LOST_SHARE = 0.7
BEYOND_S = (21.0, 55.0)
"""After the settle window, and before a request of the same kind may go out anew."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a request whose reply is lost."""

    name: str
    kinds: tuple[FaultKind, ...]
    weight: float
    late_s: tuple[float, float] | None = None


FATES = (
    Fate("executed", (FaultKind.LOST_EXECUTED, FaultKind.UNCLEAR_EXECUTED), 3.0),
    Fate("not executed", (FaultKind.LOST_UNEXECUTED, FaultKind.UNCLEAR_UNEXECUTED), 3.0),
    Fate("late", (FaultKind.LOST_LATE, FaultKind.UNCLEAR_LATE), 3.0, (0.5, 20.0)),
    Fate("beyond the window", (FaultKind.LOST_LATE, FaultKind.UNCLEAR_LATE), 1.5, BEYOND_S),
    Fate("placed, filled", (FaultKind.PLACED_LATE,), 1.0, (0.5, 20.0)),
    Fate("placed, expired", (FaultKind.PLACED_NEVER,), 1.0, (0.5, 20.0)),
)


@dataclass(slots=True)
class Losing:
    """Draw for each request whether its reply is lost, and what becomes of it."""

    terminal: SimulatedTerminal
    random: Random
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    is_over: bool = False

    def __call__(self, request: Request, send: Send) -> Any:
        if self.is_over or self.random.random() >= LOST_SHARE:
            return send(request)
        kind = LETTERS[letter_of(request)]
        fates = [f for f in FATES if request["action"] == MT5.TRADE_ACTION_DEAL or not f.name.startswith("placed")]
        (fate,) = self.random.choices(fates, [f.weight for f in fates])
        self.lost[kind, fate.name] += 1
        self.terminal.simulation.faults.add(self._fault(fate))
        return send(request)

    def _fault(self, fate: Fate) -> Fault:
        kind = self.random.choice(fate.kinds)
        arguments: dict[str, Any] = {}
        if fate.late_s is not None:
            arguments["late_s"] = round(self.random.uniform(*fate.late_s), 3)
        if kind.value.startswith("lost"):
            arguments["code"] = self.random.choice(LOST_CODES)
        if kind.value.startswith("unclear"):
            arguments["retcode"] = self.random.choice(UNCLEAR_RETCODES)
        return Fault(kind=kind, arguments=arguments)


def eager() -> Settings:
    """Settings by which trades go through the table as fast as its structure lets them."""
    settings = replay_settings(poll_ms=POLL_MS)
    protection = replace(
        settings.protection,
        warn_l1=90.0,
        warn_l1_exit=100.0,
        warn_l2=80.0,
        warn_l2_exit=95.0,
        hedge_at=70.0,
        recovered_at=-90.0,
        armed_min=0.0,
        flat_min=25.0,
        hedge_stop_atr=4.0,
    )
    rails = replace(
        settings.rails,
        daily_loss_percent=90.0,
        hourly_loss_percent=90.0,
        stop_outs_max=1_000_000,
        requests_per_day=1_000_000,
        spread_factor=100.0,
    )
    return replace(settings, protection=protection, rails=rails)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one stretch of market left."""

    seed: int
    lost: Mapping[tuple[str, str], int]
    ledger: Ledger
    trades: Sequence[Trade]
    intents: Sequence[Intent]
    facts: Sequence[Fact]
    numbers: Mapping[int, int]
    """Magic number → intent number."""


def play(seed: int) -> Run:
    """Play one stretch with a seed's entries and losses, then let everything settle without losses."""

    async def main() -> Run:
        random = Random(seed)
        recording, at = random.choice(sorted(RECORDINGS.items()))
        symbol = f"{recording[:6]}.m"
        config = load_config(
            {
                "start": at,
                "account": {"balance": 10_000_000.0},
                "symbols": [{"name": symbol, "like": recording[:6], "recording": f"shipped:{recording}"}],
            }
        )
        terminal = SimulatedTerminal(config, LoopClock(config.start_ms))
        unsteady, losing = Unsteady(terminal), Losing(terminal, random)
        made: Any = unsteady
        on = stage(config, settings=eager(), terminal=made)
        await on.engine.start()
        await on.play(random.uniform(1, 600))
        unsteady.spoil = losing
        for _ in range(TRADES):
            ticket = _open(terminal, symbol, random)
            await on.play(0.1)
            try:
                await on.engine.register(Registration(ticket=ticket))
            except Refused:
                continue
            await on.play(random.uniform(0.5, 8.0))
        await on.play(HOURS * 60)
        losing.is_over = True
        await on.play(8)
        intents = await on.store.intents()
        trades = [t for i in {i.ticket for i in intents} if (t := await on.store.trade(i)) is not None]
        run = Run(
            seed=seed,
            lost=losing.lost,
            ledger=terminal.simulation.ledger,
            trades=trades,
            intents=intents,
            facts=await on.store.facts(limit=1_000_000),
            numbers={on.broker.magic_of(i.number): i.number for i in intents},
        )
        await on.engine.stop()
        return run

    return run_virtual(main())


def _open(terminal: SimulatedTerminal, symbol: str, random: Random) -> int:
    """Open a position as its owner does, with a stop far away."""
    tick, info, side = terminal.symbol_info_tick(symbol), terminal.symbol_info(symbol), random.choice((0, 1))
    assert tick is not None
    assert info is not None
    price = tick.ask if side == 0 else tick.bid
    away = price * (0.05 if side == 0 else -0.05)
    request = {
        "action": MT5.TRADE_ACTION_DEAL,
        "symbol": symbol,
        "volume": random.choice((0.4, 0.8, 1.2)),
        "type": side,
        "price": price,
        "sl": round(price - away, info.digits),
        "deviation": 1_000,
        "type_filling": 1,
    }
    answer = terminal.order_send(request)
    assert answer is not None
    assert answer.retcode == MT5.TRADE_RETCODE_DONE
    return int(answer.order)


# --- judging ---------------------------------------------------------------------------------------------------------


def faults_of(run: Run) -> Iterator[str]:
    """Yield in words whatever the ledger shows that must never be."""
    yield from _twice(run)
    by_number = {i.number: i for i in run.intents}
    for trade in run.trades:
        deals = [
            d
            for d in run.ledger.deals
            if (i := by_number.get(run.numbers.get(d.magic, 0))) and i.ticket == trade.ticket
        ]
        yield from _double_hedges(run, trade, deals, by_number)
        yield from _double_parts(run, trade, deals, by_number)
        yield from _left_behind(run, trade)
    yield from _unresolved(run)


def _twice(run: Run) -> Iterator[str]:
    done = Counter(n.request.get("magic", 0) for n in run.ledger.requests if n.retcode in DONE)
    yield from (
        f"seed {run.seed}: {magic} carried out {n} times" for magic, n in done.items() if is_ours(magic) and n > 1
    )


def _double_hedges(run: Run, trade: Trade, deals: Sequence[Deal], by_number: Mapping[int, Intent]) -> Iterator[str]:
    """A second hedge was opened while one of another intent was open."""
    hedges = [d for d in deals if d.entry == MT5.DEAL_ENTRY_IN and _kind(run, d, by_number) is ActionKind.OPEN_HEDGE]
    for deal in hedges:
        others = [d for d in hedges if d.magic != deal.magic and d.ticket < deal.ticket]
        open_now = [d for d in others if _open_lots(run.ledger, d.position_id, deal.ms, deal.ticket) > 0]
        if open_now:
            yield f"seed {run.seed}: trade {trade.ticket} has hedge {deal.position_id} beside {open_now[0].position_id}"


def _double_parts(run: Run, trade: Trade, deals: Sequence[Deal], by_number: Mapping[int, Intent]) -> Iterator[str]:
    """More was closed for one row in one visit than the part that was first asked for."""
    parts: dict[tuple[str, int], list[Intent]] = {}
    for deal in deals:
        intent = by_number[run.numbers[deal.magic]]
        if (
            intent.action.kind is ActionKind.CLOSE_PART
            and intent.serves is not None
            and deal.entry != MT5.DEAL_ENTRY_IN
        ):
            visit = sum(1 for at in _visits(run, trade) if at <= intent.created_ms)
            parts.setdefault((intent.serves.rule, visit), []).append(intent)
    for (rule, visit), intents in parts.items():
        numbers = sorted({i.number for i in intents})
        if len(numbers) > 1 and not _takes_several(intents):
            yield f"seed {run.seed}: trade {trade.ticket}, visit {visit}: {rule} closed {numbers}"


def _takes_several(intents: Sequence[Intent]) -> bool:
    """A part over the own and re-added positions is closed by an intent for each of them."""
    positions: Any = [i.action for i in intents]
    return len({a.position for a in positions}) == len({i.number for i in intents})


def _visits(run: Run, trade: Trade) -> list[int]:
    """Return when HEALTHY was reached, so that what runs once per visit may run again."""
    of = [f for f in run.facts if f.ticket == trade.ticket and f.kind is FactKind.TRANSITION]
    return [f.market_ms for f in of if f.details.get("to") == State.HEALTHY.value]


def _left_behind(run: Run, trade: Trade) -> Iterator[str]:
    """Something of a trade that ended is still open, or something of its family that it does not know."""
    positions = {p.ticket: p for p in run.ledger.positions.values()}
    family = {m for m, n in run.numbers.items() if any(i.number == n and i.ticket == trade.ticket for i in run.intents)}
    known = {trade.position, *(m.ticket for m in trade.members)}
    strays = [p.ticket for p in positions.values() if p.magic in family and p.ticket not in known]
    if strays:
        yield f"seed {run.seed}: trade {trade.ticket} does not know {strays}"
    if trade.machine.state is State.CLOSED and (trade.ticket in positions or trade.members):
        yield f"seed {run.seed}: trade {trade.ticket} is CLOSED and has positions"


def _unresolved(run: Run) -> Iterator[str]:
    for intent in run.intents:
        if intent.state in (IntentState.SENDING, IntentState.UNKNOWN, IntentState.NEEDS_HUMAN):
            yield f"seed {run.seed}: intent {intent.number} ({intent.action.kind.value}) is still {intent.state.value}"
    done = {n.request.get("magic", 0) for n in run.ledger.requests if n.retcode in DONE}
    for magic, number in run.numbers.items():
        intent = next(i for i in run.intents if i.number == number)
        if magic in done and intent.state is IntentState.NOT_EXECUTED and intent.action.kind.changes_exposure:
            yield f"seed {run.seed}: intent {number} ({intent.action.kind.value}) was executed, and counts as not"


def _kind(run: Run, deal: Deal, by_number: Mapping[int, Intent]) -> ActionKind:
    return by_number[run.numbers[deal.magic]].action.kind


def _open_lots(ledger: Ledger, position: int, at_ms: int, before: int) -> Decimal:
    units = sum(
        d.units if d.entry == MT5.DEAL_ENTRY_IN else -d.units
        for d in ledger.deals
        if d.position_id == position and (d.ms, d.ticket) < (at_ms, before)
    )
    return lots(units)


# --- the command -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Total:
    """What many runs came to."""

    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    trades: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, run: Run) -> None:
        self.lost.update(run.lost)
        self.trades += len(run.trades)
        self.states.update(i.state.value for i in run.intents)
        self.wrong += faults_of(run)

    @property
    def count(self) -> int:
        return sum(self.lost.values())


def lose(count: int, seed: int = 1) -> Total:
    """Play stretches until so many replies were lost."""
    total = Total()
    while total.count < count:
        total.add(play(seed))
        seed += 1
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    total, seed, begun = Total(), options.seed, time.perf_counter()
    while total.count < options.count:
        total.add(play(seed))
        seed += 1
        print(f"{total.count} lost, {len(total.wrong)} wrong, {time.perf_counter() - begun:.0f} s", flush=True)
    for (kind, fate), number in sorted(total.lost.items()):
        print(f"{kind:12} {fate:20} {number}")
    print(f"{total.trades} trades; intents: {dict(total.states)}")
    print("\n".join(total.wrong) or "nothing was done twice, and nothing was left")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
