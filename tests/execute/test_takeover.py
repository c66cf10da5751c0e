"""Another process takes the authority over: what the one before it began is not sent afterwards."""

import asyncio
from pathlib import Path
from typing import Any

from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, ClosePosition

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


def test_a_request_that_slept_through_a_takeover_is_not_sent(tmp_path: Path) -> None:
    """A process is suspended just before its send, and wakes when another holds the authority.

    Both talk to one gateway, and the second has sent nothing yet: its token stands there all the same.
    """

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        first, gateway, trade = lives.on, lives.on.gateway, await lives.trade()
        fence = await first.engine.desk.executor._carrier._program.fence()
        store: Any = first.store

        async def asleep(*_: Any) -> None:
            await asyncio.Event().wait()

        store.renew = asleep
        lives.renew()
        link: Any = lives.on.broker._link
        link._gateway = gateway
        await lives.on.engine.start()
        tick = (await first.broker.quotes([trade.symbol]))[trade.symbol]
        action = ClosePosition(
            kind=ActionKind.CLOSE,
            position=trade.ticket,
            symbol=trade.symbol,
            side=trade.side,
            volume=trade.volume,
            expected_volume=trade.volume,
        )
        answer = await first.broker.send(action, number=1_000, fence=fence, tick=tick)
        assert (answer.name, answer.sent) == ("GATEWAY_FENCED", False)
        assert lives.terminal.sent == []
        await lives.die()

    run_virtual(main())
