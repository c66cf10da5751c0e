"""What Intelligent Exit proposes for a position, rule by rule, for both sides."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from tests.decide.builders import NOW, instrument, position, tick
from tests.decide.exits_world import (
    ALL_GATES,
    OPEN_GATES,
    SETTINGS,
    SPREAD,
    TICKET,
    WAY,
    R,
    after_breakeven,
    levels,
    managed,
    moved,
    nothing,
    only,
    rules,
    sighting,
    target,
    vix,
)

from dtms.decide.exits import propose
from dtms.decide.exits_rules import adopt, is_scalp, rules_of
from dtms.decide.exits_words import explain
from dtms.decide.strategies import resolve
from dtms.domain.actions import ActionKind, ClosePosition, MoveStop
from dtms.domain.market import Side, Tick
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


# --- trailing --------------------------------------------------------------------------------------------------------


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


# --- what is never done ----------------------------------------------------------------------------------------------


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
    memory = propose(seen, SETTINGS).memory

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
