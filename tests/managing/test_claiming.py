"""Positions come into the managers' hands by the rules of ownership, and leave them; nobody takes another's."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.managing.site import Market, Site, settings_for_tests
from tests.store.managers import ownership

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, Intent, IntentState, OpenPosition
from dtms.domain.errors import LeaseHeld
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Owner, State
from dtms.execute.managing.claiming import ManagingRefused
from dtms.execute.service import Registration
from dtms.execute.trading.service import Code
from dtms.ports.store import Free, Unit
from dtms.replay import MAGIC_PREFIX

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")


async def _begun(folder: Path, poll_ms: int = 1_000, **sections: Any) -> tuple[Site, int]:
    site = await Site.begin(EUR, folder, settings=settings_for_tests(poll_ms, **sections))
    await site.play(1)
    return site, site.open_away(Side.SHORT, 0.0030)


async def _refused(site: Site, ticket: int, strategy: str = "micro_scalp") -> ManagingRefused:
    with pytest.raises(ManagingRefused) as told:
        await site.managers.register_universal(ticket, strategy)
    return told.value


def test_an_unknown_strategy_is_refused_with_near_names(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        refused = await _refused(site, ticket, "micro_skalp")
        assert refused.code is Code.INVALID
        assert refused.details["near"] == ["micro_scalp"]
        assert len(refused.details["valid"]) == 18  # type: ignore[arg-type]
        assert not await site.store.managed(ticket=ticket)
        await site.end()

    run_virtual(main())


def test_a_position_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        site, _ = await _begun(tmp_path)
        assert (await _refused(site, 4711)).code is Code.NOT_FOUND
        await site.end()

    run_virtual(main())


def test_registering_twice_at_once_makes_one_and_another_strategy_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        both = await asyncio.gather(*(site.managers.register_universal(ticket, "micro_scalp") for _ in range(2)))
        assert both[0] == both[1]
        assert len(await site.facts(ticket, FactKind.MANAGED)) == 1
        assert (await _refused(site, ticket, "kill_zone")).code is Code.CONFLICT
        await site.end()

    run_virtual(main())


@pytest.mark.parametrize("owner", [Owner.EXITS.value, "some_new_manager"])
def test_what_another_owns_is_refused_with_its_name(owner: str, tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.store.commit(Unit(ownership=(ownership(ticket, owner=owner, symbol=EUR.symbol),)))
        refused = await _refused(site, ticket)
        assert refused.code is Code.OWNED
        assert refused.details["managed_by"] == owner
        await site.end()

    run_virtual(main())


def test_a_trade_of_dtms_is_refused_unless_the_watcher_registered_it(tmp_path: Path) -> None:
    """The watcher's registration yields while it is healthy, and DTMS lets the trade go."""

    async def main() -> None:
        site, _ = await _begun(tmp_path)
        engine = await site.with_dtms()
        ticket, watched = site.open_away(Side.SHORT, 0.0030), site.open_away(Side.SHORT, 0.0030)
        await engine.register(Registration(ticket=ticket))
        await engine.register(Registration(ticket=watched, by_watcher=True))
        refused = await _refused(site, ticket)
        assert (refused.code, refused.details["managed_by"]) == (Code.OWNED, "dtms_manager")
        managed = await site.managers.register_universal(watched, "micro_scalp")
        trade = await site.store.trade(watched)
        assert trade is not None
        assert managed.risk == trade.risk, "R is what DTMS took it from"
        await site.play(0.1)
        assert engine.live(watched) is None, "DTMS has let it go"
        assert engine.live(ticket) is not None
        await site.end()

    run_virtual(main())


def test_dtms_does_not_turn_defensive_between_the_look_and_the_claim(tmp_path: Path) -> None:
    """What yielded when it was looked at would be taken from DTMS in the middle of its defence."""

    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        engine = await site.with_dtms()
        await engine.register(Registration(ticket=ticket, by_watcher=True))
        trade, commit = await site.store.trade(ticket), site.store.commit
        assert trade is not None
        free = Free(holder="dtms:9:0", keys=(str(ticket),))
        turn = Unit(trades=(replace(trade, machine=replace(trade.machine, state=State.WARNING_L2)),), free=free)
        tried: list[bool] = []

        async def late(unit: Unit) -> Any:
            if unit.managed and not tried:
                with suppress(LeaseHeld):
                    tried.append(False)
                    await commit(turn)
                    tried[0] = True
            return await commit(unit)

        site.store.commit = late  # type: ignore[method-assign]
        await site.managers.register_universal(ticket, "micro_scalp")
        site.store.commit = commit  # type: ignore[method-assign]
        assert tried == [False], "the claim held the lease from its look on"
        standing = await site.store.standing(ticket)
        assert (standing.owner, standing.state) == (Owner.UNIVERSAL, State.HEALTHY)
        await site.end()

    run_virtual(main())


def test_what_the_registry_gives_is_taken_up_without_the_loop_waiting_for_anothers_lease(tmp_path: Path) -> None:
    """Somebody else may hold one ticket's lease for long: what else is managed goes on, and it is tried again."""

    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        grant = await site.store.grant(str(ticket), "another:1:0", 60.0, ticket=ticket)
        row = ownership(ticket, owner=Owner.UNIVERSAL.value, strategy_type="micro_scalp", symbol=EUR.symbol)
        await site.store.commit(Unit(ownership=(replace(row, identifier=ticket),)))
        slowest_s, cycle = 0.0, site.managers.loop.run_cycle

        async def timed() -> None:
            nonlocal slowest_s
            begun_s = site.clock.machine_s()
            await cycle()
            slowest_s = max(slowest_s, site.clock.machine_s() - begun_s)

        site.managers.loop.run_cycle = timed  # type: ignore[method-assign]
        await site.play(0.2)
        assert 0.4 < slowest_s < 1.0, "it waited, for a moment"
        assert not await site.store.managed(ticket=ticket)
        await site.store.release(grant.lease)
        await site.play(1)
        assert [m.manager for m in await site.store.managed(ticket=ticket)] == [Owner.UNIVERSAL]
        await site.end()

    run_virtual(main())


def test_a_family_position_is_refused_and_its_trade_named(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        (number,) = await site.managers.store.next_intent_numbers(1)
        hedge = Intent(
            number=number,
            ticket=ticket,
            action=OpenPosition(
                kind=ActionKind.OPEN_HEDGE,
                symbol=EUR.symbol,
                side=Side.LONG,
                volume=Decimal("0.2"),
                stop=1,
                target=None,
            ),
            serves=None,
            state=IntentState.CONFIRMED,
            token=1,
            created_ms=site.clock.market_ms(),
        )
        await site.store.commit(Unit(intents=(hedge,)))
        member = site.open_away(Side.LONG, 0.0030, lots=0.2, magic=(MAGIC_PREFIX << 40) | number)
        refused = await _refused(site, member)
        assert refused.code is Code.CONFLICT
        assert refused.details["trade"] == ticket
        with pytest.raises(ManagingRefused):
            await site.managers.enable_exits(member)
        await site.end()

    run_virtual(main())


def test_what_is_unregistered_is_nobodys_and_nothing_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.register_universal(ticket, "micro_scalp")
        ended = await site.managers.unregister_universal(ticket)
        assert ended.close_reason == "unregistered"
        (row,) = await site.store.ownerships([ticket])
        assert row.manager is Owner.NOBODY
        await site.play(1)
        assert not site.managers.universal()
        assert site.held(ticket) is not None
        again = await site.managers.register_universal(ticket, "kill_zone")
        assert again.is_active, "it can be registered again, as something else"
        await site.end()

    run_virtual(main())


def test_a_claim_waits_for_who_acts_on_the_position_and_then_says_who_it_was(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        lease = await site.store.acquire(str(ticket), "http:other:1", 60.0)
        refused = await _refused(site, ticket)
        assert refused.code is Code.LEASE_HELD
        assert refused.details["holder"] == "http:other:1"
        assert lease is not None
        await site.store.release(lease)
        assert (await site.managers.register_universal(ticket, "micro_scalp")).is_active
        await site.end()

    run_virtual(main())


def test_profit_protection_is_enabled_by_itself_where_configured_and_stays_off_when_disabled(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, exits={"auto_enable": True})
        await site.play(0.2)
        (live,) = site.managers.exits()
        assert live.managed.ticket == ticket
        await site.managers.disable_exits(ticket)
        await site.play(0.2)
        assert not site.managers.exits()
        await site.restart(crash=False)
        await site.play(0.2)
        assert not site.managers.exits(), "a restart does not enable it again"
        await site.end()

    run_virtual(main())


def test_a_position_is_explained_counted_and_its_history_told(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.register_universal(ticket, "default_standard")
        await site.managers.enable_exits(ticket)
        await site.play(1)
        live = site.managers.live(Owner.UNIVERSAL, ticket)
        assert live.owner == "universal_sl_tp_manager"
        assert any("breakeven" in line for line in live.explained)
        assert "breakeven" in live.notes
        (first, *_) = await site.managers.history(Owner.EXITS, ticket)
        assert first.kind is FactKind.MANAGED
        statistics = await site.managers.statistics(Owner.EXITS)
        assert (statistics.active, statistics.breakeven_done) == (1, 0)
        with pytest.raises(ManagingRefused):
            site.managers.live(Owner.UNIVERSAL, 4711)
        await site.end()

    run_virtual(main())
