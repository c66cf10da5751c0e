"""The Universal manager moves stops and takes parts at a terminal on recorded markets."""

from pathlib import Path

from tests.managing.site import Market, Site, never_loosened

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Owner

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")


def test_a_stop_goes_to_breakeven_at_its_r_and_the_registry_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(EUR, tmp_path)
        await site.play(1)
        ticket = site.open_away(Side.SHORT, 0.0008)
        managed = await site.managers.register_universal(ticket, "default_standard")
        await site.play(40)
        first, *moves = site.stops(ticket)
        assert len(moves) == 1
        assert never_loosened([first, *moves], Side.SHORT)
        assert moves[0].sl_points < round(managed.entry * 100_000), "beyond the entry, on the protective side"
        (row,) = await site.store.ownerships([ticket])
        assert row.manager is Owner.UNIVERSAL
        assert row.breakeven
        (action,) = await site.facts(ticket, FactKind.ACTION)
        assert action.details["rule"] == "breakeven"
        (stored,) = await site.store.managed(ticket=ticket)
        assert stored.breakeven_done
        assert stored.stop == moves[0].sl_points / 100_000
        await site.end()

    run_virtual(main())
