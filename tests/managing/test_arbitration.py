"""Managers give way: to an owner, to DTMS while it is defensive, to who moved the stop first, to who has the lease."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.managing.site import Market, Site, never_loosened, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.trade import Machine, Owner, State, Trade
from dtms.execute.carrying import LEASE_HELD, STOP_CHANGED
from dtms.ports.store import Unit

EUR = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
R = 0.0008
DUE_MIN = 40
"""In this market a short position reaches 1 R, and breakeven, within so many minutes."""


async def _begun(folder: Path, poll_ms: int = 5_000) -> tuple[Site, int]:
    site = await Site.begin(EUR, folder, settings=settings_for_tests(poll_ms))
    await site.play(1)
    return site, site.open_away(Side.SHORT, R)


async def _defended(site: Site, ticket: int, state: State, owner: Owner = Owner.DTMS) -> Trade:
    """Put a trade of DTMS into the store, in a state of its machine."""
    position = (await site.managers.bench.broker.positions([ticket]))[ticket]
    trade = Trade(
        ticket=ticket,
        identifier=position.identifier,
        login=1,
        server="s",
        symbol=position.symbol,
        side=position.side,
        entry=position.entry,
        initial_volume=position.volume,
        initial_stop=position.stop,
        risk=R,
        nominal_risk=False,
        registered_ms=site.clock.market_ms(),
        opened_ms=position.opened_ms,
        volume=position.volume,
        stop=position.stop,
        target=None,
        machine=Machine(state=state),
        owner=owner,
        alongside=owner is not Owner.DTMS,
    )
    await site.store.commit(Unit(create=(trade,)))
    return trade


async def _in_state(site: Site, trade: Trade, state: State) -> Trade:
    moved = replace(trade, machine=Machine(state=state), version=trade.version)
    await site.store.commit(Unit(trades=(moved,)))
    return moved


def _before_the_send(site: Site, deed: Callable[[], Awaitable[None]]) -> None:
    """Do something once, after a manager has decided and before it asks for the lease."""
    carrier: Any = site.managers.bench.carrier
    carry = carrier.carry
    done: list[bool] = []

    async def first(task: Any) -> Any:
        if not done:
            done.append(True)
            await deed()
        return await carry(task)

    carrier.carry = first


async def _refusals(site: Site, ticket: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for fact in await site.facts(ticket, FactKind.REFUSAL):
        found.setdefault(str(fact.details["rule"]), []).append(fact)
    return found


def test_universal_stands_back_while_dtms_is_defensive_and_says_so_once(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.register_universal(ticket, "default_standard")
        trade = await _defended(site, ticket, State.WARNING_L2, Owner.UNIVERSAL)
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 1, "nothing was moved"
        refusals = await _refusals(site, ticket)
        assert set(refusals) == {"dtms_defensive"}
        (fact,) = refusals["dtms_defensive"]
        assert fact.details["state"] == "WARNING_L2"
        assert fact.details["stop"] is not None
        await _in_state(site, trade, State.HEALTHY)
        await site.play(1)
        assert len(site.stops(ticket)) == 2, "it goes on as soon as DTMS has calmed down"
        await site.end()

    run_virtual(main())


def test_intelligent_exit_stands_back_within_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, poll_ms=250)
        trade = await _defended(site, ticket, State.WARNING_L1)
        await site.managers.enable_exits(ticket)
        await site.play(2)
        await _in_state(site, trade, State.HEDGED)
        await site.play(1 / 60)
        assert site.managers.floor.states[ticket] is State.HEDGED
        before = len(site.stops(ticket))
        site.managers.use(settings_for_tests(5_000))
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == before
        await _in_state(site, trade, State.RECOVERING)
        await site.play(1)
        assert len(site.stops(ticket)) > before, "it would have moved it"
        await site.end()

    run_virtual(main())


def test_dtms_turning_defensive_between_proposal_and_lease_aborts_the_move(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.register_universal(ticket, "default_standard")
        trade = await _defended(site, ticket, State.HEALTHY, Owner.UNIVERSAL)

        async def defend() -> None:
            await _in_state(site, trade, State.WARNING_L2)

        _before_the_send(site, defend)
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 1
        assert "dtms_defensive" in await _refusals(site, ticket)
        assert not await site.store.intents(ticket=ticket), "no intent was committed"
        await site.end()

    run_virtual(main())


def test_a_stop_that_somebody_moved_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        managed = await site.managers.register_universal(ticket, "default_standard")
        by_hand = round((managed.stop or 0.0) - 0.0001, 5)

        async def move() -> None:
            site.terminal.simulation.send_as(
                {"action": 6, "position": ticket, "symbol": EUR.symbol, "sl": by_hand, "tp": 0.0}
            )

        _before_the_send(site, move)
        await site.play(DUE_MIN)
        stops = [c.sl_points / 100_000 for c in site.stops(ticket)]
        assert stops[1] == by_hand
        assert stops[2] < by_hand, "decided anew on what stands there now"
        (fact,) = (await _refusals(site, ticket))[STOP_CHANGED]
        assert fact.details["expected_stop"] == managed.stop
        assert site.managers.bench.lost[f"universal_sl_tp_manager:{STOP_CHANGED}"] == 1
        (change,) = await site.facts(ticket, FactKind.CHANGED_OUTSIDE)
        assert change.details["by"] == "outside"
        await site.end()

    run_virtual(main())


def test_a_lease_that_another_holds_is_waited_for_and_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.register_universal(ticket, "default_standard")
        for _ in range(DUE_MIN * 6):
            await site.store.acquire(str(ticket), "another:1:0", 15.0)
            await site.play(1 / 6)
        assert len(site.stops(ticket)) == 1
        (fact,) = (await _refusals(site, ticket))[LEASE_HELD]
        assert "another:1:0" in fact.summary
        await site.play(1)
        assert len(site.stops(ticket)) == 2, "it is had as soon as it is free"
        await site.end()

    run_virtual(main())


def test_two_managers_on_one_position_never_cross(tmp_path: Path) -> None:
    """Both want breakeven on the same price; Universal owns it, and Intelligent Exit works beside it until then."""

    async def main() -> None:
        site, ticket = await _begun(tmp_path)
        await site.managers.enable_exits(ticket)
        await site.managers.register_universal(ticket, "default_standard")
        await site.play(DUE_MIN)
        assert never_loosened(site.stops(ticket), Side.SHORT)
        (row,) = await site.store.ownerships([ticket])
        assert row.breakeven
        changes = await site.facts(ticket, FactKind.CHANGED_OUTSIDE)
        assert changes, "each sees what the other did"
        assert all("intent" in str(f.details["by"]) for f in changes), "and knows that it was the other"
        refused = (await _refusals(site, ticket)).get("owned_by_other_manager", [])
        assert all(f.details["manager"] == "intelligent_exit_manager" and f.details["breakeven"] for f in refused)
        await site.end()

    run_virtual(main())


def test_what_the_registry_gives_to_another_leaves_the_managers_hands_within_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, poll_ms=250)
        await site.managers.register_universal(ticket, "default_standard")
        (row,) = await site.store.ownerships([ticket])
        await site.store.commit(Unit(ownership=(replace(row, owner=Owner.DTMS.value, version=row.version + 1),)))
        await site.play(1 / 60)
        assert not site.managers.universal()
        (managed,) = await site.store.managed(ticket=ticket)
        assert managed.closed_ms is not None
        site.managers.use(settings_for_tests(5_000))
        await site.play(DUE_MIN)
        assert len(site.stops(ticket)) == 1
        await site.end()

    run_virtual(main())


def test_what_the_registry_gives_to_universal_is_taken_up_within_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        site, ticket = await _begun(tmp_path, poll_ms=250)
        row = Ownership(
            ticket=ticket,
            identifier=ticket,
            login=1,
            server="s",
            symbol=EUR.symbol,
            side=Side.SHORT,
            owner=Owner.UNIVERSAL.value,
            strategy_type="micro_scalp",
        )
        await site.store.commit(Unit(ownership=(row,)))
        await site.play(1 / 60)
        (live,) = site.managers.universal()
        assert live.managed.ticket == ticket
        await site.end()

    run_virtual(main())
