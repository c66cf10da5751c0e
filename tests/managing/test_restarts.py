"""After a restart, clean or not, everything managed is as it was; lost answers are found out; tickets may change."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Spoiling
from tests.managing.site import Market, Site, never_loosened, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.facts import FactKind
from dtms.domain.managed import Managed
from dtms.domain.market import Side
from dtms.ports.store import Controls, Unit
from dtms.terminal.simulated.grid import LOT_UNITS

GOLD = Market(recording="XAUUSD_M1_20251203_20260318", start="2026-03-03T09:20Z")
EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
PROGRAM = {FactKind.STARTED, FactKind.STOPPED, FactKind.RECOVERED}


async def _begun(folder: Path, **sections: Any) -> tuple[Site, int]:
    site = await Site.begin(GOLD, folder, settings=settings_for_tests(5_000, **sections))
    await site.play(1)
    ticket = site.open_away(Side.SHORT, 15.0)
    await site.managers.register_universal(ticket, "breakout_ib_volatility_trap")
    return site, ticket


@pytest.mark.parametrize("crash", [False, True])
def test_rules_flags_and_baselines_are_exactly_as_before(crash: bool, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.enable_exits(ticket)
        await site.play(8)
        await site.store.commit(Unit(controls=Controls(halted=True, halted_ms=1)))
        await site.play(0.2)
        before = _memory(site)
        assert all(m.breakeven_done and m.moved_ms for m in before)
        await site.restart(crash=crash)
        assert _memory(site) == before
        await site.end()

    run_virtual(main())


def _memory(site: Site) -> list[Managed]:
    return [live.managed for live in (*site.managers.universal(), *site.managers.exits())]


def test_recovery_that_runs_again_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(EUR, tmp_path, settings=settings_for_tests(5_000))
        await site.play(1)
        ticket = site.open_away(Side.SHORT, 0.0030)
        await site.managers.register_universal(ticket, "default_standard")
        await site.managers.enable_exits(ticket)
        await site.restart(crash=True)
        first = [f for f in await site.store.facts(limit=1_000) if f.kind not in PROGRAM]
        rows = await site.store.managed(), await site.store.ownerships()
        await site.restart(crash=True)
        second = [f for f in await site.store.facts(limit=1_000) if f.kind not in PROGRAM]
        assert second == first
        assert (await site.store.managed(), await site.store.ownerships()) == rows
        await site.end()

    run_virtual(main())


@pytest.mark.parametrize("executes", [False, True])
def test_a_lost_answer_to_a_part_is_found_out_and_it_is_taken_once(executes: bool, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        site.terminal.spoil = spoiling = Spoiling("Q", executes=executes)
        await site.play(75)
        assert spoiling.spoiled, "the part was asked for"
        parts = [d for d in site.parts(ticket) if d.magic]
        assert [d.units for d in parts] == [0.2 * LOT_UNITS]
        intents = [i for i in await site.store.intents(ticket=ticket) if i.action.kind.changes_exposure]
        expected = [IntentState.CONFIRMED] if executes else [IntentState.NOT_EXECUTED, IntentState.CONFIRMED]
        assert [i.state for i in intents] == expected
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.partial_done
        if not executes:
            assert intents[1].created_ms - intents[0].created_ms >= 60_000, "not while it could still be carried out"
        await site.end()

    run_virtual(main())


@pytest.mark.parametrize("executes", [False, True])
def test_a_lost_answer_to_a_stop_is_found_out(executes: bool, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        site.terminal.spoil = Spoiling("S", executes=executes)
        await site.play(75)
        assert never_loosened(site.stops(ticket), Side.SHORT)
        first, *_ = await site.store.intents(ticket=ticket)
        assert first.state is (IntentState.CONFIRMED if executes else IntentState.NOT_EXECUTED)
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.breakeven_done
        await site.end()

    run_virtual(main())


def test_what_the_broker_refuses_is_tried_again_with_growing_pauses_and_then_a_person_is_called(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        site.terminal.spoil = Spoiling("Q", retcode=10006, times=100)
        await site.play(75)
        parts = [i for i in await site.store.intents(ticket=ticket) if i.action.kind.changes_exposure]
        assert len(parts) > 3
        pauses = [b.created_ms - a.created_ms for a, b in pairwise(parts)]
        assert pauses[-1] > pauses[0] * 4
        attention = await site.facts(ticket, FactKind.NEEDS_ATTENTION)
        assert len(attention) == 1
        assert never_loosened(site.stops(ticket), Side.SHORT)
        assert len(site.stops(ticket)) > 2, "a part that fails does not keep the stop from trailing"
        await site.end()

    run_virtual(main())


@pytest.mark.parametrize("when", ["watching", "crash"])
def test_a_position_whose_ticket_was_replaced_is_followed(when: str, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        if when == "crash":
            await site.die()
        terminal: Any = site.terminal._terminal
        new = int(terminal._server.renumber(site.held(ticket)).ticket)
        if when == "crash":
            site.renew()
            await site.managers.start()
        await site.play(75)
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.breakeven_done
        assert not await site.facts(ticket, FactKind.UNCONFIRMED)
        assert [d for d in site.parts(ticket) if d.magic], "the part was taken under the new ticket"
        assert {d.position_id for d in site.parts(ticket)} == {ticket}
        assert not await site.store.managed(ticket=new)
        await site.end()

    run_virtual(main())
