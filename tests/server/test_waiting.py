"""``allow_pending``: a registration waits durably for its position, and becomes a trade or an alert."""

from pathlib import Path
from typing import Any

import pytest
from tests.server.living import FIRST, Living, opening
from tests.server.world import check_envelope

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.ports.store import KeptKind

PATH = f"/dtms/trade/{FIRST}"


def test_a_ticket_that_is_not_listed_yet_is_waited_for_and_becomes_a_trade(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:30")])
        answer = await lives.enable(allow_pending=True, strategy_type="breakout", mode="observe")
        body = answer.json()
        assert (answer.status_code, body["pending"], body["ticket"]) == (202, True, FIRST)
        assert body["until"].startswith("2017-09-05T10:01:00")
        details = check_envelope(await lives.ask("GET", PATH), 404, "trade_not_found")["details"]
        assert details["pending"]["until"] == body["until"]
        status = (await lives.get("/dtms/status"))["dtms_status"]
        assert [p["ticket"] for p in status["pending_registrations"]] == [FIRST]
        await lives.on.play(0.6)
        trade = (await lives.get(PATH))["trade_info"]
        assert (trade["state"], trade["mode"]) == ("HEALTHY", "observe")
        stored = await lives.on.store.trade(FIRST)
        assert stored is not None
        assert (stored.strategy_type, stored.by_watcher) == ("breakout", False)
        (registered,) = await lives.facts(FactKind.REGISTERED)
        assert registered.correlation_id == answer.headers["x-correlation-id"]
        assert await lives.on.store.kept(KeptKind.PENDING) == []
        assert (await lives.get("/dtms/status"))["dtms_status"]["pending_registrations"] == []
        await lives.on.engine.stop()

    run_virtual(main())


def test_what_does_not_turn_up_within_a_minute_is_an_alert(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [])
        await lives.enable(allow_pending=True)
        await lives.on.play(57 / 60)
        assert len(await lives.facts(FactKind.PENDING)) == 1
        await lives.on.play(5 / 60)
        waits, expired = await lives.facts(FactKind.PENDING)
        assert (waits.details["outcome"], expired.details["outcome"]) == ("waits", "expired")
        assert (expired.ticket, expired.details["alert"]) == (FIRST, "ERROR")
        assert "not protected" in expired.summary
        assert await lives.on.store.kept(KeptKind.PENDING) == []
        assert "pending" not in check_envelope(await lives.ask("GET", PATH), 404, "trade_not_found")["details"]
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("opened", ["10:00:35", "10:00:50"], ids=["while away", "after the restart"])
def test_what_waits_survives_a_crash_and_becomes_the_trade_that_was_asked_for(tmp_path: Path, opened: str) -> None:
    """The position that turned up meanwhile is not taken for one that nobody asked for."""

    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening(opened)])
        await lives.enable(allow_pending=True, strategy_type="breakout")
        await lives.on.play(0.5)
        await lives.crash(away_s=10)
        assert lives.on.engine.pending(FIRST) is not None or lives.on.engine.live(FIRST) is not None
        await lives.on.play(0.4)
        stored = await lives.on.store.trade(FIRST)
        assert stored is not None
        assert (stored.strategy_type, stored.by_watcher) == ("breakout", False)
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_crash_neither_prolongs_nor_forgets_the_minute(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [])
        await lives.enable(allow_pending=True)
        await lives.on.play(0.5)
        await lives.crash(away_s=5)
        await lives.on.play(0.3)
        assert [f.details["outcome"] for f in await lives.facts(FactKind.PENDING)] == ["waits"]
        await lives.crash(away_s=3600)
        await lives.on.play(0.1)
        assert [f.details["outcome"] for f in await lives.facts(FactKind.PENDING)] == ["waits", "expired"]
        await lives.on.engine.stop()

    run_virtual(main())


def test_an_outage_of_the_broker_does_not_use_the_minute_up(tmp_path: Path) -> None:
    """Only a look that began after the minute can tell that a position did not turn up."""

    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:03:00")])
        await lives.enable(allow_pending=True)
        await lives.on.play(0.2)
        lives.offline()
        await lives.on.play(5)
        assert lives.on.engine.pending(FIRST) is not None
        lives.online()
        await lives.on.play(1)
        assert lives.on.engine.live(FIRST) is not None
        assert [f.details["outcome"] for f in await lives.facts(FactKind.PENDING)] == ["waits"]
        await lives.on.engine.stop()

    run_virtual(main())


def test_what_turns_up_as_something_else_is_an_alert_and_no_trade(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:30")])
        await lives.enable(allow_pending=True, direction="SELL")
        await lives.on.play(0.7)
        assert lives.on.engine.live(FIRST) is None
        refused = (await lives.facts(FactKind.PENDING))[-1]
        assert (refused.details["outcome"], refused.details["alert"]) == ("refused", "ERROR")
        assert "is BUY, not SELL" in refused.summary
        await lives.on.engine.stop()

    run_virtual(main())


def test_asking_again_while_it_waits_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [])
        first = (await lives.enable(allow_pending=True)).json()
        await lives.on.play(0.3)
        again = await lives.enable(allow_pending=True)
        assert (again.status_code, again.json()["until"]) == (202, first["until"])
        check_envelope(await lives.enable(), 404, "position_not_found")
        assert len(await lives.on.store.kept(KeptKind.PENDING)) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_disabling_withdraws_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:30")])
        await lives.enable(allow_pending=True)
        body = check_envelope(await lives.post(f"{PATH}/disable"), 404, "trade_not_found")
        assert body["details"]["pending"] == "withdrawn"
        await lives.on.play(1.5)
        assert lives.on.engine.live(FIRST) is None
        outcomes: list[Any] = [f.details["outcome"] for f in await lives.facts(FactKind.PENDING)]
        assert outcomes == ["waits", "withdrawn"]
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_crash_right_after_a_202_was_answered_loses_nothing(tmp_path: Path) -> None:
    """Registered under a key: the second answer is the first one, and there is one trade."""

    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:30")])
        first = await lives.enable(key="k", allow_pending=True)
        await lives.crash()
        again = await lives.enable(key="k", allow_pending=True)
        assert (again.status_code, again.content) == (202, first.content)
        await lives.on.play(0.7)
        assert lives.on.engine.live(FIRST) is not None
        assert len(await lives.facts(FactKind.REGISTERED)) == 1
        await lives.on.engine.stop()

    run_virtual(main())
