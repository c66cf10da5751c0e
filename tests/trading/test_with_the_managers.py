"""Executions beside the managers of the same program: what is opened is taken up, also when its answer was lost."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import Send, Spoiling
from tests.managing.site import Market, Site
from tests.trading.doubles import Away

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState, OrderWay
from dtms.domain.market import Side
from dtms.domain.trade import Owner
from dtms.execute.handing.outbox import Outbox
from dtms.execute.journal import Journal
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.rails import Rails
from dtms.execute.trading.requests import Closing, Execution
from dtms.execute.trading.service import OwnerChange
from dtms.execute.trading.trading import MainTrading
from dtms.ports.sources import OnlyReleases

MARKET = Market(recording="BTCUSD_H1_2017", start="2017-11-10T09:10:00Z")


def trading_of(site: Site) -> MainTrading:
    """Put trading together on what the managers have, as the program does."""
    managers, journal = site.managers, Journal(site.clock)
    broker = managers.bench.broker
    rails = Rails(
        broker=broker,
        store=managers.store,
        clock=site.clock,
        settings=lambda: managers.settings,
        sources=OnlyReleases(),
        watched=lambda symbol: managers.floor.book.symbols.get(symbol),
    )
    desk = TradingDesk(
        broker=broker,
        store=managers.store,
        clock=site.clock,
        leases=managers.leases,
        carrier=managers.carrier,
        journal=journal,
        rails=rails,
        letters=Outbox(store=managers.store, peer=Away(), clock=site.clock, journal=journal),
        taker=managers,
    )
    return MainTrading(desk)


def request_of(site: Site, **known: Any) -> Execution:
    tick = site.terminal.symbol_info_tick(MARKET.symbol)
    plain = {"symbol": MARKET.symbol, "side": Side.LONG, "volume": Decimal("0.2"), "stop": tick.bid - 100}
    return Execution(**{**plain, "strategy_type": "default_standard", **known})


async def managed_by_universal(site: Site, ticket: int) -> bool:
    """Answer whether registry and manager agree that the position is the Universal manager's."""
    rows = await site.store.ownerships([ticket])
    held = await site.store.managed(manager=Owner.UNIVERSAL)
    return [r.owner for r in rows] == [Owner.UNIVERSAL.value] and ticket in [m.ticket for m in held]


def test_an_execution_with_a_strategy_is_managed_within_seconds(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        done = await trading_of(site).execute(request_of(site))
        assert done.ticket is not None
        await site.play(0.1)
        assert await managed_by_universal(site, done.ticket)
        await site.end()

    run_virtual(main())


def test_an_execution_that_was_cut_off_while_its_process_lives_on_is_found_and_managed(tmp_path: Path) -> None:
    """Nobody has it in hand any more: it is not left for a restart, and its position not without a manager."""

    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)

        def cut_off(request: Mapping[str, Any], send: Send) -> Any:
            send(request)
            raise asyncio.CancelledError

        site.terminal.spoil = cut_off
        with pytest.raises(asyncio.CancelledError):
            await trading_of(site).execute(request_of(site))
        site.terminal.spoil = None
        (intent,) = await site.store.intents()
        assert intent.state is IntentState.SENDING
        await site.play(2)
        (ticket,) = [p.ticket for p in site.terminal.simulation.ledger.positions.values()]
        (intent,) = await site.store.intents()
        assert intent.state is IntentState.CONFIRMED
        assert await managed_by_universal(site, ticket)
        await site.end()

    run_virtual(main())


def test_a_position_that_is_claimed_while_its_execution_ends_leaves_no_request_open(tmp_path: Path) -> None:
    """The outcome cannot be kept beside the claim; it is found out again, and the claim stands."""

    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        trading, send = trading_of(site), site.managers.bench.broker.send

        async def claimed(*about: Any, **more: Any) -> Any:
            result = await send(*about, **more)
            change = OwnerChange(ticket=result.order or 0, expected="", to=Owner.EXITS)
            await trading.change_owner(change)
            return result

        site.managers.bench.broker.send = claimed  # type: ignore[method-assign]
        assert (await trading.execute(request_of(site))).unknown
        site.managers.bench.broker.send = send  # type: ignore[method-assign]
        await site.play(2)
        (intent,) = await site.store.intents()
        assert intent.state is IntentState.CONFIRMED
        (position,) = site.terminal.simulation.ledger.positions.values()
        assert [row.owner for row in await site.store.ownerships([position.ticket])] == [Owner.EXITS.value]
        await site.end()

    run_virtual(main())


@pytest.mark.parametrize("crash", [False, True])
def test_an_execution_whose_answer_was_lost_is_found_and_managed(tmp_path: Path, crash: bool) -> None:
    """Once, whether the process goes on or dies in the middle of the sending; nothing is sent a second time."""

    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)

        def die(request: Mapping[str, Any], send: Send) -> Any:
            send(request)
            raise asyncio.CancelledError

        site.terminal.spoil = die if crash else Spoiling("E", executes=True)
        if crash:
            with pytest.raises(asyncio.CancelledError):
                await trading_of(site).execute(request_of(site))
            site.terminal.spoil = None
            await site.restart(crash=True)
        else:
            assert (await trading_of(site).execute(request_of(site))).unknown
        await site.play(3)
        (ticket,) = [p.ticket for p in site.terminal.simulation.ledger.positions.values()]
        (intent,) = await site.store.intents()
        assert intent.state is IntentState.CONFIRMED
        assert await managed_by_universal(site, ticket)
        assert len([r for r in site.terminal.sent if r["action"] == 1]) == 1
        await site.end()

    run_virtual(main())


def test_an_execution_that_never_reached_the_broker_is_found_not_executed(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        site.terminal.spoil = Spoiling("E", executes=False)
        assert (await trading_of(site).execute(request_of(site))).unknown
        await site.play(3)
        (intent,) = await site.store.intents()
        assert intent.state is IntentState.NOT_EXECUTED
        assert await site.store.ownerships() == []
        assert len(site.terminal.sent) == 1
        await site.end()

    run_virtual(main())


def test_what_is_claimed_for_the_universal_manager_is_taken_up_and_let_go_when_it_changes_hands(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        ticket, trading = site.open_away(Side.LONG, 100.0), trading_of(site)
        claim = OwnerChange(ticket=ticket, expected="", to=Owner.UNIVERSAL, strategy_type="kill_zone")
        assert (await trading.change_owner(claim)).entry.managed_by == Owner.UNIVERSAL.value
        await site.play(0.2)
        assert await managed_by_universal(site, ticket)
        away = OwnerChange(ticket=ticket, expected=Owner.UNIVERSAL.value, to=Owner.NOBODY, override=True)
        assert (await trading.change_owner(away)).entry.managed_by == ""
        await site.play(0.2)
        assert ticket not in [m.ticket for m in await site.store.managed(manager=Owner.UNIVERSAL)]
        await site.end()

    run_virtual(main())


def test_a_managed_position_that_a_person_closes_ends_with_its_deals(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        trading = trading_of(site)
        done = await trading.execute(request_of(site))
        assert done.ticket is not None
        await site.play(0.2)
        assert (await trading.close(Closing(ticket=done.ticket, override=True))).ok
        await site.play(1)
        (managed,) = await site.store.managed(ticket=done.ticket)
        assert managed.closed_ms is not None
        await site.end()

    run_virtual(main())


def test_a_pending_order_keeps_its_strategy_for_whoever_sees_it_filled(tmp_path: Path) -> None:
    async def main() -> None:
        site = await Site.begin(MARKET, tmp_path)
        await site.play(1)
        tick = site.terminal.symbol_info_tick(MARKET.symbol)
        asked = request_of(site, way=OrderWay.LIMIT, entry=tick.ask - 8.0)
        done = await trading_of(site).execute(asked)
        assert done.ok
        assert done.price == round(tick.ask - 8.0, 2)
        assert done.protection.queued
        (intent,) = await site.store.intents()
        assert (intent.state, intent.strategy_type) == (IntentState.CONFIRMED, "default_standard")
        await site.end()

    run_virtual(main())
