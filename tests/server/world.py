"""The application with everything behind it."""

from dataclasses import dataclass
from typing import Any

import httpx
from tests.server.double import ManualClock, MemoryService
from tests.server.memory_store import MemoryStore

from dtms.config import Config
from dtms.server.app import App, create_app

BASE = "http://127.0.0.1:8001"
JSON = {"Content-Type": "application/json"}
ENVELOPE = {"success", "error", "message", "summary", "details", "correlation_id"}


@dataclass
class World:
    service: MemoryService
    store: MemoryStore
    clock: ManualClock
    app: App

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request through ASGI; a POST is JSON unless headers say otherwise."""
        if method == "POST":
            options.setdefault("headers", JSON)
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, **options)

    async def get(self, path: str, **options: Any) -> dict[str, Any]:
        """Ask for what must be there."""
        answer = await self.ask("GET", path, **options)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def enable(self, ticket: int, **fields: Any) -> httpx.Response:
        body = {"ticket": ticket, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1, "stop_loss": 1.09} | fields
        return await self.ask("POST", "/dtms/trade/enable", json=body)


def make_world(config: Config | None = None) -> World:
    store, clock = MemoryStore(), ManualClock()
    service = MemoryService(store, clock)
    return World(service, store, clock, create_app(service, store, clock, config or Config()))


def check_envelope(answer: httpx.Response, status: int, error: str) -> dict[str, Any]:
    """Check that an answer is the envelope of a refusal, whole and consistent; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert body.keys() >= ENVELOPE
    assert body["success"] is False
    assert body["error"] == error
    assert body["message"]
    assert body["summary"] == body["message"]
    assert isinstance(body["details"], dict)
    assert body["correlation_id"] == answer.headers["x-correlation-id"]
    return body
