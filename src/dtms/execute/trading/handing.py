"""To whom what was opened, or changed hands, is handed: to the managers of this program, or to the DTMS server."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dtms.domain.actions import Intent
from dtms.domain.facts import Json
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.ports.store import Kept


class Letters(Protocol):
    """Registrations on their way to the DTMS server (``execute.handing.outbox``)."""

    def letter(self, ticket: int, body: Mapping[str, Json]) -> Kept:
        """Return what is to be kept of a registration, in the commit of what brings it about; then ``take`` it."""
        ...

    def take(self, letter: Kept) -> None:
        """Deliver what was kept."""
        ...

    def drop(self, ticket: int) -> None:
        """Deliver no more what was kept of a ticket, and is committed to be forgotten."""
        ...


class Taker(Protocol):
    """The managers of this program. Both methods return at once and never raise: what they begin is made good later."""

    def opened(self, intent: Intent, positions: Sequence[Position]) -> None:
        """Take up what an execution opened for the Universal manager; its entry in the registry is committed."""
        ...

    def changed_hands(self, ownership: Ownership) -> None:
        """Take up, or let go, a position whose entry in the registry was just committed."""
        ...


class NobodyTakes:
    """No manager is there: what is owed to one is taken up by whoever reads the registry next."""

    def opened(self, intent: Intent, positions: Sequence[Position]) -> None:
        """Leave it to the registry."""

    def changed_hands(self, ownership: Ownership) -> None:
        """Leave it to the registry."""
