"""Safety rails: each has a case that it refuses and one that it permits, and their memory is reset in time."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.decide.builders import NOW, trade

from dtms.decide.guards import (
    GUARDS,
    GuardInput,
    RailState,
    day_start_ms,
    is_spread_spike,
    observe_account,
    observe_close,
    rail_figures,
    refuse_risk,
)
from dtms.domain.calendar import Release
from dtms.domain.market import Side, Tick
from dtms.settings import RailSettings

MINUTE, HOUR = 60_000, 3_600_000
CALM = RailState(day_anchor=10_000.0, hour_anchor=10_000.0, equity=10_000.0)
PAYROLLS = Release(time_ms=NOW, currency="USD", impact="High", event="Nonfarm Payrolls")


def at(**changes: Any) -> GuardInput:
    base = GuardInput(
        trade=trade(Side.LONG),
        tick=Tick(NOW, 1.1, 1.1001),
        now_ms=NOW,
        median_spread=0.0001,
        stale=None,
        rails=CALM,
        releases=(),
        last_same_action_ms=None,
        settings=RailSettings(),
    )
    return replace(base, **changes)


def lost(**money: Any) -> RailState:
    return replace(CALM, **money)


CASES = {
    "stale_data": (at(stale="the next M5 bar is overdue"), at(stale=None)),
    "unsound_quote": (at(tick=Tick(NOW, 1.1001, 1.1)), at()),
    "spread_spike": (at(tick=Tick(NOW, 1.1, 1.10021)), at(tick=Tick(NOW, 1.1, 1.1002))),
    "daily_loss": (
        at(rails=lost(hour_anchor=9_800.0, equity=9_800.0)),
        at(rails=lost(hour_anchor=9_801.0, equity=9_801.0)),
    ),
    "hourly_loss": (at(rails=lost(equity=9_900.0)), at(rails=lost(equity=9_901.0))),
    "stop_outs": (
        at(rails=replace(CALM, stop_outs_in_row=3)),
        at(rails=replace(CALM, stop_outs_in_row=2)),
    ),
    "news": (
        at(releases=(replace(PAYROLLS, time_ms=NOW + 30 * MINUTE),)),
        at(releases=(replace(PAYROLLS, time_ms=NOW + 30 * MINUTE + 1),)),
    ),
    "repeat": (at(last_same_action_ms=NOW - 9_999), at(last_same_action_ms=NOW - 10_000)),
    "request_budget": (
        at(rails=replace(CALM, requests_today=1_500)),
        at(rails=replace(CALM, requests_today=1_499)),
    ),
}


@pytest.mark.parametrize("rail", CASES)
def test_a_rail_refuses_at_its_limit_and_not_before(rail: str) -> None:
    refused, permitted = CASES[rail]
    refusal = refuse_risk(refused)
    assert refusal is not None
    assert refusal.rail == rail
    assert any(figure.isdigit() for figure in refusal.reason) or rail == "stale_data" or rail == "news"
    assert refuse_risk(permitted) is None


def test_every_guard_has_its_cases() -> None:
    """Each guard of the table is the one that refuses exactly one case."""
    for guard in GUARDS:
        refusing = [rail for rail, (refused, _) in CASES.items() if guard(refused) is not None]
        assert len(refusing) == 1
    assert len(GUARDS) == len(CASES)


@pytest.mark.parametrize(
    ("release", "is_refused"),
    [
        (replace(PAYROLLS, time_ms=NOW - 15 * MINUTE + 1), True),
        (replace(PAYROLLS, time_ms=NOW - 15 * MINUTE), False),
        (replace(PAYROLLS, impact="medium"), False),
        (replace(PAYROLLS, impact="ultra"), True),
        (replace(PAYROLLS, currency="JPY"), False),
        (replace(PAYROLLS, currency="EUR"), True),
    ],
)
def test_news_block_the_symbols_currencies_around_the_release(release: Release, is_refused: bool) -> None:
    """30 minutes before to 15 after a high-impact event for either currency of the symbol."""
    refusal = refuse_risk(at(releases=(release,)))
    assert (refusal is not None) == is_refused
    if refusal is not None:
        assert refusal.until_ms == release.time_ms + 15 * MINUTE


def test_an_unknown_median_is_no_spike() -> None:
    assert not is_spread_spike(Tick(NOW, 1.0, 2.0), None, RailSettings())


@pytest.mark.parametrize(("anchor", "expected"), [("balance", 100.0), ("equity", 120.0), ("higher", 120.0)])
def test_losses_are_anchored_as_configured(anchor: str, expected: float) -> None:
    """The anchors are taken at the reset, and floating profit or loss counts from then on."""
    settings = replace(RailSettings(), loss_anchor=anchor)  # type: ignore[arg-type]
    rails = observe_account(RailState(), now_ms=NOW, balance=100.0, equity=120.0, settings=settings, broker_offset_ms=0)
    assert (rails.day_anchor, rails.hour_anchor, rails.equity) == (expected, expected, 120.0)
    later = observe_account(
        rails, now_ms=NOW + 1_000, balance=100.0, equity=90.0, settings=settings, broker_offset_ms=0
    )
    assert (later.day_anchor, later.equity) == (expected, 90.0)


def test_the_hour_is_reset_before_the_day() -> None:
    """A new hour takes a new hourly anchor; a new day all of it, with the counts."""
    midnight = day_start_ms(NOW, RailSettings(), 0)
    rails = replace(
        observe_account(
            RailState(), now_ms=midnight, balance=100.0, equity=100.0, settings=RailSettings(), broker_offset_ms=0
        ),
        stop_outs_in_row=2,
        requests_today=40,
    )
    hour = observe_account(
        rails, now_ms=midnight + HOUR, balance=90.0, equity=90.0, settings=RailSettings(), broker_offset_ms=0
    )
    assert (hour.day_anchor, hour.hour_anchor, hour.stop_outs_in_row) == (100.0, 90.0, 2)
    day = observe_account(
        hour, now_ms=midnight + 24 * HOUR, balance=80.0, equity=80.0, settings=RailSettings(), broker_offset_ms=0
    )
    assert (day.day_anchor, day.stop_outs_in_row, day.requests_today) == (80.0, 0, 0)


def utc_ms(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp() * 1000)


def test_the_day_begins_at_the_brokers_day_change_or_at_the_configured_hour() -> None:
    noon = utc_ms(2025, 3, 9, 12)
    assert day_start_ms(noon, RailSettings(), 0) == utc_ms(2025, 3, 9)
    assert day_start_ms(noon, RailSettings(), 3 * HOUR) == utc_ms(2025, 3, 8, 21)
    new_york = RailSettings(reset_hour=17, reset_zone="America/New_York")
    assert day_start_ms(noon, new_york, 0) == utc_ms(2025, 3, 8, 22)  # winter time the evening before
    assert day_start_ms(noon + 24 * HOUR, new_york, 0) == utc_ms(2025, 3, 9, 21)  # summer time since that morning


def test_stop_outs_in_a_row_end_with_a_profit() -> None:
    """A losing stop counts; a stop in profit and any other profit end the row; a loss closed otherwise does neither."""
    rails = observe_close(observe_close(RailState(), by_stop=True, profit=-1.0), by_stop=True, profit=-1.0)
    assert rails.stop_outs_in_row == 2
    assert observe_close(rails, by_stop=False, profit=-1.0).stop_outs_in_row == 2
    assert observe_close(rails, by_stop=True, profit=1.0).stop_outs_in_row == 0


def test_rails_survive_as_json() -> None:
    rails = RailState(day_start_ms=1, day_anchor=2.0, hour_start_ms=3, hour_anchor=None, stop_outs_in_row=4)
    assert RailState.from_json(rails.as_json()) == rails
    assert RailState.from_json({**rails.as_json(), "of a later version": 1}) == rails


def test_figures_show_which_rail_blocks() -> None:
    figures = rail_figures(replace(CALM, equity=9_850.0, stop_outs_in_row=3), RailSettings())
    assert {name: of["blocks"] for name, of in figures.items()} == {
        "daily_loss": False,
        "hourly_loss": True,
        "stop_outs": True,
        "request_budget": False,
    }
    assert figures["hourly_loss"]["lost_percent"] == 1.5
