"""Sending a deal to a broker of which it is not known what it takes: filling after filling, with or without words.

After two refusals the same intent may go out again: the broker says for certain that it did not take the order, and
what was wrong is the filling, or the comment, alone. What it took is asked for first the next time.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dtms.adapters import retcodes
from dtms.ports.broker import Answer, Fence, SendResult

Request = dict[str, Any]
Post = Callable[[Request, Fence], Awaitable[SendResult]]
Key = tuple[str, bool]
"""A symbol, and whether a position is closed."""


class DealSender:
    """Send deals through ``post``, which sends one request once."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._fillings: dict[Key, int] = {}
        """What was taken last."""
        self._bare: set[Key] = set()
        """Where comments are refused."""

    async def send(self, requests: Sequence[Request], fence: Fence, *, is_close: bool) -> SendResult:
        """Send a deal, given once for each filling in the order in which they are to be tried."""
        key = requests[0]["symbol"], is_close
        known = self._fillings.get(key)
        first, *others = sorted(requests, key=lambda request: request["type_filling"] != known)
        filling, result = first["type_filling"], await self._commented(first, key, fence)
        for other in others:
            if result.retcode != retcodes.INVALID_FILL:
                break
            filling, result = other["type_filling"], await self._commented(other, key, fence)
        if result.answer is Answer.OK:
            self._fillings[key] = filling
        return result

    async def _commented(self, request: Request, key: Key, fence: Fence) -> SendResult:
        """Send a request, without its comment where the broker refuses comments."""
        bare = {name: value for name, value in request.items() if name != "comment"}
        if key in self._bare:
            return await self._post(bare, fence)
        result = await self._post(request, fence)
        if result.retcode == retcodes.INVALID_PARAMS and "comment" in result.message.lower():
            self._bare.add(key)
            return await self._post(bare, fence)
        return result
