"""A broker whose clock runs ahead of this machine's: what it dates in the future was done now."""

from pathlib import Path

import pytest
from tests.execute import restarting
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.clocks import LoopClock
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.trade import State

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
AHEAD_MS = 120_000


def test_a_state_is_never_entered_in_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next request of that state would seem to be of a time before it, and be undone as not wanted."""
    monkeypatch.setattr(restarting, "LoopClock", lambda start_ms: LoopClock(start_ms + AHEAD_MS))

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, manners={"execution_delay_ms": 5_000})
        trade = await lives.until(lambda t: t.machine.state is State.WARNING_L2, step_min=0.25)
        entered_ms = trade.machine.entered_ms
        assert entered_ms is not None
        assert entered_ms <= lives.on.clock.market_ms()
        await lives.on.engine.stop()

    run_virtual(main())
