"""What Intelligent Exit proposes for a position, and when: breakeven, a partial, and how it is taken over."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.decide.builders import NOW, instrument, position, tick
from tests.decide.exits_world import (
    ALL_GATES,
    SETTINGS,
    SPREAD,
    TICKET,
    R,
    after_breakeven,
    managed,
    moved,
    nothing,
    only,
    rules,
    sighting,
    vix,
)

from dtms.decide.adoption import adopt
from dtms.decide.exits import propose
from dtms.decide.exits_rules import is_scalp, rules_of
from dtms.decide.exits_words import explain
from dtms.decide.strategies import resolve
from dtms.domain.actions import ActionKind, ClosePosition, MoveStop
from dtms.domain.market import Side
from dtms.domain.strategies import Strategy
from dtms.domain.trade import Owner
from dtms.market.regime import Session

sides = pytest.mark.parametrize("side", Side)


# --- breakeven -------------------------------------------------------------------------------------------------------


@sides
@pytest.mark.parametrize(("scalp", "due"), [(False, 0.30), (True, 0.25)])
def test_breakeven_comes_at_its_progress_and_no_earlier(side: Side, scalp: bool, due: float) -> None:
    of = rules(scalp=scalp)

    assert "due at" in nothing(sighting(side, of, progress=due - 0.01, levels={}))["breakeven"]
    found = only(sighting(side, of, progress=due + 1e-9))

    assert (found.rule, found.action.kind) == ("breakeven", ActionKind.BREAKEVEN)
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(1.1 + side.sign * SPREAD, abs=1e-9)
    assert found.after.breakeven_done
    assert found.after.moved_ms == NOW


@sides
def test_breakeven_pays_commission_and_swap(side: Side) -> None:
    """0.4 lots at 1 a tick of 0.00001 and lot: 20 paid are 50 ticks."""
    found = moved(sighting(side, progress=0.5, cost_money=-20.0))

    assert found.stop == pytest.approx(1.1 + side.sign * (SPREAD + 0.0005), abs=1e-9)


@sides
def test_without_a_target_progress_is_half_the_r_multiple(side: Side) -> None:
    held = {"target": None}

    assert (
        "at 29% of the way"
        in nothing(sighting(side, held=held, tick=tick(side, 0.58 * R, SPREAD), levels={}))["breakeven"]
    )
    assert moved(sighting(side, held=held, tick=tick(side, 0.62 * R, SPREAD))).kind is ActionKind.BREAKEVEN


@sides
def test_a_target_on_the_losing_side_is_none_to_measure_by(side: Side) -> None:
    lost = {"target": 1.1 - side.sign * 0.0010}

    assert "due at 30%" in nothing(sighting(side, held=lost))["breakeven"]
    assert moved(sighting(side, held=lost, tick=tick(side, 0.62 * R))).kind is ActionKind.BREAKEVEN


@sides
def test_breakeven_waits_while_the_market_is_not_clear_of_it(side: Side) -> None:
    near = {"target": 1.1 + side.sign * 0.0003}
    seen = sighting(
        side,
        held=near,
        memory={"partial_done": True},
        tick=tick(side, 0.00025, SPREAD),
        instrument=instrument(stops_level_points=20),
    )

    assert "waits until the price is" in nothing(seen)["breakeven"]


@sides
def test_a_stop_at_breakeven_is_noticed_whoever_put_it_there(side: Side) -> None:
    seen = sighting(side, progress=0.35, held={"stop": 1.1 + side.sign * 0.0002})
    proposed = propose(seen, SETTINGS)

    assert proposed.notes["breakeven"] == "done"
    assert proposed.memory is not None
    assert proposed.memory.breakeven_done


@sides
def test_a_position_without_a_stop_gets_one_at_breakeven(side: Side) -> None:
    found = moved(sighting(side, progress=0.3001, held={"stop": None}, memory={"stop": None}))

    assert found.expected_stop is None
    assert (found.stop - 1.1) * side.sign > 0.0


# --- partial ---------------------------------------------------------------------------------------------------------


@sides
@pytest.mark.parametrize(("scalp", "due"), [(False, 0.60), (True, 0.40)])
def test_half_is_closed_at_its_progress_and_once(side: Side, scalp: bool, due: float) -> None:
    done = {"partial_done": False}
    early = after_breakeven(side, rules(scalp=scalp), progress=due - 0.01, memory=done, levels={})
    assert "due at" in nothing(early)["partial"]

    found = only(after_breakeven(side, rules(scalp=scalp), progress=due + 1e-9, memory=done))

    assert isinstance(found.action, ClosePosition)
    assert found.action.kind is ActionKind.TAKE_PARTIAL
    assert (found.action.volume, found.action.expected_volume) == (Decimal("0.20"), Decimal("0.4"))
    assert found.after.partial_done
    assert nothing(after_breakeven(side, progress=0.7, levels={}))["partial"] == "done"


@sides
def test_the_partial_is_half_of_what_is_open_now(side: Side) -> None:
    seen = after_breakeven(side, progress=0.61, memory={"partial_done": False})
    found = only(replace(seen, position=replace(seen.position, volume=Decimal("0.10"))))

    assert isinstance(found.action, ClosePosition)
    assert (found.action.volume, found.action.expected_volume) == (Decimal("0.05"), Decimal("0.10"))
    assert found.after.volume == Decimal("0.10")


@sides
@pytest.mark.parametrize(("volume", "minimum"), [("0.01", "0.01"), ("0.15", "0.1")])
def test_a_position_at_the_minimum_lot_takes_no_partial(side: Side, volume: str, minimum: str) -> None:
    seen = after_breakeven(
        side,
        progress=0.9,
        volume=volume,
        memory={"partial_done": False},
        instrument=instrument(volume_min=Decimal(minimum)),
        levels={},
    )

    assert "minimum lot" in nothing(seen)["partial"]


@sides
def test_breakeven_comes_before_the_partial_when_both_are_due(side: Side) -> None:
    first = only(sighting(side, progress=0.8))
    second = only(sighting(side, progress=0.8, memory={"breakeven_done": True, "moved_ms": NOW}, held={"stop": 1.1}))

    assert (first.rule, second.rule) == ("breakeven", "partial")
    assert not first.after.partial_done


# --- taking over -----------------------------------------------------------------------------------------------------


def test_r_and_first_volume_are_kept_from_whoever_registered_the_position() -> None:
    universal = replace(
        managed(Side.LONG, rules(), risk=0.0042, initial_stop=1.0958, initial_volume=Decimal("0.8")),
        manager=Owner.UNIVERSAL,
        rules=resolve("default_standard", "EURUSD", Session.LONDON, 0.001, SETTINGS.universal),
    )
    held = position(TICKET, Side.LONG, "0.4", stop=1.1010)
    made = adopt(held, rules(), login=1, server="S", now_ms=NOW, atr_m15=0.001, settings=SETTINGS, known=universal)

    assert made.manager is Owner.EXITS
    assert (made.risk, made.initial_stop, made.initial_volume) == (0.0042, 1.0958, Decimal("0.8"))
    assert (made.stop, made.volume) == (1.1010, Decimal("0.4"))


@sides
def test_a_position_without_a_stop_has_a_nominal_r(side: Side) -> None:
    bare = position(TICKET, side, "0.4", stop=None)
    made = adopt(bare, rules(), login=1, server="S", now_ms=NOW, atr_m15=0.0010, settings=SETTINGS)

    assert made.risk == pytest.approx(0.0015)
    assert made.nominal_risk
    assert made.initial_stop is None


def test_scalps_are_the_two_strategies_that_say_so() -> None:
    assert {s for s in Strategy if is_scalp(s.value)} == {Strategy.MICRO_SCALP, Strategy.MEAN_REVERSION_RANGE_SCALP}
    assert not is_scalp(None)


def test_frozen_rules_are_those_of_the_configuration_at_that_time() -> None:
    changed = replace(SETTINGS.exits, trailing_atr={**SETTINGS.exits.trailing_atr, "fx": 3.0}, partial_share=0.25)
    of = rules_of("EURUSD", Session.LONDON, False, changed)

    assert (of.trailing_atr, of.partial_share, of.symbol_class) == (3.0, Decimal("0.25"), "fx")


def test_a_position_of_the_universal_manager_is_a_mistake_of_the_caller() -> None:
    foreign = resolve("default_standard", "EURUSD", Session.LONDON, 0.001, SETTINGS.universal)
    seen = sighting(Side.LONG)

    with pytest.raises(TypeError, match="not under rules of Intelligent Exit"):
        propose(replace(seen, managed=replace(seen.managed, rules=foreign)), SETTINGS)


@sides
def test_it_is_told_in_words_where_a_position_stands(side: Side) -> None:
    told = "\n".join(explain(sighting(side, progress=0.2, gates=ALL_GATES, vix=vix(23.0)), SETTINGS))

    for part in ("20% of the way to the target (0.40 R)", "breakeven: at 30%", "0.20 lots are closed at 60%"):
        assert part in told
    assert (
        "3 ATR(M15) (2 wide, session × 1, VIX × 1.5; squeeze; timeframes disagree; -2.50 σ from its slow average"
        in told
    )


def test_bars_close_ms_of_the_gates_do_not_matter_to_the_proposal() -> None:
    """Whether gates are fresh is judged where they are read."""
    early = after_breakeven(Side.LONG, progress=0.7, gates=replace(ALL_GATES, close_ms=0))

    assert moved(early).stop == moved(after_breakeven(Side.LONG, progress=0.7, gates=ALL_GATES)).stop
