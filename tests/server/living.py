"""The application on the engine itself: real store and registrar, simulated terminal, virtual time, over ASGI."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from tests.server.world import BASE, JSON

from dtms.adapters.links import LocalLink
from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.config import Config
from dtms.domain.errors import BrokerUnavailable, StoreFailed
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode
from dtms.execute.engine import Engine, EngineOptions
from dtms.replay import MAGIC_PREFIX, Stage, replay_settings, stage
from dtms.server.app import App, create_app
from dtms.terminal.gateway import Gateway
from dtms.terminal.simulated.config import load_config

POLL_MS = 1_000
FIRST = 100_001
"""The ticket of the first position that is opened."""
SYMBOL = {"name": "EURUSD.m", "like": "EURUSD", "recording": "shipped:EURUSD_H1_2017"}
SETTINGS = replay_settings(poll_ms=POLL_MS)
STORE_CALLS = ("commit", "trade", "trades", "facts", "evaluations", "intents", "kept", "load", "count_facts", "reopen")


def opening(at: str, side: str = "BUY", **known: Any) -> dict[str, Any]:
    """Describe a position that its owner opens on 2017-09-05, at a time ``HH:MM:SS``."""
    name = known.pop("name", f"{at} {side}")
    act = {"at": f"2017-09-05T{at}Z", "kind": "open", "name": name, "symbol": "EURUSD.m", "side": side, "lots": 0.2}
    return act | {"sl": {"atr": 3}} | known


@dataclass(slots=True)
class Living:
    """One terminal and one store, and the servers that follow each other on them, from 10:00 on."""

    url: str
    on: Stage
    app: App
    count: int = 1
    _call: Any = None

    @classmethod
    async def begin(cls, folder: Path, actors: Sequence[dict[str, Any]]) -> "Living":
        """Start the first server."""
        url = f"sqlite:///{(folder / 'store.db').as_posix()}"
        config = load_config({"start": "2017-09-05T10:00Z", "symbols": [SYMBOL], "actors": list(actors)})
        on = stage(config, settings=SETTINGS, store_url=url)
        lives = cls(url, on, app_of(on))
        await on.engine.start()
        return lives

    async def crash(self, away_s: float = 0.0) -> None:
        """Drop everything where it stands, and start another server on the same store some time later."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(away_s)
        self.count += 1
        clock = self.on.clock
        gateway = Gateway(self.on.terminal, instance=self.count, now=clock.machine_s, requests_per_day=1_000_000)
        broker = Mt5Broker(LocalLink(gateway), clock, magic_prefix=MAGIC_PREFIX)
        store = SqlStore(self.url, clock, inline=True)
        options = EngineOptions(holder=f"replay:{self.count}:0", mode=Mode.AUTO)
        engine = Engine(broker=broker, store=store, clock=clock, settings=SETTINGS, options=options)
        self.on = replace(self.on, gateway=gateway, broker=broker, store=store, engine=engine)
        self.app = app_of(self.on)
        await engine.start()

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request; a POST is JSON unless headers say otherwise."""
        if method == "POST":
            options["headers"] = JSON | options.get("headers", {})
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=None) as client:
            return await client.request(method, path, **options)

    async def enable(self, ticket: int = FIRST, key: str | None = None, **fields: Any) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.ask("POST", "/dtms/trade/enable", json={"ticket": ticket} | fields, headers=headers)

    async def post(self, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.ask("POST", path, json=body if body is not None else {}, headers=headers)

    async def get(self, path: str) -> Any:
        """Ask for what must be there."""
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def facts(self, kind: FactKind) -> list[Fact]:
        return list(await self.on.store.facts(kinds=frozenset({kind.value}), limit=1000))

    def offline(self) -> None:
        """Take the gateway away, until ``online``; the market and its people go on."""
        link: Any = self.on.broker._link
        self._call = link.call

        async def gone(_: object) -> Any:
            raise BrokerUnavailable("the gateway does not answer")

        link.call = gone

    def online(self) -> None:
        link: Any = self.on.broker._link
        link.call = self._call

    def control(self, message: dict[str, Any]) -> Any:
        simulated: Any = self.on.terminal
        return simulated.simulation.control(message)


def app_of(on: Stage) -> App:
    return create_app(on.engine, on.store, on.clock, Config())


class BrokenStore:
    """Makes calls of a store fail, and lets them through again."""

    def __init__(self, store: SqlStore, *calls: str) -> None:
        self._store: Any = store
        self._calls = {name: getattr(store, name) for name in calls or STORE_CALLS}

    def __enter__(self) -> "BrokenStore":
        async def fail(*_: object, **__: object) -> Any:
            raise StoreFailed("disk I/O error on /var/secret/path.db")

        for name in self._calls:
            setattr(self._store, name, fail)
        return self

    def __exit__(self, *_: object) -> None:
        for name, call in self._calls.items():
            setattr(self._store, name, call)
