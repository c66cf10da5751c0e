"""Asks the DTMS server for the states of its positions before its answers lapse, and answers from memory."""

from collections.abc import Callable, Collection
from typing import Final

import structlog

from dtms.decide.first_look import DtmsLook, Looks
from dtms.domain.errors import PeerAway, StoreFailed
from dtms.domain.facts import FactKind
from dtms.execute.journal import Journal
from dtms.ports.clock import Clock
from dtms.ports.peer import Peer
from dtms.ports.store import Store, Unit

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
"""Between two looks at what is due."""


class FirstLooks:
    """Keeps what DTMS says of the positions that ``wanted`` names: its own that somebody else protects as well."""

    def __init__(
        self, *, peer: Peer, store: Store, clock: Clock, journal: Journal, wanted: Callable[[], Collection[int]]
    ) -> None:
        self._peer = peer
        self._store = store
        self._clock = clock
        self._journal = journal
        self._wanted = wanted
        self._looks = Looks()
        self.questions = 0

    def look(self, ticket: int) -> DtmsLook:
        """Return what is known of DTMS's state of a position."""
        return self._looks.look(ticket, self._clock.machine_s())

    def invalidate(self, ticket: int) -> None:
        """Trust nothing that is known of a position: it moved."""
        self._looks.invalidate(ticket, self._clock.machine_s())

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            try:
                await self.ask()
            except StoreFailed as error:  # an alert that could not be kept; the loop that owns the store mends it
                log.error("silence_not_recorded", told=str(error))
            await self._clock.sleep_machine(EVERY_S)

    async def ask(self) -> None:
        """Ask once for all that is due."""
        wanted, asked_s = set(self._wanted()), self._clock.machine_s()
        self._looks.keep(wanted)
        due = self._looks.due(sorted(wanted), asked_s)
        if due:
            self.questions += 1
            try:
                self._looks.answered(due, await self._peer.states(due), asked_s)
            except PeerAway as error:
                self._looks.unanswered(asked_s)
                log.warning("dtms_states_unknown", told=str(error), tickets=len(due))
        if wanted and (told := self._looks.silence(self._clock.machine_s())) is not None:
            fact = self._journal.fact(FactKind.HANDED, told, details={"alert": "ERROR"})
            await self._store.commit(Unit(facts=(fact,)))
            log.error("dtms_silent", told=told)
