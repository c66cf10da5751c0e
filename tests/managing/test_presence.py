"""What happens to managed positions at the terminal is seen, told, and believed on evidence alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.managing.site import Market, Site, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import FactKind
from dtms.domain.market import Side

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
R = 0.0030


async def _begun(folder: Path, **changes: Any) -> tuple[Site, int]:
    site = await Site.begin(EUR, folder, settings=settings_for_tests(1_000), **changes)
    await site.play(1)
    ticket = site.open_away(Side.SHORT, R)
    await site.managers.register_universal(ticket, "default_standard")
    await site.play(0.2)
    return site, ticket


def _close(site: Site, ticket: int, lots: float) -> None:
    tick = site.terminal.symbol_info_tick(EUR.symbol)
    request = {
        "action": 1,
        "symbol": EUR.symbol,
        "position": ticket,
        "volume": lots,
        "type": 0,
        "price": tick.ask,
        "deviation": 1_000,
        "type_filling": 1,
    }
    assert site.terminal.simulation.send_as(request).retcode == 10009


def test_a_position_closed_by_hand_ends_with_its_figures(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        _close(site, ticket, 0.4)
        await site.play(0.2)
        (managed,) = await site.store.managed(ticket=ticket)
        deals = [d for d in site.terminal.simulation.ledger.deals if d.position_id == ticket]
        assert managed.closed_ms == deals[-1].ms
        assert managed.realised == pytest.approx(
            sum(d.profit_cents + d.swap_cents + d.commission_cents for d in deals) / 100
        )
        assert managed.close_reason == "closed by hand"
        (row,) = await site.store.ownerships([ticket])
        assert row.closed_ms == managed.closed_ms
        assert not site.managers.universal()
        await site.end()

    run_virtual(main())


def test_lots_closed_by_hand_are_noticed_and_adopted(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        _close(site, ticket, 0.1)
        await site.play(0.2)
        (live,) = site.managers.universal()
        assert float(live.managed.volume) == 0.3
        assert not live.managed.partial_done, "it was not the manager's part"
        (fact,) = await site.facts(ticket, FactKind.CHANGED_OUTSIDE)
        assert fact.details["volume"] == {"old": 0.4, "new": 0.3}
        assert fact.details["by"] == "outside"
        await site.end()

    run_virtual(main())


def test_a_stop_loosened_by_hand_is_believed_and_not_sent_back(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        looser = round(site.managers.universal()[0].managed.stop + 0.001, 5)  # type: ignore[operator]
        site.terminal.simulation.send_as({"action": 6, "position": ticket, "symbol": EUR.symbol, "sl": looser, "tp": 0})
        await site.play(0.2)
        (live,) = site.managers.universal()
        assert live.managed.stop == looser
        await site.play(10)
        assert site.stops(ticket)[-1].sl_points == round(looser * 100_000)
        await site.end()

    run_virtual(main())


def test_a_list_without_the_position_is_no_evidence(tmp_path: Path) -> None:
    """The list leaves it out and no deal tells of a close: it stays, marked, and is there again with the next list."""

    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        broker: Any = site.managers.bench.broker
        snapshot = broker.snapshot

        async def without(symbols: Any) -> Any:
            seen = await snapshot(symbols)
            return replace(seen, positions={})

        broker.snapshot = without
        await site.play(1)
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.is_active
        assert managed.unconfirmed
        assert len(await site.facts(ticket, FactKind.UNCONFIRMED)) == 1
        broker.snapshot = snapshot
        await site.play(0.2)
        (managed,) = await site.store.managed(ticket=ticket)
        assert not managed.unconfirmed
        await site.end()

    run_virtual(main())


def test_a_broker_that_is_away_concludes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        broker: Any = site.managers.bench.broker
        snapshot = broker.snapshot

        async def away(_: Any) -> Any:
            raise BrokerUnavailable("made to be away")

        broker.snapshot = away
        await site.play(1)
        assert not site.managers.health().ready
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.is_active
        assert not managed.unconfirmed
        broker.snapshot = snapshot
        await site.play(1)
        assert site.managers.health().ready
        await site.end()

    run_virtual(main())
