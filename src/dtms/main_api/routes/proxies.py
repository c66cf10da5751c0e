"""What the DTMS server answers, passed on with its status: same body, same code; 503 when it does not answer."""

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from dtms.ports.peer import Peer
from dtms.server.correlation import correlation_id


class ProxyRoutes:
    """Pass questions on to the DTMS server."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def status(self, request: Request) -> Response:
        """Show the DTMS server's status."""
        return await self._pass_on(request, "/dtms/status")

    async def trade(self, request: Request, ticket: Annotated[str, Path(pattern=r"^[0-9]{1,19}$")]) -> Response:
        """Show a trade as the DTMS server does."""
        return await self._pass_on(request, f"/dtms/trade/{ticket}")

    async def actions(self, request: Request) -> Response:
        """Show what DTMS did."""
        return await self._pass_on(request, "/dtms/actions")

    async def _pass_on(self, request: Request, path: str) -> Response:
        answer = await self._peer.ask("GET", path, query=request.url.query, correlation_id=correlation_id(request))
        return Response(answer.body, status_code=answer.status, headers=dict(answer.headers))
