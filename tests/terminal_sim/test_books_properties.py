"""Whatever is asked of whichever account, the books add up.

Money is worked out a second time from the deals alone: what was paid and received for every lot, and what the open
lots would bring now.
"""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.terminal_sim.lab import Minute, write_market

from dtms.terminal.simulated.api import SimulatedTerminal, stepped_terminal
from dtms.terminal.simulated.clock import SteppedClock
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.records import Deal

BUY, SELL = 0, 1
LENGTH_MINUTES = 240
CONTRACT = 100_000
ACCOUNTS: dict[str, dict[str, Any]] = {
    "netting": {"margin_mode": 0},
    "exchange": {"margin_mode": 1},
    "hedging": {},
    "fifo": {"fifo_close": True},
    "no hedges": {"hedge_allowed": False},
    "poor": {"balance": 900.0},
    "poor netting": {"margin_mode": 0, "balance": 900.0},
}
MANNERS: tuple[dict[str, Any], ...] = (
    {},
    {"fill_lots_max": 0.17},
    {"fill_lots_max": 0.3, "partial_rest": "refills", "fok_is_whole": False},
    {"step_fills": 3, "step_slip_points": 4},
    {"execution_delay_ms": 45_000, "margin_check": "after"},
    {"omitted_level": "keeps", "closing_deal_magic": "position"},
)
Deed = tuple[str, int, int, int, int]
DEEDS = st.tuples(
    st.sampled_from(("deal", "deal", "close", "close", "levels", "pending", "by", "renumber", "wait")),
    st.integers(0, 1),
    st.integers(1, 90),
    st.integers(0, 5),
    st.integers(1, 400),
)


def wandering() -> list[Minute]:
    dice, at, minutes = random.Random(5), 0, list[Minute]()
    for _ in range(LENGTH_MINUTES):
        to = at + dice.randint(-250, 250)
        minutes.append((at, max(at, to) + 5, min(at, to) - 5, to))
        at = to
    return minutes


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("books") / "market.csv.gz", wandering())


def lay_out(
    market: Path, account: dict[str, Any], manners: dict[str, Any], journal: str | None = None
) -> tuple[SimulatedTerminal, SteppedClock]:
    spec = {"name": "EURUSD", "recording": str(market), "commission_per_lot": 3.0, "exemode": 3, "filling_mask": 3}
    given: dict[str, Any] = {"start": "2024-01-16T10:00Z", "symbols": [spec], "account": account, "manners": manners}
    given |= {"journal": journal} if journal else {}
    terminal, clock = stepped_terminal(load_config(given, market.parent))
    assert terminal.initialize()
    return terminal, clock


def do(terminal: SimulatedTerminal, clock: SteppedClock, deed: Deed) -> None:
    kind, side, size, which, points = deed
    held, lots = terminal.positions_get() or (), size / 100
    named = held[which % len(held)] if held else None
    tick = terminal.symbol_info_tick("EURUSD")
    assert tick is not None
    away = points / 1e5
    usual = {"action": 1, "symbol": "EURUSD", "volume": lots, "type": side, "type_filling": which % 3}
    if kind == "wait":
        clock.advance_to(clock.now_ms() + points * 1_000)
    elif kind == "deal":
        stop = round(tick.bid - away if side == BUY else tick.ask + away, 5) if points > 200 else 0.0
        terminal.order_send(usual | {"sl": stop, "magic": which})
    elif kind == "pending":
        below = round(tick.bid - away, 5) if side == BUY else round(tick.ask + away, 5)
        terminal.order_send(usual | {"action": 5, "type": 2 + side, "price": below})
    elif named is None:
        return
    elif kind == "close":
        whole = {"volume": named.volume} if points > 200 else {}
        terminal.order_send(usual | {"position": named.ticket, "type": 1 - named.type} | whole)
    elif kind == "levels":
        stop = round(tick.bid - away if named.type == BUY else tick.ask + away, 5)
        terminal.order_send({"action": 6, "symbol": "EURUSD", "position": named.ticket, "sl": stop})
    elif kind == "by":
        terminal.order_send({"action": 10, "symbol": "EURUSD", "position": held[0].ticket, "position_by": named.ticket})
    else:
        books = terminal.simulation.ledger
        terminal._server.renumber(books.positions[named.ticket])
    terminal.positions_total()


def signed(deal: Deal) -> int:
    return deal.units if deal.type == BUY else -deal.units


def worth(terminal: SimulatedTerminal, deposit: float) -> float:
    """Work out the equity from the deals and the present quote alone, in dollars."""
    deals = [deal for deal in terminal.simulation.ledger.deals if deal.symbol]
    tick = terminal.symbol_info_tick("EURUSD")
    assert tick is not None
    received = sum(-signed(deal) * deal.price_points for deal in deals)
    commissions = sum(deal.commission_cents for deal in deals) / 100
    held = terminal.simulation.ledger.positions.values()
    marks = sum(p.units * round(tick.bid * 1e5) if p.type == BUY else -p.units * round(tick.ask * 1e5) for p in held)
    return deposit + (received + marks) * CONTRACT / 1e13 + commissions


def check(terminal: SimulatedTerminal, account: dict[str, Any]) -> None:
    books, info = terminal.simulation.ledger, terminal.account_info()
    assert info is not None
    held, deals = list(books.positions.values()), [deal for deal in books.deals if deal.symbol]
    rounded = 0.01 * (len(deals) + len(held) + 1)
    assert info.equity == pytest.approx(worth(terminal, account.get("balance", 10_000.0)), abs=rounded)
    assert info.balance == pytest.approx(info.equity - sum(p.profit + p.swap for p in terminal.positions_get() or ()))
    assert info.margin >= 0
    assert all(p.units > 0 and p.units % 1_000_000 == 0 for p in held)
    assert len({p.ticket for p in held}) == len({p.identifier for p in held}) == len(held)
    for position in held:
        of_it = sum(signed(deal) for deal in deals if deal.position_id == position.identifier)
        assert of_it == (position.units if position.type == BUY else -position.units)
    assert sum(map(signed, deals)) == sum(p.units if p.type == BUY else -p.units for p in held)
    if account.get("margin_mode", 2) != 2:
        assert len(held) <= 1
    if not account.get("hedge_allowed", True):
        assert len({p.type for p in held}) <= 1


@pytest.mark.parametrize("name", ACCOUNTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(manners=st.sampled_from(MANNERS), deeds=st.lists(DEEDS, min_size=1, max_size=25))
def test_the_books_of_every_account_add_up(market: Path, name: str, manners: dict[str, Any], deeds: list[Deed]) -> None:
    terminal, clock = lay_out(market, ACCOUNTS[name], manners)
    for deed in deeds:
        do(terminal, clock, deed)
        check(terminal, ACCOUNTS[name])


@settings(max_examples=40, deadline=None)
@given(
    account=st.sampled_from(list(ACCOUNTS.values())),
    manners=st.sampled_from(MANNERS),
    deeds=st.lists(DEEDS, min_size=1, max_size=25),
)
def test_a_restart_makes_the_same_books_from_the_journal(
    market: Path, account: dict[str, Any], manners: dict[str, Any], deeds: list[Deed]
) -> None:
    journal = market.parent / "journal.jsonl"
    journal.unlink(missing_ok=True)
    before, clock = lay_out(market, account, manners, journal.name)
    for deed in deeds:
        do(before, clock, deed)
    before.simulation.close()
    after, _ = lay_out(market, account, manners, journal.name)
    books, again = before.simulation.ledger, after.simulation.ledger
    for part in ("positions", "orders", "history_orders", "deals", "levels", "requests", "selected", "balance_cents"):
        assert getattr(again, part) == getattr(books, part), part
    assert (again.new_ticket(), again.new_deal()) == (books.new_ticket(), books.new_deal())
