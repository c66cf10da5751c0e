"""Every row of the table is seen to act on recorded markets, for BUY and SELL, judged by the terminal's ledger."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from tests.replay.judge import Books, check_invariants, lots, order_of_closes
from tests.replay.windows import BESIDE, RECORDED, SHIPPED, Window, played

from dtms.decide.trade_state import TABLE
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.trade import State
from dtms.terminal.simulated.records import Reason

CHECK_MS = 5_000
"""A deep check's requests lie within so much market time before its transition."""
ROWS = [row.rule for row in TABLE]
HALF = Decimal("0.5")


def _moves(fact: Fact) -> str:
    return str(fact.details["moves"])


def _asked(books: Books, fact: Fact, letter: str | None = None) -> list[dict[str, object]]:
    """Return the check's requests: those of a comment's letter, or the moves of stops."""
    notes = books.asked(fact.market_ms - CHECK_MS, fact.market_ms)
    of_kind = (n.request for n in notes if (n.request.get("comment") or "D-")[1] == (letter or "-"))
    return list(of_kind)


def _tightened(books: Books, fact: Fact) -> None:
    """The stop at the broker came nearer to the market, or the journal says why not and nothing was sent."""
    moved = [c for c in books.stops_set(books.ticket, fact.market_ms) if c.ms >= fact.market_ms - CHECK_MS]
    if "done" in _moves(fact):
        assert moved
        assert moved[-1].reason == Reason.EXPERT
    else:
        assert not moved
        assert not _asked(books, fact)


def _nothing_sent(books: Books, fact: Fact) -> None:
    """A row without moves sends nothing: no request in the ledger serves it."""
    sent = [books.intents[n.request["magic"]].serves for n in books.asked(fact.market_ms - CHECK_MS, fact.market_ms)]
    assert all(serves is None or serves.rule != fact.details["rule"] for serves in sent)
    assert not fact.details["moves"]


def _halved(books: Books, fact: Fact) -> None:
    """Half of what was open was closed, rounded down; not again in the same visit."""
    before = books.side_lots(fact.market_ms - CHECK_MS)
    sold = _asked(books, fact, "P")  # the first is this row's; one more may stand in for a hedge
    closed = Decimal(str(sold[0]["volume"])) if sold else Decimal(0)
    if "close_part: done" in _moves(fact):
        assert closed == (before * HALF).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    else:
        assert closed == 0


def _hedge_opened(books: Books, fact: Fact) -> None:
    """A hedge of half the rest stands beside the trade, opposite, with a stop at the broker."""
    hedge = next(d for d in books.hedges() if fact.market_ms - CHECK_MS <= d.ms <= fact.market_ms)
    held = books.side_lots(fact.market_ms)
    assert lots(hedge.units) == (held * HALF).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    level = books.stops_set(hedge.position_id, fact.market_ms)[0]
    assert (level.sl_points - hedge.price_points) * books.side.sign > 0


def _all_closed(books: Books, fact: Fact) -> None:
    """Nothing of the family is left, and the own position went first."""
    assert all(books.open_lots(p, fact.market_ms) == 0 for p in books.family())
    closed = order_of_closes(books.asked(fact.market_ms - CHECK_MS, fact.market_ms))
    assert closed[0] == books.ticket


def _hedge_closed(books: Books, fact: Fact) -> None:
    """The hedge is gone, by our request or by its stop a moment before, and the trade's own position stands."""
    assert books.hedged_lots(fact.market_ms) == 0
    last = [c for d in books.hedges() for c in books.closing(d.position_id) if c.ms <= fact.market_ms][-1]
    by_us = "close_hedge: done" in _moves(fact)
    assert last.reason == (Reason.EXPERT if by_us else Reason.SL)
    assert not by_us or last.ms >= fact.market_ms - CHECK_MS
    assert books.open_lots(books.ticket, fact.market_ms) > 0


def _hedge_stopped(books: Books, fact: Fact) -> None:
    """The hedge was closed by its own stop at the broker, not by us."""
    closings = [c for d in books.hedges() for c in books.closing(d.position_id) if c.ms <= fact.market_ms]
    assert closings[-1].reason == Reason.SL
    assert books.hedged_lots(fact.market_ms) == 0


def _readded(books: Books, fact: Fact) -> None:
    """Half of what dtms closed is back, with the trade's stop."""
    deal = next(d for d in books.readds() if fact.market_ms - CHECK_MS <= d.ms <= fact.market_ms)
    initial, held = lots(books.opening.units), books.open_lots(books.ticket, fact.market_ms)
    assert lots(deal.units) == ((initial - held) * HALF).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    live = books.stops_set(books.ticket, fact.market_ms)[-1].sl_points
    assert books.stops_set(deal.position_id, fact.market_ms)[0].sl_points == live


def _gone(books: Books, fact: Fact) -> None:
    """The own position was closed by somebody else, and nothing of the family is left."""
    assert books.closing(books.ticket)[-1].reason != Reason.EXPERT
    assert all(books.open_lots(p, fact.market_ms) == 0 for p in books.family())


JUDGES: dict[str, Callable[[Books, Fact], None]] = {
    "position_gone": _gone,
    "warned": _tightened,
    "calmed": _nothing_sent,
    "worsened": _halved,
    "eased": _nothing_sent,
    "hedged": _hedge_opened,
    "given_up_unhedged": _all_closed,
    "turned": _hedge_closed,
    "turned_alongside": _hedge_closed,
    "given_up_hedged": _all_closed,
    "hedge_gone": _hedge_stopped,
    "recovered": _readded,
    "recovery_failed": _all_closed,
}


@pytest.mark.parametrize("side", Side, ids=lambda side: side.direction)
@pytest.mark.parametrize("rule", ROWS)
def test_a_row_acts_on_the_broker(rule: str, side: Side) -> None:
    """Each row occurs in a shipped recording for each side, and the ledger shows what its moves say."""
    shown = [w for w in (*SHIPPED, *BESIDE) if w.side is side and rule in w.rules]
    assert shown, f"no window shows {rule} for a {side.direction}"
    for window in shown:
        replay = played(window)
        facts = replay.of_rule(rule)
        assert facts
        for fact in facts:
            JUDGES[rule](replay.books, fact)


@pytest.mark.parametrize("window", [*SHIPPED, *RECORDED, *BESIDE], ids=lambda window: window.title)
def test_a_window_takes_its_rows_in_order(window: Window) -> None:
    """A pinned trade passes through the states that its market drives it through, and through no others."""
    replay = played(window)
    assert tuple(f.details["rule"] for f in replay.transitions) == window.rules
    legal = {row.rule: row for row in TABLE}
    state = State.HEALTHY
    for fact in replay.transitions:
        row = legal[str(fact.details["rule"])]
        assert fact.details["from"] == state.value
        assert row.source in (None, state)
        state = row.to
        assert fact.details["to"] == state.value
    assert replay.trade.machine.state is state


@pytest.mark.parametrize("window", [*SHIPPED, *RECORDED, *BESIDE], ids=lambda window: window.title)
def test_a_window_keeps_the_invariants(window: Window) -> None:
    """On every event of the ledger: volumes, hedges, stops, targets, re-adds, intents."""
    replay = played(window)
    check_invariants(replay.books, window.spec)


@pytest.mark.parametrize("window", RECORDED, ids=lambda window: window.title)
def test_recorded_rows_act_on_the_broker(window: Window) -> None:
    """On five-minute recordings of gold and EURUSD the ledger shows what each transition says."""
    replay = played(window)
    for fact in replay.transitions:
        JUDGES[str(fact.details["rule"])](replay.books, fact)


@pytest.mark.parametrize("window", SHIPPED, ids=lambda window: window.title)
def test_a_closed_trade_tells_what_it_came_to(window: Window) -> None:
    """Closing price and money are those of the deals of the own position, of hedges and of re-added positions."""
    replay = played(window)
    trade, books = replay.trade, replay.books
    if trade.machine.state is not State.CLOSED:
        assert trade.closed_ms is None
        return
    deals = [d for d in books.deals if d.position_id in books.family()]
    cents = sum(d.profit_cents + d.swap_cents + d.commission_cents for d in deals)
    last = books.closing(books.ticket)[-1]
    assert round(trade.realised * 100) == cents
    assert trade.close_price == last.price_points / window.spec.scale
    assert trade.closed_ms == last.ms
    (closed,) = [f for f in replay.facts if f.kind is FactKind.CLOSED]
    assert closed.details["profit"] == trade.realised
    assert trade.close_reason


@pytest.mark.parametrize("window", SHIPPED, ids=lambda window: window.title)
def test_a_transition_tells_its_score(window: Window) -> None:
    """Every transition but those of a position that is gone carries the score at which it was made."""
    for fact in played(window).transitions:
        assert (fact.details["score"] is None) == (fact.details["rule"] == "position_gone")
