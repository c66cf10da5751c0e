"""In observe and advise managers record what they would do, once, and do nothing; halted they do not even that."""

from itertools import pairwise
from pathlib import Path

import pytest
from tests.managing.site import Market, Site, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Mode
from dtms.ports.store import Controls, Unit

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
R, DUE_MIN = 0.0008, 40


async def _begun(folder: Path, mode: Mode) -> tuple[Site, int]:
    site = await Site.begin(EUR, folder, settings=settings_for_tests(5_000), mode=mode)
    await site.play(1)
    ticket = site.open_away(Side.SHORT, R)
    await site.managers.register_universal(ticket, "default_standard")
    return site, ticket


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ADVISE])
def test_a_proposal_is_recorded_when_it_changes_and_memory_does_not_advance(mode: Mode, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, mode)
        before = site.managers.universal()[0].managed
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 1
        assert not await site.store.intents(ticket=ticket)
        proposals = await site.facts(ticket, FactKind.PROPOSAL)
        assert proposals
        assert all(f.details["mode"] == mode.value and f.details["stop"] for f in proposals)
        told = [f.summary.split(" (")[0] for f in proposals]
        assert all(a != b for a, b in pairwise(told)), "only when it changes"
        after = site.managers.universal()[0].managed
        assert (after.breakeven_done, after.moved_ms) == (before.breakeven_done, before.moved_ms)
        await site.end()

    run_virtual(main())


def test_switching_to_auto_acts_on_what_was_only_proposed(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, Mode.OBSERVE)
        await site.play(DUE_MIN)
        await site.store.commit(Unit(controls=Controls(mode=Mode.AUTO)))
        await site.play(1)
        assert len(site.stops(ticket)) == 2
        assert site.managers.universal()[0].managed.proposed is None
        await site.end()

    run_virtual(main())


def test_halted_nothing_is_proposed_or_done_until_it_is_lifted(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, Mode.AUTO)
        await site.store.commit(Unit(controls=Controls(halted=True, halt_reason="a person", halted_ms=1)))
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 1
        assert not await site.facts(ticket, FactKind.PROPOSAL, FactKind.REFUSAL, FactKind.ACTION)
        await site.store.commit(Unit(controls=Controls()))
        await site.play(1)
        assert len(site.stops(ticket)) == 2
        await site.end()

    run_virtual(main())
