"""What is committed with an execution besides: a plan's steps, an answer to be given again, and the mode that binds."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.execute.unsteady import Spoiling
from tests.trading.house import BTCUSD, House, in_house, refusal

from dtms.domain.actions import Ending, Intent, Outcome
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.position import Position
from dtms.domain.trade import Mode
from dtms.execute.trading.requests import Closed, Closing, Executed, Execution, Modification, Modified
from dtms.execute.trading.service import Code
from dtms.ports.store import Controls, Kept, KeptKind, Unit

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"), strategy_type="kill_zone", plan="p1")
KEY = "an-idempotency-key"


def answering(seen: list[Executed]) -> Callable[[Executed], Kept]:
    """Return a receipt that keeps what it is given."""

    def receipt(done: Executed) -> Kept:
        seen.append(done)
        body = {"ok": done.ok, "unknown": done.unknown, "intent": done.intent, "ticket": done.ticket}
        return Kept(kind=KeptKind.ANSWER, key=KEY, body=body, at_ms=1)

    return receipt


async def kept(house: House) -> list[dict[str, object]]:
    return [dict(one.body) for one in await house.store.kept(KeptKind.ANSWER)]


def test_what_follows_from_an_outcome_is_committed_with_it_whatever_it_is(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        ended: list[tuple[Intent, Outcome, tuple[Position, ...]]] = []

        def conclude(intent: Intent, outcome: Outcome, positions: tuple[Position, ...]) -> Unit:
            ended.append((intent, outcome, positions))
            return Unit(facts=(Fact(kind=FactKind.PROPOSAL, ticket=None, market_ms=1, summary=outcome.ending.value),))

        done = await house.trading.execute(BUY, conclude=conclude)
        house.terminal.spoil = Spoiling("E", retcode=10019, times=9)
        await refusal(house.trading.execute(BUY, conclude=conclude))
        house.terminal.spoil = Spoiling("E", executes=False)
        assert (await house.trading.execute(BUY, conclude=conclude)).unknown
        assert [o.ending for _, o, _ in ended] == [Ending.DONE, Ending.NOT_POSSIBLE, Ending.UNKNOWN]
        assert [[p.ticket for p in positions] for _, _, positions in ended] == [[done.ticket], [], []]
        told = [f.summary for f in await house.facts(FactKind.PROPOSAL)]
        assert told == ["done", "not_possible", "unknown"]

    in_house(tmp_path, scene)


def test_an_answer_is_kept_with_the_intent_as_unknown_and_with_the_outcome_as_it_is(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        seen: list[Executed] = []
        done = await house.trading.execute(BUY, receipt=answering(seen))
        assert [one.unknown for one in seen] == [True, False]
        assert await kept(house) == [{"ok": True, "unknown": False, "intent": done.intent, "ticket": done.ticket}]

    in_house(tmp_path, scene)


def test_of_what_the_broker_refused_no_answer_is_kept(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.terminal.spoil = Spoiling("E", retcode=10019, times=9)
        await refusal(house.trading.execute(BUY, receipt=answering([])))
        assert len(house.terminal.sent) == 1
        assert await kept(house) == []

    in_house(tmp_path, scene)


def test_the_answer_to_a_change_is_kept_with_its_intent_and_its_outcome_too(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        ticket = house.open(stop=round(bid - 100, 2))
        seen: list[Closed | Modified] = []

        def receipt(done: Closed | Modified) -> Kept:
            seen.append(done)
            body = {"intent": done.intent, "unknown": done.unknown}
            return Kept(kind=KeptKind.ANSWER, key=KEY, body=body, at_ms=1)

        moved = await house.trading.modify(Modification(ticket=ticket, stop=bid - 50), receipt=receipt)
        assert await kept(house) == [{"intent": moved.intent, "unknown": False}]
        house.terminal.spoil = Spoiling("Q", executes=True)
        part = Closing(ticket=ticket, volume=Decimal("0.1"))
        lost = await house.trading.close(part, receipt=receipt)
        assert await kept(house) == [{"intent": lost.intent, "unknown": True}]
        house.terminal.spoil = Spoiling("Q", retcode=10006, times=9)
        await refusal(house.trading.close(part, receipt=receipt))
        assert await kept(house) == []
        assert [one.unknown for one in seen] == [True, False, True, True, True, True]

    in_house(tmp_path, scene)


def test_a_mode_binds_a_plan_and_not_a_person(tmp_path: Path) -> None:
    """Judged in the transaction: by what a person set, before what the configuration says."""

    async def scene(house: House) -> None:
        error = await refusal(house.trading.execute(BUY, guarded=True, mode=Mode.OBSERVE))
        assert error.code is Code.CONFLICT
        assert "mode" in error.message
        await house.store.commit(Unit(controls=Controls(mode=Mode.OBSERVE)))
        await refusal(house.trading.execute(BUY, guarded=True, mode=Mode.AUTO))
        assert house.terminal.sent == []
        assert (await house.trading.execute(replace(BUY, plan=None))).ok

    in_house(tmp_path, scene)
