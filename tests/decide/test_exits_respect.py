"""What Intelligent Exit respects in whatever it proposes."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.decide.builders import NOW, instrument, position, tick
from tests.decide.exits_world import (
    SETTINGS,
    SPREAD,
    TICKET,
    WAY,
    after_breakeven,
    levels,
    moved,
    nothing,
    sighting,
    target,
)

from dtms.decide.exits import propose
from dtms.domain.actions import ActionKind
from dtms.domain.market import Side, Tick

sides = pytest.mark.parametrize("side", Side)


@sides
def test_a_stop_that_was_seen_tighter_a_moment_ago_is_not_loosened_by_an_old_list(side: Side) -> None:
    seen_stop = round(1.1 + side.sign * 0.0040, 5)
    seen = after_breakeven(side, progress=0.7, seen_stops={TICKET: seen_stop})
    bare = after_breakeven(side, progress=0.7, seen_stops={TICKET: seen_stop}, held={"stop": None})

    assert "would not improve" in nothing(seen)["trail"]
    assert "would not improve" in nothing(bare)["trail"]


@sides
def test_an_old_list_makes_the_manager_forget_no_tighter_stop(side: Side) -> None:
    tighter, listed = (round(1.1 + side.sign * away, 5) for away in (0.0040, 0.0001))
    memory, held = {"stop": tighter}, {"stop": listed}
    old = propose(after_breakeven(side, memory=memory, held=held, seen_stops={TICKET: tighter}), SETTINGS)
    moved_back = propose(after_breakeven(side, memory=memory, held=held), SETTINGS)

    assert old.memory is None
    assert moved_back.memory is not None
    assert moved_back.memory.stop == listed


@sides
def test_what_the_broker_shows_is_taken_over(side: Side) -> None:
    seen = sighting(side, held={"target": None, "entry": 1.1001})
    seen = replace(seen, position=replace(seen.position, volume=Decimal("0.3")))
    proposed = propose(seen, SETTINGS)
    memory = proposed.memory

    assert proposed.notes["volume"] == "was 0.4 lots, is 0.3: adopted"
    assert memory is not None
    assert (memory.volume, memory.target, memory.entry) == (Decimal("0.3"), None, 1.1001)
    assert propose(replace(seen, managed=memory), SETTINGS).memory is None


@sides
def test_no_stop_is_put_where_a_spike_of_the_spread_would_hit_it(side: Side) -> None:
    spike = tick(side, 0.5 * WAY, 0.0008)
    near = after_breakeven(side, tick=spike, levels=levels(0.00001))

    assert "spread spike" in nothing(near)["trail"]
    assert moved(after_breakeven(side, tick=spike)).kind is ActionKind.TRAIL
    assert moved(replace(near, median_spread=None)).kind is ActionKind.TRAIL


@sides
def test_nothing_is_sent_within_the_freeze_level_of_stop_or_target(side: Side) -> None:
    frozen = instrument(freeze_level_points=100)
    at_target = after_breakeven(side, progress=0.9, instrument=frozen)
    clear = after_breakeven(side, progress=0.5, instrument=frozen)

    assert "frozen" in nothing(at_target)["position"]
    assert moved(clear).kind is ActionKind.TRAIL


@sides
def test_a_stop_keeps_stops_and_freeze_level_and_spread_from_the_price(side: Side) -> None:
    tight = instrument(stops_level_points=30, freeze_level_points=50)
    found = moved(after_breakeven(side, progress=0.5, instrument=tight, levels=levels(0.00001)))

    assert (1.1 + side.sign * 0.5 * WAY - found.stop) * side.sign >= 0.0005 + SPREAD - 1e-9


@sides
def test_one_wild_quote_is_no_profit(side: Side) -> None:
    """The broker values the position at a price beside which the quote is out of all reason."""
    wild = sighting(side, tick=tick(side, 0.5, SPREAD), held={"price_now": 1.1})

    assert "due at" in nothing(wild)["breakeven"]


@sides
def test_an_unsound_quote_moves_nothing(side: Side) -> None:
    assert "unsound" in nothing(sighting(side, tick=Tick(NOW, 1.2, 1.1)))["position"]


@sides
def test_a_position_that_turned_is_not_touched(side: Side) -> None:
    turned = position(TICKET, side.opposite, "0.4", target=target(side))

    assert "taken over as a" in nothing(sighting(side, progress=0.7, position=turned))["position"]


@sides
@pytest.mark.parametrize(
    ("kind", "rule", "next_rule"),
    [
        (ActionKind.BREAKEVEN, "breakeven", "partial"),
        (ActionKind.TAKE_PARTIAL, "partial", "trail"),
        (ActionKind.TRAIL, "trail", None),
    ],
)
def test_what_failed_waits_and_leaves_the_rest_alone(
    side: Side, kind: ActionKind, rule: str, next_rule: str | None
) -> None:
    flags = {"breakeven_done": rule != "breakeven", "partial_done": rule == "trail"}
    memory = {**flags, "not_before_ms": {kind.value: NOW + 5_000}}
    proposed = propose(sighting(side, progress=0.7, memory=memory), SETTINGS)

    assert proposed.notes[rule] == "failed before, tried again in 5 s"
    assert [p.rule for p in proposed.proposals] == ([next_rule] if next_rule else [])
