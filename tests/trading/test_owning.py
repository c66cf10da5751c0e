"""Claims, releases and hand-overs: who may, what is written, and that one of two who claim at once wins."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.trading.families import hedged
from tests.trading.house import House, built, in_house, refusal

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import LeaseHeld
from dtms.domain.facts import FactKind
from dtms.domain.owners import Standing
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Modification
from dtms.execute.trading.service import Changed, Code, OwnerChange, TradingRefused
from dtms.ports.store import Free, Unit

EXITS, UNIVERSAL, DTMS = Owner.EXITS.value, Owner.UNIVERSAL.value, Owner.DTMS.value


def claim(ticket: int, to: Owner = Owner.EXITS, expected: str = "", **known: Any) -> OwnerChange:
    return OwnerChange(ticket=ticket, expected=expected, to=to, **known)


def test_a_program_claims_what_nobody_owns_and_gives_it_back(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        assert (await house.trading.entry(ticket)).managed_by == ""
        done = await house.trading.change_owner(claim(ticket))
        assert done.entry.managed_by == EXITS
        assert (await house.trading.entry(ticket)).managed_by == EXITS
        (row,) = await house.store.ownerships([ticket])
        assert (row.owner, row.version) == (EXITS, 0)
        done = await house.trading.change_owner(claim(ticket, Owner.NOBODY, EXITS))
        assert (done.before, done.entry.managed_by) == (EXITS, "")
        assert [r.owner for r in house.taker.changed] == [EXITS, ""]
        told = await house.facts(FactKind.OWNER_CHANGED)
        assert [(f.ticket, f.details["from"], f.details["to"]) for f in told] == [
            (ticket, "", EXITS),
            (ticket, EXITS, ""),
        ]

    in_house(tmp_path, scene)


def test_a_claim_on_another_owner_than_the_present_one_changes_nothing_and_names_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.own(ticket, Owner.UNIVERSAL)
        for override in (False, True):
            error = await refusal(house.trading.change_owner(claim(ticket, override=override)))
            assert error.code is Code.CONFLICT
            assert error.details["managed_by"] == UNIVERSAL
        assert (await house.store.ownerships([ticket]))[0].version == 0

    in_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("owner", "watched", "may"),
    [
        (Owner.UNIVERSAL, None, False),
        ("somebody_new", None, False),
        (None, {"state": State.HEALTHY}, False),
        (None, {"state": State.HEALTHY, "by_watcher": True}, True),
        (None, {"state": State.WARNING_L1, "by_watcher": True}, False),
        (None, {"state": State.HEDGED, "by_watcher": True}, False),
        (Owner.EXITS, {"state": State.WARNING_L2, "alongside": True}, False),
        (Owner.EXITS, {"state": State.HEALTHY, "alongside": True}, True),
    ],
)
def test_a_program_takes_from_another_manager_only_what_yields_and_a_person_takes_everything(
    tmp_path: Path, owner: Owner | str | None, watched: dict[str, Any] | None, may: bool
) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        if watched is not None:
            await house.watch(ticket, **watched)
        if owner is not None:
            await house.own(ticket, owner)
        present = (await house.trading.entry(ticket, fresh=True)).managed_by
        change = claim(ticket, Owner.UNIVERSAL, present, strategy_type="kill_zone")
        if present == UNIVERSAL:
            change = claim(ticket, Owner.EXITS, present)
        if may:
            assert (await house.trading.change_owner(change)).entry.managed_by == change.to.value
        else:
            error = await refusal(house.trading.change_owner(change))
            assert error.code is Code.OWNED
            assert error.details["managed_by"] == present
            done = await house.trading.change_owner(replace(change, override=True))
            assert done.entry.managed_by == change.to.value
            (told,) = await house.facts(FactKind.OWNER_CHANGED)
            assert told.details["override"] is True

    in_house(tmp_path, scene)


def test_a_watched_trade_with_a_hedge_does_not_yield(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        own, _ = await hedged(house, numbered=True)
        trade = await house.store.trade(own)
        assert trade is not None
        healthy = replace(trade.machine, state=State.HEALTHY)
        await house.store.commit(Unit(trades=(replace(trade, machine=healthy, by_watcher=True),)))
        error = await refusal(house.trading.change_owner(claim(own, expected=DTMS)))
        assert error.code is Code.OWNED

    in_house(tmp_path, scene)


def test_a_claim_for_the_universal_manager_needs_a_strategy_that_is_known(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        error = await refusal(house.trading.change_owner(claim(ticket, Owner.UNIVERSAL)))
        assert error.details["rule"] == "no_strategy"
        error = await refusal(house.trading.change_owner(claim(ticket, Owner.UNIVERSAL, strategy_type="kill_zones")))
        assert error.details["near"] == ["kill_zone"]
        done = await house.trading.change_owner(claim(ticket, Owner.UNIVERSAL, strategy_type="kill_zone"))
        assert done.entry.strategy_type == "kill_zone"

    in_house(tmp_path, scene)


def test_what_goes_to_dtms_is_registered_there_and_changes_hands_when_dtms_has_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        free, owned = house.open(), house.open()
        await house.own(owned, Owner.EXITS)
        assert (await house.trading.change_owner(claim(free, Owner.DTMS))).queued
        done = await house.trading.change_owner(claim(owned, Owner.DTMS, EXITS))
        assert done.queued
        assert done.entry.managed_by == EXITS
        letters = await house.letters()
        assert (letters[free]["takeover"], letters[owned]["takeover"]) == (False, True)

    in_house(tmp_path, scene)


def test_what_waits_for_dtms_is_not_taken_over_after_it_was_given_to_another(tmp_path: Path) -> None:
    """DTMS was away when it was to take the position over: the later word counts."""

    async def scene(house: House) -> None:
        ticket = house.open()
        await house.own(ticket, Owner.EXITS)
        assert (await house.trading.change_owner(claim(ticket, Owner.DTMS, EXITS))).queued
        change = claim(ticket, Owner.UNIVERSAL, EXITS, strategy_type="kill_zone")
        assert (await house.trading.change_owner(change)).entry.managed_by == UNIVERSAL
        assert await house.letters() == {}
        assert not house.outbox.has(ticket)

    in_house(tmp_path, scene)


def test_a_release_of_what_dtms_has_is_sent_to_its_server(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.watch(ticket)
        error = await refusal(house.trading.change_owner(claim(ticket, Owner.NOBODY, DTMS, override=True)))
        assert error.details["rule"] == "disable_at_dtms"

    in_house(tmp_path, scene)


def test_an_owner_does_not_change_while_another_has_the_lease(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        grant = await house.store.grant(str(ticket), "another:1:0", 60.0, ticket=ticket)
        error = await refusal(house.trading.change_owner(claim(ticket)))
        assert (error.code, error.details["holder"]) == (Code.LEASE_HELD, "another:1:0")
        assert await house.store.ownerships([ticket]) == []
        await house.store.release(grant.lease)
        assert (await house.trading.change_owner(claim(ticket))).entry.managed_by == EXITS

    in_house(tmp_path, scene)


def test_dtms_does_not_turn_defensive_between_the_look_and_the_claim(tmp_path: Path) -> None:
    """What yielded when it was looked at would be taken from DTMS in the middle of its defence."""

    async def scene(house: House) -> None:
        ticket = house.open()
        trade = await house.watch(ticket, State.HEALTHY, by_watcher=True)
        defensive = replace(trade, machine=replace(trade.machine, state=State.WARNING_L2))
        free, read, looks = Free(holder="dtms:9:0", keys=(str(ticket),)), house.store.standing, 0

        async def reading(ticket: int) -> Standing:
            nonlocal looks
            looks += 1
            standing = await read(ticket)
            with suppress(LeaseHeld):
                if looks > 1:  # the first look is at whose it is, the second judges
                    await house.store.commit(Unit(trades=(defensive,), free=free))
            return standing

        house.store.standing = reading  # type: ignore[method-assign]
        await house.trading.change_owner(claim(ticket, Owner.UNIVERSAL, DTMS, strategy_type="kill_zone"))
        now = await read(ticket)
        assert looks > 1
        assert (now.owner, now.state) == (Owner.UNIVERSAL, State.HEALTHY)
        await house.store.commit(Unit(trades=(defensive,), free=free))  # it was the lease alone that was in its way

    in_house(tmp_path, scene)


def test_an_owner_does_not_change_while_a_request_of_the_same_program_is_on_its_way(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket, send = house.open(stop=round(bid - 100, 2)), house.broker.send
        claims: list[asyncio.Task[Changed]] = []

        async def slowly(*about: Any, **more: Any) -> Any:
            claims.append(asyncio.create_task(house.trading.change_owner(claim(ticket, Owner.EXITS))))
            await house.clock.sleep_machine(1.0)
            assert await house.store.ownerships([ticket]) == []
            return await send(*about, **more)

        house.broker.send = slowly  # type: ignore[method-assign]
        assert (await house.trading.modify(Modification(ticket=ticket, stop=round(bid - 50, 2)))).ok
        assert (await claims[0]).entry.managed_by == EXITS

    in_house(tmp_path, scene)


def test_of_two_processes_that_claim_at_once_one_wins_and_the_other_is_told_who(tmp_path: Path) -> None:
    async def main() -> None:
        one = await built(tmp_path, is_real=True)
        other = await built(tmp_path, beside=one, name="other:2:0", program="engine", is_real=True)
        for _ in range(25):
            ticket = one.open(lots=0.01)
            claims = (
                one.trading.change_owner(claim(ticket, Owner.EXITS)),
                other.trading.change_owner(claim(ticket, Owner.UNIVERSAL, strategy_type="kill_zone")),
            )
            results = await asyncio.gather(*claims, return_exceptions=True)
            (won,) = [r for r in results if isinstance(r, Changed)]
            (lost,) = [r for r in results if not isinstance(r, Changed)]
            assert isinstance(lost, TradingRefused), lost
            assert (lost.code, lost.details["managed_by"]) == (Code.CONFLICT, won.entry.managed_by)
            (row,) = await one.store.ownerships([ticket])
            assert (row.owner, row.version) == (won.entry.managed_by, 0)
        for house in (one, other):
            house.keeper.cancel()
            await house.store.close()

    asyncio.run(main())


def test_a_change_of_owner_or_state_by_another_process_shows_within_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        one = await built(tmp_path)
        other = await built(tmp_path, beside=one, name="other:2:0", program="engine")
        ticket = one.open()
        assert (await one.trading.entry(ticket)).managed_by == ""
        await other.trading.change_owner(claim(ticket))
        await one.clock.sleep_machine(1.0)
        assert (await one.trading.entry(ticket)).managed_by == EXITS
        await other.watch(ticket, State.WARNING_L2, alongside=True)
        assert (await one.trading.entry(ticket, fresh=True)).dtms_state is State.WARNING_L2
        await other.watch(ticket, State.HEDGED, alongside=True)
        await one.clock.sleep_machine(1.0)
        assert (await one.trading.entry(ticket)).dtms_state is State.HEDGED
        for house in (one, other):
            house.keeper.cancel()
            await house.store.close()

    run_virtual(main())
