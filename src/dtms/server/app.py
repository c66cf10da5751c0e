"""The DTMS server's application, put together from its parts."""

import random
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from dtms import __version__
from dtms.config import Config
from dtms.execute.service import Service
from dtms.ports.clock import Clock
from dtms.ports.store import Store
from dtms.server import errors
from dtms.server.access import Gate, guarded
from dtms.server.answers import JsonAnswer
from dtms.server.correlation import MakeId, ulid
from dtms.server.edge import LOOPBACK, Edge
from dtms.server.idempotency import Idempotency
from dtms.server.openapi import describe
from dtms.server.records import Records
from dtms.server.reload import Reloader
from dtms.server.routes.deps import Deps
from dtms.server.routes.table import Row, table

_ABOUT = "The single authority that protects open MetaTrader 5 positions."


class App(FastAPI):
    """FastAPI inside the edge, so that its own refusals and failures pass the edge too."""

    make_id: MakeId
    hosts: frozenset[str] = LOOPBACK
    rows: tuple[Row, ...] = ()
    reloader: Reloader

    def build_middleware_stack(self) -> ASGIApp:
        return Edge(super().build_middleware_stack(), make_id=self.make_id, hosts=self.hosts)

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def create_app(service: Service, store: Store, clock: Clock, config: Config) -> App:
    """Build the application; nothing is started, read from the store or asked of the service."""
    app = App(
        title="dtms",
        version=__version__,
        description=_ABOUT,
        default_response_class=JsonAnswer,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    entropy = random.SystemRandom()
    app.make_id = lambda: ulid(clock.wall_ms(), entropy.getrandbits(80))
    app.hosts = LOOPBACK | {config.api.host.strip("[]").lower()}
    app.reloader = Reloader(config, service)
    errors.install(app, service)
    gate = Gate(service, Idempotency(service, store, clock))
    deps = Deps(service=service, store=store, clock=clock, records=Records(store), reloader=app.reloader)
    app.rows = tuple(table(deps))
    for row in app.rows:
        _add(app, row, gate)
    return app


def _add(app: App, row: Row, gate: Gate) -> None:
    app.router.add_api_route(
        row.path,
        row.endpoint,
        methods=[row.method],
        response_model=None,
        responses=row.responses,
        include_in_schema=row.answer is not None,
        route_class_override=guarded(gate, row.access, changes=row.method != "GET", forms=row.form is not None),
        generate_unique_id_function=lambda route: str(route.name),
    )
