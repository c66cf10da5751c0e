"""A probe finds exactly what the simulated broker was told to do, and nothing of it is left afterwards."""

from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.bench import changed, described
from tests.probe.bench import probed

from dtms.probe.findings import Report, ways_of

PLAIN = described()
QUIET = {"typical_spread_points": 2, "wide_spread_factor": 1}


def manners(**habits: Any) -> dict[str, Any]:
    return described(manners=habits)


def account(**traits: Any) -> dict[str, Any]:
    return described(account=traits)


def unstated(**habits: Any) -> dict[str, Any]:
    """Describe a broker that declares a stops level of 0 and has another."""
    return changed(described(manners=habits), stops_level_points=0, **QUIET)


def faults(*given: dict[str, Any]) -> dict[str, Any]:
    return described(faults=list(given))


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "an ordinary broker",
        PLAIN,
        {
            "comment.open.form": "kept",
            "comment.close.form": "kept",
            "comment.chars_max": 31,
            "comment.chars_kept": 31,
            "magic.kept": True,
            "magic.closing_deal": "request",
            "filling.accepted": ["fok", "ioc"],
            "filling.as_declared": True,
            "opposite.without_position": "opens",
            "account.netting": False,
            "account.fifo": False,
            "account.hedging_prohibited": False,
            "omitted.target": "removed",
            "omitted.stop": "removed",
            "unchanged.code": 10025,
            "partial.keeps_ticket": True,
            "partial.deal_volume": 0.01,
            "duplicate.executed_twice": True,
            "stops.points_accepted": 10,
            "stops.hidden_points": 0,
            "none.shown_as": "empty",
            "clock.offset_min": 180,
            "clock.agrees": True,
            "lag.ms_p99": 0,
        },
    ),
    (
        "comments are refused",
        manners(comment_mode="refuse"),
        {
            "comment.open.accepted": False,
            "comment.open.form": "refused",
            "comment.close.accepted": False,
            "comment.chars_kept": 0,
        },
    ),
    (
        "comments are cut to 16",
        manners(comment_mode="truncate_16"),
        {"comment.open.form": "kept", "comment.chars_max": 31, "comment.chars_kept": 16},
    ),
    ("comments are cut to 27", manners(comment_mode="truncate_27"), {"comment.chars_kept": 27}),
    (
        "comments are replaced",
        manners(comment_mode="replace"),
        {"comment.open.form": "replaced", "comment.close.form": "replaced", "comment.chars_kept": 0},
    ),
    (
        "comments are stripped",
        manners(comment_mode="strip"),
        {"comment.open.form": "stripped", "comment.close.form": "stripped", "comment.chars_kept": 0},
    ),
    (
        "comments are refused on a close",
        manners(comment_on_close=False),
        {"comment.open.accepted": True, "comment.close.accepted": False, "comment.close.form": "refused"},
    ),
    (
        "some characters are refused",
        manners(comment_refused_chars="_ "),
        {"comment.open.accepted": True, "comment.refused_characters": ["_", " "]},
    ),
    (
        "magic numbers are dropped",
        manners(magic_kept=False),
        {"magic.kept": False, "magic.echoed_in": [], "magic.closing_deal": "none"},
    ),
    (
        "closing deals carry the position's number",
        manners(closing_deal_magic="position"),
        {"magic.kept": True, "magic.closing_deal": "position"},
    ),
    (
        "a level that is not named stays",
        manners(omitted_level="keeps"),
        {"omitted.target": "kept", "omitted.stop": "kept"},
    ),
    (
        "stops keep 37 points though none are declared",
        unstated(hidden_stops_points=37),
        {"stops.points_accepted": 37, "stops.points_refused": 36, "stops.hidden_points": 37},
    ),
    (
        "stops keep three spreads though none are declared",
        unstated(hidden_stops_spreads=3),
        {"stops.points_accepted": 6, "stops.spread_points": 2, "stops.hidden_points": 6},
    ),
    (
        "stops are as near as declared: nowhere",
        unstated(),
        {"stops.points_accepted": 1, "stops.hidden_points": 0},
    ),
    (
        "a netting account",
        account(margin_mode=0),
        {
            "opposite.without_position": "closes",
            "account.netting": True,
            "account.as_declared": True,
            "reversal.changes_ticket": True,
        },
    ),
    (
        "positions freeze within 30 points",
        changed(PLAIN, freeze_level_points=30),
        {"stops.points_accepted": 31, "stops.hidden_points": 0},
    ),
    ("first in, first out", account(fifo_close=True), {"account.fifo": True, "account.fifo_as_declared": True}),
    (
        "hedging is prohibited, which nothing declares",
        account(hedge_allowed=False),
        {"opposite.without_position": "refused", "account.hedging_prohibited": True, "account.netting": False},
    ),
    (
        "a symbol that is filled at once or cancelled",
        changed(PLAIN, filling_mask=2),
        {"filling.accepted": ["ioc"], "filling.as_declared": True},
    ),
    (
        "a symbol that takes any filling",
        changed(PLAIN, exemode=1),
        {"filling.accepted": ["fok", "ioc", "return"], "filling.as_declared": True},
    ),
]


@pytest.mark.parametrize(("name", "description", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_the_broker_does_is_what_is_found(
    name: str, description: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    report, site = probed(tmp_path, description)
    assert report.failures == (), site.told
    assert {key: report.value(key) for key in expected} == expected
    assert not site.positions
    assert report.left == ()


def found(report: Report, name: str) -> int:
    value = report.value(name)
    assert isinstance(value, int)
    return value


def test_what_shows_late_is_measured(tmp_path: Path) -> None:
    report, site = probed(tmp_path, faults({"kind": "lag", "ms_min": 300, "ms_max": 800, "seed": 4}))
    assert report.failures == ()
    assert 300 <= found(report, "lag.position_ms_p50") <= 820
    assert 600 <= found(report, "lag.ms_p99") <= 820
    assert report.value("partial.keeps_ticket") is True
    assert report.value("omitted.target") == "removed"
    assert report.value("duplicate.executed_twice") is True
    assert ways_of(report).lag_ms == found(report, "lag.ms_p99")
    assert not site.positions


def test_orders_that_are_filled_later_are_told_apart_from_late_lists(tmp_path: Path) -> None:
    report, site = probed(tmp_path, manners(execution_delay_ms=1_500))
    assert report.failures == ()
    assert 1_500 <= found(report, "execution.placed_ms_p99") <= 1_600
    assert report.value("opposite.without_position") == "opens"
    assert not site.positions


def test_a_server_clock_is_measured_in_half_hours(tmp_path: Path) -> None:
    report, _ = probed(tmp_path, described(server_clock="utc+5"), only=("fillings", "server clock"))
    assert (report.value("clock.offset_min"), report.value("clock.agrees")) == (300, True)


def test_several_positions_of_one_order_are_all_closed(tmp_path: Path) -> None:
    report, site = probed(tmp_path, changed(manners(step_fills=3), volume_min_lots=0.01))
    assert report.failures == ()
    assert report.value("order.positions") == 2
    assert not site.positions


def test_a_symbol_with_two_digits_and_a_wide_spread_is_probed_as_well(tmp_path: Path) -> None:
    report, site = probed(tmp_path, symbol="BTCUSDc")
    assert report.failures == ()
    assert report.value("partial.keeps_ticket") is True
    assert not site.positions


def test_a_broker_that_counts_requests_is_waited_for(tmp_path: Path) -> None:
    report, site = probed(tmp_path, manners(requests_per_minute=20))
    assert report.failures == ()
    assert site.clock.machine_s() > 60
    assert not site.positions


def test_a_broker_with_every_bad_habit_at_once_is_described_and_left_clean(tmp_path: Path) -> None:
    habits: dict[str, Any] = {
        "comment_mode": "refuse",
        "magic_kept": False,
        "omitted_level": "keeps",
        "hidden_stops_points": 25,
    }
    report, site = probed(tmp_path, unstated(**habits))
    assert report.failures == ()
    ways = ways_of(report)
    assert (ways.comment_on_open, ways.comment_on_close, ways.magic_kept) == (False, False, False)
    assert ways.of(report.symbol).stops_points_min == 25
    assert report.value("omitted.stop") == "kept"
    assert not site.positions
