"""What an outage of the broker tells: few lines however long it lasts, and a person is called when it matters."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact, FactKind
from dtms.execute.journal import Journal

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def calls(lives: Lives) -> list[Fact]:
    """Return the alerts that concern the broker as a whole."""
    return [f for f in await lives.news() if f.kind is FactKind.NEEDS_ATTENTION and f.ticket is None]


@pytest.mark.parametrize(
    "fault", [{"kind": "none", "calls": "positions_get", "times": 0}, {"kind": "offline"}], ids=["half", "whole"]
)
def test_an_outage_is_logged_once_and_is_an_alert_when_it_lasts_a_minute(fault: dict[str, Any], tmp_path: Path) -> None:
    """Also where the terminal can be connected to each time, and only its lists do not come."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        with capture_logs() as logged:
            lives.fault(**fault)
            await lives.on.play(0.9)
            assert not await calls(lives)
            await lives.on.play(5)
            lives.do("clear")
            await lives.on.play(2)
        assert lives.on.engine.health().ready
        events = Counter(str(entry["event"]) for entry in logged)
        assert 1 <= events["broker_unavailable"] <= 3, events
        assert events["broker_connected"] == events["recovered"] == 1
        (call,) = await calls(lives)
        assert call.details["alert"] == "CRITICAL"
        assert "stops at the broker stay" in call.summary
        await lives.on.engine.stop()

    run_virtual(main())


def test_another_account_is_called_that_and_calls_a_person_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        with capture_logs() as logged:
            lives.fault("wrong_account")
            await lives.on.play(2)
        assert any(reason.startswith("wrong account: Elsewhere-Live") for reason in lives.on.engine.health().reasons)
        assert [entry["log_level"] for entry in logged if entry["event"] == "wrong_account"] == ["critical"]
        (call,) = await calls(lives)
        assert call.details["alert"] == "CRITICAL"
        lives.do("clear")
        await lives.on.play(1)
        assert lives.on.engine.health().ready
        await lives.on.engine.stop()

    run_virtual(main())


def test_whatever_needs_a_person_is_an_alert() -> None:
    async def main() -> None:
        journal = Journal(LoopClock(0))
        assert journal.fact(FactKind.NEEDS_ATTENTION, "worsened failed 5 times").details["alert"] == "ERROR"
        worse = journal.fact(FactKind.NEEDS_ATTENTION, "look at it", details={"alert": "CRITICAL"})
        assert worse.details["alert"] == "CRITICAL"
        assert "alert" not in journal.fact(FactKind.HELD, "waits").details

    run_virtual(main())
