"""``Idempotency-Key``: what was done is answered again and not done again; refusals are decided anew."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from tests.server.double import UNREADY
from tests.server.world import JSON, World, check_envelope, make_world

from dtms.domain.errors import StoreFailed
from dtms.execute.service import RefusalCode, Refused
from dtms.ports.store import KeptKind
from dtms.server.idempotency import digest

DAY_MS = 24 * 3600 * 1000
REPLAYED = "idempotent-replayed"


async def post(world: World, path: str, body: Any = None, key: str = "k1", **headers: str) -> httpx.Response:
    content = body if isinstance(body, str | bytes) else json.dumps(body if body is not None else {})
    return await world.ask("POST", path, content=content, headers=JSON | {"Idempotency-Key": key} | headers)


ENABLE, BODY = "/dtms/trade/enable", {"ticket": 42, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ENABLE, BODY),
        ("/dtms/trades/enable", [{"ticket": 8}, {"ticket": "x"}]),
        ("/dtms/trade/1/disable", {}),
        ("/dtms/halt", {"reason": "news"}),
        ("/dtms/resume", {}),
        ("/dtms/mode", {"mode": "observe"}),
        ("/dtms/mode", {"mode": "observe", "ticket": 1}),
        ("/dtms/initialize", {}),
    ],
)
def test_the_same_request_again_gets_the_same_answer_and_is_not_done_again(
    world: World, path: str, body: object
) -> None:
    async def run() -> None:
        await world.enable(1)
        asked = len(world.service.asked_by)
        first = await post(world, path, body)
        done = len(world.service.asked_by)
        again = await post(world, path, body, **{"X-Correlation-ID": "second"})
        assert (first.status_code, REPLAYED in first.headers) == (again.status_code, False)
        assert first.status_code < 300
        assert again.content == first.content
        assert (again.headers[REPLAYED], again.headers["x-correlation-id"]) == ("true", "second")
        assert again.headers["content-type"] == "application/json"
        assert done > asked
        assert len(world.service.asked_by) == done

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ENABLE, BODY),
        ("/dtms/trades/enable", [{"ticket": 8}, {"ticket": 9}]),
        ("/dtms/trade/1/disable", {}),
        ("/dtms/halt", {}),
        ("/dtms/mode", {"mode": "observe", "ticket": 1}),
    ],
)
def test_the_answer_is_kept_in_the_commit_of_its_effect(world: World, path: str, body: object) -> None:
    async def run() -> None:
        await world.enable(1)
        world.store.commits.clear()
        answer = await post(world, path, body)
        (unit,) = world.store.commits
        (kept,) = unit.keep
        assert kept.body["answer"] == answer.text

    asyncio.run(run())


def test_an_answer_of_yesterday_is_forgotten_after_a_day(world: World) -> None:
    async def run() -> None:
        await post(world, "/dtms/halt")
        world.clock.now_ms += DAY_MS - 1
        world.store.wall_ms = world.clock.now_ms
        assert REPLAYED in (await post(world, "/dtms/halt")).headers
        world.store.wall_ms = world.clock.now_ms = world.clock.now_ms + 1
        assert REPLAYED not in (await post(world, "/dtms/halt")).headers

    asyncio.run(run())


def test_an_answer_survives_a_restart(world: World) -> None:
    async def run() -> None:
        first = await post(world, ENABLE, BODY)
        later = make_world()
        later.store.kept_values = world.store.kept_values
        again = await post(later, ENABLE, BODY)
        assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
        assert later.service.asked_by == []

    asyncio.run(run())


def test_another_body_under_the_same_key_is_a_conflict_and_changes_nothing(world: World) -> None:
    async def run() -> None:
        await post(world, ENABLE, BODY)
        check_envelope(await post(world, ENABLE, BODY | {"ticket": 43}), 409, "conflict")
        assert set(world.store.rows) == {42}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        check_envelope(await post(world, ENABLE, "ticket=43", **form), 409, "conflict")

    asyncio.run(run())


def test_another_route_and_another_ticket_have_keys_of_their_own(world: World) -> None:
    async def run() -> None:
        await world.enable(1)
        await world.enable(2)
        for path in ("/dtms/halt", "/dtms/resume", "/dtms/trade/1/disable", "/dtms/trade/2/disable"):
            answer = await post(world, path)
            assert (answer.status_code, REPLAYED in answer.headers) == (200, False), path

    asyncio.run(run())


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (b'{"a": 1, "b": [1, 2]}', b'{ "b":[1,2],"a":1 }', True),
        (b"", b"{}", True),
        (b'{"a": 1}', b'{"a": 2}', False),
        (b'{"a": [1, 2]}', b'{"a": [2, 1]}', False),
        (b"{", b"{ ", False),
        (b"[" * 5000, b"[" * 5000, True),
        (b'{"a": "\\ud800"}', b'{"a": "\\ud800"}', True),
    ],
)
def test_bodies_are_compared_by_what_they_say(one: bytes, two: bytes, same: bool) -> None:
    assert (digest(one, form=False) == digest(two, form=False)) is same


def test_forms_are_compared_by_their_fields() -> None:
    assert digest(b"a=1&b=%32", form=True) == digest(b"b=2&a=1", form=True)
    assert digest(b"a=1&b=2", form=True) != digest(b"a=2&b=1", form=True)


def test_a_refusal_is_decided_anew_under_its_key_and_its_body(world: World) -> None:
    """The position turns up a moment later: the same request must then register it, not repeat that it was missing."""
    world.service.missing = {42}

    async def run() -> None:
        check_envelope(await post(world, ENABLE, BODY), 404, "position_not_found")
        check_envelope(await post(world, ENABLE, BODY | {"entry": 1.2}), 409, "conflict")
        world.service.missing = set()
        answer = await post(world, ENABLE, BODY)
        assert (answer.status_code, REPLAYED in answer.headers) == (200, False)
        assert REPLAYED in (await post(world, ENABLE, BODY)).headers

    asyncio.run(run())


def test_a_refused_body_binds_its_key_too(world: World) -> None:
    async def run() -> None:
        check_envelope(await post(world, ENABLE, {"ticket": 0}), 422, "invalid_request")
        check_envelope(await post(world, ENABLE, {"ticket": 1}), 409, "conflict")
        check_envelope(await post(world, ENABLE, "{", key="k2"), 400, "invalid_request")
        check_envelope(await post(world, ENABLE, "[", key="k2"), 409, "conflict")

    asyncio.run(run())


def test_what_ends_with_5xx_leaves_no_trace_of_its_key(world: World) -> None:
    async def run() -> None:
        for error in (Refused(RefusalCode.NOT_READY, "No."), Refused(RefusalCode.HALTED, "No."), RuntimeError("x")):
            world.service.break_with = error
            assert (await post(world, ENABLE, BODY)).status_code >= 500
        assert world.store.kept_values == {}
        world.service.break_with = None
        world.service.state = UNREADY
        check_envelope(await post(world, ENABLE, BODY), 503, "not_ready")
        world.service.state = replace(UNREADY, ready=True)
        assert REPLAYED not in (await post(world, ENABLE, BODY | {"entry": 1.2})).headers

    asyncio.run(run())


def test_a_hundred_with_one_key_at_once_are_done_once(world: World) -> None:
    world.service.slow_s = 0.01

    async def run() -> None:
        answers = await asyncio.gather(*(post(world, ENABLE, BODY) for _ in range(100)))
        assert {a.status_code for a in answers} == {200}
        assert len({a.content for a in answers}) == 1
        assert sum(REPLAYED in a.headers for a in answers) == 99
        assert len(world.service.asked_by) == 1

    asyncio.run(run())


def test_who_waits_too_long_for_the_first_one_is_told_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dtms.server.idempotency.WAIT_S", 0.02)
    world.service.slow_s = 0.2

    async def run() -> None:
        first = asyncio.create_task(post(world, ENABLE, BODY))
        await asyncio.sleep(0.05)
        second = await post(world, ENABLE, BODY)
        check_envelope(second, 409, "conflict")
        assert int(second.headers["retry-after"]) > 0
        assert (await first).status_code == 200
        assert REPLAYED in (await post(world, ENABLE, BODY)).headers

    asyncio.run(run())


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "a\tb", "ä"])
def test_a_key_that_is_none_is_refused_and_nothing_is_done(world: World, key: str) -> None:
    async def run() -> None:
        headers: Any = [(b"Content-Type", b"application/json"), (b"Idempotency-Key", key.encode("utf-8"))]
        body = check_envelope(await world.ask("POST", ENABLE, json=BODY, headers=headers), 422, "invalid_request")
        assert body["details"]["fields"][0]["field"] == "Idempotency-Key"
        assert world.store.rows == {}

    asyncio.run(run())


def test_two_keys_are_none(world: World) -> None:
    headers: Any = [("Content-Type", "application/json"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    check_envelope(asyncio.run(world.ask("POST", ENABLE, json=BODY, headers=headers)), 422, "invalid_request")


@pytest.mark.parametrize("key", ["!", "~" * 128, 'a"b', "0b8a-42"])
def test_any_visible_ascii_is_a_key(world: World, key: str) -> None:
    async def run() -> None:
        await post(world, ENABLE, BODY, key)
        assert REPLAYED in (await post(world, ENABLE, BODY, key)).headers

    asyncio.run(run())


def test_reading_takes_no_notice_of_a_key(world: World) -> None:
    async def run() -> None:
        for _ in range(2):
            answer = await world.ask("GET", "/dtms/status", headers={"Idempotency-Key": "x"})
            assert (answer.status_code, REPLAYED in answer.headers) == (200, False)

    asyncio.run(run())


def test_the_kill_switch_works_while_the_store_cannot_tell_what_was_answered(world: World) -> None:
    """Any other request is refused then, because it might have been done before."""
    world.store.broken = True

    async def run() -> None:
        check_envelope(await post(world, ENABLE, BODY), 503, "not_ready")
        await post(world, "/dtms/halt", {"reason": "now"})
        assert (world.service.halted, world.service.halt_reason) == (True, "now")

    asyncio.run(run())
    assert world.store.rows == {}
    assert all(isinstance(error, StoreFailed) for error in world.service.store_failures)
    assert world.service.store_failures


def test_kept_answers_have_their_kind_and_their_path(world: World) -> None:
    asyncio.run(post(world, "/dtms/trade/enable", BODY))
    ((kind, key),) = world.store.kept_values
    assert (kind, key) == (KeptKind.ANSWER, "POST /dtms/trade/enable k1")
