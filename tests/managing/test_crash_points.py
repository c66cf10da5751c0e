"""Ended at its Nth write or send, wherever that is, the managers' program goes on and does nothing twice.

One position that is brought to breakeven, halved and trailed; ``-m slow`` goes through every point.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.execute.crashing import Cut, arm
from tests.managing.site import Market, Site, never_loosened, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner
from dtms.ports.store import Unit
from dtms.terminal.simulated.grid import LOT_UNITS

GOLD = Market(recording="XAUUSD_M1_20251203_20260318", start="2026-03-03T09:20Z")
STRATEGY, DISTANCE = "breakout_ib_volatility_trap", 15.0
MINUTES = 75.0
SLICE = range(9, 40, 6)
POINTS_MAX = 500


@dataclass(frozen=True, slots=True)
class Ended:
    """A scenario that was cut off and gone on with."""

    site: Site
    ticket: int
    cuts: tuple[str, ...]


async def crash_at(folder: Path, *points: int) -> Ended:
    """Play the scenario, ending each program at the given point of its own life, until there are no more points."""
    site = await Site.begin(GOLD, folder, settings=settings_for_tests(5_000))
    await site.play(1)
    ticket = site.open_away(Side.SHORT, DISTANCE)
    await site.managers.stop()
    await _owned(site, ticket)
    end_ms = site.clock.market_ms() + int(MINUTES * 60_000)
    cuts = []
    for life, point in enumerate((*points, 2**62)):
        if life:
            site.renew()
        cut = Cut(point)
        arm(cut, site.store, site.terminal)
        living = asyncio.create_task(_live(site, end_ms))
        ending = asyncio.create_task(cut.ended.wait())
        await asyncio.wait({living, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not cut.ended.is_set():
            ending.cancel()
            await living
            break
        cuts.append(cut.what)
        await site.die()
    return Ended(site, ticket, tuple(cuts))


async def _owned(site: Site, ticket: int) -> None:
    """Give the position to the Universal manager in the registry, as an execution does."""
    position = site.held(ticket)
    row = Ownership(
        ticket=ticket,
        identifier=position.identifier,
        login=site.config.account.login,
        server=site.config.account.server,
        symbol=GOLD.symbol,
        side=Side.SHORT,
        owner=Owner.UNIVERSAL.value,
        strategy_type=STRATEGY,
    )
    await site.store.open()
    await site.store.commit(Unit(ownership=(row,)))
    await site.store.close()
    site.renew()


async def _live(site: Site, end_ms: int) -> None:
    await site.managers.start()
    left_ms = end_ms - site.clock.market_ms()
    await site.play(max(1.0, left_ms / 60_000))


async def judge(ended: Ended) -> None:
    """Assert what must hold whatever was ended where, by the terminal's books and the stored requests."""
    site, ticket = ended.site, ended.ticket
    stops = site.stops(ticket)
    assert never_loosened(stops, Side.SHORT)
    assert len(stops) > 2, "it was brought to breakeven, and trailed"
    ours = [d for d in site.parts(ticket) if d.magic]
    assert [d.units for d in ours] == [0.2 * LOT_UNITS], "the part was taken once"
    intents = await site.store.intents(ticket=ticket)
    assert not [i for i in intents if i.state.is_open], "what was open is known"
    magics = {d.magic & (2**40 - 1) for d in ours}
    assert magics <= {i.number for i in intents}
    (managed,) = await site.store.managed(ticket=ticket)
    assert managed.partial_done
    assert managed.breakeven_done
    (row,) = await site.store.ownerships([ticket])
    assert row.breakeven
    held = site.held(ticket)
    if held is not None:
        assert managed.is_active
        assert float(managed.volume) == held.units / LOT_UNITS
    else:
        assert managed.closed_ms is not None
        assert row.closed_ms is not None
    registered = await site.facts(ticket, FactKind.MANAGED)
    assert len(registered) == 1, "its rules were resolved once"


@pytest.mark.parametrize("point", SLICE)
def test_a_crash_at_a_single_point_costs_nothing(point: int, tmp_path: Path) -> None:
    async def main() -> None:
        ended = await crash_at(tmp_path, point)
        assert ended.cuts, "the crash came"
        await judge(ended)
        await ended.site.end()

    run_virtual(main())


@pytest.mark.parametrize(("point", "again"), [(9, 2), (12, 3), (15, 4), (18, 5)])
def test_a_recovery_that_is_crashed_is_begun_anew(point: int, again: int, tmp_path: Path) -> None:
    async def main() -> None:
        ended = await crash_at(tmp_path, point, again)
        assert len(ended.cuts) == 2, "both crashes came"
        await judge(ended)
        await ended.site.end()

    run_virtual(main())


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_every_point_until_the_scenario_runs_through_untouched(tmp_path: Path) -> None:
    async def at(point: int) -> bool:
        folder = tmp_path / str(point)
        folder.mkdir()
        ended = await crash_at(folder, point)
        await judge(ended)
        await ended.site.end()
        return bool(ended.cuts)

    for point in range(1, POINTS_MAX):
        if not run_virtual(at(point)):
            return
    raise AssertionError("the scenario never ran through")
