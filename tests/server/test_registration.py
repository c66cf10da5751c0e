"""POST /dtms/trade/enable and disable: what is taken, what is refused, and that a refusal changes nothing."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.server.world import JSON, World, check_envelope

from dtms.domain.market import Side
from dtms.domain.trade import Mode
from dtms.execute.service import RefusalCode, Refused

GOOD: dict[str, Any] = {"ticket": 42, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1}


def test_a_registration_answers_the_trade_and_whether_it_was_known(world: World) -> None:
    async def run() -> None:
        first = (await world.enable(42)).json()
        second = (await world.enable(42)).json()
        assert (first["success"], first["already_registered"], second["already_registered"]) == (True, False, True)
        expected = {
            "ticket": 42,
            "symbol": "EURUSD",
            "direction": "BUY",
            "entry_price": 1.1,
            "volume": 0.1,
            "stop_loss": 1.09,
            "take_profit": None,
            "state": "HEALTHY",
        }
        assert expected.items() <= first["trade_info"].items()
        assert "42" in first["summary"]

    asyncio.run(run())


def test_a_hundred_simultaneous_registrations_make_one_new_and_99_known(world: World) -> None:
    async def run() -> None:
        answers = await asyncio.gather(*(world.enable(7) for _ in range(100)))
        assert [a.status_code for a in answers] == [200] * 100
        assert sum(not a.json()["already_registered"] for a in answers) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sent", "field", "used"),
    [
        ({"ticket": "42"}, "ticket", 42),
        ({"ticket": 42.0}, "ticket", 42),
        ({"ticket": 2**63 - 1}, "ticket", 2**63 - 1),
        ({"direction": "sElL"}, "side", Side.SHORT),
        ({"entry": None, "entry_price": 1.2}, "entry", 1.2),
        ({"stop_loss": 0}, "stop", None),
        ({"stop_loss": 0.0}, "stop", None),
        ({"take_profit": None}, "target", None),
        ({"take_profit": 2}, "target", 2.0),
        ({"volume": 0.3}, "volume", Decimal("0.3")),
        ({"symbol": "XAUUSD.m_#-"}, "symbol", "XAUUSD.m_#-"),
        ({"mode": "advise"}, "mode", Mode.ADVISE),
        ({"strategy_type": "breakout"}, "strategy_type", "breakout"),
        ({"takeover": True}, "takeover", True),
        ({"allow_pending": True}, "allow_pending", True),
        ({"action": "enable", "nested": {"x": [1]}}, "ticket", 42),
    ],
)
def test_what_is_accepted_reaches_the_engine_in_its_words(
    world: World, sent: dict[str, Any], field: str, used: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    register_all = world.service.register_all

    async def watching(requests: Any, receipt: Any) -> Any:
        seen.extend(requests)
        return await register_all(requests, receipt)

    monkeypatch.setattr(world.service, "register_all", watching)
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", json=GOOD | sent))
    assert answer.status_code == 200, answer.text
    assert getattr(seen[0], field) == used
    assert seen[0].correlation_id == answer.headers["x-correlation-id"]


def test_only_the_ticket_is_required(world: World) -> None:
    assert asyncio.run(world.ask("POST", "/dtms/trade/enable", json={"ticket": 5})).status_code == 200


BAD: dict[str, tuple[object, ...]] = {
    "ticket": (0, -1, 2**63, 1.5, 2.0**60, True, None, "", "abc", "4_2", "+42", " 42", "42.0", "٤٢", [42], "9" * 4000),
    "symbol": ("", "A" * 33, "EUR USD", "EUR/USD", "EURUSD\n", "€", 5, ["EURUSD"]),
    "direction": ("LONG", "", 0, "BUY\x00", ["BUY"]),
    "entry": (0, -1.1, "1.1", True, [1.1], 1e16),
    "entry_price": (-1,),
    "volume": (0, -0.1, "0.1", False),
    "stop_loss": (-1, "1.09", True, {}),
    "take_profit": (-0.1, "x", []),
    "mode": ("AUTO", "on", 1),
    "takeover": ("true", 1),
    "strategy_type": ("x" * 65, "a\nb"),
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
def test_a_field_that_breaks_its_rule_is_named_and_nothing_is_registered(
    world: World, field: str, value: object
) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", json=GOOD | {field: value}))
    body = check_envelope(answer, 422, "invalid_request")
    assert body["details"]["fields"][0]["field"].split(".")[0] == field
    assert world.store.rows == {}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
@pytest.mark.parametrize("field", ["entry", "volume", "stop_loss", "take_profit", "ticket"])
def test_numbers_that_are_none_are_refused(world: World, field: str, number: str) -> None:
    text = json.dumps(GOOD | {field: "@"}).replace('"@"', number)
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", content=text))
    check_envelope(answer, answer.status_code, "invalid_request")
    assert answer.status_code in (400, 422)
    assert world.store.rows == {}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"",
        b'{"ticket": 1,}',
        b'{"ticket": 1} x',
        b"ticket=1",
        b'{"ticket": 1, "symbol": "\xff\xfe"}',
        '{"ticket": 1}'.encode("utf-16"),
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b"[1]",
        b"null",
        b'"text"',
        b"\x00",
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_body_that_is_no_json_object_is_refused(world: World, content: bytes) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", content=content))
    assert answer.status_code in (400, 422)
    check_envelope(answer, answer.status_code, "invalid_request")
    assert world.store.rows == {}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (RefusalCode.INVALID, 422),
        (RefusalCode.TRADE_NOT_FOUND, 404),
        (RefusalCode.POSITION_NOT_FOUND, 404),
        (RefusalCode.OWNED, 409),
        (RefusalCode.CONFLICT, 409),
        (RefusalCode.NOT_READY, 503),
        (RefusalCode.HALTED, 503),
    ],
)
def test_every_refusal_of_the_engine_has_its_status(world: World, code: RefusalCode, status: int) -> None:
    world.service.refuse = Refused(code, "No.", {"owner": "universal_sl_tp_manager"})
    answer = asyncio.run(world.enable(42))
    body = check_envelope(answer, status, code.value)
    assert body["message"] == "No."
    assert body["details"] == {"owner": "universal_sl_tp_manager"}
    assert ("retry-after" in answer.headers) is (code is RefusalCode.NOT_READY)


def test_disabling_is_idempotent_and_needs_no_body(world: World) -> None:
    async def run() -> None:
        await world.enable(42)
        for _ in range(2):
            answer = await world.ask("POST", "/dtms/trade/42/disable")
            assert answer.status_code == 200
            assert answer.json()["trade_info"]["disabled"] is True
        check_envelope(await world.ask("POST", "/dtms/trade/43/disable"), 404, "trade_not_found")
        check_envelope(
            await world.ask("POST", "/dtms/trade/42/disable", json={"close_hedge": "yes"}), 422, "invalid_request"
        )

    asyncio.run(run())


@pytest.mark.parametrize("ticket", ["0", "-1", "abc", str(2**63), "4_2", "1.0", "9" * 5000, "%00", "٤"])
@pytest.mark.parametrize("tail", ["", "/history", "/explain"])
def test_a_ticket_in_the_path_that_is_none_is_refused(world: World, ticket: str, tail: str) -> None:
    answer = asyncio.run(world.ask("GET", f"/dtms/trade/{ticket}{tail}"))
    check_envelope(answer, 422, "invalid_request")


def test_the_content_type_is_needed_even_without_a_body(world: World) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = asyncio.run(world.ask("POST", "/dtms/halt", headers=headers))
        check_envelope(answer, 415, "unsupported_media_type")
    assert not world.service.halted


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8", "application/vnd.x+json"])
def test_spellings_of_json_are_accepted(world: World, kind: str) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", json=GOOD, headers=JSON | {"Content-Type": kind}))
    assert answer.status_code == 200


def test_json_in_another_encoding_is_refused(world: World) -> None:
    kind = {"Content-Type": "application/json; charset=latin-1"}
    check_envelope(
        asyncio.run(world.ask("POST", "/dtms/trade/enable", json=GOOD, headers=kind)), 415, "unsupported_media_type"
    )
