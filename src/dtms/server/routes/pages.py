"""The pages, all of this origin: the overview at ``/``, the API's documentation at ``/docs``, and what they load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Protocol

from fastapi import Header
from fastapi import Path as PathParam
from starlette.responses import Response

from dtms.domain.facts import Json
from dtms.server.answers import ErrorCode, JsonAnswer, Problem

_FOLDER: Final = Path(__file__).parent.parent / "pages"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def read_pages() -> Mapping[str, bytes]:
    """Read every page and asset once, by name."""
    return {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.is_file()}


class Rooted(Protocol):
    """What tells a program's name, version and status."""

    def root(self) -> dict[str, Json]: ...


class PageRoutes:
    """Serves from memory."""

    def __init__(self, pages: Mapping[str, bytes], health: Rooted) -> None:
        self._pages = pages
        self._health = health

    async def root(self, accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
        """Show the overview to a browser; name, version and status to a program that accepts JSON alone."""
        if "application/json" in accept and "text/html" not in accept:
            return JsonAnswer(self._health.root(), headers={"Vary": "Accept"})
        return self._page("overview.html", "text/html")

    async def docs(self) -> Response:
        """Show the API's documentation, interactive."""
        return self._page("docs.html", "text/html")

    async def asset(self, name: Annotated[str, PathParam(max_length=64)]) -> Response:
        """Return a script or a style of the pages."""
        kind = _TYPES.get(Path(name).suffix)
        if name not in self._pages or kind is None:
            raise Problem(ErrorCode.NOT_FOUND, "There is nothing at this path.")
        return self._page(name, kind)

    def _page(self, name: str, media_type: str) -> Response:
        return Response(self._pages[name], media_type=media_type, headers=_HEADERS)
