"""Health, status, and the controls of the whole system."""

from typing import Final

from fastapi import Request
from pydantic import TypeAdapter
from starlette.responses import Response

from dtms import __version__
from dtms.domain.facts import Json
from dtms.domain.trade import Mode
from dtms.execute.service import Receipt, Switches
from dtms.server.access import read_body
from dtms.server.answers import ErrorCode, JsonAnswer, Problem
from dtms.server.correlation import correlation_id
from dtms.server.idempotency import receipt
from dtms.server.routes.deps import Deps
from dtms.views.system import (
    engine_view,
    is_late,
    liveness_view,
    monitoring_view,
    readiness_view,
    status_view,
    status_words,
    why_not_ready,
)
from dtms.wire import EmptyRequest, HaltRequest, ModeRequest

_HALT: Final = TypeAdapter(HaltRequest)
_MODE: Final = TypeAdapter(ModeRequest)
_EMPTY: Final = TypeAdapter(EmptyRequest)


class HealthRoutes:
    """Answer at every step of a start, and when nothing else does."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def liveness(self) -> Response:
        """Tell whether DTMS is alive and protecting."""
        health = self._deps.service.health()
        view = liveness_view(health, self._deps.clock.wall_ms())
        if not health.ready:
            raise Problem(ErrorCode.NOT_READY, why_not_ready(health), extra=view)
        return JsonAnswer(view)

    async def readiness(self) -> Response:
        """Tell whether DTMS is ready: 200, or 503 with the reasons, or 500 when initialisation failed."""
        health = self._deps.service.health()
        view = readiness_view(health, self._deps.clock.wall_ms())
        if health.failure is not None:
            raise Problem(ErrorCode.INITIALIZATION_FAILED, why_not_ready(health), extra=view)
        if not (health.recovered and health.ready):
            raise Problem(ErrorCode.NOT_READY, why_not_ready(health), extra=view)
        return JsonAnswer(view)

    async def monitoring(self) -> Response:
        """Show the monitoring loop; 503 when it is dead or later than 3 intervals."""
        monitoring = self._deps.service.monitoring()
        view = monitoring_view(monitoring, self._deps.clock.wall_ms())
        if is_late(monitoring):
            state = f"late by {monitoring.age_s:.1f} s" if monitoring.alive else "not running"
            raise Problem(ErrorCode.NOT_READY, f"The monitoring loop is {state}.", extra=view)
        return JsonAnswer(view)

    def root(self) -> dict[str, Json]:
        """Return name, version and status."""
        health = self._deps.service.health()
        return {
            "name": "dtms",
            "version": __version__,
            "status": "ready" if health.ready else health.step.value,
            "summary": status_words(self._deps.service.status(), health) if health.ready else why_not_ready(health),
            "docs": "/docs",
            "openapi": "/openapi.json",
        }


class SystemRoutes:
    """Status and controls."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def status(self) -> Response:
        """Show the system's status."""
        return JsonAnswer(self._status())

    async def engine(self) -> Response:
        """Show when each active trade was last looked at."""
        service = self._deps.service
        stale = not service.health().ready
        return JsonAnswer(engine_view(service.monitoring(), service.live_trades(), stale=stale))

    async def halt(self, request: Request) -> Response:
        """Stop all actions at once; survives restarts."""
        body = await read_body(request, _HALT)
        summary = "All actions are stopped until resumed by hand."
        await self._deps.service.halt(body.reason, correlation_id(request), _kept(request, summary))
        return self._controls(summary)

    async def resume(self, request: Request) -> Response:
        """Lift the kill switch."""
        await read_body(request, _EMPTY)
        summary = "The kill switch is off; actions are possible again."
        await self._deps.service.resume(correlation_id(request), _kept(request, summary))
        return self._controls(summary)

    async def mode(self, request: Request) -> Response:
        """Set the mode of the account, or of one trade."""
        body = await read_body(request, _MODE)
        whose = "The account" if body.ticket is None else f"Ticket {body.ticket}"
        summary = f"{whose} is in {body.mode} mode."
        kept = _kept(request, summary)
        await self._deps.service.set_mode(Mode(body.mode), body.ticket, correlation_id(request), kept)
        return self._controls(summary)

    async def initialize(self, request: Request) -> Response:
        """See to it that the engine runs; never builds a second one."""
        await read_body(request, _EMPTY)
        await self._deps.service.initialize()
        health = self._deps.service.health()
        if health.failure is not None:
            raise Problem(ErrorCode.INITIALIZATION_FAILED, why_not_ready(health))
        return JsonAnswer(self._status())

    async def reload(self, request: Request) -> Response:
        """Read the configuration again: refused as a whole when any part is wrong."""
        await read_body(request, _EMPTY)
        result = await self._deps.reloader.reload(correlation_id(request))
        waiting = f" A restart is needed for {', '.join(result.needs_restart)}." if result.needs_restart else ""
        changed = f"{len(result.changes)} settings changed." if result.changes else "No setting changed."
        return JsonAnswer(
            {
                "success": True,
                "summary": f"{changed}{waiting}",
                "changes": dict(result.changes),
                "needs_restart": dict(result.needs_restart),
                "error": None,
            }
        )

    def _status(self) -> dict[str, Json]:
        return status_view(self._deps.service.status(), self._deps.service.health())

    def _controls(self, summary: str) -> Response:
        status = self._deps.service.status()
        return _switched(summary, Switches(halted=status.halted, mode=status.mode))


def _kept(request: Request, summary: str) -> Receipt[Switches] | None:
    return receipt(request, lambda switches: _switched(summary, switches))


def _switched(summary: str, switches: Switches) -> JsonAnswer:
    return JsonAnswer(
        {"success": True, "summary": summary, "halted": switches.halted, "mode": switches.mode.value, "error": None}
    )
