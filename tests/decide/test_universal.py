"""The Universal manager: when it moves a stop, takes a part, or leaves both, and what it tells of it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from tests.decide.builders import NOW, instrument, position, tick
from tests.decide.universal_world import (
    SETTINGS,
    TICKET,
    R,
    after_breakeven,
    levels,
    managed,
    only,
    quoted,
    rules,
    sighting,
    with_volume,
)

from dtms.decide.adoption import adopt
from dtms.decide.strategies import resolve
from dtms.decide.universal import propose
from dtms.decide.universal_words import explain
from dtms.domain.actions import ActionKind, ClosePosition, MoveStop
from dtms.domain.managed import ExitRules, TrailingMethod
from dtms.domain.market import Side, Tick, Timeframe
from dtms.domain.trade import Owner
from dtms.market.levels import Impulse, Swing
from dtms.market.regime import Session
from dtms.settings import Settings

pytestmark = pytest.mark.parametrize("side", list(Side))
M1, M5, M15 = Timeframe.M1, Timeframe.M5, Timeframe.M15


def price(side: Side, profit: float) -> float:
    return 1.1 + side.sign * profit


def notes(seen: object) -> dict[str, str]:
    return dict(propose(seen, SETTINGS).notes)  # type: ignore[arg-type]


# --- breakeven -----------------------------------------------------------------------------------------------------


def test_below_its_r_nothing_is_done_and_the_note_says_where_it_stands(side: Side) -> None:
    proposed = propose(sighting(side, profit_r=0.99), SETTINGS)
    assert not proposed.proposals
    assert proposed.notes["breakeven"] == "at 0.99 R, due at 1 R"
    assert proposed.memory is None


def test_at_its_r_the_stop_goes_to_entry_plus_costs(side: Side) -> None:
    seen = sighting(side, profit_r=1.01, held={"target": price(side, 0.009)}, cost_money=-4.0)
    found = only(seen)
    # 4 of account currency on 0.4 lots of 100,000 is 0.0001; the spread is 0.00008.
    assert isinstance(found.action, MoveStop)
    assert found.action.kind is ActionKind.BREAKEVEN
    assert found.action.stop == pytest.approx(price(side, 0.00018))
    assert found.action.target == price(side, 0.009)
    assert found.action.expected_stop == seen.position.stop
    assert found.after.breakeven_done
    assert found.after.moved_ms == NOW
    assert not seen.managed.breakeven_done


def test_in_the_asian_session_it_comes_earlier_where_the_strategy_says_so(side: Side) -> None:
    frozen = rules("order_block_rejection", session=Session.ASIAN)
    assert only(sighting(side, frozen, profit_r=0.76)).rule == "breakeven"


@pytest.mark.parametrize("strategy", ["mean_reversion_range_scalp", "liquidity_sweep_reversal"])
def test_scalps_and_sweeps_break_even_at_half_an_r(side: Side, strategy: str) -> None:
    assert only(sighting(side, rules(strategy), profit_r=0.51)).rule == "breakeven"


def test_a_stop_that_somebody_else_brought_there_counts_as_reached(side: Side) -> None:
    seen = sighting(side, held={"stop": price(side, 0.00008)}, profit_r=0.5)
    proposed = propose(seen, SETTINGS)
    assert proposed.memory is not None
    assert proposed.memory.breakeven_done
    assert proposed.notes["breakeven"] == "done"


def test_a_stop_on_the_losing_side_of_the_entry_is_not_breakeven_however_near(side: Side) -> None:
    near = sighting(side, held={"stop": price(side, -0.00001)}, profit_r=0.5)
    at_entry = sighting(side, held={"stop": price(side, 0.0)}, profit_r=0.5)
    for seen in (near, at_entry):
        memory = propose(seen, SETTINGS).memory
        assert memory is not None
        assert not memory.breakeven_done


def test_a_stop_a_little_before_breakeven_still_gets_there(side: Side) -> None:
    """Otherwise it would never be reached, and nothing would trail."""
    assert only(sighting(side, held={"stop": price(side, 0.00002)}, profit_r=1.1)).rule == "breakeven"


def test_an_unsound_quote_proves_no_breakeven_and_moves_nothing(side: Side) -> None:
    proposed = propose(sighting(side, tick=Tick(NOW, 1.2, 1.1), held={"stop": price(side, 0.00001)}), SETTINGS)
    assert not proposed.proposals
    assert "unsound quote" in proposed.notes["position"]
    assert proposed.memory is None or not proposed.memory.breakeven_done


def test_breakeven_waits_while_the_market_is_not_clear_of_it(side: Side) -> None:
    frozen = rules(breakeven_r=0.05)
    seen = sighting(side, frozen, profit_r=0.08)
    assert not propose(seen, SETTINGS).proposals
    assert "waits until the price is" in notes(seen)["breakeven"]


def test_after_a_failure_it_is_not_tried_before_its_time(side: Side) -> None:
    memory = {"not_before_ms": {"stop_to_breakeven": NOW + 5_000}}
    seen = sighting(side, profit_r=1.2, memory=memory)
    assert notes(seen)["breakeven"] == "failed before, tried again in 5 s"
    assert only(replace(seen, now_ms=NOW + 5_000)).rule == "breakeven"


# --- partial -------------------------------------------------------------------------------------------------------

TRAP = "breakout_ib_volatility_trap"


def test_the_partial_is_taken_at_its_r_and_flagged_only_after_it_was_confirmed(side: Side) -> None:
    seen = after_breakeven(side, rules(TRAP), profit_r=1.51)
    found = only(seen)
    assert isinstance(found.action, ClosePosition)
    assert (found.action.volume, found.action.expected_volume) == (Decimal("0.20"), Decimal("0.4"))
    assert found.after.partial_done
    memory = propose(seen, SETTINGS).memory
    assert memory is None or not memory.partial_done


def test_it_comes_a_fifth_earlier_while_volatility_is_high(side: Side) -> None:
    frozen = rules(TRAP)
    calm = after_breakeven(side, frozen, profit_r=1.21, levels={M5: levels(side, M5, atr=0.0012)})
    wild = replace(calm, levels={M5: levels(side, M5, atr=0.00121)})
    assert propose(calm, SETTINGS).notes["partial"] == "at 1.21 R, due at 1.5 R"
    assert only(wild).rule == "partial"


def test_it_is_taken_once(side: Side) -> None:
    seen = after_breakeven(side, rules(TRAP), profit_r=3.0, memory={"partial_done": True})
    assert [p.rule for p in propose(seen, SETTINGS).proposals] == ["trail"]


@pytest.mark.parametrize("volume", ["0.01", "0.015"])
def test_the_minimum_lot_takes_none_and_goes_on_trailing(side: Side, volume: str) -> None:
    seen = after_breakeven(side, rules(TRAP), profit_r=1.6, volume=volume)
    proposed = propose(seen, SETTINGS)
    assert [p.rule for p in proposed.proposals] == ["trail"]
    assert "minimum lot" in proposed.notes["partial"]


def test_a_part_lies_on_the_volume_grid_and_leaves_a_valid_rest(side: Side) -> None:
    seen = after_breakeven(side, rules(TRAP), profit_r=1.6, volume="0.03")
    action = only(seen).action
    assert isinstance(action, ClosePosition)
    assert action.volume == Decimal("0.01")


def test_volume_changed_by_hand_is_adopted_and_the_part_is_taken_of_what_is_left(side: Side) -> None:
    seen = with_volume(after_breakeven(side, rules(TRAP), profit_r=1.6), "0.1")
    proposed = propose(seen, SETTINGS)
    assert proposed.memory is not None
    assert proposed.memory.volume == Decimal("0.1")
    assert proposed.notes["volume"] == "was 0.4 lots, is 0.1: adopted"
    action = proposed.proposals[0].action
    assert isinstance(action, ClosePosition)
    assert (action.volume, action.expected_volume) == (Decimal("0.05"), Decimal("0.1"))
    assert proposed.proposals[0].after.volume == Decimal("0.1")


# --- trailing ------------------------------------------------------------------------------------------------------


def test_nothing_trails_before_breakeven(side: Side) -> None:
    assert notes(sighting(side, profit_r=0.9))["trail"] == "waits for breakeven"


def test_atr_trails_its_multiple_behind_the_price_that_closes(side: Side) -> None:
    found = only(after_breakeven(side, profit_r=2.0))
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 2 * R - 2 * 0.0010))
    assert found.after.trailing_active


def test_the_sessions_factor_and_high_volatility_widen_it(side: Side) -> None:
    wild = {M15: levels(side, atr=0.00151)}
    found = only(after_breakeven(side, rules(session_factor=1.1), profit_r=3.0, levels=wild))
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 3 * R - 2 * 1.1 * 1.2 * 0.00151), abs=1.01e-5)


def test_volatility_is_measured_against_the_baseline_of_the_registration(side: Side) -> None:
    """A baseline that crept up since would hide it."""
    wild = {M15: levels(side, atr=0.0016, atr_baseline=0.0016)}
    found = only(after_breakeven(side, profit_r=3.0, levels=wild))
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 3 * R - 2 * 1.2 * 0.0016), abs=1.01e-5)
    unknown_then = after_breakeven(side, rules(baseline_atr=None), profit_r=3.0, levels=wild)
    again = only(unknown_then).action
    assert isinstance(again, MoveStop)
    assert again.stop == pytest.approx(price(side, 3 * R - 2 * 0.0016), abs=1.01e-5)


SWINGS = [0.0030, 0.0035, 0.0045]


def swung(side: Side, timeframe: Timeframe = M5, **changes: object) -> dict[Timeframe, object]:
    swings = tuple(Swing(price(side, at), NOW - 60_000) for at in SWINGS)
    kept = {"swing_lows" if side is Side.LONG else "swing_highs": swings}
    return {timeframe: levels(side, timeframe, **kept, **changes)}


@pytest.mark.parametrize(
    ("strategy", "profit", "aim"),
    [
        ("trend_continuation_pullback", 0.0060, 0.0045 - 0.5 * 0.0010),
        (TRAP, 0.0047, 0.0047 - 1.5 * 0.0010),  # ATR is closer than the lower of two swings
        (TRAP, 0.0090, 0.0090 - 1.5 * 0.0010),
        ("liquidity_sweep_reversal", 0.0060, 0.0045 - 0.5 * 0.0010),
        ("order_block_rejection", 0.0060, 0.0045 - 0.5 * 0.0010),
    ],
)
def test_each_method_has_its_place(side: Side, strategy: str, profit: float, aim: float) -> None:
    frozen = rules(strategy)
    memory = {"partial_done": True}
    seen = after_breakeven(side, frozen, profit_r=profit / R, levels=swung(side, frozen.timeframe), memory=memory)
    found = only(seen)
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, aim), abs=1.01e-5)


def test_the_hybrid_takes_the_lowest_of_its_swings_where_it_is_closer_than_atr(side: Side) -> None:
    frozen = rules(TRAP, atr_multiplier=4.0)
    seen = after_breakeven(side, frozen, profit_r=2.0, levels=swung(side), memory={"partial_done": True})
    found = only(seen)
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 0.0035 - 0.5 * 0.0010), abs=1.01e-5)


def test_after_an_impulse_with_the_trade_the_stop_goes_behind_its_first_candle(side: Side) -> None:
    impulse = Impulse(side=side, origin=price(side, 0.0050), begun_ms=NOW - 900_000)
    seen = after_breakeven(side, rules("order_block_rejection"), profit_r=2.5, levels=swung(side, impulse=impulse))
    found = only(seen)
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 0.0050 - 0.3 * 0.0010), abs=1.01e-5)


def test_an_impulse_against_the_trade_is_none_to_trail_by(side: Side) -> None:
    impulse = Impulse(side=side.opposite, origin=price(side, 0.0050), begun_ms=NOW - 900_000)
    seen = after_breakeven(side, rules("order_block_rejection"), profit_r=2.5, levels=swung(side, impulse=impulse))
    assert "swing" in only(seen).reason


def test_without_impulse_and_swings_that_strategy_trails_by_atr(side: Side) -> None:
    bare = {M5: levels(side, M5, swing_lows=(), swing_highs=())}
    found = only(after_breakeven(side, rules("order_block_rejection"), profit_r=2.5, levels=bare))
    assert isinstance(found.action, MoveStop)
    assert found.action.stop == pytest.approx(price(side, 2.5 * R - 2 * 0.0010), abs=1.01e-5)


@pytest.mark.parametrize("strategy", ["trend_continuation_pullback", "liquidity_sweep_reversal"])
def test_a_swing_that_the_market_passed_is_none_to_trail_by(side: Side, strategy: str) -> None:
    frozen = rules(strategy)
    seen = after_breakeven(side, frozen, profit_r=0.0040 / R, levels=swung(side, frozen.timeframe))
    assert not propose(seen, SETTINGS).proposals
    assert "not clear of the market" in notes(seen)["trail"]


def test_the_range_scalp_never_trails(side: Side) -> None:
    seen = after_breakeven(side, rules("mean_reversion_range_scalp"), profit_r=5.0)
    assert not propose(seen, SETTINGS).proposals
    assert rules("mean_reversion_range_scalp").trailing is TrailingMethod.NONE
    assert "does not trail" in notes(seen)["trail"]


def test_without_atr_it_trails_in_spreads_and_says_so_in_words_that_stay(side: Side) -> None:
    seen = after_breakeven(side, profit_r=2.0, levels={})
    proposed = propose(seen, SETTINGS)
    action = proposed.proposals[0].action
    assert isinstance(action, MoveStop)
    assert action.stop == pytest.approx(price(side, 2 * R - 20 * 0.00008), abs=1.01e-5)
    later = propose(quoted(seen, tick(side, 2.1 * R)), SETTINGS)
    assert proposed.alerts == later.alerts
    assert len(proposed.alerts) == 1


def test_without_atr_and_spread_it_trails_by_a_share_of_the_price(side: Side) -> None:
    bare = tick(side, 2 * R, spread=0.0)
    seen = after_breakeven(side, levels={}, tick=bare, median_spread=None)
    action = only(seen).action
    assert isinstance(action, MoveStop)
    assert action.stop == pytest.approx(bare.bid - side.sign * bare.bid * 0.001, abs=1.01e-5)


def test_a_change_below_the_minimum_is_left(side: Side) -> None:
    seen = after_breakeven(side, profit_r=(0.0020 + 0.00008) / R + 0.099)
    assert "at least 0.1 R" in notes(seen)["trail"]
    assert only(quoted(seen, tick(side, 0.00208 + 0.101 * R))).rule == "trail"


def test_during_the_cooldown_it_waits(side: Side) -> None:
    seen = after_breakeven(side, profit_r=2.0, memory={"moved_ms": NOW - 59_000})
    assert notes(seen)["trail"] == "moved a moment ago, cools down for 1 s of 60 s"
    assert only(replace(seen, now_ms=NOW + 1_000)).rule == "trail"


def test_a_stop_that_was_seen_tighter_a_moment_ago_is_not_loosened_for_an_old_list(side: Side) -> None:
    seen = after_breakeven(side, profit_r=2.0)
    newer = replace(seen, seen_stops={TICKET: price(side, 0.0050)})
    assert only(seen).rule == "trail"
    proposed = propose(newer, SETTINGS)
    assert not proposed.proposals
    assert "would not improve the stop" in proposed.notes["trail"]
    assert proposed.memory is None, "an older list changes nothing of what is remembered"


def test_a_removed_stop_is_set_again(side: Side) -> None:
    seen = after_breakeven(side, profit_r=2.0, held={"stop": None})
    action = only(seen).action
    assert isinstance(action, MoveStop)
    assert action.expected_stop is None


@pytest.mark.parametrize(("stops", "freeze"), [(300, 0), (0, 300)])
def test_the_stop_stays_clear_of_stops_and_freeze_level_plus_spread(side: Side, stops: int, freeze: int) -> None:
    grid = instrument(stops_level_points=stops, freeze_level_points=freeze)
    seen = after_breakeven(side, profit_r=2.5, instrument=grid)
    action = only(seen).action
    assert isinstance(action, MoveStop)
    gap = (seen.tick.closing(side) - action.stop) * side.sign
    assert gap >= 300 * 0.00001 + seen.tick.spread - 1e-12


def test_within_the_freeze_level_of_stop_or_target_nothing_is_tried(side: Side) -> None:
    grid = instrument(freeze_level_points=50)
    seen = after_breakeven(side, profit_r=2.0, instrument=grid, held={"target": price(side, 2 * R + 0.0004)})
    proposed = propose(seen, SETTINGS)
    assert not proposed.proposals
    assert "frozen" in proposed.notes["position"]


def test_a_spread_spike_delays_what_the_spread_itself_would_hit(side: Side) -> None:
    grid = instrument(stops_level_points=250)
    spiking = tick(side, 2.5 * R, spread=0.0020)
    seen = after_breakeven(side, instrument=grid, tick=spiking)
    assert "spread spike" in notes(seen)["trail"]


def test_one_tick_at_a_price_that_the_broker_does_not_value_the_position_at_takes_nothing(side: Side) -> None:
    """A spike of one tick must not close a part for good."""
    spike = tick(side, 5 * R)
    seen = sighting(side, rules(TRAP), profit_r=0.2)
    for at in (
        replace(seen, tick=spike),
        replace(seen, position=replace(seen.position, price_now=spike.closing(side))),
    ):
        proposed = propose(at, SETTINGS)
        assert not proposed.proposals
        assert proposed.notes["partial"] == "at 0.20 R, due at 1.5 R"


def test_without_a_valuation_of_the_brokers_the_quote_counts(side: Side) -> None:
    assert only(sighting(side, profit_r=1.2, held={"price_now": 0.0})).rule == "breakeven"


def test_a_stop_never_stands_at_the_market_even_without_spread_and_stops_level(side: Side) -> None:
    seen = after_breakeven(
        side,
        rules(atr_multiplier=1e-9),
        instrument=instrument(stops_level_points=0),
        tick=tick(side, 2 * R, spread=0.0),
    )
    action = only(seen).action
    assert isinstance(action, MoveStop)
    assert (seen.tick.closing(side) - action.stop) * side.sign == pytest.approx(seen.instrument.tick_size)


def test_a_position_that_turned_to_the_other_side_is_another_one(side: Side) -> None:
    seen = after_breakeven(side, profit_r=2.0)
    proposed = propose(replace(seen, position=replace(seen.position, side=side.opposite)), SETTINGS)
    assert not proposed.proposals
    assert proposed.memory is None
    assert "it was taken over as a" in proposed.notes["position"]


# --- adoption, words -----------------------------------------------------------------------------------------------


def test_a_position_is_adopted_with_r_from_its_stop(side: Side) -> None:
    made = managed(side, rules())
    assert made.risk == pytest.approx(R)
    assert (made.manager, made.nominal_risk, made.initial_volume) == (Owner.UNIVERSAL, False, Decimal("0.4"))


@pytest.mark.parametrize("profit", [None, 0.0, 0.0010])
def test_without_a_stop_that_limits_a_loss_r_is_nominal(side: Side, profit: float | None) -> None:
    held = position(TICKET, side, "0.4", stop=None if profit is None else price(side, profit))
    made = adopt(held, rules(), login=1, server="S", now_ms=NOW, atr_m15=0.0010, settings=SETTINGS)
    assert made.risk == pytest.approx(0.0015)
    assert made.nominal_risk
    bare = adopt(held, rules(), login=1, server="S", now_ms=NOW, atr_m15=None, settings=SETTINGS)
    assert bare.risk == pytest.approx(1.1 * 0.005)


def test_what_another_manager_registered_keeps_its_r(side: Side) -> None:
    before = managed(side, rules())
    moved = position(TICKET, side, "0.2", stop=price(side, 0.0001))
    made = adopt(moved, rules(), login=1, server="S", now_ms=NOW, atr_m15=0.001, settings=SETTINGS, known=before)
    assert (made.risk, made.initial_stop, made.initial_volume) == (before.risk, before.initial_stop, Decimal("0.4"))
    assert made.volume == Decimal("0.2")


def test_rules_of_another_manager_are_refused(side: Side) -> None:
    other = ExitRules(
        symbol_class="fx",
        is_scalp=False,
        breakeven_progress=0.3,
        partial_progress=0.6,
        partial_share=Decimal("0.5"),
        trailing_atr=1.2,
        session_factor=1.0,
        min_change_r=0.05,
        cooldown_s=30.0,
    )
    with pytest.raises(TypeError):
        propose(sighting(side, memory={"rules": other}), SETTINGS)


@pytest.mark.parametrize("strategy", ["default_standard", TRAP, "mean_reversion_range_scalp"])
def test_it_explains_where_a_position_stands_with_figures(side: Side, strategy: str) -> None:
    told = explain(sighting(side, rules(strategy), profit_r=0.4), SETTINGS)
    assert told[0].startswith(f"{strategy}, registered in the london session: 0.4 lots at 0.40 R")
    assert any(line.startswith("breakeven: at ") for line in told)
    assert any(line.startswith("trailing") for line in told)
    assert any(line.startswith("not now: breakeven: at 0.40 R") for line in told)
    assert any(line.startswith("next: breakeven") for line in explain(sighting(side, profit_r=1.2), SETTINGS))


def test_settings_that_change_later_leave_frozen_rules_as_they_are(side: Side) -> None:
    seen = sighting(side, profit_r=1.2)
    stricter = Settings(universal=replace(SETTINGS.universal, strategies={"default_standard": {"breakeven_r": 5.0}}))
    assert resolve("default_standard", "EURUSD", Session.LONDON, None, stricter.universal).breakeven_r == 5.0
    assert only(seen, stricter).rule == "breakeven"
