"""Ways to the gateway: the object in this process, or the program behind a socket.

A link raises ``BrokerUnavailable`` when the request certainly did not go out, and ``OutcomeUnknown`` when it may have
and no answer came. It never sends a request a second time.
"""

from collections.abc import Mapping
from typing import Any, Protocol

Answer = Mapping[str, Any]


class Link(Protocol):
    """A way to the gateway."""

    async def call(self, request: Mapping[str, Any]) -> Answer:
        """Pass one request and return its answer.

        Raises:
            BrokerUnavailable: when it was certainly not passed on.
            OutcomeUnknown: when it was passed on and no answer came.
        """
        ...


class Handles(Protocol):
    """A gateway, as a link in the same process sees it."""

    def handle(self, request: dict[str, Any]) -> dict[str, Any]: ...


class LocalLink:
    """Call a gateway object in this process, at once, without a thread."""

    def __init__(self, gateway: Handles) -> None:
        self._gateway = gateway

    async def call(self, request: Mapping[str, Any]) -> Answer:
        return self._gateway.handle(dict(request))
