"""What must outlive a crash: a running timer, and whose position is whose; judged with all invariants afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.execute.restarting import Lives
from tests.invariants.worlds import require_sound, world_of
from tests.replay.windows import EUR, LONG, SHIPPED, config_of, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.trade import State, Trade
from dtms.execute.service import RefusalCode, Refused, Registration

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def _hedged(folder: Path) -> tuple[Lives, Trade]:
    lives = await Lives.begin(WINDOW, folder)
    for _ in range(600):
        if (trade := await lives.trade()).machine.state is State.HEDGED:
            return lives, trade
        await lives.on.play(0.5)
    raise AssertionError("never hedged")


async def _require_sound(lives: Lives) -> None:
    require_sound(await world_of(lives.on, config_of(WINDOW), settings_of(WINDOW)))


def test_the_flat_timer_survives_a_crash(tmp_path: Path) -> None:
    """It runs on from where it began, in memory and in the row, also after the next thing that is committed."""

    async def main() -> None:
        lives, before = await _hedged(tmp_path)
        assert before.machine.flat_since_ms is not None
        await lives.restart(crash=True, away_min=3)
        await lives.on.play(8)
        live = lives.on.engine.live(lives.ticket)
        assert live is not None
        assert live.trade.machine.flat_since_ms == before.machine.flat_since_ms
        assert live.flat_left_min is not None
        assert live.flat_left_min < settings_of(WINDOW).protection.flat_min
        assert (await lives.trade()).machine.flat_since_ms == before.machine.flat_since_ms
        await _require_sound(lives)
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("crash", [False, True], ids=["at once", "after a crash"])
def test_what_dtms_opened_is_never_a_trade_of_its_own(crash: bool, tmp_path: Path) -> None:
    """Whoever asks to register a hedge is refused with the trade that it belongs to, and there is still one trade."""

    async def main() -> None:
        lives, trade = await _hedged(tmp_path)
        assert trade.hedge is not None
        if crash:
            await lives.restart(crash=True)
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=trade.hedge.ticket))
        assert refused.value.code is RefusalCode.CONFLICT
        await lives.on.play(2)
        assert [live.trade.ticket for live in lives.on.engine.live_trades()] == [lives.ticket]
        assert replace(await lives.trade(), version=0) == replace(trade, version=0)
        await _require_sound(lives)
        await lives.on.engine.stop()

    run_virtual(main())
