"""Whether the main program is alive and ready, and what it is."""

from starlette.responses import Response

from dtms import __version__
from dtms.domain.facts import Json
from dtms.ports.clock import Clock
from dtms.server.answers import ErrorCode, JsonAnswer, Problem
from dtms.server.behind import Behind
from dtms.views.system import liveness_view, readiness_view, why_not_ready


class HealthRoutes:
    """Answer at every step of a start, and when nothing else does."""

    def __init__(self, program: Behind, clock: Clock) -> None:
        self._program = program
        self._clock = clock

    async def liveness(self) -> Response:
        """Tell whether the main program is ready: 200, else 503 with the reasons."""
        health = self._program.health()
        view = readiness_view(health, self._clock.wall_ms()) | liveness_view(health, self._clock.wall_ms())
        if not (health.recovered and health.ready):
            raise Problem(ErrorCode.NOT_READY, why_not_ready(health), extra=view)
        return JsonAnswer(view)

    def root(self) -> dict[str, Json]:
        """Return name, version and status."""
        health = self._program.health()
        return {
            "name": "dtms main API",
            "version": __version__,
            "status": "ready" if health.ready else health.step.value,
            "summary": "The main API is ready." if health.ready else why_not_ready(health),
            "docs": "/docs",
            "openapi": "/openapi.json",
        }

    async def root_answer(self) -> Response:
        """Show name, version and status."""
        return JsonAnswer(self.root())
