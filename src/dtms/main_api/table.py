"""Every route of the main API: method, path, when it answers, what it takes and what it returns."""

from collections.abc import Sequence
from dataclasses import dataclass

from dtms import wire
from dtms.execute.managing.managers import Managers
from dtms.execute.planning.service import Plans
from dtms.execute.trading.service import Trading
from dtms.main_api import bodies
from dtms.main_api import bodies_managers as more
from dtms.main_api.routes.books import BookRoutes
from dtms.main_api.routes.health import HealthRoutes
from dtms.main_api.routes.managers import ExitRoutes, UniversalRoutes
from dtms.main_api.routes.plans import PlanRoutes
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
    managers: Managers
    plans: Plans
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
        *_plans(PlanRoutes(deps.plans)),
        *_managers(UniversalRoutes(deps.managers), ExitRoutes(deps.managers)),
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


def _plans(plans: PlanRoutes) -> Sequence[Row]:
    ready, recovered, always = Access.READY, Access.RECOVERED, Access.ALWAYS
    every, one, answer = "/auto-execution/plans", "/auto-execution/plans/{plan_id}", more.PlanAnswer
    # fmt: off
    return (
        Row("POST", every, plans.create_plan, ready, answer, more.PlanRequest),
        Row("GET", every, plans.list_plans, recovered, more.PlansAnswer, None, (422,)),
        Row("POST", f"{every}/batch", plans.create_plans, ready, more.PlanBatchAnswer, more.PlanBatch,
            others={207: more.PlanBatchAnswer}),
        Row("GET", one, plans.plan, recovered, answer, None, (404, 422)),
        Row("PATCH", one, plans.change_plan, ready, answer, more.PlanChange, (404,)),
        Row("DELETE", one, plans.cancel_plan, ready, answer, None, (404, 409, 415, 422)),
        Row("GET", "/auto-execution/status", plans.plans_status, recovered, more.PlansStatusAnswer),
        Row("GET", "/auto-execution/conditions", plans.plan_conditions, always, more.ConditionsAnswer),
    )
    # fmt: on


def _managers(universal: UniversalRoutes, exits: ExitRoutes) -> Sequence[Row]:
    ready, recovered, always = Access.READY, Access.RECOVERED, Access.ALWAYS
    trades, one, managed = "/universal/trades", "/universal/trades/{ticket}", more.ManagedAnswer
    protection = "/mt5/intelligent_exits"
    # fmt: off
    return (
        Row("POST", trades, universal.manage_trade, ready, managed, more.UniversalRequest, (404,)),
        Row("GET", trades, universal.managed_trades, recovered, more.ManagedListAnswer),
        Row("GET", one, universal.managed_trade, recovered, managed, None, (404, 422)),
        Row("DELETE", one, universal.release_trade, ready, managed, None, (404, 409, 415, 422)),
        Row("GET", f"{one}/explain", universal.explain_trade, recovered, more.ExplainAnswer, None, (404, 422)),
        Row("GET", "/universal/strategies", universal.strategies, always, more.StrategiesAnswer),
        Row("GET", f"{protection}/status", exits.protected, recovered, more.ManagedListAnswer),
        Row("GET", f"{protection}/history/{{ticket}}", exits.protection_history, recovered, more.HistoryAnswer,
            errors=(422,)),
        Row("GET", f"{protection}/statistics", exits.protection_statistics, recovered, more.StatisticsAnswer),
        Row("POST", f"{protection}/{{ticket}}", exits.protect, ready, managed, more.ExitsRequest, (404,)),
        Row("DELETE", f"{protection}/{{ticket}}", exits.end_protection, ready, managed, None, (404, 409, 415, 422)),
    )
    # fmt: on
