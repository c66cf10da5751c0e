"""The whole on recorded markets: repeatable to the byte, and true to its invariants over many trades at once."""

import json
from collections import Counter
from dataclasses import asdict, replace

import pytest
from tests.replay.judge import Books, check_intents, check_invariants, is_ours
from tests.replay.windows import BALANCE, BTC, EUR, LONG, SHIPPED, Played, played

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.trade_state import TABLE
from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import State, Trade
from dtms.replay import Stage, stage
from dtms.survey import register_new
from dtms.terminal.simulated.actors import EntryPlan, random_entries
from dtms.terminal.simulated.api import build_world
from dtms.terminal.simulated.config import SimConfig, load_config
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.spec import BUILT_IN

HOURS = 36
DAY_MS = 86_400_000
WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


def journal_of(replay: Played) -> bytes:
    """Write every fact, request and deal of a replay out."""
    facts = [{**asdict(f), "kind": f.kind.value, "details": dict(f.details)} for f in replay.facts]
    requests = [asdict(r) for r in replay.ledger.requests]
    deals = [asdict(d) for d in replay.ledger.deals]
    return json.dumps([facts, requests, deals], default=str).encode()


def test_a_replay_run_twice_gives_the_same_journal() -> None:
    """Byte for byte: facts with their ids and times, the terminal's requests, and its deals."""
    once = journal_of(played(WINDOW))
    again = journal_of(played.__wrapped__(WINDOW))
    assert once == again
    assert len(once) > 5_000


def _config() -> SimConfig:
    """Two instruments and a trader who opens forty positions at random in the first half."""
    symbols = [{"name": f"{r[:6]}.m", "like": r[:6], "recording": f"shipped:{r}"} for r in (BTC, EUR)]
    config = load_config({"start": "2017-11-29T08:00Z", "account": {"balance": BALANCE}, "symbols": symbols})
    plan = EntryPlan(
        seed=4,
        count=40,
        from_ms=config.start_ms + 120_000,
        to_ms=config.start_ms + HOURS * 1_800_000,
        symbols=("BTCUSD.m", "EURUSD.m"),
        lots=0.4,
        sl_atr=4.0,
        tp_atr=9.0,
    )
    return replace(config, actors=random_entries(plan, build_world(config)))


class Crowd:
    """What many trades at once left behind."""

    def __init__(self, ledger: Ledger, facts: list[Fact], trades: list[Trade], intents: dict[int, Intent]) -> None:
        self.ledger = ledger
        self.facts = facts
        self.trades = trades
        self.intents = intents


async def _play(on: Stage) -> Crowd:
    known: set[int] = set()
    await on.engine.start()
    for _ in range(HOURS * 60):
        await on.play(1.0)
        await register_new(on, known)
    trades = [t for ticket in sorted(known) if (t := await on.store.trade(ticket)) is not None]
    intents = {on.broker.magic_of(i.number): i for i in await on.store.intents()}
    facts = list(await on.store.facts(limit=1_000_000))
    await on.engine.stop()
    return Crowd(on.terminal.simulation.ledger, facts, trades, intents)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    async def main() -> Crowd:
        return await _play(stage(_config()))

    return run_virtual(main())


def test_every_trade_of_a_crowd_keeps_the_invariants(crowd: Crowd) -> None:
    """Volumes, hedges, stops, targets and re-adds of each, on every event of the ledger."""
    for trade in crowd.trades:
        spec = BUILT_IN[trade.symbol[:6]]
        check_invariants(Books(crowd.ledger, trade.ticket, crowd.intents), spec)
    check_intents(crowd.ledger, crowd.intents)
    assert len(crowd.trades) >= 30
    assert len(crowd.intents) >= 30


def test_the_targets_of_a_crowd_never_change(crowd: Crowd) -> None:
    """Each position's target is the one that it was opened with, bit for bit."""
    for position, levels in _levels(crowd.ledger).items():
        assert len(set(levels)) == 1, f"the target of {position} changed"


def _levels(ledger: Ledger) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for change in ledger.levels:
        found.setdefault(change.position, []).append(change.tp_points)
    return found


def test_an_ended_trade_of_a_crowd_left_nothing_open(crowd: Crowd) -> None:
    """CLOSED means that the ledger holds nothing of the family, and active means that it holds the own position."""
    ended = 0
    for trade in crowd.trades:
        books = Books(crowd.ledger, trade.ticket, crowd.intents)
        own = books.open_lots(trade.ticket, 2**62)
        if trade.machine.state is State.CLOSED:
            ended += 1
            assert all(books.open_lots(p, 2**62) == 0 for p in books.family())
            assert trade.close_reason
        else:
            assert own == trade.volume > 0
    assert ended > 10


def test_the_hedge_goes_within_two_cycles_of_its_trade(crowd: Crowd) -> None:
    """After the last deal of an own position, its hedge is closed within two fast checks."""
    for trade in crowd.trades:
        books = Books(crowd.ledger, trade.ticket, crowd.intents)
        out = books.closing(trade.ticket)
        if trade.machine.state is State.CLOSED and out:
            assert books.hedged_lots(out[-1].ms + 121_000) == 0


def test_the_journal_rebuilds_every_state(crowd: Crowd) -> None:
    """Following the transitions of each trade by the table alone leads to the state that is stored."""
    rows = {row.rule: row for row in TABLE}
    states = {t.ticket: State.HEALTHY for t in crowd.trades}
    for fact in crowd.facts:
        if fact.kind is FactKind.TRANSITION and fact.ticket is not None:
            row = rows[str(fact.details["rule"])]
            assert row.source in (None, states[fact.ticket])
            states[fact.ticket] = row.to
    assert states == {t.ticket: t.machine.state for t in crowd.trades}


def test_stop_outs_in_a_row_stop_what_adds_risk_and_nothing_else(crowd: Crowd) -> None:
    """From the first to the last such refusal of a day nothing is opened, while stops move and parts are closed."""
    refused = [f for f in crowd.facts if f.kind is FactKind.REFUSAL and f.details.get("rail") == "stop_outs"]
    assert len(refused) >= 2
    first = refused[0].market_ms
    last = max(f.market_ms for f in refused if f.market_ms < first - first % DAY_MS + DAY_MS)
    sent = [n for n in crowd.ledger.requests if is_ours(n.request.get("magic", 0)) and first <= n.ms <= last]
    kinds = Counter((n.request.get("comment") or "DS")[1] for n in sent)
    assert kinds["H"] + kinds["R"] == 0
    assert kinds["S"] + kinds["P"] + kinds["C"] > 0
