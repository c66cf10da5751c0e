"""Sending a deal to a broker of which it is not known what it takes: filling after filling, with or without words.

After two refusals the same intent may go out again: the broker says for certain that it did not take the order, and
what was wrong is the filling, or the comment, alone. What it took is asked for first the next time.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dtms.adapters import retcodes
from dtms.ports.broker import Answer, SendResult

Request = dict[str, Any]
Post = Callable[[Request], Awaitable[SendResult]]
"""Pass one request on, once."""
Key = tuple[str, int, bool]
"""A symbol, the vendor's word for what is asked, and whether a position is closed."""


class DealSender:
    """Send deals and pending orders, and remember what was taken."""

    def __init__(self) -> None:
        self._fillings: dict[Key, int] = {}
        """What was taken last."""
        self._bare: set[Key] = set()
        """Where comments are refused."""

    async def send(self, requests: Sequence[Request], post: Post, *, is_close: bool) -> SendResult:
        """Post a request, given once for each filling in the order in which they are to be tried."""
        key = requests[0]["symbol"], requests[0]["action"], is_close
        known = self._fillings.get(key)
        first, *others = sorted(requests, key=lambda request: request["type_filling"] != known)
        filling, result = first["type_filling"], await self._commented(first, key, post)
        for other in others:
            if result.retcode != retcodes.INVALID_FILL:
                break
            filling, result = other["type_filling"], await self._commented(other, key, post)
        if result.answer is Answer.OK:
            self._fillings[key] = filling
        return result

    async def _commented(self, request: Request, key: Key, post: Post) -> SendResult:
        """Post a request, without its comment where the broker refuses comments."""
        bare = {name: value for name, value in request.items() if name != "comment"}
        if key in self._bare:
            return await post(bare)
        result = await post(request)
        if result.retcode == retcodes.INVALID_PARAMS and "comment" in result.message.lower():
            self._bare.add(key)
            return await post(bare)
        return result
