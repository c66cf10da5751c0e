"""What stands around the trading under test: a peer that is away, a slow link, and who takes up what is handed over."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dtms.adapters.links import LocalLink
from dtms.domain.actions import Intent
from dtms.domain.errors import PeerAway
from dtms.domain.owners import Ownership
from dtms.domain.position import Position


class Away:
    """A DTMS server that does not answer."""

    async def ask(self, method: str, path: str, **_: Any) -> Any:
        raise PeerAway("nobody listens")

    async def states(self, tickets: Sequence[int]) -> Any:
        raise PeerAway("nobody listens")

    async def close(self) -> None:
        """Close nothing."""


class Slow:
    """A link over which every call takes a moment, so that what is asked at once meets."""

    def __init__(self, link: LocalLink) -> None:
        self._link = link

    async def call(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(0.002)
        return await self._link.call(request)


@dataclass(slots=True)
class Noting:
    """Remembers what it was to take up."""

    taken: list[tuple[Intent, tuple[Position, ...]]] = field(default_factory=list)
    changed: list[Ownership] = field(default_factory=list)

    def opened(self, intent: Intent, positions: Sequence[Position]) -> None:
        self.taken.append((intent, tuple(positions)))

    def changed_hands(self, ownership: Ownership) -> None:
        self.changed.append(ownership)
