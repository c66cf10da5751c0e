"""What the main program asks of the DTMS server, in another process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dtms.domain.facts import Json
from dtms.domain.trade import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer as it came: status, body, and those headers that belong to it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Peer(Protocol):
    """The DTMS server. Every method raises ``PeerAway`` when no answer was had in time."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> Answered:
        """Ask once; ``query`` is passed on as it is."""
        ...

    async def states(self, tickets: Sequence[int]) -> Mapping[int, State]:
        """Read the states of trades; one that is not tracked is missing. Asks a second time after a second."""
        ...

    async def close(self) -> None: ...
