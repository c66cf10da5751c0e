"""Quotes that cannot be believed for minutes: bars go on, the trade is held, says why, and goes on by itself."""

from pathlib import Path

import pytest
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.trade import State

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
MINUTES = 31
"""Five minutes of grace, the rest of a bar, and three deep checks after which it is an alert."""


@pytest.mark.parametrize("kind", ["nan_price", "zero_price", "crossed_price", "frozen_quote"])
def test_a_trade_without_a_price_is_held_and_called_stale_until_prices_come_again(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.until(lambda t: t.machine.state is not State.HEALTHY)
        lives.fault(kind, times=0)
        await lives.on.play(MINUTES)
        live = lives.on.engine.live(lives.ticket)
        assert live is not None
        assert live.held is not None
        assert "no sound quote for" in live.held
        assert list(lives.on.engine.monitoring().stale_symbols) == [live.trade.symbol]
        told = [f for f in await lives.news() if f.kind is FactKind.HELD and "no sound quote" in f.summary]
        assert told[-1].details["alert"] == "WARNING"

        lives.do("clear")
        await lives.on.play(6)
        after = lives.on.engine.live(lives.ticket)
        assert after is None or after.held is None
        assert not lives.on.engine.monitoring().stale_symbols
        await lives.on.engine.stop()

    run_virtual(main())
