"""Every route of the main API: method, path, when it answers, what it takes and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtms import wire
from dtms.execute.trading.service import Trading
from dtms.main_api import bodies
from dtms.main_api.routes.books import BookRoutes
from dtms.main_api.routes.health import HealthRoutes
from dtms.main_api.routes.proxies import ProxyRoutes
from dtms.main_api.routes.registry import RegistryRoutes
from dtms.main_api.routes.trading import TradingRoutes
from dtms.ports.clock import Clock
from dtms.ports.peer import Peer
from dtms.server.access import Access
from dtms.server.behind import Behind
from dtms.server.routes.pages import PageRoutes, read_pages
from dtms.server.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the routes work with."""

    program: Behind
    trading: Trading
    peer: Peer
    clock: Clock


def table(deps: Deps) -> Sequence[Row]:
    """Return the routes."""
    trading, registry, books = TradingRoutes(deps.trading), RegistryRoutes(deps.trading), BookRoutes(deps.trading)
    health, proxies = HealthRoutes(deps.program, deps.clock), ProxyRoutes(deps.peer)
    pages = PageRoutes(read_pages(), health)
    ready, recovered, always = Access.READY, Access.RECOVERED, Access.ALWAYS
    one, plain = "/trade-registry/{ticket}", bodies.PlainAnswer
    # fmt: off
    return (
        Row("POST", "/mt5/execute", trading.execute, ready, bodies.ExecuteAnswer, bodies.ExecuteRequest, (404,),
            others={202: bodies.ExecuteAnswer}),
        Row("POST", "/mt5/modify_position", trading.modify, ready, plain, bodies.ModifyRequest, (404,),
            others={202: plain}),
        Row("POST", "/mt5/close_position", trading.close, ready, plain, bodies.CloseRequest, (404,),
            others={202: plain}),
        Row("GET", one, registry.entry, recovered, bodies.RegistryAnswer, None, (422,)),
        Row("PUT", one, registry.change, ready, bodies.RegistryAnswer, bodies.OwnerRequest, (404,)),
        Row("POST", f"{one}/lease", registry.lease, ready, bodies.LeaseAnswer, bodies.LeaseRequest, (404,)),
        Row("DELETE", f"{one}/lease", registry.release, ready, plain, None, (409, 415, 422)),
        Row("GET", "/api/v1/account", books.account, ready, plain),
        Row("GET", "/api/v1/positions", books.positions, ready, plain, None, (422,)),
        Row("GET", "/api/v1/orders", books.orders, ready, plain, None, (422,)),
        Row("GET", "/api/v1/price/{symbol}", books.price, ready, plain, None, (404, 422)),
        Row("GET", "/api/v1/candles/{symbol}/{timeframe}", books.candles, ready, plain, None, (404, 422)),
        Row("GET", "/api/dtms/status", proxies.status, always, plain, None, (503,)),
        Row("GET", "/api/dtms/trade/{ticket}", proxies.trade, always, plain, None, (404, 422, 503)),
        Row("GET", "/api/dtms/actions", proxies.actions, always, plain, None, (422, 503)),
        Row("GET", "/health", health.liveness, always, wire.HealthAnswer, None, (503,)),
        Row("GET", "/", health.root_answer, always),
        Row("GET", "/docs", pages.docs, always),
        Row("GET", "/assets/{name}", pages.asset, always),
    )
    # fmt: on
