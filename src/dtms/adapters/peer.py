"""The DTMS server over HTTP: one pool of connections, short limits, and no guess when it does not answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from dtms.domain.errors import PeerAway
from dtms.domain.facts import Json
from dtms.domain.trade import State
from dtms.ports.clock import Clock
from dtms.ports.peer import Answered

ASK_S: Final = 5.0
STATE_S: Final = 2.0
AGAIN_S: Final = 1.0
TICKETS_AT_ONCE: Final = 400
PASSED_ON: Final = ("content-type", "retry-after", "x-correlation-id", "idempotent-replayed")
_NAME: Final = {"X-Client-Name": "dtms-main"}


class HttpPeer:
    """Asks the DTMS server at ``url``; nothing is opened before the first question."""

    def __init__(self, url: str, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._clock = clock
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            trust_env=False,
            timeout=ASK_S,
            limits=httpx.Limits(max_connections=10, max_keepalive_connections=5),
            headers=_NAME,
            transport=transport,
        )

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> Answered:
        answer = await self._send(method, f"{path}?{query}" if query else path, ASK_S, body, correlation_id)
        headers = {name: answer.headers[name] for name in PASSED_ON if name in answer.headers}
        return Answered(status=answer.status_code, body=answer.content, headers=headers)

    async def states(self, tickets: Sequence[int]) -> Mapping[int, State]:
        found: dict[int, State] = {}
        for start in range(0, len(tickets), TICKETS_AT_ONCE):
            found |= await self._states(tickets[start : start + TICKETS_AT_ONCE])
        return found

    async def close(self) -> None:
        await self._client.aclose()

    async def _states(self, tickets: Sequence[int]) -> dict[int, State]:
        path = f"/dtms/trades?limit={TICKETS_AT_ONCE}&tickets={','.join(map(str, tickets))}"
        try:
            answer = await self._send("GET", path, STATE_S)
        except PeerAway:
            await self._clock.sleep_machine(AGAIN_S)
            answer = await self._send("GET", path, STATE_S)
        if answer.status_code != httpx.codes.OK:
            raise PeerAway(f"DTMS answered {answer.status_code} when asked for states")
        return _states_in(answer)

    async def _send(
        self,
        method: str,
        path: str,
        limit_s: float,
        body: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> httpx.Response:
        named = {"X-Correlation-ID": correlation_id} if correlation_id else {}
        content: dict[str, Any] = {} if body is None else {"json": dict(body)}
        try:
            return await self._client.request(method, path, headers=named, timeout=limit_s, **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerAway(f"DTMS does not answer: {str(error) or type(error).__name__}") from error


def _states_in(answer: httpx.Response) -> dict[int, State]:
    try:
        body = answer.json()
        if body.get("stale"):
            raise PeerAway("DTMS is not ready: its states are of an earlier time")
        return {int(trade["ticket"]): State(trade["state"]) for trade in body["trades"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PeerAway(f"what answers for DTMS is something else: {error}") from error
