"""The main API's documentation: every route described once, its examples and real answers valid by their schemas."""

from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from tests.main_api.desk import BASE, Desk, served
from tests.planning.plot import BTCUSD

WITHOUT_EXAMPLE = frozenset({"/health"})
PLAIN = "#/components/schemas/PlainAnswer"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def scene(desk: Desk) -> None:
        transport = httpx.ASGITransport(app=desk.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            found.update((await client.get("/openapi.json")).json())

    served(tmp_path_factory.mktemp("openapi"), scene)
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, what) for path, methods in document["paths"].items() for method, what in methods.items()]


def test_every_route_is_described_under_a_name_of_its_own(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    names = [what["operationId"] for _, _, what in operations(document)]
    assert len(set(names)) == len(names)
    assert all(what["description"] for _, _, what in operations(document))
    assert set(document["paths"]["/auto-execution/plans/{plan_id}"]) == {"get", "patch", "delete"}


def test_every_example_is_valid_by_its_own_schema(document: dict[str, Any]) -> None:
    checked = 0
    for path, method, what in operations(document):
        bodies = {**what["responses"], **({"request": what["requestBody"]} if "requestBody" in what else {})}
        for which, body in bodies.items():
            content = body["content"]["application/json"]
            if "example" not in content:
                plain = content["schema"]["$ref"] == PLAIN
                assert plain or path in WITHOUT_EXAMPLE, f"{method} {path} {which} has no example"
                continue
            jsonschema_rs.validate(content["schema"] | {"components": document["components"]}, content["example"])
            checked += 1
    assert checked > 80


def test_real_answers_are_valid_by_the_schema(tmp_path: Path, document: dict[str, Any]) -> None:
    async def scene(desk: Desk) -> None:
        order = {"symbol": BTCUSD, "direction": "BUY", "volume": 0.1, "strategy_type": "micro_scalp"}
        ticket = (await desk.ask("POST", "/mt5/execute", json=order)).json()["order_id"]
        made = await desk.ask("POST", "/auto-execution/plans", json=desk.plan(conditions=[{"name": "inside_bar"}]))
        plan = made.json()["plan"]["id"]
        await desk.plot.play(0.2)
        filled = {"{ticket}": str(ticket), "{plan_id}": plan, "{symbol}": BTCUSD, "{timeframe}": "M5"}
        for path, method, what in operations(document):
            if method != "get" or path.startswith("/api/dtms"):
                continue
            at = path
            for name, value in filled.items():
                at = at.replace(name, value)
            answer = await desk.ask("GET", at)
            described = what["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
            jsonschema_rs.validate(described | {"components": document["components"]}, answer.json())
            assert answer.status_code == 200, (at, answer.text)

    served(tmp_path, scene)
