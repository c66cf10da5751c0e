"""``Idempotency-Key`` on ``/mt5/execute``: nothing is executed twice, wherever the process dies."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.execute.unsteady import Send, Spoiling
from tests.main_api.desk import Desk, app_of, served
from tests.planning.plot import BTCUSD
from tests.planning.test_crashing import SPOTS, Dies
from tests.server.world import check_envelope

BUY = {"symbol": BTCUSD, "direction": "BUY", "volume": 0.1, "strategy_type": "breakout_bos"}


async def execute(desk: Desk, key: str = "k", **changes: Any) -> httpx.Response:
    return await desk.ask("POST", "/mt5/execute", json=BUY | changes, headers={"Idempotency-Key": key})


async def next_desk(desk: Desk) -> Desk:
    """Let the process die where it stands, and start another one."""
    await desk.plot.die()
    plot = await desk.plot.next_life()
    return Desk(plot, app_of(plot))


def test_the_same_request_again_is_answered_again_and_not_executed_again(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        first, again = await execute(desk), await execute(desk)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.content == first.content
        assert len(desk.plot.openings()) == 1
        other = await execute(desk, key="k2")
        assert other.json()["order_id"] != first.json()["order_id"]
        assert len(desk.plot.openings()) == 2

    served(tmp_path, scene)


@pytest.mark.parametrize(("at", "after"), SPOTS)
def test_a_process_that_dies_around_the_commits_leaves_one_execution(tmp_path: Path, at: int, after: bool) -> None:
    """Before the intent was kept the request is new; after it, it is answered by what is known of it."""
    dies = Dies(at, after)

    async def scene(desk: Desk) -> None:
        asking = asyncio.create_task(execute(desk))
        await dies.dead()
        asking.cancel()
        other = await next_desk(desk)
        answer = await execute(other)
        was_kept = (at, after) != (1, False)
        assert (answer.headers.get("Idempotent-Replayed") == "true") is was_kept
        assert answer.status_code == (202 if (at, after) in ((1, True), (2, False)) else 200), answer.text
        await other.plot.play(1)
        sent = 0 if (at, after) == (1, True) else 1
        assert len(other.plot.openings()) == sent
        assert (await execute(other)).content == answer.content
        assert len(other.plot.openings()) == sent
        await other.plot.die()

    served(tmp_path, scene, wrap=dies)


@pytest.mark.parametrize("sends", [True, False])
def test_a_process_that_dies_while_it_sends_never_sends_again(tmp_path: Path, sends: bool) -> None:
    died = asyncio.Event()

    def dying(request: Mapping[str, Any], send: Send) -> Any:
        if sends:
            send(request)
        died.set()
        raise asyncio.CancelledError

    async def scene(desk: Desk) -> None:
        desk.plot.terminal.spoil = dying
        asking = asyncio.create_task(execute(desk))
        await died.wait()
        asking.cancel()
        desk.plot.terminal.spoil = None
        other = await next_desk(desk)
        answer = await execute(other)
        assert answer.status_code == 202
        assert answer.json()["unknown"] is True
        (intent,) = await other.plot.store.intents()
        assert answer.json()["intent"] == intent.number
        await other.plot.play(1)
        assert len(other.plot.openings()) == int(sends)
        await other.plot.die()

    served(tmp_path, scene)


def test_what_was_refused_is_decided_anew_under_its_key(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        desk.plot.terminal.spoil = Spoiling("E", retcode=10019)
        check_envelope(await execute(desk), 400, "broker_refused")
        check_envelope(await execute(desk, volume=0.2), 409, "conflict")
        assert (await execute(desk)).status_code == 200
        assert len(desk.plot.openings()) == 1

    served(tmp_path, scene)
