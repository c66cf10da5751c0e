"""Every route of the DTMS server: method, path, when it answers, what it takes and what it returns."""

from collections.abc import Sequence

from dtms import wire
from dtms.server.access import Access
from dtms.server.forms import EnableForm
from dtms.server.routes.deps import Deps
from dtms.server.routes.journal import JournalRoutes
from dtms.server.routes.pages import PageRoutes, read_pages
from dtms.server.routes.registering import RegisteringRoutes
from dtms.server.routes.system import HealthRoutes, SystemRoutes
from dtms.server.routes.trades import TradeRoutes
from dtms.server.rows import Row


def table(deps: Deps) -> Sequence[Row]:
    """Return the routes, the busiest first, because they are tried in order."""
    registering, trades, journal = RegisteringRoutes(deps), TradeRoutes(deps), JournalRoutes(deps)
    health, system = HealthRoutes(deps), SystemRoutes(deps)
    pages = PageRoutes(read_pages(), health)
    ready, recovered, always = Access.READY, Access.RECOVERED, Access.ALWAYS
    one = "/dtms/trade/{ticket}"
    # fmt: off
    return (
        Row("POST", "/dtms/trade/enable", registering.enable, ready, wire.EnableAnswer, wire.EnableRequest, (404,),
            form=EnableForm, others={202: wire.PendingAnswer}),
        Row("GET", "/dtms/trade/enable", registering.posted_only, always),
        Row("POST", "/dtms/trades/enable", registering.enable_all, ready, wire.BatchAnswer, wire.BatchRequest, (404,),
            others={202: wire.BatchAnswer, 207: wire.BatchAnswer}),
        Row("GET", one, trades.trade, recovered, wire.TradeAnswer, None, (404, 422)),
        Row("GET", "/dtms/trades", trades.trades, recovered, wire.TradesAnswer, None, (422,)),
        Row("POST", f"{one}/disable", registering.disable, ready, wire.DisableAnswer, wire.DisableRequest, (404,)),
        Row("GET", f"{one}/history", journal.history, recovered, wire.HistoryAnswer, None, (404, 422)),
        Row("GET", f"{one}/explain", journal.explain, recovered, wire.ExplainAnswer, None, (404, 422)),
        Row("GET", "/dtms/actions", journal.actions, recovered, wire.ActionsAnswer, None, (422,)),
        Row("GET", "/health", health.liveness, always, wire.HealthAnswer, None, (503,)),
        Row("GET", "/dtms/health", health.readiness, always, wire.ReadinessAnswer, None, (500, 503)),
        Row("GET", "/dtms/monitoring/health", health.monitoring, always, wire.MonitoringAnswer, None, (503,)),
        Row("GET", "/dtms/status", system.status, recovered, wire.StatusAnswer),
        Row("GET", "/dtms/engine", system.engine, recovered, wire.EngineAnswer),
        Row("POST", "/dtms/halt", system.halt, always, wire.ControlAnswer, wire.HaltRequest, (503,)),
        Row("POST", "/dtms/resume", system.resume, recovered, wire.ControlAnswer, wire.EmptyRequest),
        Row("POST", "/dtms/mode", system.mode, recovered, wire.ControlAnswer, wire.ModeRequest, (404,)),
        Row("POST", "/dtms/initialize", system.initialize, recovered, wire.StatusAnswer, wire.EmptyRequest, (500,)),
        Row("POST", "/dtms/config/reload", system.reload, recovered, wire.ReloadAnswer, wire.EmptyRequest),
        Row("GET", "/", pages.root, always),
        Row("GET", "/docs", pages.docs, always),
        Row("GET", "/assets/{name}", pages.asset, always),
    )
    # fmt: on
