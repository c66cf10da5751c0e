"""Plans over HTTP: made once, explained with present values, changed and taken back while they wait."""

from pathlib import Path
from typing import Any

import pytest
from tests.main_api.desk import Desk, served
from tests.server.world import check_envelope

from dtms.domain.plans import PlanStatus

PLANS = "/auto-execution/plans"
NEVER = [{"name": "price_below", "price": 4000.0}]


def test_a_plan_is_made_listed_explained_and_executed(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        answer = await desk.ask("POST", PLANS, json=desk.plan())
        assert answer.status_code == 200, answer.text
        made = answer.json()["plan"]
        assert (made["status"], made["strategy_type"]) == ("pending", "default_standard")
        assert [p["id"] for p in (await desk.get(PLANS))["plans"]] == [made["id"]]
        shown = await desk.get(f"{PLANS}/{made['id']}")
        assert shown["now"]["verdict"] == "due"
        plan = await desk.plot.store.plan(made["id"])
        assert plan is not None
        await desk.plot.until(plan, PlanStatus.EXECUTED)
        shown = await desk.get(f"{PLANS}/{made['id']}")
        assert shown["plan"]["status"] == "executed"
        assert shown["plan"]["ticket"] in desk.plot.positions()
        await desk.plot.play(0.2)
        trades = (await desk.get("/universal/trades"))["trades"]
        assert [t["ticket"] for t in trades] == [shown["plan"]["ticket"]]
        assert (await desk.get(f"{PLANS}?status=pending"))["plans"] == []
        assert (await desk.get(f"{PLANS}?status=any"))["plans"][0]["id"] == made["id"]

    served(tmp_path, scene)


def test_a_waiting_plan_shows_every_condition_with_its_present_value(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        conditions = {"any": [*NEVER, {"not": {"name": "rsi_above", "value": 1, "timeframe": "M5"}}]}
        made = (await desk.ask("POST", PLANS, json=desk.plan(conditions=conditions))).json()["plan"]
        now = (await desk.get(f"{PLANS}/{made['id']}"))["now"]
        assert now["verdict"] == "waits"
        leaves = now["conditions"]["parts"]
        assert leaves[0]["name"] == "price_below"
        assert leaves[0]["state"] == "does_not_hold"
        assert leaves[0]["present"]
        assert "4000" in leaves[0]["wanted"]
        assert leaves[1]["parts"][0]["present"]

    served(tmp_path, scene)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"stop_loss": 1e4}, "stop_loss"),
        ({"conditions": [{"name": "bos_bul"}]}, "conditions[0].name"),
        ({"strategy_type": "nonsense"}, "strategy_type"),
        ({"volume": ...}, "volume"),
        ({"direction": "UP"}, "direction"),
        ({"order_type": "guess"}, "order_type"),
        ({"symbol": ...}, "symbol"),
    ],
)
def test_a_plan_with_a_fault_is_refused_by_its_field(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    async def scene(desk: Desk) -> None:
        body = check_envelope(await desk.ask("POST", PLANS, json=desk.plan(**changes)), 422, "invalid_request")
        assert field in [one["field"] for one in body["details"]["fields"]]
        assert (await desk.get(PLANS))["plans"] == []

    served(tmp_path, scene)


def test_the_same_key_makes_one_plan_and_another_body_under_it_is_a_conflict(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        body, key = desk.plan(conditions=NEVER), {"Idempotency-Key": "k1"}
        first = await desk.ask("POST", PLANS, json=body, headers=key)
        again = await desk.ask("POST", PLANS, json=body, headers=key)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.content == first.content
        assert len((await desk.get(PLANS))["plans"]) == 1
        check_envelope(await desk.ask("POST", PLANS, json=body | {"notes": "x"}, headers=key), 409, "conflict")

    served(tmp_path, scene)


def test_a_plan_is_changed_while_it_waits_and_taken_back_once(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        made = (await desk.ask("POST", PLANS, json=desk.plan(conditions=NEVER))).json()["plan"]
        path = f"{PLANS}/{made['id']}"
        changed = await desk.ask("PATCH", path, json={"volume": 0.2, "notes": "more", "take_profit": None})
        assert changed.status_code == 200, changed.text
        plan = changed.json()["plan"]
        assert (plan["volume"], plan["notes"], plan["take_profit"]) == (0.2, "more", None)
        assert (plan["stop_loss"], plan["expires_at"]) == (made["stop_loss"], made["expires_at"])
        check_envelope(await desk.ask("PATCH", path, json={"volume": 0.001}), 422, "invalid_request")
        for _ in range(2):
            gone = await desk.ask("DELETE", path)
            assert gone.status_code == 200, gone.text
            assert gone.json()["plan"]["status"] == "cancelled"
        check_envelope(await desk.ask("PATCH", path, json={"notes": "late"}), 409, "conflict")
        check_envelope(await desk.ask("GET", f"{PLANS}/none"), 404, "not_found")
        assert desk.plot.terminal.sent == []

    served(tmp_path, scene)


def test_a_batch_makes_what_can_be_made_and_tells_of_the_rest(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        good, bad = desk.plan(conditions=NEVER), desk.plan(strategy_type="nonsense")
        answer = await desk.ask("POST", f"{PLANS}/batch", json={"plans": [good, bad, good]})
        assert answer.status_code == 207, answer.text
        assert [r["status"] for r in answer.json()["results"]] == [200, 422, 200]
        assert len((await desk.get(PLANS))["plans"]) == 2
        check_envelope(await desk.ask("POST", f"{PLANS}/batch", json={"plans": [bad]}), 422, "invalid_request")

    served(tmp_path, scene)


def test_the_status_tells_counts_and_that_the_loop_runs(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        await desk.ask("POST", PLANS, json=desk.plan(conditions=NEVER))
        await desk.plot.play(1)
        status = await desk.get("/auto-execution/status")
        assert status["running"] is True
        assert status["plans"]["pending"] == 1
        assert status["rounds"] >= 1
        assert (status["halted"], status["mode"]) == (False, "auto")
        names = {c["name"] for c in (await desk.get("/auto-execution/conditions"))["conditions"]}
        assert {"bos_bull", "price_near", "news_clear"} <= names

    served(tmp_path, scene)
