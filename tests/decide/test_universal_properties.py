"""Whatever the market, the broker and people do: what the Universal manager proposes harms no position."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.builders import NOW, instrument, position
from tests.decide.universal_world import SETTINGS, TICKET, managed, rules

from dtms.decide.proposals import Sighting
from dtms.decide.universal import propose
from dtms.decide.universal_words import explain
from dtms.domain.actions import ClosePosition, MoveStop
from dtms.domain.managed import UniversalRules
from dtms.domain.market import Side, Tick
from dtms.domain.prices import on_grid
from dtms.domain.strategies import Strategy
from dtms.market.levels import Impulse, Levels, Swing
from dtms.market.regime import Session

prices = st.floats(1.05, 1.15)
distances = st.floats(0.0, 0.02)
sides = st.sampled_from(Side)


@st.composite
def frozen(draw: st.DrawFn) -> UniversalRules:
    changes: dict[str, Any] = {"session_factor": draw(st.floats(0.5, 2.0)), "lookback": draw(st.integers(1, 5))}
    if draw(st.booleans()):
        changes |= {"partial_r": draw(st.floats(0.1, 3.0)), "partial_share": Decimal("0.5")}
    return rules(draw(st.sampled_from(Strategy)).value, session=draw(st.sampled_from(Session)), **changes)


@st.composite
def levels_of(draw: st.DrawFn, of: UniversalRules) -> dict[Any, Levels]:
    if draw(st.integers(0, 9)) == 0:
        return {}
    swings = st.lists(prices, max_size=4).map(lambda found: tuple(Swing(p, NOW) for p in found))
    impulse = Impulse(side=draw(sides), origin=draw(prices), begun_ms=NOW)
    read = Levels(
        symbol="EURUSD",
        timeframe=of.timeframe,
        close_ms=NOW,
        close=1.1,
        atr=draw(st.floats(1e-6, 0.02)),
        atr_baseline=draw(st.floats(1e-6, 0.02)),
        swing_lows=draw(swings),
        swing_highs=draw(swings),
        impulse=draw(st.sampled_from((None, impulse))),
    )
    return {of.timeframe: read}


@st.composite
def sightings(draw: st.DrawFn) -> Sighting:
    side, of, bid = draw(sides), draw(frozen()), draw(prices)
    grid = instrument(
        stops_level_points=draw(st.integers(0, 500)),
        freeze_level_points=draw(st.integers(0, 500)),
        tick_size=draw(st.sampled_from((0.00001, 0.00005, 0.0001))),
        volume_step=draw(st.sampled_from((Decimal("0.01"), Decimal("0.1")))),
    )
    grid = replace(grid, volume_min=grid.volume_step)
    volume = grid.volume_step * draw(st.integers(1, 50))
    level = st.none() | prices.map(lambda p: on_grid(p, grid))
    stop, seen, apart = draw(level), draw(level), draw(st.sampled_from((0.0, 0.001, -0.001)))
    memory = managed(side, of, "0.4", breakeven_done=draw(st.booleans()), partial_done=draw(st.booleans()))
    memory = replace(memory, moved_ms=draw(st.sampled_from((0, NOW - 5_000))), risk=draw(st.floats(1e-5, 0.02)))
    return Sighting(
        managed=memory,
        position=position(
            TICKET,
            side,
            str(volume),
            stop=stop,
            target=draw(level),
            price_now=bid + apart,
        ),
        tick=Tick(NOW, bid, bid + draw(distances)),
        instrument=grid,
        now_ms=NOW,
        levels=draw(levels_of(of)),
        cost_money=draw(st.floats(-50.0, 50.0)),
        median_spread=draw(st.none() | st.floats(0.0, 0.001)),
        seen_stops={} if seen is None else {TICKET: seen},
    )


@settings(max_examples=600, deadline=None)
@given(sightings())
def test_a_stop_that_is_proposed_is_tighter_on_the_grid_clear_of_the_market_and_keeps_the_target(at: Sighting) -> None:
    for proposal in propose(at, SETTINGS).proposals:
        action, side = proposal.action, at.position.side
        if not isinstance(action, MoveStop):
            continue
        for live in (at.position.stop, at.seen_stops.get(TICKET)):
            assert live is None or (action.stop - live) * side.sign > at.instrument.tick_size / 2
        assert abs(action.stop - on_grid(action.stop, at.instrument)) < 1e-12
        level = max(at.instrument.stops_level, at.instrument.freeze_level)
        assert (at.tick.closing(side) - action.stop) * side.sign >= level + at.tick.spread - 1e-9
        assert action.target == at.position.target
        assert action.expected_stop == at.position.stop
        assert action.side is side
        assert action.position == at.position.ticket


@settings(max_examples=600, deadline=None)
@given(sightings())
def test_a_part_that_is_proposed_lies_on_the_step_and_leaves_a_valid_rest(at: Sighting) -> None:
    for proposal in propose(at, SETTINGS).proposals:
        action = proposal.action
        if isinstance(action, ClosePosition):
            rest = at.position.volume - action.volume
            assert action.volume % at.instrument.volume_step == 0
            assert min(action.volume, rest) >= at.instrument.volume_min
            assert action.expected_volume == at.position.volume
            assert not at.managed.partial_done


@settings(max_examples=300, deadline=None)
@given(sightings())
def test_memory_follows_the_broker_and_only_what_was_confirmed_is_flagged(at: Sighting) -> None:
    proposed = propose(at, SETTINGS)
    memory = proposed.memory or at.managed
    assert memory.volume == at.position.volume
    assert memory.target == at.position.target
    assert memory.partial_done == at.managed.partial_done
    assert memory.moved_ms == at.managed.moved_ms
    fixed = ("ticket", "rules", "risk", "initial_stop", "initial_volume", "registered_ms", "nominal_risk")
    for remembered in (memory, *(p.after for p in proposed.proposals)):
        assert all(getattr(remembered, name) == getattr(at.managed, name) for name in fixed)
        assert remembered.breakeven_done >= at.managed.breakeven_done


@settings(max_examples=300, deadline=None)
@given(sightings())
def test_it_is_a_function_proposes_one_action_at_most_and_always_says_why_not(at: Sighting) -> None:
    proposed = propose(at, SETTINGS)
    assert proposed == propose(at, SETTINGS)
    assert len(proposed.proposals) <= 1
    assert proposed.proposals or proposed.notes
    assert all(explain(at, SETTINGS))


@settings(max_examples=300, deadline=None)
@given(sightings())
def test_what_was_carried_out_is_not_proposed_again(at: Sighting) -> None:
    """Once the broker shows the stop or the volume, the same look asks for nothing of that rule."""
    for proposal in propose(at, SETTINGS).proposals:
        action, held = proposal.action, at.position
        if isinstance(action, MoveStop):
            held = replace(held, stop=action.stop)
        elif isinstance(action, ClosePosition):
            held = replace(held, volume=held.volume - action.volume)
        again = propose(replace(at, managed=proposal.after, position=held), SETTINGS)
        assert proposal.rule not in [p.rule for p in again.proposals]
