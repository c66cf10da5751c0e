"""The table of states: its order, its ways, its timers, and what a row never does."""

from dataclasses import replace
from itertools import pairwise

import pytest
from tests.decide.builders import M15, NOW, broken, machine, situation, view

from dtms.decide.trade_state import (
    ROWS_OF,
    TABLE,
    Move,
    Row,
    Way,
    armed,
    enter,
    is_spent,
    mark,
    next_due,
    substituted,
)
from dtms.domain.errors import InvariantBroken
from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Machine, State, Visit
from dtms.market.structure import BreakKind
from dtms.market.view import MarketView
from dtms.settings import ProtectionSettings

BOTH = pytest.mark.parametrize("side", Side, ids=lambda side: side.direction)
ROW = {row.rule: row for row in TABLE}
MINUTE = 60_000


def due(of: Machine, side: Side, on: MarketView, **known: object) -> str | None:
    found = next_due(of, situation(side, on, **known))
    return found.row.rule if found else None


def test_the_table_is_the_specification() -> None:
    """Every row stands where the specification has it, with its states and its moves, in its order."""
    assert [(r.source, r.to, r.moves) for r in TABLE] == [
        (None, State.CLOSED, (Move.CLOSE_REST,)),
        (State.HEALTHY, State.WARNING_L1, (Move.TIGHTEN,)),
        (State.WARNING_L1, State.HEALTHY, ()),
        (State.WARNING_L1, State.WARNING_L2, (Move.CLOSE_PART, Move.BREAKEVEN)),
        (State.WARNING_L2, State.WARNING_L1, ()),
        (State.WARNING_L2, State.HEDGED, (Move.OPEN_HEDGE,)),
        (State.WARNING_L2, State.CLOSED, (Move.CLOSE_ALL,)),
        (State.HEDGED, State.RECOVERING, (Move.CLOSE_HEDGE,)),
        (State.HEDGED, State.HEALTHY, (Move.CLOSE_HEDGE,)),  # beside another owner
        (State.HEDGED, State.CLOSED, (Move.CLOSE_ALL,)),
        (State.HEDGED, State.WARNING_L2, ()),
        (State.RECOVERING, State.HEALTHY, (Move.READD,)),
        (State.RECOVERING, State.CLOSED, (Move.CLOSE_ALL,)),
    ]


def test_rows_of_any_state_are_asked_first() -> None:
    """In every state the rows of any state come before its own, and the own ones in the table's order."""
    for state in State:
        sources = [row.source for row in ROWS_OF[state]]
        assert sources == sorted(sources, key=lambda source: source is not None)
        own = [TABLE.index(row) for row in ROWS_OF[state]]
        assert all(a < b for a, b in pairwise(own))


def test_every_state_is_reached_and_closed_is_left_by_no_row() -> None:
    """From HEALTHY every state can be reached; nothing leaves CLOSED."""
    reached, news = {State.HEALTHY}, True
    while news:
        found = {row.to for state in reached for row in ROWS_OF[state]}
        news = not found <= reached
        reached |= found
    assert reached == set(State)
    assert ROWS_OF[State.CLOSED] == ()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.rule)
@pytest.mark.parametrize("state", State)
def test_a_row_that_does_not_start_here_raises(row: Row, state: State) -> None:
    """Entering a row from another state than its own raises and changes nothing."""
    before = machine(state)
    kept = replace(before)
    if state is not State.CLOSED and row.source in (None, state):
        assert enter(before, row, NOW).state is row.to
    else:
        with pytest.raises(InvariantBroken):
            enter(before, row, NOW)
    assert before == kept


SCORES = (
    (State.HEALTHY, -3.5, "warned"),
    (State.HEALTHY, -3.49, None),
    (State.WARNING_L1, 0.0, "calmed"),
    (State.WARNING_L1, -0.01, None),
    (State.WARNING_L1, -5.5, "worsened"),
    (State.WARNING_L1, -5.49, None),
    (State.WARNING_L2, -3.5, "eased"),
    (State.WARNING_L2, -3.51, None),
    (State.WARNING_L2, -7.0, "hedged"),
    (State.WARNING_L2, -6.99, None),
    (State.HEDGED, -11.0, None),
    (State.HEDGED, 11.0, None),
    (State.RECOVERING, 1.0, "recovered"),
    (State.RECOVERING, 0.99, None),
)


@BOTH
@pytest.mark.parametrize(("state", "total", "rule"), SCORES)
def test_a_threshold_is_met_exactly(side: Side, state: State, total: float, rule: str | None) -> None:
    assert due(machine(state), side, view(total)) == rule


@BOTH
@pytest.mark.parametrize(("state", "total", "rule"), SCORES)
def test_thresholds_shrink_with_absent_layers(side: Side, state: State, total: float, rule: str | None) -> None:
    """With half of the layers' range present, half of the points are enough."""
    assert due(machine(state), side, view(total * 0.5, scale=0.5)) == rule


@BOTH
def test_an_unarmed_trade_stays_healthy(side: Side) -> None:
    assert due(machine(State.HEALTHY, armed=False), side, view(-11.0)) is None


@pytest.mark.parametrize(
    ("age_min", "r_multiple", "is_armed"),
    [(0, 0.2, True), (0, 0.19, False), (15, 0.0, True), (14.9, 0.0, False), (0, -0.5, True), (0, -0.49, False)],
)
def test_arming_takes_profit_age_or_emergency(age_min: float, r_multiple: float, is_armed: bool) -> None:
    reason = armed(Machine(), age_min=age_min, r_multiple=r_multiple, settings=ProtectionSettings())
    assert (reason is not None) == is_armed


@BOTH
def test_a_flip_hedges_only_with_confluence(side: Side) -> None:
    """A VWAP flip against the trade hedges when at least nine tenths of the points are against it, and not before."""
    at = machine(State.WARNING_L2)
    assert due(at, side, view(-4.0, flip=side.opposite, confluence=True)) == "hedged"
    assert due(at, side, view(-4.0, flip=side.opposite)) is None
    assert due(at, side, view(-4.0, flip=side, confluence=True)) is None


@BOTH
def test_a_shock_steps_through_every_state_in_one_check(side: Side) -> None:
    """A score of −8 leads from HEALTHY to HEDGED in order, at one moment."""
    at, taken = machine(State.HEALTHY), []
    while (found := next_due(at, situation(side, view(-8.0)))) is not None:
        taken.append(found.row.rule)
        at = enter(at, found.row, NOW)
    assert taken == ["warned", "worsened", "hedged"]
    assert at.flat_since_ms == NOW


@BOTH
def test_a_step_up_waits_for_an_m15_bar_closed_after_the_step_down(side: Side) -> None:
    at = enter(machine(State.HEALTHY), ROW["warned"], NOW)
    assert due(at, side, view(2.0, m15_close_ms=NOW)) is None
    assert due(at, side, view(2.0, m15_close_ms=NOW + M15)) == "calmed"


@BOTH
def test_dwell_delays_no_step_down(side: Side) -> None:
    at = enter(machine(State.HEALTHY), ROW["warned"], NOW)
    assert due(at, side, view(-6.0, m15_close_ms=NOW)) == "worsened"


def test_a_reducing_move_runs_once_per_visit() -> None:
    """Falling again from L1 to L2 does not halve again until HEALTHY was reached in between."""
    at = mark(machine(State.WARNING_L1), Move.CLOSE_PART)
    deep = enter(at, ROW["worsened"], NOW)
    again = enter(deep, ROW["eased"], NOW + M15)
    assert is_spent(again, Move.CLOSE_PART)
    healthy = enter(again, ROW["calmed"], NOW + 2 * M15)
    assert not is_spent(healthy, Move.CLOSE_PART)
    assert not is_spent(again, Move.BREAKEVEN)


@BOTH
def test_only_breaks_after_the_entry_count_in_hedged(side: Side) -> None:
    """In HEDGED a break counts on M5 or M15 with the trade, on M15 against it, closed after the hedge."""
    at = machine(State.HEDGED, entered_ms=NOW, flat_since_ms=NOW)
    for kind in BreakKind:
        for timeframe in (Timeframe.M5, Timeframe.M15):
            with_it = broken(side, NOW + MINUTE, kind=kind, timeframe=timeframe)
            assert due(at, side, view(breaks=(with_it,))) == "turned"
            assert due(at, side, view(breaks=(replace(with_it, close_ms=NOW),))) is None
        against = broken(side.opposite, NOW + MINUTE, kind=kind)
        assert due(at, side, view(breaks=(against,))) == "given_up_hedged"
        assert due(at, side, view(breaks=(replace(against, timeframe=Timeframe.M5),))) is None
        assert due(at, side, view(breaks=(replace(against, close_ms=NOW),))) is None


@BOTH
def test_a_break_with_the_trade_comes_before_one_against_it(side: Side) -> None:
    at = machine(State.HEDGED, entered_ms=NOW)
    both = (broken(side.opposite, NOW + MINUTE), broken(side, NOW + MINUTE))
    assert due(at, side, view(breaks=both)) == "turned"


@BOTH
def test_recovering_fails_on_a_change_of_character_alone(side: Side) -> None:
    """A CHoCH against on M15 after the entry ends the recovery; a BOS against does not."""
    at = machine(State.RECOVERING, entered_ms=NOW)
    for kind, rule in ((BreakKind.CHOCH, "recovery_failed"), (BreakKind.BOS, None)):
        assert due(at, side, view(breaks=(broken(side.opposite, NOW + MINUTE, kind=kind),))) == rule
    old = broken(side.opposite, NOW, kind=BreakKind.CHOCH)
    assert due(at, side, view(breaks=(old,))) is None


@BOTH
def test_the_flat_timer_counts_trading_minutes(side: Side) -> None:
    """150 minutes in which the symbol traded end a hedged trade, and an unhedged one whose timer runs."""
    for at, rule in (
        (machine(State.HEDGED), "given_up_hedged"),
        (machine(State.WARNING_L2, flat_since_ms=NOW - 1), "given_up_unhedged"),
    ):
        assert due(at, side, view(-5.0), flat_min=150.0) == rule
        assert due(at, side, view(-5.0), flat_min=149.9) is None
    assert due(machine(State.WARNING_L2), side, view(-5.0), flat_min=500.0) is None


@BOTH
def test_the_recovery_timer_counts_trading_minutes(side: Side) -> None:
    assert due(machine(State.RECOVERING), side, view(0.0), recovery_min=90.0) == "recovery_failed"
    assert due(machine(State.RECOVERING), side, view(0.0), recovery_min=89.9) is None
    assert due(machine(State.RECOVERING), side, view(1.0), recovery_min=90.0) == "recovered"


def test_timers_start_and_stop_with_their_states() -> None:
    """The flat timer starts with the hedge and outlives it in WARNING_L2 alone; the recovery timer is RECOVERING's."""
    hedged = enter(machine(State.WARNING_L2), ROW["hedged"], NOW)
    assert (hedged.flat_since_ms, hedged.recovery_since_ms) == (NOW, None)
    back = enter(hedged, ROW["hedge_gone"], NOW + 1)
    assert back.flat_since_ms == NOW
    assert enter(back, ROW["eased"], NOW + 2).flat_since_ms is None
    recovering = enter(hedged, ROW["turned"], NOW + 3)
    assert (recovering.flat_since_ms, recovering.recovery_since_ms) == (None, NOW + 3)
    healthy = enter(recovering, ROW["recovered"], NOW + 4)
    assert (healthy.flat_since_ms, healthy.recovery_since_ms) == (None, None)


@BOTH
def test_a_hedge_that_is_gone_leads_back_to_l2(side: Side) -> None:
    assert due(machine(State.HEDGED), side, view(-8.0), hedge_gone=True) == "hedge_gone"
    assert due(machine(State.HEDGED), side, view(-8.0), position_gone=True, hedge_gone=True) == "position_gone"


@BOTH
def test_the_substitute_runs_once_per_visit_and_starts_the_flat_timer(side: Side) -> None:
    """After a hedge was not possible the trade stays in L2, is not hedged again in this visit, and has a time limit."""
    at = substituted(machine(State.WARNING_L2), NOW)
    assert at.state is State.WARNING_L2
    assert at.flat_since_ms == NOW
    assert Visit.SUBSTITUTED in at.done
    assert due(at, side, view(-9.0)) is None
    assert due(at, side, view(-9.0, breaks=(broken(side.opposite, NOW + 1),))) == "given_up_unhedged"
    assert substituted(replace(at, flat_since_ms=NOW - 5), NOW).flat_since_ms == NOW - 5


@BOTH
def test_hedging_can_be_switched_off(side: Side) -> None:
    """With ``protection.hedge`` off, WARNING_L2 is the deepest state."""
    off = ProtectionSettings(hedge="off")
    flipped = view(-11.0, flip=side.opposite, confluence=True)
    assert due(machine(State.WARNING_L2), side, flipped, settings=off) is None


def test_a_rule_that_is_blocked_lets_the_next_one_pass() -> None:
    """A row that backs off does not hold back one further down."""
    at, seen = machine(State.WARNING_L2, flat_since_ms=NOW - 1), situation(Side.LONG, view(-9.0), flat_min=200.0)
    assert next_due(at, seen, {"hedged"}) is not None
    found = next_due(at, seen, {"hedged"})
    assert found is not None
    assert found.row.rule == "given_up_unhedged"


def test_breakeven_waits_in_l2_alone() -> None:
    """The pending move to breakeven is dropped with WARNING_L2."""
    at = machine(State.WARNING_L1, breakeven_pending=True)
    deep = enter(at, ROW["worsened"], NOW)
    assert deep.breakeven_pending
    assert not enter(deep, ROW["eased"], NOW).breakeven_pending
    assert not enter(deep, ROW["hedged"], NOW).breakeven_pending


def test_ways_agree_with_the_depth_of_states() -> None:
    """Rows down lead deeper, rows up lead back, and every end is CLOSED."""
    depth = {state: index for index, state in enumerate(State)}
    for row in TABLE:
        if row.way is Way.END:
            assert row.to is State.CLOSED
        elif row.way is Way.DOWN:
            assert row.source is not None
            assert depth[row.to] > depth[row.source]
