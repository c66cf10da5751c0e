"""Registration as a form: what JSON says, said by a form, with the same rules; and no form of a web page."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from tests.server.world import World, check_envelope

from dtms.server.forms import FORM, fields_of

HEADERS = {"Content-Type": FORM}
GOOD = {"ticket": "42", "symbol": "EURUSD", "direction": "BUY", "entry": "1.1"}


def posted(world: World, body: str | bytes, path: str = "/dtms/trade/enable", **headers: str) -> httpx.Response:
    return asyncio.run(world.ask("POST", path, content=body, headers=HEADERS | headers))


def test_a_form_registers_what_the_same_json_registers(world: World) -> None:
    form = GOOD | {"stop_loss": "1.09", "take_profit": "0", "volume": "", "mode": "observe", "action": "enable"}
    by_form = posted(world, urlencode(form))
    assert by_form.status_code == 200, by_form.text
    json = {"ticket": 43, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1, "stop_loss": 1.09, "mode": "observe"}
    by_json = asyncio.run(world.ask("POST", "/dtms/trade/enable", json=json))
    ours = {"ticket": 0}
    assert by_form.json()["trade_info"] | ours == by_json.json()["trade_info"] | ours
    assert (world.store.rows[42].target, world.store.rows[42].mode) == (None, "observe")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ticket=42&entry=1.1", {"ticket": "42", "entry": 1.1}),
        ("ticket=42&entry=+1.5e0", {"ticket": "42", "entry": 1.5}),
        ("ticket=42&entry=&volume=%20", {"ticket": "42"}),
        ("ticket=42&takeover=TRUE&alongside=0&allow_pending=1",
         {"ticket": "42", "takeover": True, "alongside": False, "allow_pending": True}),
        ("ticket=42&takeover=yes&entry=NaN&stop_loss=Infinity&volume=0x1",
         {"ticket": "42", "takeover": "yes", "entry": "NaN", "stop_loss": "Infinity", "volume": "0x1"}),
        ("ticket=42&odd=1&odd=2&=3", {"ticket": "42"}),
        ("", {}),
    ],
)  # fmt: skip
def test_values_are_read_by_what_they_are(text: str, expected: dict[str, Any]) -> None:
    assert fields_of(text.encode()) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ticket", "0"),
        ("ticket", "4 2"),
        ("ticket", "1e3"),
        ("ticket", ""),
        ("symbol", "EUR USD"),
        ("direction", "LONG"),
        ("entry", "NaN"),
        ("entry", "-1"),
        ("entry", "1,5"),
        ("entry", "inf"),
        ("volume", "0"),
        ("stop_loss", "0x1"),
        ("takeover", "yes"),
        ("allow_pending", "2"),
        ("mode", "AUTO"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_and_nothing_is_registered(world: World, field: str, value: str) -> None:
    body = check_envelope(posted(world, urlencode(GOOD | {field: value})), 422, "invalid_request")
    assert body["details"]["fields"][0]["field"] == field
    assert world.store.rows == {}


def test_a_field_given_twice_is_refused_instead_of_guessed(world: World) -> None:
    body = check_envelope(posted(world, "ticket=1&ticket=2&symbol=EURUSD"), 422, "invalid_request")
    assert body["details"]["fields"][0] == {"field": "ticket", "message": "must be given once", "rule": "given_twice"}
    assert world.store.rows == {}


@pytest.mark.parametrize("raw", [b"ticket", b"\xff=1", b"ticket=%ff%fe", b"&".join(b"a%d=1" % n for n in range(101))])
def test_what_is_no_form_in_utf8_is_unreadable(world: World, raw: bytes) -> None:
    check_envelope(posted(world, raw), 400, "invalid_request")


@pytest.mark.parametrize(
    "header", [{"Origin": "http://127.0.0.1:8001"}, {"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Site": "none"}]
)
def test_a_form_that_a_page_sent_is_refused(world: World, header: dict[str, str]) -> None:
    """A page can post a form anywhere without being asked, so a browser has to send JSON, of this origin."""
    check_envelope(posted(world, urlencode(GOOD), **header), 415, "unsupported_media_type")
    assert world.store.rows == {}


@pytest.mark.parametrize("path", ["/dtms/halt", "/dtms/mode", "/dtms/trades/enable", "/dtms/trade/42/disable"])
def test_other_routes_take_no_form(world: World, path: str) -> None:
    check_envelope(posted(world, "mode=auto&ticket=42", path), 415, "unsupported_media_type")
    assert world.service.asked_by == []


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "text/plain", f"{FORM}; charset=latin-1"])
def test_other_encodings_are_refused(world: World, kind: str) -> None:
    answer = posted(world, urlencode(GOOD), **{"Content-Type": kind})
    check_envelope(answer, 415, "unsupported_media_type")


def test_a_form_over_the_limit_is_too_large(world: World) -> None:
    check_envelope(posted(world, "ticket=1&action=" + "x" * 65_536), 413, "too_large")
