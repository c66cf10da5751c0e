"""A call to the terminal that hangs: the child is ended and comes back within its limits, and the books are intact."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.bench import EURUSD, SECRET, Desk, RemoteBench, closed, described, moved, running, simulated

from dtms.adapters.remote_link import RemoteLink
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown
from dtms.domain.market import Side
from dtms.ports.broker import Answer
from dtms.terminal.service import Load

HOST = "127.0.0.1"
LIMIT_S = 2.0
START_S = 6.0
BACK_S = 30.0
"""Limit, poll, pause, and a new interpreter that loads recordings, on a busy machine."""


def terminal(folder: Path, *faults: dict[str, Any]) -> Load:
    journal = str((folder / "terminal.jsonl").resolve())
    return partial(simulated, described(rate=60, journal=journal, faults=list(faults)))


async def told(desk: Desk, do: str, **more: Any) -> Any:
    """Ask the simulation through the gateway."""
    answer = await desk.link.call({"call": "simulation", "do": do, **more})
    assert "value" in answer, answer
    return answer["value"]


async def back(desk: Desk) -> None:
    """Wait until the gateway answers again."""
    until_s = time.monotonic() + BACK_S
    while True:
        try:
            await desk.broker.connect()
            return
        except BrokerUnavailable:
            assert time.monotonic() < until_s, "the gateway did not come back"
            await asyncio.sleep(0.2)


Told = Callable[[Desk], Coroutine[Any, Any, None]]


def played(tmp_path: Path, story: Told, *faults: dict[str, Any], **limits: Any) -> int:
    """Tell a story at a gateway process with short limits; gives how many children there were."""
    with running(terminal(tmp_path, *faults), **{"call_s_max": LIMIT_S, **limits}) as (port, instances):
        RemoteBench(host=HOST, port=port, secret=SECRET)(story)
        return len(instances)


HANG = {"kind": "hang", "seconds": 3600}


@pytest.mark.parametrize("executed", [True, False])
def test_a_request_that_hangs_is_ambiguous_and_the_books_tell_afterwards(tmp_path: Path, executed: bool) -> None:
    async def story(desk: Desk) -> None:
        first = await desk.open()
        await told(desk, "add", fault={**HANG, "executed": executed})
        since_ms = desk.clock.market_ms()
        began_s = time.monotonic()
        result = await desk.send(await desk.opening(Side.SHORT))
        assert (result.answer, result.sent) == (Answer.AMBIG, True)
        assert time.monotonic() - began_s >= LIMIT_S
        magic = desk.broker.magic_of(desk.number)
        await back(desk)
        assert time.monotonic() - began_s < BACK_S
        positions, orders, deals = await desk.broker.find_by_magic(magic, since_ms)
        assert [len(found) for found in (positions, deals)] == ([1, 1] if executed else [0, 0])
        assert all(order.magic == magic for order in orders)
        books = await told(desk, "ledger")
        magics = [position["magic"] for position in books["positions"]]
        assert magics == [first.magic] + ([magic] if executed else [])
        assert (await told(desk, "faults"))["fired"] == {"hang": 1}
        assert (await desk.send(await desk.opening())).answer is Answer.OK

    assert played(tmp_path, story) == 2


def test_a_look_that_hangs_loses_nothing_and_what_was_announced_is_asked_for_again(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        position = await desk.open()
        old = await desk.fence("1", 7)
        await told(desk, "add", fault={**HANG, "calls": ["positions_get"]})
        with pytest.raises(BrokerUnavailable):
            await desk.broker.snapshot([EURUSD])
        await back(desk)
        assert await desk.position(position.ticket) is not None
        refused = await desk.send(closed(position), old)
        assert (refused.answer, refused.sent) == (Answer.STATE, False)
        assert (await desk.send(closed(position), await desk.fence("1", 8))).answer is Answer.OK

    assert played(tmp_path, story) == 2


def test_a_terminal_that_hangs_when_it_is_started_has_its_own_limit(tmp_path: Path) -> None:
    """The first child never connects; the second does, long before a call's limit would matter."""

    async def story(desk: Desk) -> None:
        await back(desk)
        assert (await told(desk, "faults"))["fired"] == {"hang": 1}

    hang = {**HANG, "calls": ["initialize"]}
    began_s = time.monotonic()
    assert played(tmp_path, story, hang, initialize_s_max=START_S, call_s_max=60.0) == 1
    assert time.monotonic() - began_s < START_S + BACK_S


def test_a_slow_call_within_its_limit_is_answered(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        position = await desk.open()
        assert position.stop is not None
        await told(desk, "add", fault={"kind": "slow", "seconds": 0.6, "calls": ["order_send"], "times": 1})
        began_s = time.monotonic()
        tick = await desk.tick()
        assert (await desk.send(moved(position, round(tick.bid - 0.002, 5)))).answer is Answer.OK
        assert time.monotonic() - began_s >= 0.6

    assert played(tmp_path, story) == 1


def test_whoever_waited_behind_the_hanging_call_hears_of_no_answer_and_never_of_a_false_one(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        position = await desk.open()
        other = RemoteLink(HOST, desk.link._address[1], SECRET)  # type: ignore[attr-defined]
        await told(desk, "add", fault={**HANG, "calls": ["orders_get"]})
        hanging = asyncio.ensure_future(desk.broker.snapshot([EURUSD]))
        await asyncio.sleep(0.2)
        with pytest.raises(OutcomeUnknown):
            await other.call({"call": "positions_get"})
        with pytest.raises(BrokerUnavailable):
            await hanging
        await back(desk)
        assert len((await other.call({"call": "positions_get"}))["value"]) == 1
        assert await desk.position(position.ticket) is not None
        other.close()

    assert played(tmp_path, story) == 2
