"""What becomes true between a request's look and its commit: permission is judged on it, and the caller is told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.trading.house import BTCUSD, House, in_house, refusal

from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.actions import IntentState
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import State
from dtms.execute.trading.requests import Closing, Execution, Modification
from dtms.execute.trading.service import Code
from dtms.ports.store import Unit

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"), strategy_type="kill_zone")


async def nothing() -> None:
    """Let nothing happen."""


@dataclass(slots=True)
class Meeting:
    """A store before whose first commit of an intent something happens; or that fails from the second one on."""

    plain: SqlStore
    before: Callable[[], Awaitable[None]] = nothing
    fails_from: int = 99
    seen: int = 0

    async def commit(self, unit: Unit) -> Any:
        if unit.intents:
            self.seen += 1
            if self.seen == 1:
                await self.before()
            if self.seen >= self.fails_from:
                raise StoreFailed("the disk is full")
        return await self.plain.commit(unit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


def meeting(folder: Path, scene: Callable[[House, Meeting], Awaitable[None]]) -> None:
    """Play a scene on such a store."""
    made: list[Meeting] = []

    def wrap(plain: SqlStore) -> Meeting:
        made.append(Meeting(plain))
        return made[0]

    in_house(folder, lambda house: scene(house, made[0]), wrap=wrap)


def test_a_halt_that_comes_before_the_commit_stops_what_was_looked_at_before(tmp_path: Path) -> None:
    async def scene(house: House, store: Meeting) -> None:
        store.before = house.halt
        assert (await refusal(house.trading.execute(BUY))).code is Code.HALTED
        assert house.terminal.sent == []
        assert await house.store.intents() == []

    meeting(tmp_path, scene)


def test_a_defence_that_begins_before_the_commit_stops_a_program_and_says_so(tmp_path: Path) -> None:
    async def scene(house: House, store: Meeting) -> None:
        ticket = house.open(stop=round(house.tick().bid - 100, 2))
        trade = await house.watch(ticket, State.WARNING_L1)

        async def worsen() -> None:
            machine = replace(trade.machine, state=State.WARNING_L2)
            await house.store.commit(Unit(trades=(replace(trade, machine=machine),)))

        store.before = worsen
        error = await refusal(house.trading.modify(Modification(ticket=ticket, stop=house.tick().bid - 50)))
        assert (error.code, error.details["rule"]) == (Code.OWNED, "dtms_defensive")
        assert error.details["dtms_state"] == "WARNING_L2"
        assert house.terminal.sent == []

    meeting(tmp_path, scene)


def test_what_was_sent_and_could_not_be_kept_is_unknown_and_never_called_nothing(tmp_path: Path) -> None:
    async def scene(house: House, store: Meeting) -> None:
        store.fails_from = 2
        done = await house.trading.execute(BUY)
        assert done.unknown
        assert "could not be kept" in done.comment
        assert done.retcode == 10009
        assert len(house.positions()) == 1
        (intent,) = await house.store.intents()
        assert (intent.number, intent.state) == (done.intent, IntentState.SENDING)
        ticket = next(iter(house.positions()))
        store.seen, store.fails_from = 0, 2
        closed = await house.trading.close(Closing(ticket=ticket, override=True))
        assert closed.unknown
        assert closed.volume == 0
        assert house.positions() == {}

    meeting(tmp_path, scene)


def test_a_store_that_fails_before_the_intent_is_kept_sends_nothing(tmp_path: Path) -> None:
    async def scene(house: House, store: Meeting) -> None:
        store.fails_from = 1
        try:
            await house.trading.execute(BUY)
        except StoreFailed:
            assert house.terminal.sent == []
        else:
            raise AssertionError("it was said to be executed")

    meeting(tmp_path, scene)


def test_what_a_rail_or_the_broker_stops_is_recorded_with_its_figures(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.trading.execute(BUY)
        house.fault("wide_spread", times=99, factor=20.0)
        await refusal(house.trading.execute(replace(BUY, correlation_id="one")))
        (told,) = await house.facts(FactKind.REFUSAL)
        assert told.details["rule"] == "spread_spike"
        assert told.symbol == BTCUSD
        assert told.correlation_id == "one"
        assert "median" in told.summary
        await refusal(house.trading.execute(BUY, guarded=True))
        assert len(await house.facts(FactKind.REFUSAL)) == 1

    in_house(tmp_path, scene)


def test_a_position_whose_ticket_changed_is_changed_as_the_trade_that_it_was_registered_as(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        old = house.open(stop=round(bid - 100, 2))
        await house.watch(old, State.HEDGED)
        new = int(house.terminal._terminal._server.renumber(house.positions()[old]).ticket)
        assert new != old
        request = Modification(ticket=new, stop=bid - 50)
        assert (await refusal(house.trading.modify(request))).code is Code.OWNED
        assert (await house.trading.modify(replace(request, override=True))).ok
        (intent,) = await house.store.intents()
        assert intent.ticket == old
        (seen,) = await house.trading.positions()
        assert (seen.position.ticket, seen.dtms_state) == (new, State.HEDGED)

    in_house(tmp_path, scene)
