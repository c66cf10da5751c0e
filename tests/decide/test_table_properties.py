"""What holds of the table for every machine and every view."""

from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st
from tests.decide.builders import NOW, broken, situation, view

from dtms.decide.trade_state import enter, may_be_due, next_due, outlook
from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Machine, State, Visit
from dtms.market.structure import Break, BreakKind
from dtms.market.view import MarketView
from dtms.settings import ProtectionSettings

MINUTE = 60_000
moments = st.integers(min_value=NOW - 300 * MINUTE, max_value=NOW)
sides = st.sampled_from(Side)
machines = st.builds(
    Machine,
    state=st.sampled_from([state for state in State if state is not State.CLOSED]),
    entered_ms=moments,
    stepped_down_ms=moments,
    armed=st.booleans(),
    done=st.frozensets(st.sampled_from(Visit)),
    flat_since_ms=st.none() | moments,
    recovery_since_ms=st.none() | moments,
    hedges=st.integers(0, 3),
    readds=st.integers(0, 3),
)
some_breaks = st.lists(
    st.builds(
        broken,
        sides,
        moments,
        kind=st.sampled_from(BreakKind),
        timeframe=st.sampled_from([Timeframe.M5, Timeframe.M15]),
    ),
    max_size=4,
)
views = st.builds(
    view,
    st.floats(-12, 12),
    confluence=st.booleans(),
    scale=st.sampled_from([1.0, 0.9, 0.6]),
    flip=st.none() | sides,
    breaks=some_breaks.map(tuple),
    m15_close_ms=moments,
)
settings = st.builds(ProtectionSettings, hedge=st.sampled_from(["hedge", "close", "off"]))


@run(max_examples=1500, deadline=None)
@given(machines, views, sides, settings, st.floats(0, 1))
def test_what_may_not_be_due_is_not_due(
    machine: Machine, of: MarketView, side: Side, rules: ProtectionSettings, traded: float
) -> None:
    """The quick answer is never False where the table finds a row; trading minutes never outrun the clock."""
    flat, recovery = (
        0.0 if since is None else traded * (NOW - since) / MINUTE
        for since in (machine.flat_since_ms, machine.recovery_since_ms)
    )
    at = situation(side, of, settings=rules, flat_min=flat, recovery_min=recovery)
    if next_due(machine, at) is not None:
        assert may_be_due(machine, outlook(side, of, rules), NOW, rules)


@given(machines, views, sides)
def test_what_is_due_can_be_entered(machine: Machine, of: MarketView, side: Side) -> None:
    """Whatever the table finds starts from the machine's state, and leaves one state for another."""
    found = next_due(machine, situation(side, of))
    if found is not None:
        after = enter(machine, found.row, NOW)
        assert after.state is found.row.to
        assert after.state is not machine.state
        assert (after.recovery_since_ms is not None) == (after.state is State.RECOVERING)
        assert after.flat_since_ms is None or after.state in (State.HEDGED, State.WARNING_L2)


@given(machines, st.floats(-12, 12), st.booleans(), st.none() | sides, some_breaks, sides)
def test_a_mirrored_market_steps_a_mirrored_trade(
    machine: Machine, total: float, confluence: bool, flip: Side | None, breaks: list[Break], side: Side
) -> None:
    """With every side exchanged, the same row is due."""
    there = view(total, confluence=confluence, flip=flip, breaks=tuple(breaks))
    mirrored = tuple(broken(b.side.opposite, b.close_ms, kind=b.kind, timeframe=b.timeframe) for b in breaks)
    back = view(total, confluence=confluence, flip=flip.opposite if flip else None, breaks=mirrored)
    one = next_due(machine, situation(side, there))
    other = next_due(machine, situation(side.opposite, back))
    assert (one and one.row) == (other and other.row)
