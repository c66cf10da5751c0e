"""The edge and the framework's own refusals: all of them are the envelope, and none changes anything."""

import asyncio
import re

import pytest
from tests.server.world import JSON, World, check_envelope, make_world

from dtms.config import Config
from dtms.config.model import Api
from dtms.domain.errors import BrokerUnavailable
from dtms.server.correlation import ulid

GOOD = {"ticket": 42, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "", "[::2]", "a b", "1"]
)
def test_a_foreign_host_is_refused(world: World, host: str) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/halt", headers=JSON | {"Host": host}))
    check_envelope(answer, 403, "forbidden")
    assert not world.service.halted


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost:8001", "LOCALHOST", "[::1]:8001", "127.0.0.1"])
def test_this_machine_is_no_foreign_host(world: World, host: str) -> None:
    assert asyncio.run(world.ask("GET", "/health", headers={"Host": host})).status_code == 200


def test_the_configured_address_is_no_foreign_host() -> None:
    world = make_world(Config(api=Api("127.0.0.2", 8001)))
    assert asyncio.run(world.ask("GET", "/health", headers={"Host": "127.0.0.2:8001"})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8001", "https://127.0.0.1:8001", ""],
)
def test_a_foreign_origin_is_refused(world: World, origin: str) -> None:
    for method, path in (("POST", "/dtms/halt"), ("GET", "/dtms/trades")):
        answer = asyncio.run(world.ask(method, path, headers=JSON | {"Origin": origin}))
        check_envelope(answer, 403, "forbidden")
    assert not world.service.halted


def test_the_own_pages_may_use_the_api(world: World) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/halt", headers=JSON | {"Origin": "http://127.0.0.1:8001"}))
    assert answer.status_code == 200
    assert world.service.halted


@pytest.mark.parametrize("given", ["abc-123", "01K63MZX5W3YAQ4T0V9C8H2E7B", "a" * 64, "x:y.z_1"])
def test_a_well_formed_correlation_id_is_kept_everywhere(world: World, given: str) -> None:
    headers = JSON | {"X-Correlation-ID": given}
    answer = asyncio.run(world.ask("POST", "/dtms/trade/enable", json=GOOD, headers=headers))
    assert answer.headers["x-correlation-id"] == given
    assert world.service.asked_by == [given]
    missing = asyncio.run(world.ask("GET", "/dtms/trade/9", headers=headers))
    assert missing.json()["correlation_id"] == given


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "ä", 'x"y', "<script>"])
def test_an_ill_formed_correlation_id_is_replaced(world: World, given: str) -> None:
    answer = asyncio.run(world.ask("GET", "/health", headers={"X-Correlation-ID": given.encode("utf-8")}))
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", answer.headers["x-correlation-id"])


def test_made_ids_sort_by_time_and_differ(world: World) -> None:
    assert ulid(1_000, 2**80 - 1) < ulid(1_001, 0)
    assert ulid(0, 0) == "0" * 26
    made = {world.app.make_id() for _ in range(1000)}
    assert len(made) == 1000


@pytest.mark.parametrize(
    "path", ["/nope", "/dtms", "/dtms/trade/", "/dtms/status/", "/docs/x", "/assets/overview.html"]
)
def test_an_unknown_path_is_not_found(world: World, path: str) -> None:
    check_envelope(asyncio.run(world.ask("GET", path)), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/dtms/trade/1", "GET"),
        ("PUT", "/dtms/halt", "POST"),
        ("GET", "/dtms/halt", "POST"),
        ("GET", "/dtms/trade/enable", "POST"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(world: World, method: str, path: str, allowed: str) -> None:
    answer = asyncio.run(world.ask(method, path))
    check_envelope(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_a_post_without_json_to_a_reading_path_is_a_wrong_method(world: World) -> None:
    check_envelope(asyncio.run(world.ask("POST", "/dtms/status", headers={})), 405, "method_not_allowed")


@pytest.mark.parametrize("size", [64 * 1024 + 1, 1_000_000])
def test_a_body_over_the_limit_is_too_large(world: World, size: int) -> None:
    body = b'{"ticket": 1, "padding": "' + b"x" * size + b'"}'
    check_envelope(asyncio.run(world.ask("POST", "/dtms/trade/enable", content=body)), 413, "too_large")
    assert world.store.rows == {}


def test_a_body_of_exactly_the_limit_is_read(world: World) -> None:
    start, end = b'{"ticket": 1, "padding": "', b'"}'
    body = start + b"x" * (64 * 1024 - len(start) - len(end)) + end
    assert asyncio.run(world.ask("POST", "/dtms/trade/enable", content=body)).status_code == 200


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "9" * 5000])
def test_a_false_content_length_is_refused(world: World, length: str) -> None:
    headers = JSON | {"Content-Length": length}
    answer = asyncio.run(world.ask("POST", "/dtms/halt", content=b"{}", headers=headers))
    assert answer.status_code in (400, 413)
    check_envelope(answer, answer.status_code, "too_large" if answer.status_code == 413 else "invalid_request")


def test_what_nobody_expected_says_nothing_of_the_inside(world: World) -> None:
    world.service.break_with = RuntimeError("password=hunter2 in /home/someone/secret.py")
    answer = asyncio.run(world.enable(42))
    check_envelope(answer, 500, "internal_error")
    for word in ("hunter2", "/home", "RuntimeError", "Traceback"):
        assert word not in answer.text


def test_a_broker_that_does_not_answer_is_not_ready(world: World) -> None:
    world.service.break_with = BrokerUnavailable("no pipe at C:\\secret")
    answer = asyncio.run(world.enable(42))
    check_envelope(answer, 503, "not_ready")
    assert "secret" not in answer.text
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/dtms/trade/1", "/dtms/trades", "/dtms/actions", "/dtms/trade/1/history"])
def test_a_store_that_does_not_answer_is_not_ready_and_tells_no_path(world: World, path: str) -> None:
    world.store.broken = True
    answer = asyncio.run(world.ask("GET", path))
    check_envelope(answer, 503, "not_ready")
    assert "/var" not in answer.text


@pytest.mark.parametrize("path", ["/", "/docs", "/assets/overview.js", "/assets/docs.js", "/assets/style.css"])
def test_pages_load_nothing_from_elsewhere(world: World, path: str) -> None:
    answer = asyncio.run(world.ask("GET", path))
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"https?://|src=\"//|@import|innerHTML|<script>", answer.text)


def test_the_root_is_a_page_for_a_browser_and_json_for_a_program(world: World) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"}
    assert asyncio.run(world.ask("GET", "/", headers=browser)).headers["content-type"].startswith("text/html")
    program = asyncio.run(world.get("/", headers={"Accept": "application/json"}))
    assert (program["name"], program["version"], program["status"]) == ("dtms", "0.1.0", "ready")
