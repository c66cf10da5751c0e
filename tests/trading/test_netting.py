"""An account that nets: what is opened joins the symbol's one position, and what would close it is refused."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.trading.house import BTCUSD, House, in_house, refusal

from dtms.domain.market import Side
from dtms.domain.trade import Owner, State
from dtms.execute.trading.requests import Closing, Execution, Modification
from dtms.execute.trading.service import Code

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"), strategy_type="kill_zone")
NETS: dict[str, Any] = {"account": {"margin_mode": 0}}


def test_a_second_entry_joins_the_position_and_leaves_its_owner(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first = await house.trading.execute(BUY)
        second = await house.trading.execute(replace(BUY, strategy_type=None, volume=Decimal("0.2")))
        assert first.ok
        assert second.ok
        assert second.ticket == first.ticket
        assert first.ticket is not None
        assert (await house.position(first.ticket)).volume == Decimal("0.3")
        (row,) = await house.store.ownerships()
        assert (row.ticket, row.owner, row.version) == (first.ticket, Owner.UNIVERSAL.value, 0)
        assert await house.letters() == {}
        assert len(house.taker.taken) == 1
        assert second.protection.manager is Owner.UNIVERSAL
        assert second.protection.registered

    in_house(tmp_path, scene, **NETS)


def test_an_opposite_entry_is_refused_because_it_would_close_what_somebody_manages(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first = await house.trading.execute(BUY)
        error = await refusal(house.trading.execute(replace(BUY, side=Side.SHORT)))
        assert (error.code, error.details["ticket"]) == (Code.CONFLICT, first.ticket)
        assert len(house.terminal.sent) == 1

    in_house(tmp_path, scene, **NETS)


@pytest.mark.parametrize("state", [State.WARNING_L2, State.HEDGED])
def test_nothing_joins_a_position_that_dtms_is_defending(tmp_path: Path, state: State) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.watch(ticket, state)
        error = await refusal(house.trading.execute(BUY))
        assert (error.code, error.details["rule"]) == (Code.OWNED, "dtms_defensive")
        assert house.terminal.sent == []

    in_house(tmp_path, scene, **NETS)


def test_what_joins_a_position_does_not_loosen_its_stop(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        house.open(stop=round(bid - 50, 2))
        error = await refusal(house.trading.execute(replace(BUY, stop=round(bid - 90, 2))))
        assert (error.code, error.details["rule"]) == (Code.INVALID, "stop_loosened")
        assert (await house.trading.execute(replace(BUY, stop=round(bid - 30, 2)))).ok

    in_house(tmp_path, scene, **NETS)


def test_an_order_is_not_sent_into_an_opposite_position_that_came_before_its_lease(tmp_path: Path) -> None:
    """It would close what somebody else has just opened."""

    async def scene(house: House) -> None:
        check, opened = house.broker.check, list[int]()

        async def checked(*about: Any, **more: Any) -> Any:
            result = await check(*about, **more)
            opened.append(house.open("SELL"))
            return result

        house.broker.check = checked  # type: ignore[method-assign]
        error = await refusal(house.trading.execute(BUY))
        assert error.code is Code.CONFLICT
        assert (await house.position(opened[0])).volume == Decimal("0.4")
        assert house.terminal.sent == []

    in_house(tmp_path, scene, **NETS)


def test_everything_of_a_symbol_goes_under_the_symbols_lease(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open()
        await house.trading.lease(ticket, "outsider")
        key = f"symbol:{BTCUSD}"
        lease = await house.store.lease(key)
        assert lease is not None
        for asked in (
            house.trading.execute(BUY),
            house.trading.close(Closing(ticket=ticket, override=True)),
        ):
            error = await refusal(asked)
            assert error.code is Code.LEASE_HELD
        assert house.terminal.sent == []
        stop = house.tick().bid - 50
        assert (await house.trading.modify(Modification(ticket=ticket, stop=stop, lease_token=lease.token))).ok
        (intent,) = [i for i in await house.store.intents() if i.token == lease.token]
        assert intent.ticket == ticket

    in_house(tmp_path, scene, **NETS)


@pytest.mark.parametrize("lots", ["0.1", "0.4"])
def test_a_netted_position_is_closed_by_its_ticket(tmp_path: Path, lots: str) -> None:
    async def scene(house: House) -> None:
        ticket = house.open(lots=0.4)
        done = await house.trading.close(Closing(ticket=ticket, volume=Decimal(lots)))
        assert done.ok
        assert done.left == Decimal("0.4") - Decimal(lots)
        assert sum(p.units for p in house.positions().values()) == done.left * 10**8

    in_house(tmp_path, scene, **NETS)
