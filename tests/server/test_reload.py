"""Reloading while running, on request and when the file changes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.server.test_socket import RealClock
from tests.server.world import World, check_envelope, make_world

from dtms.config import Given, load


def configured(path: Path, content: dict[str, Any]) -> World:
    path.write_text(json.dumps(content), encoding="utf-8")
    return make_world(load(Given(path=path, required=True, environ={}, overrides={})))


def reloaded(world: World) -> Any:
    return asyncio.run(world.ask("POST", "/dtms/config/reload"))


def test_changed_settings_reach_the_engine_with_old_and_new(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    world = configured(path, {})
    path.write_text(json.dumps({"protection": {"warn_l1": -4}, "api": {"port": 9000}}), encoding="utf-8")
    answer = reloaded(world)
    change = {"protection.warn_l1": {"old": -3.5, "new": -4.0}}
    assert answer.status_code == 200
    assert answer.json()["changes"] == change
    assert answer.json()["needs_restart"] == {"api.port": {"old": 8001, "new": 9000}}
    assert "restart is needed for api.port" in answer.json()["summary"]
    assert (world.service.settings.protection.warn_l1, world.service.changes) == (-4.0, change)
    assert world.service.asked_by == [answer.headers["x-correlation-id"]]
    assert reloaded(world).json()["changes"] == {}
    assert len(world.service.asked_by) == 1


def test_a_wrong_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    world = configured(path, {})
    path.write_text(json.dumps({"protection": {"warn_l1": -4, "warn_l2": "x"}}), encoding="utf-8")
    body = check_envelope(reloaded(world), 422, "invalid_request")
    assert "protection.warn_l2" in body["message"]
    assert world.service.asked_by == []
    assert world.service.settings.protection.warn_l1 == -3.5


def test_the_file_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtms.server.reload.WATCH_S", 0.02)
    path = tmp_path / "c.json"
    world = configured(path, {})

    async def main() -> None:
        applied = asyncio.Event()
        apply = world.service.apply_settings

        async def applying(*arguments: Any) -> None:
            await apply(*arguments)
            applied.set()

        monkeypatch.setattr(world.service, "apply_settings", applying)
        watching = asyncio.create_task(world.app.reloader.watch(RealClock()))
        await asyncio.sleep(0.1)
        path.write_text("{", encoding="utf-8")
        await asyncio.sleep(0.2)
        assert not watching.done()
        path.write_text(json.dumps({"rails": {"readds_max": 0}}), encoding="utf-8")
        async with asyncio.timeout(5):
            await applied.wait()
        assert world.service.settings.rails.readds_max == 0
        watching.cancel()

    asyncio.run(main())
