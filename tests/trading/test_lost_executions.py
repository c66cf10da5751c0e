"""An execution whose answer is lost, or whose process dies: it is known by its number, and sent once."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.faulty import Answering
from tests.execute.unsteady import Send, Spoiling
from tests.trading.house import BTCUSD, House, built, in_house, refusal

from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.trade import Owner
from dtms.execute.trading.requests import Execution
from dtms.execute.trading.service import Code
from dtms.ports.store import Unit

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"), strategy_type="breakout_bos")


@pytest.mark.parametrize("executes", [True, False])
def test_a_lost_answer_is_told_as_unknown_with_its_number_and_nothing_is_sent_again(
    tmp_path: Path, executes: bool
) -> None:
    async def scene(house: House) -> None:
        house.terminal.spoil = Spoiling("E", executes=executes)
        done = await house.trading.execute(BUY)
        assert not done.ok
        assert done.unknown
        assert len(house.terminal.sent) == 1
        assert len(house.positions()) == int(executes)
        (intent,) = await house.store.intents(open_only=True)
        assert intent.number == done.intent
        assert intent.state is IntentState.UNKNOWN
        assert intent.asker is Asker.EXECUTION
        assert intent.strategy_type == "breakout_bos"
        assert done.protection.manager is Owner.UNIVERSAL
        assert not done.protection.registered
        assert not done.protection.queued
        assert await house.store.ownerships() == []
        assert await house.letters() == {}

    in_house(tmp_path, scene)


def test_what_is_accepted_and_not_listed_yet_is_unknown_with_its_order(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        def promise(request: Mapping[str, Any], send: Send) -> Any:
            return Answering(10009, volume=0.1, price=6500.0, order=4711, deal=4712)

        house.terminal.spoil = promise
        done = await house.trading.execute(BUY)
        assert done.unknown
        assert done.order == 4711
        assert "not to be seen" in done.comment

    in_house(tmp_path, scene)


@pytest.mark.parametrize(("code", "word"), [(10019, "margin"), (10006, "rejected"), (10044, "only be closed")])
def test_a_refusal_of_the_broker_is_explained_and_ends_the_intent(tmp_path: Path, code: int, word: str) -> None:
    async def scene(house: House) -> None:
        house.terminal.spoil = Spoiling("E", retcode=code, times=5)
        error = await refusal(house.trading.execute(BUY))
        assert error.code is Code.BROKER_REFUSED
        assert error.details["retcode"] == code
        assert word in error.message
        assert len(house.terminal.sent) == 1
        (intent,) = await house.store.intents()
        assert intent.state is IntentState.REFUSED

    in_house(tmp_path, scene)


def test_a_price_that_moved_is_decided_anew_under_another_number_at_most_thrice(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.terminal.spoil = Spoiling("E", retcode=10004, times=2)
        assert (await house.trading.execute(BUY)).ok
        numbers = [request["magic"] for request in house.terminal.sent]
        assert len(numbers) == len(set(numbers)) == 3
        house.terminal.spoil = Spoiling("E", retcode=10004, times=9)
        error = await refusal(house.trading.execute(BUY))
        assert error.details["retcode"] == 10004
        assert len(house.terminal.sent) == 6
        assert len(house.positions()) == 1

    in_house(tmp_path, scene)


@dataclass(slots=True)
class Dying:
    """A store whose process dies at one of its commits: before it, or after it."""

    plain: SqlStore
    at: int
    after: bool
    seen: int = 0

    async def commit(self, unit: Unit) -> Any:
        if not unit.intents:
            return await self.plain.commit(unit)
        self.seen += 1
        if self.seen != self.at:
            return await self.plain.commit(unit)
        if self.after:
            await self.plain.commit(unit)
        raise asyncio.CancelledError

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@pytest.mark.parametrize(
    ("at", "after", "state", "positions"),
    [
        (1, False, None, 0),
        (1, True, IntentState.SENDING, 0),
        (2, False, IntentState.SENDING, 1),
        (2, True, IntentState.CONFIRMED, 1),
    ],
)
def test_a_process_that_dies_at_a_commit_leaves_an_intent_that_names_what_is_at_the_broker(
    tmp_path: Path, at: int, after: bool, state: IntentState | None, positions: int
) -> None:
    """The next process reads from it what to look for, and to whom it goes; an owner is there with the outcome only."""

    async def main() -> None:
        house = await built(tmp_path, wrap=lambda plain: Dying(plain, at, after))
        with pytest.raises(asyncio.CancelledError):
            await house.trading.execute(BUY)
        await house.die()
        other = await built(tmp_path, beside=house, name="main:2:0")
        intents = await other.store.intents()
        assert [i.state for i in intents] == ([] if state is None else [state])
        assert len(other.positions()) == positions
        owners = [row.owner for row in await other.store.ownerships()]
        assert owners == ([Owner.UNIVERSAL.value] if state is IntentState.CONFIRMED else [])
        for intent in intents:
            assert (intent.asker, intent.strategy_type) == (Asker.EXECUTION, "breakout_bos")
            assert intent.action.kind.opens_trade
        for position in other.positions().values():
            assert other.broker.number_in(position.magic, position.comment) == intents[0].number
        other.keeper.cancel()
        await other.store.close()

    run_virtual(main())


def test_a_registration_that_was_queued_with_the_outcome_outlives_the_process(tmp_path: Path) -> None:
    async def main() -> None:
        house = await built(tmp_path)
        done = await house.trading.execute(replace(BUY, strategy_type=None))
        await house.die()
        other = await built(tmp_path, beside=house, name="main:2:0")
        assert list(await other.letters()) == [done.ticket]
        other.keeper.cancel()
        await other.store.close()

    run_virtual(main())


def test_what_a_plan_commits_with_the_intent_is_committed_or_nothing_is_sent(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        begun: list[int] = []

        def begin(number: int) -> Unit:
            begun.append(number)
            return Unit(ownership=(row,))

        ticket = house.open()
        row = replace(await house.own(ticket, Owner.UNIVERSAL), version=1)
        done = await house.trading.execute(replace(BUY, plan="p1"), begin=begin)
        assert done.ok
        assert begun == [done.intent]
        assert (await house.store.ownerships([ticket]))[0].version == 1
        error = await refusal(house.trading.execute(replace(BUY, plan="p1"), begin=begin))
        assert error.code is Code.CONFLICT
        assert len(house.terminal.sent) == 1
        (intent,) = await house.store.intents()
        assert intent.plan == "p1"

    in_house(tmp_path, scene)
