"""Several requests at once: each change follows on what it was decided on, and every loser knows why."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from tests.adapters_mt5.faulty import Answering
from tests.trading.house import BTCUSD, House, built, in_house

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.execute.trading.requests import Closing, Execution, Modification, Modified
from dtms.execute.trading.service import Code, TradingRefused

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.01"))


async def chain_of(house: House, ticket: int) -> list[tuple[object, object]]:
    """Return the stop before and after each change that was told, oldest first."""
    told = [f for f in await house.facts(FactKind.ACTION) if f.ticket == ticket and f.details["ending"] == "done"]
    return [(f.details["old_stop"], f.details["stop"]) for f in told]


@pytest.mark.parametrize("leased", [True, False])
def test_of_changes_at_once_each_follows_on_the_one_before(tmp_path: Path, leased: bool) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        first = round(bid - 100, 2)
        ticket = house.open(stop=first)
        token = (await house.trading.lease(ticket, "outsider")).token if leased else None
        wanted = [Modification(ticket=ticket, stop=bid - 90 + 5 * n, lease_token=token) for n in range(8)]
        results = await asyncio.gather(*map(house.trading.modify, wanted), return_exceptions=True)
        done = [r for r in results if isinstance(r, Modified)]
        lost = [r for r in results if not isinstance(r, Modified)]
        assert done
        assert lost
        for error in lost:
            assert isinstance(error, TradingRefused)
            assert (error.code, error.details["rule"]) == (Code.CONFLICT, "stop_changed_meanwhile")
        chain = await chain_of(house, ticket)
        assert chain[0][0] == first
        assert all(after == before for (_, after), (before, _) in pairwise(chain))
        assert len(house.terminal.sent) == len(done) == len(chain)

    in_house(tmp_path, scene, is_slow=True)


def test_a_close_that_is_asked_for_twice_at_once_closes_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ticket = house.open(lots=0.4)
        asked = Closing(ticket=ticket, volume=Decimal("0.2"))
        results = await asyncio.gather(house.trading.close(asked), house.trading.close(asked), return_exceptions=True)
        (lost,) = [r for r in results if isinstance(r, BaseException)]
        assert isinstance(lost, TradingRefused)
        assert lost.details["rule"] == "volume_changed_meanwhile"
        assert (await house.position(ticket)).volume == Decimal("0.2")

    in_house(tmp_path, scene, is_slow=True)


def test_two_processes_execute_at_once_without_one_number_or_owner_twice(tmp_path: Path) -> None:
    async def main() -> None:
        one = await built(tmp_path, is_slow=True)
        other = await built(tmp_path, beside=one, name="other:2:0", program="engine", is_slow=True)
        asked = [h.trading.execute(replace(BUY, strategy_type="kill_zone")) for h in (one, other) for _ in range(10)]
        done = await asyncio.gather(*asked)
        assert all(d.ok for d in done)
        assert len({d.ticket for d in done}) == len({d.intent for d in done}) == 20
        assert {p.ticket for p in one.positions().values()} == {d.ticket for d in done}
        owned = await one.store.ownerships()
        assert {row.ticket for row in owned} == {d.ticket for d in done}
        for house in (one, other):
            house.keeper.cancel()
            await house.store.close()

    run_virtual(main())


def test_an_order_that_the_broker_fills_in_part_is_told_as_what_was_filled(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        def half(request: object, send: object) -> object:
            assert isinstance(request, dict)
            did = send({**request, "volume": request["volume"] / 2})  # type: ignore[operator]
            return Answering(10010, volume=did.volume, price=did.price, order=did.order, deal=did.deal)

        house.terminal.spoil = half
        done = await house.trading.execute(replace(BUY, volume=Decimal("0.4")))
        assert done.ok
        assert (done.volume, done.asked) == (Decimal("0.2"), Decimal("0.4"))
        assert done.retcode == 10010

    in_house(tmp_path, scene, is_slow=True)
