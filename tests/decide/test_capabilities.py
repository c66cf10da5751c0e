"""What refusals teach of an account, for how long it is believed, and which moves it makes impossible."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.decide.builders import HEDGE, READD, TICKET, account, instrument, position, sight, trade

from dtms.decide.capabilities import NOTHING_LEARNED, Learned, closes_in_order, hedging_refused, learn
from dtms.decide.defence import Impossible, Plan, Planned, by_age, plan
from dtms.decide.trade_state import Move
from dtms.domain.account import MarginMode
from dtms.domain.actions import ClosePosition
from dtms.domain.market import Side, TradeMode
from dtms.domain.trade import Machine
from dtms.settings import ProtectionSettings

BOTH = pytest.mark.parametrize("side", Side, ids=lambda side: side.direction)
EUR, GOLD = "EURUSD", "XAUUSD"


def refused_by(planned: Planned) -> tuple[str, str]:
    assert isinstance(planned, Impossible), planned
    return planned.rule, planned.reason


def closed(planned: Planned) -> list[int]:
    assert isinstance(planned, Plan), planned
    return [a.position for a in planned.actions if isinstance(a, ClosePosition)]


# --- learning ------------------------------------------------------------------------------------------------------


def test_an_accounts_nature_is_learned_and_outlives_restarts() -> None:
    known = learn(learn(NOTHING_LEARNED, 10046, EUR, Side.SHORT), 10045, EUR, Side.LONG)
    assert Learned.from_json(known.as_json()) == known
    assert known.reconnected() == known
    assert closes_in_order(account(), known)
    assert hedging_refused(account(), Learned(no_hedging=True)) == "the account prohibits hedging"


@pytest.mark.parametrize(
    ("code", "shut", "open_"),
    [
        (10041, {(EUR, Side.LONG), (EUR, Side.SHORT)}, {(GOLD, Side.LONG), (GOLD, Side.SHORT)}),
        (10044, {(EUR, Side.LONG), (EUR, Side.SHORT)}, {(GOLD, Side.LONG), (GOLD, Side.SHORT)}),
        (10042, {(EUR, Side.SHORT)}, {(EUR, Side.LONG), (GOLD, Side.SHORT)}),
        (10034, {(EUR, Side.SHORT)}, {(EUR, Side.LONG), (GOLD, Side.SHORT)}),
        (10033, {(EUR, Side.LONG), (GOLD, Side.SHORT)}, set()),
        (10040, {(EUR, Side.LONG), (GOLD, Side.SHORT)}, set()),
    ],
)
def test_what_a_symbol_refuses_is_believed_until_the_next_connection(
    code: int, shut: set[tuple[str, Side]], open_: set[tuple[str, Side]]
) -> None:
    known = learn(NOTHING_LEARNED, code, EUR, Side.SHORT)
    assert all(known.closed_to(symbol, side) for symbol, side in shut)
    assert not any(known.closed_to(symbol, side) for symbol, side in open_)
    assert known.reconnected() == NOTHING_LEARNED
    assert Learned.from_json(known.as_json()) == NOTHING_LEARNED


@pytest.mark.parametrize("code", [10004, 10009, 10018, 10019, 10027])
def test_other_answers_teach_nothing(code: int) -> None:
    assert learn(NOTHING_LEARNED, code, EUR, Side.LONG) is NOTHING_LEARNED


# --- what is not possible ------------------------------------------------------------------------------------------

NO_HEDGE: list[tuple[str, dict[str, Any]]] = [
    ("protection.hedge", {"protection": ProtectionSettings(hedge="close")}),
    ("account", {"account": account(margin_mode=MarginMode.NETTING)}),
    ("account", {"account": account(margin_mode=MarginMode.EXCHANGE)}),
    ("account", {"account": account(fifo_close=True)}),
    ("account", {"learned": Learned(fifo=True)}),
    ("account", {"learned": Learned(no_hedging=True)}),
    ("trade_mode", {"instrument": instrument(trade_mode=TradeMode.CLOSE_ONLY)}),
    ("trade_mode", {"instrument": instrument(trade_mode=TradeMode.DISABLED)}),
    ("minimum_lot", {"volume": "0.01"}),
]


@BOTH
@pytest.mark.parametrize(("rule", "known"), NO_HEDGE, ids=[f"{r}-{next(iter(k))}" for r, k in NO_HEDGE])
def test_no_hedge_where_none_can_stand(side: Side, rule: str, known: dict[str, Any]) -> None:
    assert refused_by(plan(Move.OPEN_HEDGE, sight(side, **known)))[0] == rule


@BOTH
def test_no_hedge_beyond_the_number_or_on_the_side_that_is_shut(side: Side) -> None:
    third = trade(side, machine=Machine(armed=True, hedges=2))
    assert refused_by(plan(Move.OPEN_HEDGE, sight(side, trade=third)))[0] == "hedges_max"
    wrong = TradeMode.LONG_ONLY if side is Side.LONG else TradeMode.SHORT_ONLY
    assert refused_by(plan(Move.OPEN_HEDGE, sight(side, instrument=instrument(trade_mode=wrong))))[0] == "trade_mode"
    learned = learn(NOTHING_LEARNED, 10044, EUR, side.opposite)
    assert refused_by(plan(Move.OPEN_HEDGE, sight(side, learned=learned)))[0] == "trade_mode"
    one_sided = learn(NOTHING_LEARNED, 10034, EUR, side)
    assert isinstance(plan(Move.OPEN_HEDGE, sight(side, learned=one_sided)), Plan)


@BOTH
def test_a_symbol_that_takes_no_positions_takes_no_re_add_and_every_close(side: Side) -> None:
    shut = learn(NOTHING_LEARNED, 10044, EUR, side)
    halved = trade(side, "0.2", closed_by_dtms=Decimal("0.2"))
    seen = sight(side, trade=halved, volume="0.2", learned=shut)
    assert refused_by(plan(Move.READD, seen))[0] == "trade_mode"
    assert closed(plan(Move.CLOSE_PART, seen)) == [TICKET]
    assert closed(plan(Move.CLOSE_ALL, seen)) == [TICKET]


# --- first in, first out -------------------------------------------------------------------------------------------

FIFO = {"account": account(fifo_close=True)}


@BOTH
@pytest.mark.parametrize("move", [Move.CLOSE_PART, Move.CLOSE_ALL, Move.CLOSE_REST])
def test_only_the_oldest_of_a_symbol_can_be_closed(side: Side, move: Move) -> None:
    """Somebody else's older position stands before it: not possible, and the reason names it; the oldest can."""
    rule, reason = refused_by(plan(move, sight(side, **FIFO, symbol_order=(77, TICKET))))
    assert rule == "fifo"
    assert "77" in reason
    assert closed(plan(move, sight(side, **FIFO, symbol_order=(TICKET, 77)))) == [TICKET]
    assert closed(plan(move, sight(side, symbol_order=(77, TICKET)))) == [TICKET]


@BOTH
def test_a_family_is_closed_oldest_first_up_to_what_is_not_its_own(side: Side) -> None:
    readd, hedge = position(READD, side, "0.1"), position(HEDGE, side.opposite, "0.2")
    seen = sight(side, readds=(readd,), hedges=(hedge,), learned=Learned(fifo=True))
    order = (HEDGE, TICKET, 77, READD)
    assert closed(plan(Move.CLOSE_ALL, replace(seen, symbol_order=order))) == [HEDGE, TICKET]
    assert closed(plan(Move.CLOSE_HEDGE, replace(seen, symbol_order=order))) == [HEDGE]
    part = plan(Move.CLOSE_PART, replace(seen, symbol_order=(TICKET, READD, HEDGE)))
    assert closed(part) == [TICKET]  # half of 0.5 comes out of the older one
    assert refused_by(plan(Move.CLOSE_HEDGE, replace(seen, symbol_order=(TICKET, HEDGE))))[0] == "fifo"


def test_age_counts_the_symbol_alone() -> None:
    held = [
        position(5, Side.LONG, "0.1", opened_ms=2),
        position(6, Side.LONG, "0.1", opened_ms=1),
        position(4, Side.LONG, "0.1", opened_ms=2),
        position(3, Side.LONG, "0.1", opened_ms=0, symbol=GOLD),
    ]
    assert by_age(held, EUR) == (6, 4, 5)
