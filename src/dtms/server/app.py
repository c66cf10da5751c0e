"""An HTTP program's application, put together from its rows; and the DTMS server's."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from dtms import __version__
from dtms.config import Config
from dtms.config.model import Api, Main
from dtms.execute.service import Service
from dtms.ports.clock import Clock
from dtms.ports.store import Store
from dtms.server import errors
from dtms.server.access import Gate, guarded
from dtms.server.answers import JsonAnswer
from dtms.server.behind import Behind
from dtms.server.correlation import MakeId, ulid
from dtms.server.edge import LOOPBACK, Edge
from dtms.server.examples import examples
from dtms.server.idempotency import Idempotency
from dtms.server.openapi import describe
from dtms.server.records import Records
from dtms.server.reload import Reloader
from dtms.server.routes.deps import Deps
from dtms.server.routes.table import table
from dtms.server.rows import Row

BODIED = frozenset({"POST", "PUT", "PATCH"})
"""Methods that change something with a body. A DELETE has none, and no page of another origin can send one."""
_ABOUT = "The single authority that protects open MetaTrader 5 positions."


class App(FastAPI):
    """FastAPI inside the edge, so that its own refusals and failures pass the edge too."""

    make_id: MakeId
    hosts: frozenset[str] = LOOPBACK
    rows: tuple[Row, ...] = ()
    reloader: Reloader
    examples: Callable[[], Mapping[str, Any]]
    """By path: what the documentation shows."""

    def build_middleware_stack(self) -> ASGIApp:
        return Edge(super().build_middleware_stack(), make_id=self.make_id, hosts=self.hosts)

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = describe(self)
        return self.openapi_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an application is made on."""

    title: str
    about: str
    program: Behind
    store: Store
    clock: Clock
    config: Config
    at: Api | Main
    """Where it listens."""
    examples: Callable[[], Mapping[str, Any]]


def build_app(parts: Parts, rows: Callable[[Reloader], Sequence[Row]]) -> App:
    """Build an application of rows; nothing is started, read from the store or asked of the program."""
    app = App(
        title=parts.title,
        version=__version__,
        description=parts.about,
        default_response_class=JsonAnswer,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    entropy, clock = random.SystemRandom(), parts.clock
    app.make_id = lambda: ulid(clock.wall_ms(), entropy.getrandbits(80))
    app.hosts = LOOPBACK | {parts.at.host.strip("[]").lower()}
    app.reloader = Reloader(parts.config, parts.program)
    app.examples = parts.examples
    errors.install(app, parts.program)
    gate = Gate(parts.program, Idempotency(parts.program, parts.store, clock))
    app.rows = tuple(rows(app.reloader))
    for row in app.rows:
        _add(app, row, gate)
    return app


def create_app(service: Service, store: Store, clock: Clock, config: Config) -> App:
    """Build the DTMS server's application."""

    def rows(reloader: Reloader) -> Sequence[Row]:
        return table(Deps(service=service, store=store, clock=clock, records=Records(store), reloader=reloader))

    parts = Parts(
        title="dtms",
        about=_ABOUT,
        program=service,
        store=store,
        clock=clock,
        config=config,
        at=config.api,
        examples=examples,
    )
    return build_app(parts, rows)


def _add(app: App, row: Row, gate: Gate) -> None:
    app.router.add_api_route(
        row.path,
        row.endpoint,
        methods=[row.method],
        response_model=None,
        responses=row.responses,
        include_in_schema=row.answer is not None,
        route_class_override=guarded(gate, row.access, changes=row.method in BODIED, forms=row.form is not None),
        generate_unique_id_function=lambda route: str(route.name),
    )
