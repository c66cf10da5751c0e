"""Every strategy's rules and Intelligent Exit's act on recorded markets, judged by the terminal's ledger alone.

In a strong trend of each direction one position per strategy is opened with the trend, and one against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.managing.site import Market, Site, never_loosened, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner
from dtms.terminal.simulated.grid import LOT_UNITS
from dtms.terminal.simulated.records import Deal, LevelChange

STRATEGIES = (
    "breakout_ib_volatility_trap",
    "trend_continuation_pullback",
    "liquidity_sweep_reversal",
    "order_block_rejection",
    "mean_reversion_range_scalp",
    "default_standard",
)
EXITS = "exits"
GOLD = "XAUUSD_M1_20251203_20260318"
TRENDS = {
    Side.SHORT: (Market(recording=GOLD, start="2026-03-03T09:20Z"), 15.0),
    Side.LONG: (Market(recording=GOLD, start="2026-01-28T19:30Z"), 20.0),
}
"""A market that moves in one direction for hours, and how far from the price stops are set."""
HOURS = 2.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """What became of one position: levels and closing deals by the ledger, what its manager recorded."""

    side: Side
    lots: Decimal
    stops: Sequence[LevelChange]
    parts: Sequence[Deal]
    rules: Sequence[str]
    row: Ownership | None


@cache
def played(trend: Side) -> Mapping[tuple[str, Side], Managed]:
    """Play a trend once for all tests, with one position per strategy and side."""
    with TemporaryDirectory() as folder:
        return run_virtual(_played(trend, Path(folder)))


async def _played(trend: Side, folder: Path) -> Mapping[tuple[str, Side], Managed]:
    market, distance = TRENDS[trend]
    site = await Site.begin(market, folder, settings=settings_for_tests(5_000))
    await site.play(1)
    tickets: dict[tuple[str, Side], int] = {}
    for side in Side:
        for strategy in STRATEGIES:
            tickets[strategy, side] = ticket = site.open_away(side, distance)
            await site.managers.register_universal(ticket, strategy)
        price = site.terminal.symbol_info_tick(market.symbol).bid
        ticket = site.open_away(side, distance, target=round(price + side.sign * 3 * distance, 2))
        tickets[EXITS, side] = ticket
        await site.managers.enable_exits(ticket)
    await site.play(HOURS * 60)
    found = {key: await _told(site, key[1], ticket) for key, ticket in tickets.items()}
    await site.end()
    return found


async def _told(site: Site, side: Side, ticket: int) -> Managed:
    actions = await site.facts(ticket, FactKind.ACTION)
    rows = await site.store.ownerships([ticket])
    return Managed(
        side=side,
        lots=Decimal("0.4"),
        stops=site.stops(ticket),
        parts=site.parts(ticket),
        rules=[str(f.details["rule"]) for f in actions if f.details["ending"] == "done"],
        row=rows[0] if rows else None,
    )


@pytest.mark.parametrize("trend", Side)
@pytest.mark.parametrize("strategy", [s for s in STRATEGIES if s != "mean_reversion_range_scalp"])
def test_every_trailing_method_follows_a_trend(strategy: str, trend: Side) -> None:
    one = played(trend)[strategy, trend]
    assert one.rules[0] == "breakeven"
    assert "trail" in one.rules
    trailed = [c for c in one.stops[2:] if c.sl_points]
    assert trailed
    assert (trailed[-1].sl_points - one.stops[1].sl_points) * trend.sign > 0, "beyond where breakeven had put it"


@pytest.mark.parametrize("trend", Side)
def test_a_range_scalp_is_brought_to_breakeven_and_not_trailed(trend: Side) -> None:
    assert set(played(trend)["mean_reversion_range_scalp", trend].rules) == {"breakeven"}


@pytest.mark.parametrize("trend", Side)
def test_a_partial_is_taken_once_on_the_volume_grid(trend: Side) -> None:
    one = played(trend)["breakout_ib_volatility_trap", trend]
    assert one.rules.count("partial") == 1
    part = Decimal(one.parts[0].units) / LOT_UNITS
    assert part == Decimal("0.20")


@pytest.mark.parametrize("trend", Side)
def test_intelligent_exit_trails_takes_a_part_and_goes_to_breakeven(trend: Side) -> None:
    one = played(trend)[EXITS, trend]
    assert set(one.rules) == {"breakeven", "partial", "trail"}
    assert one.rules.count("breakeven") == one.rules.count("partial") == 1
    assert one.row is None, "it works beside an owner, and owns nothing"


@pytest.mark.parametrize("trend", Side)
def test_no_stop_is_ever_loosened_removed_or_set_on_the_wrong_side(trend: Side) -> None:
    for key, one in played(trend).items():
        assert never_loosened(one.stops, one.side), key
        for change in one.stops:
            price = change.bid_points if one.side is Side.LONG else change.ask_points
            assert change.sl_points > 0, key
            assert (price - change.sl_points) * one.side.sign > 0, key
        assert len({change.tp_points for change in one.stops}) == 1, "the target is never touched"


@pytest.mark.parametrize("trend", Side)
def test_the_registry_says_who_owned_what_was_closed_and_that_breakeven_was_reached(trend: Side) -> None:
    for (strategy, side), one in played(trend).items():
        if strategy == EXITS:
            continue
        assert one.row is not None
        assert one.row.manager is Owner.UNIVERSAL
        assert one.row.breakeven == ("breakeven" in one.rules), (strategy, side)
        assert (one.row.closed_ms is not None) == (sum(d.units for d in one.parts) == 0.4 * LOT_UNITS)
