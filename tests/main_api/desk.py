"""The main API with everything behind it: the loop, plans and trading on the simulated terminal, over ASGI."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.planning.plot import Plot, played
from tests.server.world import JSON
from tests.trading.doubles import Away

from dtms.config import Config
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Json
from dtms.execute.managing.managers import Managers
from dtms.execute.service import Health
from dtms.main_api.app import create_main_app
from dtms.main_api.table import Deps
from dtms.server.app import App
from dtms.settings import Settings

BASE = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Program:
    """The managers as the HTTP parts see them."""

    managers: Managers

    def health(self) -> Health:
        return self.managers.health()

    def note_store_failure(self, error: StoreFailed) -> None:
        self.managers.note_store_failure(error)

    async def apply_settings(self, settings: Settings, changes: Mapping[str, Json], correlation_id: str | None) -> None:
        self.managers.use(settings)


def app_of(plot: Plot) -> App:
    """Build the main API around one life of the program."""
    deps = Deps(
        program=Program(plot.managers),
        trading=plot.trading,
        managers=plot.managers,
        plans=plot.plans,
        peer=Away(),
        clock=plot.clock,
    )
    return create_main_app(deps, plot.store, Config())


@dataclass(slots=True)
class Desk:
    """One life of the program, and its application."""

    plot: Plot
    app: App

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request; what changes something is JSON."""
        if method != "GET":
            options["headers"] = {**JSON, **options.get("headers", {})}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            return await client.request(method, path, **options)

    async def get(self, path: str) -> dict[str, Any]:
        """Ask for what must be there."""
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert body["success"] is True
        assert body["summary"]
        assert body["error"] is None
        return body

    def plan(self, side: str = "BUY", **changes: Any) -> dict[str, Any]:
        """Write a plan that is due at once."""
        draft = self.plot.draft(side)
        body = {
            "symbol": draft.symbol,
            "direction": side,
            "entry": draft.entry,
            "stop_loss": draft.stop_loss,
            "take_profit": draft.take_profit,
            "volume": 0.1,
            "tolerance": 50.0,
        }
        return {name: value for name, value in (body | changes).items() if value is not ...}


def served(folder: Path, scene: Callable[[Desk], Awaitable[None]], **known: Any) -> None:
    """Play a scene over the main API."""

    async def inside(plot: Plot) -> None:
        await scene(Desk(plot, app_of(plot)))

    played(folder, inside, **known)
