"""Executions and changes: what a person or a program wants to be done at the broker."""

from typing import Final

from fastapi import Request
from pydantic import TypeAdapter
from starlette.responses import Response

from dtms.execute.trading.requests import Executed
from dtms.execute.trading.service import Trading
from dtms.main_api.bodies import CloseRequest, ExecuteRequest, ModifyRequest
from dtms.server.access import read_body
from dtms.server.answers import JsonAnswer
from dtms.server.correlation import correlation_id
from dtms.server.idempotency import receipt
from dtms.views.main import closed_view, executed_view, modified_view

UNKNOWN: Final = 202
"""Sent, and nobody can say yet what came of it: it is looked for, and never sent again."""
_EXECUTE: Final = TypeAdapter(ExecuteRequest)
_MODIFY: Final = TypeAdapter(ModifyRequest)
_CLOSE: Final = TypeAdapter(CloseRequest)


def _executed(done: Executed) -> JsonAnswer:
    return JsonAnswer(executed_view(done), status_code=UNKNOWN if done.unknown else 200)


class TradingRoutes:
    """The routes that send something to the broker."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading

    async def execute(self, request: Request) -> Response:
        """Open a position, or place a pending order; its success never depends on any registration."""
        body = await read_body(request, _EXECUTE)
        asked = body.execution(correlation_id(request))
        return _executed(await self._trading.execute(asked, receipt=receipt(request, _executed)))

    async def modify(self, request: Request) -> Response:
        """Set stop and target of a position."""
        body = await read_body(request, _MODIFY)
        done = await self._trading.modify(body.modification(correlation_id(request)))
        return JsonAnswer(modified_view(done), status_code=UNKNOWN if done.unknown else 200)

    async def close(self, request: Request) -> Response:
        """Close a position, or lots of it."""
        body = await read_body(request, _CLOSE)
        done = await self._trading.close(body.closing(correlation_id(request)))
        return JsonAnswer(closed_view(done), status_code=UNKNOWN if done.unknown else 200)
