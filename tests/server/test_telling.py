"""What status and trades tell of what is not settled: unknown requests, waiting registrations, surplus, parts."""

import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.server.double import START_MS
from tests.server.living import FIRST, Living, opening
from tests.server.world import World

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.market import Side
from dtms.domain.trade import Member, Role
from dtms.execute.service import UnknownIntent


def test_the_status_names_every_request_whose_outcome_is_not_known(world: World) -> None:
    world.service.unknown = (
        UnknownIntent(
            number=7, ticket=42, kind="open_hedge", state="NEEDS_HUMAN", age_s=301.0, reason="one look agrees so far"
        ),
    )
    status = asyncio.run(world.get("/dtms/status"))["dtms_status"]
    assert status["intents_unknown"] == 1
    assert status["unknown_intents"] == [
        {
            "intent": 7,
            "ticket": 42,
            "action": "open_hedge",
            "state": "NEEDS_HUMAN",
            "age_s": 301.0,
            "reason": "one look agrees so far",
        }
    ]


def test_the_status_has_a_place_for_what_other_parts_tell(world: World) -> None:
    world.service.parts = {"store": {"ok": True}, "backup": {"age_s": 60}, "audit": {"violations": []}}
    status = asyncio.run(world.get("/dtms/status"))["dtms_status"]
    assert (status["store"], status["backup"], status["audit"]) == ({"ok": True}, {"age_s": 60}, {"violations": []})


def test_a_trade_says_what_is_not_wanted_and_what_it_may_not_do(world: World) -> None:
    asyncio.run(world.enable(42))
    live = world.service.lives[42]
    late = Member(
        ticket=77,
        identifier=77,
        role=Role.HEDGE,
        side=Side.SHORT,
        volume=Decimal("0.05"),
        entry=1.09,
        stop=None,
        target=None,
        intent=3,
        opened_ms=START_MS,
    )
    trade = replace(live.trade, members=(late,), surplus=frozenset({77}), reduce_only=True, moved_to=43)
    world.service.lives[42] = replace(live, trade=trade)
    info = asyncio.run(world.get("/dtms/trade/42"))["trade_info"]
    assert (info["surplus"], info["reduce_only"], info["family"][0]["surplus"]) == ([77], True, True)
    assert (info["position_ticket"], info["moved_to"], info["ticket"]) == (43, 43, 42)
    told = " ".join(info["warnings"])
    assert all(words in told for words in ("#77", "only reducing actions", "now 43"))


def test_the_engine_tells_what_its_account_can_do_and_how_its_parts_stand(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [])
        lives.on.engine.parts["backup"] = lambda: {"newest": None}
        status = (await lives.get("/dtms/status"))["dtms_status"]
        account = status["account"]
        assert (account["margin_mode"], account["hedging_possible"], account["fifo"]) == ("hedging", True, False)
        assert account["no_hedging_because"] is None
        assert status["store"] == {"ok": True, "state": "ok"}
        assert status["backup"] == {"newest": None}
        assert isinstance(status["sources"], list)
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_lost_answer_is_told_with_the_reason_why_it_is_not_known(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:10"), opening("10:00:20", "SELL")])
        await lives.on.play(0.6)
        await lives.enable()
        engine = lives.on.engine
        watch = engine.book.watches[FIRST]
        held = (await lives.on.broker.positions([FIRST + 1]))[FIRST + 1]
        hedge = Member(
            ticket=held.ticket,
            identifier=held.identifier,
            role=Role.HEDGE,
            side=Side.SHORT,
            volume=held.volume,
            entry=held.entry,
            stop=held.stop,
            target=None,
            intent=1,
            opened_ms=held.opened_ms,
        )
        await engine._desk.commit(watch, watch.trade.with_member(hedge), [])
        engine.book.index(watch.trade)
        lives.control({"do": "add", "fault": {"kind": "lost_unexecuted"}})
        answer = await lives.post(f"/dtms/trade/{FIRST}/disable", {"close_hedge": True})
        assert answer.status_code == 409
        assert answer.json()["details"]["intents"]
        (told,) = (await lives.get("/dtms/status"))["dtms_status"]["unknown_intents"]
        assert (told["ticket"], told["action"], told["state"]) == (FIRST, "close_hedge", "UNKNOWN")
        assert len(told["reason"]) > 5
        info = (await lives.get(f"/dtms/trade/{FIRST}"))["trade_info"]
        assert info["family"][0]["role"] == "hedge"
        await lives.on.engine.stop()

    run_virtual(main())
