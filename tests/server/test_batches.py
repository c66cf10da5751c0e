"""POST /dtms/trades/enable: each judged by itself, answered in order, all kept in one commit."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from tests.server.world import World, check_envelope

PATH = "/dtms/trades/enable"


def posted(world: World, body: Any, **headers: str) -> httpx.Response:
    return asyncio.run(
        world.ask("POST", PATH, content=json.dumps(body), headers={"Content-Type": "application/json", **headers})
    )


def test_all_new_ones_answer_200_in_order_with_one_commit(world: World) -> None:
    answer = posted(world, {"trades": [{"ticket": t, "stop_loss": 1.09} for t in (7, 5, 6)]})
    body = answer.json()
    assert answer.status_code == 200
    assert [(r["index"], r["ticket"], r["status"]) for r in body["results"]] == [(0, 7, 200), (1, 5, 200), (2, 6, 200)]
    assert (body["success"], body["registered"], body["refused"]) == (True, 3, 0)
    assert body["results"][0]["trade_info"]["stop_loss"] == 1.09
    assert [len(unit.create) for unit in world.store.commits] == [3]


def test_the_list_alone_will_do(world: World) -> None:
    assert posted(world, [{"ticket": 1}]).json()["registered"] == 1


def test_they_differ_with_207_and_each_has_what_it_would_have_had_alone(world: World) -> None:
    world.service.missing = {8, 9}
    asyncio.run(world.enable(1))
    sent = [{"ticket": 1}, {"ticket": 2}, {"ticket": 8}, {"ticket": "x"}, 5, {"ticket": 9, "allow_pending": True}]
    answer = posted(world, {"trades": sent})
    body = answer.json()
    assert answer.status_code == 207
    assert [r["status"] for r in body["results"]] == [200, 200, 404, 422, 422, 202]
    assert [r["success"] for r in body["results"]] == [True, True, False, False, False, True]
    counts = (body["registered"], body["already_registered"], body["pending"], body["refused"])
    assert (body["success"], counts) == (False, (1, 1, 1, 3))
    assert body["results"][2]["details"] == {"index": 2, "ticket": 8}
    assert body["results"][3]["details"]["index"] == 3
    assert body["results"][3]["details"]["fields"][0]["field"] == "ticket"
    assert set(world.store.rows) == {1, 2}


def test_the_same_ticket_twice_in_one_batch_is_one_trade(world: World) -> None:
    results = posted(world, [{"ticket": 3}, {"ticket": 3}, {"ticket": 3}]).json()["results"]
    assert [r["already_registered"] for r in results] == [False, True, True]
    assert len(world.store.commits[0].create) == 1


def test_all_refused_alike_is_the_envelope_with_the_results(world: World) -> None:
    world.service.missing = {8, 9}
    body = check_envelope(posted(world, [{"ticket": 8}, {"ticket": 9}]), 404, "position_not_found")
    assert [r["status"] for r in body["results"]] == [404, 404]
    assert body["refused"] == 2


def test_all_waiting_is_202(world: World) -> None:
    world.service.missing = {8}
    assert posted(world, [{"ticket": 8, "allow_pending": True}]).status_code == 202


@pytest.mark.parametrize("body", [[], {"trades": []}, {}, {"trades": "x"}, None, 5, [{"ticket": 1}] * 501])
def test_what_is_no_batch_is_refused_as_a_whole(world: World, body: Any) -> None:
    answer = check_envelope(posted(world, body), 422, "invalid_request")
    assert "results" not in answer
    assert world.store.rows == {}


def test_five_hundred_at_once_fit(world: World) -> None:
    trade = {"symbol": "EURUSD", "direction": "BUY", "entry": 1.1, "stop_loss": 1.09, "strategy_type": "s" * 64}
    answer = posted(world, [{"ticket": t, **trade, "padding": "x" * 200} for t in range(1, 501)])
    assert (answer.status_code, answer.json()["registered"]) == (200, 500)


def test_a_batch_over_its_own_limit_is_too_large(world: World) -> None:
    body = check_envelope(posted(world, [{"ticket": 1, "padding": "x" * 512 * 1024}]), 413, "too_large")
    assert body["details"] == {"limit_bytes": 512 * 1024}


def test_every_item_of_one_request_has_its_correlation_id(world: World) -> None:
    posted(world, [{"ticket": 1}, {"ticket": 2}], **{"X-Correlation-ID": "mine"})
    assert world.service.asked_by == ["mine", "mine"]
