"""The documentation is valid, complete, true to the answers, and holds against made-up requests."""

import asyncio
import json
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection
from tests.server.double import START_MS, fact
from tests.server.world import World, check_envelope, make_world

from dtms.config import Given, load
from dtms.domain.facts import FactKind
from dtms.server.app import App

DUE = {
    "/health": {"get"},
    "/dtms/health": {"get"},
    "/dtms/monitoring/health": {"get"},
    "/dtms/status": {"get"},
    "/dtms/trade/enable": {"post"},
    "/dtms/trades/enable": {"post"},
    "/dtms/trade/{ticket}/disable": {"post"},
    "/dtms/trade/{ticket}": {"get"},
    "/dtms/trades": {"get"},
    "/dtms/trade/{ticket}/history": {"get"},
    "/dtms/trade/{ticket}/explain": {"get"},
    "/dtms/actions": {"get"},
    "/dtms/engine": {"get"},
    "/dtms/halt": {"post"},
    "/dtms/resume": {"post"},
    "/dtms/mode": {"post"},
    "/dtms/initialize": {"post"},
    "/dtms/config/reload": {"post"},
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    body: dict[str, Any] = asyncio.run(make_world().get("/openapi.json"))
    return body


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]


def test_every_route_is_described_in_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert {path: set(methods) for path, methods in document["paths"].items()} == DUE
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_example_is_valid_by_its_own_schema(document: dict[str, Any]) -> None:
    checked = 0
    for path, operation in operations(document):
        bodies = [*operation["responses"].values(), *([operation["requestBody"]] if "requestBody" in operation else [])]
        for body in bodies:
            for content in body["content"].values():
                schema = content["schema"] | {"components": document["components"]}
                jsonschema_rs.validate(schema, content["example"])
                checked += 1
        assert operation["description"], path
    assert checked > 80


def test_every_refusal_is_described_as_the_envelope(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 300:
                ref = response["content"]["application/json"]["schema"]["$ref"]
                assert ref == "#/components/schemas/ErrorAnswer", (path, status)


def test_real_answers_are_valid_by_the_schema(document: dict[str, Any]) -> None:
    world = make_world()
    asyncio.run(world.enable(42))
    for path, methods in DUE.items():
        if methods == {"get"}:
            answer = asyncio.run(world.get(path.replace("{ticket}", "42")))
            content = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            jsonschema_rs.validate(content["schema"] | {"components": document["components"]}, answer)


def lived_app() -> App:
    """Make an application with some trades and facts, for made-up requests."""
    world = make_world(load(Given(path=None, required=False, environ={}, overrides={})))
    for ticket in (1, 42):
        asyncio.run(world.enable(ticket))
    for number in range(5):
        world.store.add(fact(FactKind.ACTION, 42, START_MS + number, action="tighten_stop", success=True, stop=1.09))
    return world.app


schema = schemathesis.openapi.from_asgi("/openapi.json", lived_app(), headers={"Host": "127.0.0.1:8001"})


@schema.parametrize()
@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_made_up_requests_get_answers_that_the_documentation_knows(case: schemathesis.Case[Any]) -> None:
    # Of a batch, one registration that breaks a rule is refused by itself: the whole is answered 207 then.
    excluded: list[Any] = [negative_data_rejection] if case.path == "/dtms/trades/enable" else []
    case.call_and_validate(headers={"Host": "127.0.0.1:8001"}, excluded_checks=excluded)


ODD = [
    "",
    "%00",
    "%ff",
    "%F0%9F%92%A9",
    "-1",
    "1e9",
    "9" * 400,
    "NaN",
    "null",
    "true",
    "[]",
    "%27%20OR%201%3D1",
    "a" * 3000,
]


@pytest.mark.parametrize(
    "place",
    [
        *(f"/dtms/trades?{name}=" for name in ("state", "symbol", "tickets", "cursor", "limit", "unknown")),
        *(f"/dtms/actions?{name}=" for name in ("ticket", "since", "limit", "cursor", "unknown")),
        "/dtms/trade/1/explain?at=",
    ],
)
def test_no_odd_query_is_ever_the_servers_fault(world: World, place: str) -> None:
    asyncio.run(world.enable(1))
    for odd in ODD:
        for query in (odd, f"{odd}&{place.partition('?')[2]}{odd}"):
            answer = asyncio.run(world.ask("GET", place + query))
            assert answer.status_code in (200, 422), (place, odd)
            if answer.status_code == 422:
                check_envelope(answer, 422, "invalid_request")
            json.loads(answer.text)
