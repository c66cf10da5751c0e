"""History, explanations and actions: read back exactly as the journal has them."""

import asyncio

import pytest
from tests.server.double import START_MS, fact
from tests.server.past import MINUTE, lived
from tests.server.world import World, check_envelope

from dtms.domain.facts import FactKind, Json


def test_history_follows_score_state_stop_and_price(world: World) -> None:
    lived(world)
    history = asyncio.run(world.get("/dtms/trade/42/history"))
    line = [(p["timestamp"][11:16], p["score"], p["state"], p["stop"], p["price"]) for p in history["points"]]
    assert line == [
        ("16:45", 1.0, "HEALTHY", 1.09, 1.1),
        ("16:55", -4.0, "HEALTHY", 1.09, 1.095),
        ("16:55", -4.0, "WARNING_L1", 1.09, 1.095),
        ("16:55", -4.0, "WARNING_L1", 1.092, None),
        ("17:05", -6.0, "WARNING_L1", 1.092, 1.094),
        ("17:05", -6.0, "WARNING_L2", 1.092, 1.095),
    ]
    assert [t["to_state"] for t in history["transitions"]] == ["WARNING_L1", "WARNING_L2"]
    assert [a["action_type"] for a in history["actions"]] == ["tighten_stop"]
    assert [n["details"]["rail"] for n in history["not_done"]] == ["spread"]


def test_the_stop_of_a_hedge_is_not_the_stop_of_the_trade(world: World) -> None:
    lived(world)
    world.store.add(
        fact(FactKind.ACTION, 42, START_MS + 25 * MINUTE, action="tighten_stop", success=True, stop=1.2, position=77)
    )
    world.store.add(
        fact(FactKind.ACTION, 42, START_MS + 26 * MINUTE, action="tighten_stop", success=False, stop=1.3, position=42)
    )
    history = asyncio.run(world.get("/dtms/trade/42/history"))
    assert history["points"][-1]["stop"] == 1.092


@pytest.mark.parametrize("stop", [1.093, None])
def test_a_stop_that_somebody_changed_is_the_stop_from_then_on(world: World, stop: float | None) -> None:
    lived(world)
    at = START_MS + 25 * MINUTE
    world.store.add(fact(FactKind.CHANGED_OUTSIDE, 42, at, stop={"was": 1.092, "is": stop}, alert="WARNING"))
    world.store.add(fact(FactKind.CHANGED_OUTSIDE, 42, at + MINUTE, position=77, stop=1.2))
    history = asyncio.run(world.get("/dtms/trade/42/history"))
    assert history["points"][-1]["stop"] == stop


def test_explain_breaks_the_present_score_down_in_words(world: World) -> None:
    lived(world)
    now = asyncio.run(world.get("/dtms/trade/42/explain"))
    assert (now["past"], now["state"], now["score"]) == (False, "WARNING_L2", -6.0)
    assert [(x["layer"], x["stance"]) for x in now["layers"]] == [
        ("structure", "against the trade"),
        ("momentum", "against the trade"),
    ]
    assert now["absent"] == ["flow"]
    assert "hedge_at -7.00" in now["summary"]
    assert any("break down at 1.0950" in words for words in now["words"])


@pytest.mark.parametrize(
    ("at", "state", "score"),
    [
        ("2025-09-26T16:50:00Z", "HEALTHY", 1.0),
        ("2025-09-26T17:50:00+01:00", "HEALTHY", 1.0),
        ("2025-09-26T17:50:00%2B01:00", "HEALTHY", 1.0),
        ("2025-09-26T16:56:00Z", "WARNING_L1", -4.0),
        (str((START_MS + 11 * MINUTE) / 1000), "WARNING_L1", -4.0),
        ("2025-09-26T17:06:00Z", "WARNING_L2", -6.0),
        ("2025-09-01T00:00:00Z", "HEALTHY", None),
    ],
)
def test_explain_knows_any_moment_of_the_past(world: World, at: str, state: str, score: float | None) -> None:
    lived(world)
    then = asyncio.run(world.get(f"/dtms/trade/42/explain?at={at}"))
    assert (then["past"], then["state"], then["score"]) == (True, state, score)


def test_explain_uses_the_thresholds_of_that_moment(world: World) -> None:
    lived(world)
    for minute, old, new in ((5, -3.0, -3.2), (15, -3.2, -3.5)):
        change: dict[str, Json] = {"protection.warn_l1": {"old": old, "new": new}, "rails.readds_max": {"old": 1}}
        world.store.add(fact(FactKind.SETTINGS_CHANGED, None, START_MS + minute * MINUTE, **change))

    async def warn_l1(minute: int) -> float:
        at = (START_MS + minute * MINUTE) / 1000
        return float((await world.get(f"/dtms/trade/42/explain?at={at}"))["thresholds"]["warn_l1"])

    assert [asyncio.run(warn_l1(minute)) for minute in (1, 10, 20)] == [-3.0, -3.2, -3.5]


@pytest.mark.parametrize(
    "at", ["yesterday", "nan", "-1", "1e400", "2025-09-26", "2025-09-26T16:45:00", "9" * 400, "%00"]
)
@pytest.mark.parametrize(("path", "name"), [("/dtms/trade/42/explain", "at"), ("/dtms/actions", "since")])
def test_a_moment_that_is_none_is_refused(world: World, path: str, name: str, at: str) -> None:
    lived(world)
    body = check_envelope(asyncio.run(world.ask("GET", f"{path}?{name}={at}")), 422, "invalid_request")
    assert body["details"]["fields"][0]["field"] == name


def test_actions_are_the_newest_ones_newest_last(world: World) -> None:
    for number in range(25):
        details: dict[str, Json] = {"action": "tighten_stop", "success": number % 2 == 0, "stop": 1.0 + number}
        world.store.add(fact(FactKind.ACTION, 1 + number % 2, START_MS + number * MINUTE, **details))
        world.store.add(fact(FactKind.HELD, 1, START_MS + number * MINUTE))

    async def run() -> None:
        last = await world.get("/dtms/actions")
        assert [a["details"]["stop"] for a in last["action_history"]] == [1.0 + n for n in range(15, 25)]
        assert last["total_actions"] == 25
        entry = last["action_history"][-1]
        assert (entry["action_type"], entry["ticket"], entry["success"]) == ("tighten_stop", 1, True)
        assert entry["timestamp"] == "2025-09-26T17:09:00.000Z"
        seen: list[float] = []
        cursor: int | None = 0
        while cursor is not None:
            page = await world.get(f"/dtms/actions?ticket=2&limit=5&cursor={cursor}")
            assert page["total_actions"] == 12
            seen += [a["details"]["stop"] for a in page["action_history"]]
            cursor = page["next_cursor"]
        assert seen == [1.0 + n for n in range(1, 25, 2)]
        since = await world.get("/dtms/actions?since=2025-09-26T17:08:00Z")
        assert len(since["action_history"]) == 2

    asyncio.run(run())
