"""Leases of programs that are not part of dtms: given, renewed, lost and taken back; and what is done under them."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.trading.house import House, in_house, refusal

from dtms.domain.errors import LeaseHeld
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Closing, Modification
from dtms.execute.trading.service import Code, OwnerChange
from dtms.ports.store import Free, Unit


def test_a_lease_tells_what_is_true_and_keeps_everybody_else_away(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        await house.watch(ticket, State.WARNING_L1)
        lease = await house.trading.lease(ticket, "outsider")
        assert (lease.managed_by, lease.dtms_state) == (Owner.DTMS.value, State.WARNING_L1)
        assert lease.current_stop == round(bid - 100, 2)
        assert lease.expires_ms == house.clock.wall_ms() + 15_000
        for asked in (
            house.trading.lease(ticket, "outsider"),
            house.trading.lease(ticket, "another"),
            house.trading.modify(Modification(ticket=ticket, stop=bid - 50)),
            house.trading.close(Closing(ticket=ticket, override=True)),
        ):
            error = await refusal(asked)  # each waits as long as one may
            assert error.code is Code.LEASE_HELD
            assert "http:outsider" in error.message
            assert (await house.trading.lease(ticket, "outsider", lease.token)).token == lease.token
        assert house.terminal.sent == []
        seen = (await house.trading.entry(ticket, fresh=True)).lease
        assert seen is not None
        assert seen.holder.startswith("http:outsider:")
        assert seen.left_s == pytest.approx(15.0)

    in_house(tmp_path, scene)


def test_what_is_asked_with_the_token_is_done_under_the_lease_and_leaves_it_held(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        lease = await house.trading.lease(ticket, "outsider")
        done = await house.trading.modify(Modification(ticket=ticket, stop=bid - 50, lease_token=lease.token))
        assert done.ok
        assert done.asked_as == Asker.EXITS.value
        (intent,) = await house.store.intents(ticket=ticket)
        assert intent.token == lease.token
        held = await house.store.lease(str(ticket))
        assert held is not None
        assert held.token == lease.token
        renewed = await house.trading.lease(ticket, "outsider", lease.token)
        assert renewed.token == lease.token
        closed = await house.trading.close(Closing(ticket=ticket, lease_token=lease.token))
        assert closed.ok
        await house.trading.release_lease(ticket, "outsider", lease.token)
        assert await house.store.lease(str(ticket)) is None

    in_house(tmp_path, scene)


@pytest.mark.parametrize(
    ("holder", "asker"),
    [
        ("universal_sl_tp_manager", Asker.UNIVERSAL),
        ("universal_sl_tp_manager:desk:7", Asker.UNIVERSAL),
        ("intelligent_exit_manager", Asker.EXITS),
        ("anything-else", Asker.EXITS),
    ],
)
def test_a_holder_is_judged_as_the_manager_that_it_is_named_as(tmp_path: Path, holder: str, asker: Asker) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.own(ticket, Owner.UNIVERSAL, breakeven=True)
        lease = await house.trading.lease(ticket, holder)
        asked = house.trading.close(Closing(ticket=ticket, lease_token=lease.token))
        if asker is Asker.UNIVERSAL:
            assert (await asked).asked_as == asker.value
        else:
            assert (await refusal(asked)).code is Code.OWNED

    in_house(tmp_path, scene)


def test_a_token_that_ran_out_or_is_anothers_does_nothing(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        other = house.open()
        lease = await house.trading.lease(ticket, "outsider")
        await house.trading.lease(other, "neighbour")
        for wrong in (
            house.trading.close(Closing(ticket=ticket, lease_token=lease.token + 1)),
            house.trading.close(Closing(ticket=ticket, lease_token=lease.token + 1, override=True)),
            house.trading.lease(ticket, "outsider", lease.token + 1),
            house.trading.lease(ticket, "thief", lease.token),
        ):
            error = await refusal(wrong)
            assert (error.code, error.details["rule"]) == (Code.LEASE_HELD, "lease_lost")
        await house.trading.release_lease(ticket, "thief", lease.token)
        assert await house.store.lease(str(ticket)) is not None
        await house.clock.sleep_machine(16)
        for late in (
            house.trading.close(Closing(ticket=ticket, lease_token=lease.token)),
            house.trading.lease(ticket, "outsider", lease.token),
        ):
            assert (await refusal(late)).code is Code.LEASE_HELD
        assert house.terminal.sent == []
        assert (await house.trading.close(Closing(ticket=ticket))).ok

    in_house(tmp_path, scene)


def test_a_defensive_dtms_waits_for_the_end_of_a_lease_that_is_not_renewed(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        lease = await house.trading.lease(ticket, "outsider")
        await house.watch(ticket, State.WARNING_L2)
        error = await refusal(house.trading.lease(ticket, "outsider", lease.token))
        assert error.details["rule"] == "dtms_defensive"
        error = await refusal(house.trading.close(Closing(ticket=ticket, lease_token=lease.token)))
        assert error.code is Code.OWNED
        assert house.terminal.sent == []

    in_house(tmp_path, scene)


def test_a_lease_is_not_renewed_for_ever_so_that_dtms_can_turn_defensive(tmp_path: Path) -> None:
    """DTMS changes no state under another's lease: one that is renewed again and again would keep it from defending."""

    async def scene(house: House) -> None:
        ticket = house.open()
        trade = await house.watch(ticket, State.HEALTHY)
        lease = await house.trading.lease(ticket, "outsider")
        defensive = replace(trade, machine=replace(trade.machine, state=State.WARNING_L2))
        unit = Unit(trades=(defensive,), free=Free(holder="dtms:9:0", keys=(str(ticket),)))
        for _ in range(6):
            await house.clock.sleep_machine(10.0)
            await house.trading.lease(ticket, "outsider", lease.token)
            with pytest.raises(LeaseHeld):
                await house.store.commit(unit)
        await house.clock.sleep_machine(10.0)
        error = await refusal(house.trading.lease(ticket, "outsider", lease.token))
        assert (error.code, error.details["rule"]) == (Code.LEASE_HELD, "lease_too_long")
        await house.trading.release_lease(ticket, "outsider", lease.token)
        await house.store.commit(unit)
        await house.store.commit(Unit(trades=(trade,)))
        again = await house.trading.lease(ticket, "outsider")
        assert (await house.trading.lease(ticket, "outsider", again.token)).token == again.token, "a new one is young"

    in_house(tmp_path, scene)


def test_a_lease_is_not_given_back_while_a_request_under_it_is_on_its_way(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket, send = house.open(), house.broker.send
        lease = await house.trading.lease(ticket, "outsider")
        releases: list[asyncio.Task[None]] = []

        async def slowly(*about: Any, **more: Any) -> Any:
            releases.append(asyncio.create_task(house.trading.release_lease(ticket, "outsider", lease.token)))
            await house.clock.sleep_machine(1.0)
            held = await house.store.lease(str(ticket))
            assert held is not None
            assert held.token == lease.token
            return await send(*about, **more)

        house.broker.send = slowly  # type: ignore[method-assign]
        assert (await house.trading.close(Closing(ticket=ticket, lease_token=lease.token))).ok
        await releases[0]
        assert await house.store.lease(str(ticket)) is None

    in_house(tmp_path, scene)


def test_a_lease_is_refused_to_names_that_mean_something_else(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        for name in ("", "a b", "x" * 65, "a/b", "dtms_manager", "dtms_manager:desk:7"):
            assert (await refusal(house.trading.lease(ticket, name))).details["rule"] == "holder"
        assert (await refusal(house.trading.lease(9, "outsider"))).code is Code.NOT_FOUND

    in_house(tmp_path, scene)


def test_a_holder_releases_what_its_manager_owns_under_its_lease(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.own(ticket, Owner.UNIVERSAL)
        lease = await house.trading.lease(ticket, Owner.UNIVERSAL.value)
        change = OwnerChange(ticket=ticket, expected=Owner.UNIVERSAL.value, to=Owner.NOBODY, lease_token=lease.token)
        assert (await house.trading.change_owner(change)).entry.managed_by == ""

    in_house(tmp_path, scene)
