"""How far behind the price Intelligent Exit's stop follows, and when."""

from dataclasses import replace
from typing import Any

import pytest
from tests.decide.builders import NOW, tick
from tests.decide.exits_world import (
    ALL_GATES,
    OPEN_GATES,
    SPREAD,
    WAY,
    R,
    after_breakeven,
    levels,
    moved,
    nothing,
    only,
    rules,
    sighting,
    vix,
)

from dtms.domain.actions import ActionKind
from dtms.domain.market import Side
from dtms.market.regime import Session

sides = pytest.mark.parametrize("side", Side)


@sides
@pytest.mark.parametrize(
    ("symbol", "multiplier"), [("BTCUSDc", 2.0), ("XAUUSD.m", 1.5), ("EURUSD", 1.2), ("US500", 1.5)]
)
def test_the_stop_trails_at_the_distance_of_its_class(side: Side, symbol: str, multiplier: float) -> None:
    found = moved(after_breakeven(side, rules(symbol=symbol), progress=0.7))

    assert found.kind is ActionKind.TRAIL
    assert found.stop == pytest.approx(1.1 + side.sign * (0.7 * WAY - multiplier * 0.0010), abs=1e-9)


@sides
def test_the_target_goes_along_bit_identical(side: Side) -> None:
    exact = 1.1 + side.sign * 0.006000000000000123
    for seen in (
        after_breakeven(side, progress=0.7, held={"target": exact}),
        sighting(side, progress=0.5, held={"target": exact}),
    ):
        assert moved(seen).target == exact


@sides
def test_a_stop_trails_before_breakeven_only_while_the_profit_is_a_fifth_of_r(side: Side) -> None:
    far = {"target": 1.1 + side.sign * 0.1000}

    def at(r: float) -> dict[str, Any]:
        return {"held": far, "tick": tick(side, r * R, SPREAD), "levels": levels(0.0005)}

    assert "waits for breakeven or 0.2 R" in nothing(sighting(side, **at(0.19)))["trail"]
    assert moved(sighting(side, **at(0.21))).kind is ActionKind.TRAIL


@sides
def test_after_breakeven_a_stop_trails_whatever_the_profit(side: Side) -> None:
    held = {"stop": round(1.1 - side.sign * 0.0030, 5)}

    assert moved(after_breakeven(side, progress=0.0, held=held)).kind is ActionKind.TRAIL


@sides
@pytest.mark.parametrize(
    ("change", "is_wide"),
    [
        ({}, False),
        ({"is_squeezed": True, "timeframes_disagree": True}, False),
        ({"is_squeezed": True, "timeframes_disagree": True, "stretch_sigma": -2.01}, True),
        ({"is_squeezed": True, "timeframes_disagree": True, "stretch_sigma": 2.0}, False),
        ({"is_squeezed": True, "stretch_sigma": 2.01, "node_distance_atr": 0.2}, True),
        ({"timeframes_disagree": True, "stretch_sigma": 2.01, "node_distance_atr": 0.21}, False),
        ({"is_squeezed": True, "timeframes_disagree": True, "stretch_sigma": None, "node_distance_atr": None}, False),
    ],
)
def test_three_gates_widen_the_distance_to_two_atr(side: Side, change: dict[str, object], is_wide: bool) -> None:
    found = moved(after_breakeven(side, progress=0.7, gates=replace(OPEN_GATES, **change)))  # type: ignore[arg-type]

    distance = 0.0020 if is_wide else 0.0012
    assert found.stop == pytest.approx(1.1 + side.sign * (0.7 * WAY - distance), abs=1e-9)


def test_gates_never_narrow_a_distance() -> None:
    of = rules(symbol="BTCUSD", trailing_atr=2.5)

    assert moved(after_breakeven(Side.LONG, of, progress=0.9, gates=ALL_GATES)).stop == pytest.approx(
        1.1 + 0.9 * WAY - 0.0025, abs=1e-9
    )


@sides
def test_a_stop_that_trailed_is_remembered_with_its_time(side: Side) -> None:
    after = only(after_breakeven(side, progress=0.7)).after

    assert (after.trailing_active, after.moved_ms) == (True, NOW)


@sides
@pytest.mark.parametrize(("value", "factor"), [(12.0, 1.0), (18.0, 1.0), (20.0, 1.2), (28.0, 2.0), (60.0, 2.0)])
def test_a_high_vix_widens_the_distance_to_twice_at_most(side: Side, value: float, factor: float) -> None:
    found = moved(after_breakeven(side, progress=0.8, vix=vix(value)))

    assert found.stop == pytest.approx(1.1 + side.sign * (0.8 * WAY - factor * 0.0012), abs=1e-8)


@sides
def test_a_rising_vix_loosens_no_stop_that_was_placed(side: Side) -> None:
    calm = moved(after_breakeven(side, progress=0.7))
    seen = after_breakeven(side, progress=0.7, held={"stop": calm.stop}, vix=vix(40.0))

    assert "would not improve" in nothing(seen)["trail"]


@pytest.mark.parametrize(
    ("symbol", "session", "factor"),
    [
        ("EURUSD", Session.ASIAN, 0.87),
        ("XAUUSD", Session.OVERLAP, 1.2),
        ("BTCUSD", Session.ASIAN, 1.0),
        ("EURUSD", Session.LONDON, 1.0),
    ],
)
def test_the_session_of_the_registration_scales_the_distance(symbol: str, session: Session, factor: float) -> None:
    of = rules(symbol=symbol, session=session)
    found = moved(after_breakeven(Side.LONG, of, progress=0.8))

    assert found.stop == pytest.approx(1.1 + 0.8 * WAY - factor * of.trailing_atr * 0.0010, abs=1.01e-5)


@sides
def test_a_stop_improves_by_its_least_change_after_its_cooldown(side: Side) -> None:
    trailed = moved(after_breakeven(side, progress=0.7)).stop
    little = after_breakeven(side, progress=0.7 + 0.09 * R / WAY, held={"stop": trailed})
    enough = after_breakeven(side, progress=0.7 + 0.11 * R / WAY, held={"stop": trailed})
    soon = replace(enough, managed=replace(enough.managed, moved_ms=NOW - 59_000))
    later = replace(enough, managed=replace(enough.managed, moved_ms=NOW - 60_000))

    assert "at least 0.1 R" in nothing(little)["trail"]
    assert "cools down for 1 s" in nothing(soon)["trail"]
    assert moved(later).stop == moved(enough).stop


@sides
def test_without_atr_nothing_trails(side: Side) -> None:
    assert nothing(after_breakeven(side, progress=0.7, levels={}))["trail"] == "ATR of M15 is unknown"


@sides
def test_what_is_not_known_of_gates_and_vix_widens_nothing(side: Side) -> None:
    known = moved(after_breakeven(side, progress=0.7))
    unknown = moved(after_breakeven(side, progress=0.7, gates=None, vix=None))

    assert known.stop == unknown.stop
