"""The registry, ticket by ticket: who manages a position, who may change it now, and how that is changed."""

from typing import Annotated, Final

from fastapi import Query, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from dtms.execute.trading.service import Trading
from dtms.main_api.bodies import LeaseRequest, OwnerRequest
from dtms.server.access import read_body
from dtms.server.answers import JsonAnswer
from dtms.server.correlation import correlation_id
from dtms.server.params import TicketPath
from dtms.views.main import changed_view, entry_view, leased_view

_OWNER: Final = TypeAdapter(OwnerRequest)
_LEASE: Final = TypeAdapter(LeaseRequest)
HolderQuery = Annotated[str, Query(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:@-]+$")]
TokenQuery = Annotated[int, Query(ge=1, le=2**53)]
FreshQuery = Annotated[bool, Query(description="Read through the cache.")]


class RegistryRoutes:
    """The registry's routes."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading

    async def entry(self, ticket: TicketPath, fresh: FreshQuery = False) -> Response:
        """Show who manages a position; of one that nobody knows ``managed_by`` is empty."""
        return JsonAnswer(entry_view(await self._trading.entry(ticket, fresh=fresh)))

    async def change(self, request: Request, ticket: TicketPath) -> Response:
        """Claim, release or hand over a position, while its manager is the one expected."""
        body = await read_body(request, _OWNER)
        return JsonAnswer(changed_view(await self._trading.change_owner(body.change(ticket, correlation_id(request)))))

    async def lease(self, request: Request, ticket: TicketPath) -> Response:
        """Take the position's lease for 15 s, or renew it with its token."""
        body = await read_body(request, _LEASE)
        return JsonAnswer(leased_view(await self._trading.lease(ticket, body.holder, body.token)))

    async def release(self, ticket: TicketPath, holder: HolderQuery, token: TokenQuery) -> Response:
        """Give a lease back; one that is not held any more changes nothing."""
        await self._trading.release_lease(ticket, holder, token)
        return JsonAnswer({"success": True, "summary": f"The lease of {ticket} is given back.", "error": None})
