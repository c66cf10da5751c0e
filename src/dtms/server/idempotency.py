"""``Idempotency-Key`` on every POST: the answer of what was done is given again for 24 hours, and nothing done twice.

A key belongs to one method and path, and to one body. The answer of something that was done is kept in the commit of
its effect where it has one, so that a crash leaves both or neither. A refusal changed nothing, and its cause may pass:
its key stays bound to its body, but the request is decided anew. What ends with 5xx is not kept at all.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from dtms.domain.errors import StoreFailed
from dtms.domain.facts import Json
from dtms.execute.service import Receipt
from dtms.ports.clock import Clock
from dtms.ports.store import Kept, KeptKind, Store, Unit
from dtms.server.answers import RETRY_AFTER_S, ErrorCode, Problem
from dtms.server.behind import Behind
from dtms.server.errors import invalid, problem_of
from dtms.server.forms import is_form

HEADER: Final = "idempotency-key"
REPLAYED: Final = "Idempotent-Replayed"
PATTERN: Final = r"^[!-~]{1,128}$"
KEPT_MS: Final = 24 * 3600 * 1000
WAIT_S: Final = 30.0
_SCOPE_KEY: Final = "dtms.keeping"

T = TypeVar("T")
Handle = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Keeping:
    """One request that came with a key; ``is_kept`` once its answer was handed to the commit of its effect."""

    key: str
    content: str
    now_ms: int
    is_kept: bool = False

    def bound(self) -> Kept:
        """Return what binds the key to its body."""
        return self._kept({"content": self.content})

    def answered(self, response: Response) -> Kept:
        """Return what is kept of an answer."""
        text = bytes(response.body).decode("utf-8")
        return self._kept({"content": self.content, "status": response.status_code, "answer": text})

    def _kept(self, body: Mapping[str, Json]) -> Kept:
        return Kept(kind=KeptKind.ANSWER, key=self.key, body=body, at_ms=self.now_ms, expires_ms=self.now_ms + KEPT_MS)


def receipt(request: Request, show: Callable[[T], Response | None]) -> Receipt[T] | None:
    """Return how the answer is kept in the commit of what the request does; None when it came without a key.

    ``show`` returns the answer to a result, None for one that changed nothing.
    """
    keeping: Keeping | None = request.scope.get(_SCOPE_KEY)
    if keeping is None:
        return None

    def kept(result: T) -> Kept | None:
        response = show(result)
        keeping.is_kept = response is not None
        return None if response is None else keeping.answered(response)

    return kept


@dataclass(slots=True)
class _Turn:
    """Whose turn it is among the requests with one key, and how many hold or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    callers: int = 0


class Idempotency:
    """Answers a request that came before as it was answered then; lets requests with one key wait for each other."""

    def __init__(self, program: Behind, store: Store, clock: Clock) -> None:
        self._program = program
        self._store = store
        self._clock = clock
        self._turns: dict[str, _Turn] = {}

    async def around(self, request: Request, handle: Handle, *, whatever_the_store: bool) -> Response:
        """Handle a request once for its key; ``whatever_the_store`` does it without the key when that cannot be read.

        Raises:
            Problem: 422 for a key that is none, 409 for another body under it or one that is being answered for long.
            StoreFailed: when it cannot be told whether it was answered before.
        """
        key = _key_of(request)
        if key is None:
            return await handle(request)
        content = digest(await request.body(), form=is_form(request))
        async with self._turn(key):
            try:
                earlier = await self._store.kept(KeptKind.ANSWER, key)
            except StoreFailed:
                if whatever_the_store:
                    return await handle(request)
                raise
            if earlier:
                _refuse_another(earlier[0], content)
                if "status" in earlier[0].body:
                    return _replayed(earlier[0])
            keeping = Keeping(key, content, self._clock.wall_ms())
            request.scope[_SCOPE_KEY] = keeping
            return await self._once(request, handle, keeping)

    async def _once(self, request: Request, handle: Handle, keeping: Keeping) -> Response:
        try:
            response = await handle(request)
        except Exception as error:
            problem = problem_of(error)
            if problem is not None and problem.status < 500:
                await self._bind(keeping)
            raise
        if not keeping.is_kept and response.status_code < 300:
            await self._store.commit(Unit(keep=(keeping.answered(response),)))
        return response

    async def _bind(self, keeping: Keeping) -> None:
        """Keep which body a refused request had; a store that fails here takes nothing from the refusal."""
        try:
            await self._store.commit(Unit(keep=(keeping.bound(),)))
        except StoreFailed as error:
            self._program.note_store_failure(error)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        turn = self._turns.setdefault(key, _Turn())
        turn.callers += 1
        try:
            await self._wait(turn)
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.callers -= 1
            if turn.callers == 0:
                del self._turns[key]

    async def _wait(self, turn: _Turn) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                await turn.lock.acquire()
        except TimeoutError:
            message = "A request with this Idempotency-Key is still being answered."
            raise Problem(ErrorCode.CONFLICT, message, headers={"Retry-After": RETRY_AFTER_S}) from None


def _key_of(request: Request) -> str | None:
    """Return the key under which a request's answer is kept.

    Raises:
        Problem: 422 for a header that is no key.
    """
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1 or not re.fullmatch(PATTERN[1:-1], given[0]):
        message = "must be one key of 1 to 128 visible ASCII characters"
        raise invalid([{"loc": ("Idempotency-Key",), "msg": message, "type": "string_pattern_mismatch"}])
    return f"{request.method} {request.url.path} {given[0]}"


def digest(raw: bytes, *, form: bool) -> str:
    """Return a hash over what a body says: spaces, and the order of its keys, make no difference."""
    try:
        if form:
            text = json.dumps(sorted(parse_qsl(raw.decode("ascii"), keep_blank_values=True)))
        else:
            text = json.dumps(from_json(raw or b"{}"), sort_keys=True)
    except (ValueError, RecursionError):
        return sha256(b"raw" + raw).hexdigest()
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refuse_another(kept: Kept, content: str) -> None:
    if kept.body.get("content") != content:
        raise Problem(ErrorCode.CONFLICT, "This Idempotency-Key was used with another body within 24 hours.")


def _replayed(kept: Kept) -> Response:
    return Response(
        str(kept.body["answer"]),
        status_code=int(str(kept.body["status"])),
        media_type="application/json",
        headers={REPLAYED: "true"},
    )
