"""What no proposal of Intelligent Exit ever does, whatever position, quote, grid, gates and VIX; and mirrored ones."""

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.builders import NOW, instrument, tick
from tests.decide.exits_world import SETTINGS, TICKET, levels, rules, sighting, vix

from dtms.decide.exits import propose
from dtms.decide.proposals import Sighting
from dtms.domain.actions import ClosePosition, MoveStop
from dtms.domain.market import Instrument, Side
from dtms.domain.position import Position
from dtms.domain.prices import on_grid
from dtms.market.gates import Gates

POINT = 0.00001
points = st.integers


@st.composite
def gates(draw: st.DrawFn) -> Gates:
    return Gates(
        close_ms=NOW,
        is_squeezed=draw(st.booleans()),
        timeframes_disagree=draw(st.booleans()),
        stretch_sigma=draw(st.none() | st.floats(-4.0, 4.0)),
        node_distance_atr=draw(st.none() | st.floats(0.0, 1.0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A position in points from its entry, in its own favour, so that either side can be made of it."""

    profit: int
    spread: int
    stop: int | None
    seen: int | None
    target: int | None
    atr: int | None
    known: dict[str, Any]
    memory: dict[str, Any]
    volume: str
    scalp: bool

    def of(self, side: Side) -> Sighting:
        def level(away: int | None) -> float | None:
            return None if away is None else round(1.1 + side.sign * away * POINT, 5)

        seen = level(self.seen)
        return sighting(
            side,
            rules(scalp=self.scalp),
            volume=self.volume,
            held={"stop": level(self.stop), "target": level(self.target)},
            memory=self.memory,
            tick=tick(side, self.profit * POINT, self.spread * POINT),
            levels={} if self.atr is None else levels(self.atr * POINT),
            seen_stops={} if seen is None else {TICKET: seen},
            **self.known,
        )


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    grid = instrument(
        stops_level_points=draw(st.sampled_from([0, 10, 50, 300])),
        freeze_level_points=draw(st.sampled_from([0, 0, 40, 200])),
        tick_size=draw(st.sampled_from([0.00001, 0.00001, 0.0001, 0.00025])),
        volume_min=draw(st.sampled_from([Decimal("0.01"), Decimal("0.05"), Decimal("0.1")])),
    )
    return Drawn(
        profit=draw(points(-300, 900)),
        spread=draw(points(0, 60)),
        stop=draw(st.none() | points(-600, 800)),
        seen=draw(st.none() | points(-600, 800)),
        target=draw(st.none() | points(-100, 2_000)),
        atr=draw(st.none() | points(1, 400)),
        volume=draw(st.sampled_from(["0.01", "0.02", "0.03", "0.1", "0.15", "0.4", "7.77"])),
        scalp=draw(st.booleans()),
        memory={
            "breakeven_done": draw(st.booleans()),
            "partial_done": draw(st.booleans()),
            "moved_ms": draw(st.sampled_from([0, NOW - 100_000, NOW - 10_000])),
        },
        known={
            "instrument": grid,
            "gates": draw(st.none() | gates()),
            "vix": draw(st.none() | st.floats(5.0, 90.0).map(vix)),
            "cost_money": draw(st.integers(-3_000, 500)) / 100,
        },
    )


both = st.tuples(drawn(), st.sampled_from(Side)).map(lambda made: made[0].of(made[1]))
_EPS = 1e-9


def assert_sound(action: MoveStop, seen: Sighting) -> None:
    """Assert that a stop is tighter than what stands, clear of the market, on the grid, with the target as it was."""
    position, grid, sign = seen.position, seen.instrument, seen.position.side.sign
    for standing in (position.stop, seen.seen_stops.get(TICKET)):
        assert standing is None or (action.stop - standing) * sign > 0.0
    gap = (seen.tick.closing(position.side) - action.stop) * sign
    assert gap >= max(grid.stops_level, grid.freeze_level) + seen.tick.spread - _EPS
    assert gap > 0.0
    assert on_grid(action.stop, grid) == action.stop
    assert (action.target, action.expected_stop) == (position.target, position.stop)


def assert_stands(action: ClosePosition, position: Position, grid: Instrument) -> None:
    """Assert that a part and what it leaves are volumes that the broker takes."""
    rest = position.volume - action.volume
    assert action.expected_volume == position.volume
    assert action.volume % grid.volume_step == 0
    assert grid.volume_min <= action.volume < position.volume
    assert rest >= grid.volume_min


@settings(deadline=None, max_examples=400)
@given(both)
def test_no_proposal_loosens_a_stop_crosses_the_market_or_leaves_the_grid(seen: Sighting) -> None:
    proposed = propose(seen, SETTINGS)

    assert len(proposed.proposals) <= 1
    for found in proposed.proposals:
        if isinstance(found.action, MoveStop):
            assert_sound(found.action, seen)
        else:
            assert isinstance(found.action, ClosePosition)
            assert_stands(found.action, seen.position, seen.instrument)


@settings(deadline=None, max_examples=200)
@given(drawn())
def test_a_mirrored_position_gets_the_mirrored_proposal(made: Drawn) -> None:
    long, short = (propose(made.of(side), SETTINGS) for side in Side)

    assert [p.rule for p in long.proposals] == [p.rule for p in short.proposals]
    for one, other in zip(long.proposals, short.proposals, strict=True):
        if isinstance(one.action, MoveStop):
            assert isinstance(other.action, MoveStop)
            assert abs((one.action.stop - 1.1) + (other.action.stop - 1.1)) < _EPS
        else:
            assert isinstance(one.action, ClosePosition)
            assert isinstance(other.action, ClosePosition)
            assert one.action.volume == other.action.volume


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(Side),
    st.lists(st.tuples(points(-200, 600), points(1, 40), points(20, 300), gates(), st.floats(8.0, 80.0)), max_size=40),
)
def test_over_a_life_the_stop_only_tightens_and_one_part_is_taken(
    side: Side, looks: list[tuple[int, int, int, Gates, float]]
) -> None:
    seen, parts, now_ms = sighting(side), 0, NOW
    stops = [seen.position.stop]
    for profit, spread, atr, gate, fear in looks:
        now_ms += 30_000
        quote = tick(side, profit * POINT, spread * POINT)
        seen = replace(
            seen,
            tick=quote,
            position=replace(seen.position, price_now=quote.closing(side)),
            now_ms=now_ms,
            levels=levels(atr * POINT),
            gates=gate,
            vix=vix(fear),
        )
        for found in propose(seen, SETTINGS).proposals:
            parts += isinstance(found.action, ClosePosition)
            seen = carried_out(seen, found.action, found.after)
        stops.append(seen.position.stop)

    assert parts <= 1
    assert all((b or 0.0) * side.sign >= (a or 0.0) * side.sign for a, b in pairwise(stops))


def carried_out(seen: Sighting, action: Any, after: Any) -> Sighting:
    """Let the broker do what was proposed, and the manager remember it."""
    position = seen.position
    if isinstance(action, MoveStop):
        position = replace(position, stop=action.stop)
    else:
        position = replace(position, volume=position.volume - action.volume)
    memory = replace(after, stop=position.stop, volume=position.volume)
    return replace(seen, position=position, managed=memory)
