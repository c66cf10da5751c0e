"""The machine's wall clock is for records alone: by whatever it jumps, the same is decided (invariant 22)."""

from typing import Any

import pytest
from tests.replay.windows import EUR, LONG, SHIPPED, Played, collected, config_of, registered, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.replay import stage

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
DAY_MS = 86_400_000
EVERY_MIN = 60.0


def _played(jumps_ms: tuple[int, ...]) -> Played:
    """Play the window; the wall clock jumps on, each time from where it should be, every hour."""

    async def main() -> Played:
        on = stage(config_of(WINDOW), settings=settings_of(WINDOW))
        clock: Any = on.clock
        plain, ahead_ms = clock.wall_ms, 0
        clock.wall_ms = lambda: plain() + ahead_ms
        await on.engine.start()
        ticket = await registered(on)
        left = WINDOW.hours * 60
        for jump_ms in jumps_ms:
            await on.play(EVERY_MIN)
            ahead_ms, left = jump_ms, left - EVERY_MIN
        await on.play(left)
        result = await collected(WINDOW, on, ticket)
        await on.engine.stop()
        return result

    return run_virtual(main())


def _decided(played: Played) -> list[tuple[object, ...]]:
    """All that was told and asked, without the wall clock's stamps."""
    facts = [(f.id, f.kind, f.ticket, f.market_ms, f.summary, dict(f.details)) for f in played.facts]
    return [*facts, *((n.ms, n.retcode, n.request) for n in played.ledger.requests)]


@pytest.mark.parametrize(
    "jumps_ms", [(DAY_MS,), (-DAY_MS,), (DAY_MS, -DAY_MS, 0)], ids=["a day on", "a day back", "to and fro"]
)
def test_a_jump_of_the_wall_clock_changes_no_decision(jumps_ms: tuple[int, ...]) -> None:
    steady, jumped = _played(()), _played(jumps_ms)
    assert _decided(jumped) == _decided(steady)
    assert jumped.trade == steady.trade
    assert [f.machine_ms for f in jumped.facts] != [f.machine_ms for f in steady.facts]
