"""What no plan ever does, whatever the positions, quotes, grids and settings; and a mirrored trade's mirrored plan."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decide.builders import HEDGE, READD, TICKET, instrument, position, sight, tick, trade

from dtms.decide.defence import Plan, Sight, plan
from dtms.decide.trade_state import Move
from dtms.domain.actions import ClosePosition, MoveStop, OpenPosition
from dtms.domain.market import Instrument, Side
from dtms.domain.prices import on_grid
from dtms.settings import ProtectionSettings

POINT = 0.00001
lots = st.integers(1, 60).map(lambda n: Decimal(n) / 100)


@st.composite
def sights(draw: st.DrawFn, side: Side) -> Sight:
    """Draw a family of positions at a market somewhere near its entry."""
    grid = instrument(
        stops_level_points=draw(st.sampled_from([0, 10, 50, 300])),
        volume_min=draw(st.sampled_from([Decimal("0.01"), Decimal("0.05"), Decimal("0.1")])),
    )
    profit = draw(st.integers(-250, 600)) * POINT
    spread = draw(st.integers(0, 60)) * POINT
    own = draw(lots)
    stop = st.none() | st.integers(-2000, 200).map(lambda n: n * POINT)
    target = st.none() | st.integers(100, 2000).map(lambda n: n * POINT)

    def level(away: float | None) -> float | None:
        return None if away is None else round(1.1 + side.sign * away, 5)

    readds = tuple(
        position(READD, side, str(volume), stop=level(draw(stop)), target=level(draw(target)))
        for volume in draw(st.lists(lots, max_size=1))
    )
    hedges = tuple(position(HEDGE, side.opposite, str(volume)) for volume in draw(st.lists(lots, max_size=1)))
    closed = draw(st.integers(0, 40).map(lambda n: Decimal(n) / 100))
    return sight(
        side,
        trade=trade(side, str(own), closed_by_dtms=closed, initial_volume=own + closed + Decimal("0.2")),
        own=position(TICKET, side, str(own), stop=level(draw(stop)), target=level(draw(target))),
        readds=readds,
        hedges=hedges,
        tick=tick(side, profit, spread),
        instrument=grid,
        atr_m15=draw(st.integers(1, 400)) * POINT,
        cost_money=draw(st.integers(-3000, 500)) / 100,
        protection=ProtectionSettings(partial_below_minimum=draw(st.sampled_from(["skip", "close_all"]))),
    )


both = st.sampled_from(Side).flatmap(sights)
moves = st.sampled_from(Move)


@settings(deadline=None, max_examples=300)
@given(both, st.sampled_from([Move.TIGHTEN, Move.BREAKEVEN]))
def test_no_stop_is_loosened_or_near_the_market(seen: Sight, move: Move) -> None:
    """Every stop move improves, keeps the target, lies on the grid and clear of stops level and spread."""
    planned = plan(move, seen)
    assert isinstance(planned, Plan)
    live = {p.ticket: p for p in seen.side_positions}
    for action in planned.actions:
        assert isinstance(action, MoveStop)
        held, sign = live[action.position], seen.trade.side.sign
        assert held.stop is None or (action.stop - held.stop) * sign > 0
        assert action.target is held.target
        assert action.stop == on_grid(action.stop, seen.instrument)
        clear = (seen.tick.closing(seen.trade.side) - action.stop) * sign
        assert clear >= seen.clearance - 1e-9


@settings(deadline=None, max_examples=300)
@given(both, st.sampled_from([Move.CLOSE_PART, Move.CLOSE_ALL, Move.CLOSE_HEDGE, Move.CLOSE_REST]))
def test_no_more_is_closed_than_is_open(seen: Sight, move: Move) -> None:
    """Each close is of one held position, at most its volume, on the step, and leaves nothing below the minimum."""
    planned = plan(move, seen)
    held = {p.ticket: p for p in (*seen.side_positions, *seen.hedges)}
    for action in planned.actions if isinstance(planned, Plan) else ():
        assert isinstance(action, ClosePosition)
        of = held.pop(action.position)
        assert Decimal(0) < action.volume <= of.volume == action.expected_volume
        assert action.side is of.side
        assert action.volume % seen.instrument.volume_step == 0
        rest = of.volume - action.volume
        assert rest == 0 or rest >= min(seen.instrument.volume_min, of.volume)
    if move is Move.CLOSE_ALL:
        assert not held


@settings(deadline=None, max_examples=300)
@given(both)
def test_a_part_is_at_most_the_share(seen: Sight) -> None:
    """Rounded down: never more than half, unless everything is closed by configuration."""
    planned = plan(Move.CLOSE_PART, seen)
    if isinstance(planned, Plan):
        total = sum((p.volume for p in seen.side_positions), Decimal(0))
        closed = sum((a.volume for a in planned.actions if isinstance(a, ClosePosition)), Decimal(0))
        assert closed <= total / 2 or (closed == total and seen.protection.partial_below_minimum == "close_all")


@settings(deadline=None, max_examples=300)
@given(both, st.sampled_from([Move.OPEN_HEDGE, Move.READD]))
def test_what_is_opened_has_a_valid_stop_and_a_bounded_size(seen: Sight, move: Move) -> None:
    """A hedge is at most half the rest, a re-add at most half of what was closed; both start with a stop in clear."""
    planned = plan(move, seen)
    if not isinstance(planned, Plan):
        return
    (action,) = planned.actions
    assert isinstance(action, OpenPosition)
    assert action.stop is not None
    rest = sum((p.volume for p in seen.side_positions), Decimal(0))
    assert action.volume >= seen.instrument.volume_min
    assert action.volume % seen.instrument.volume_step == 0
    clear = (seen.tick.closing(action.side) - action.stop) * action.side.sign
    if move is Move.OPEN_HEDGE:
        assert not seen.hedges
        assert action.volume <= rest / 2
        clear = (seen.tick.opening(action.side) - action.stop) * action.side.sign
    else:
        assert action.volume <= seen.trade.closed_by_dtms / 2
        assert rest + action.volume <= seen.trade.initial_volume
    assert clear >= seen.clearance - 1e-9


def mirrored(seen: Sight) -> Sight:
    """Reflect prices at 1.1, so that bid becomes ask and every side its opposite."""

    def price(of: float | None) -> float | None:
        return None if of is None else round(2.2 - of, 5)

    def turned(positions: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(
            position(p.ticket, p.side.opposite, str(p.volume), stop=price(p.stop), target=price(p.target))  # type: ignore[attr-defined]
            for p in positions
        )

    side = seen.trade.side.opposite
    (own,) = turned((seen.own,))
    return sight(
        side,
        trade=trade(
            side,
            str(seen.trade.volume),
            closed_by_dtms=seen.trade.closed_by_dtms,
            initial_volume=seen.trade.initial_volume,
        ),
        own=own,
        readds=turned(seen.readds),
        hedges=turned(seen.hedges),
        tick=type(seen.tick)(seen.tick.time_ms, round(2.2 - seen.tick.ask, 5), round(2.2 - seen.tick.bid, 5)),
        instrument=seen.instrument,
        atr_m15=seen.atr_m15,
        cost_money=seen.cost_money,
        protection=seen.protection,
    )


def _shape(planned: object, grid: Instrument, *, reflect: bool) -> object:
    """Tell a plan in points from 1.1, reflected or not."""
    if not isinstance(planned, Plan):
        return getattr(planned, "rule", None)

    def points(of: float | None) -> int | None:
        return None if of is None else round((of - 1.1) / grid.point) * (-1 if reflect else 1)

    told: list[tuple[object, ...]] = []
    for action in planned.actions:
        if isinstance(action, ClosePosition):
            told.append((action.position, action.volume, None, None))
        else:
            assert isinstance(action, MoveStop | OpenPosition)
            volume = action.volume if isinstance(action, OpenPosition) else None
            held = action.position if isinstance(action, MoveStop) else 0
            told.append((held, volume, points(action.stop), points(action.target)))
    return (tuple(told), planned.pending)


@settings(deadline=None, max_examples=300)
@given(sights(Side.LONG), moves)
def test_a_mirrored_trade_gets_the_mirrored_plan(seen: Sight, move: Move) -> None:
    """What a BUY gets in a market, a SELL gets in the reflected one."""
    grid = seen.instrument
    there = _shape(plan(move, seen), grid, reflect=False)
    back = _shape(plan(move, mirrored(seen)), grid, reflect=True)
    assert there == back
