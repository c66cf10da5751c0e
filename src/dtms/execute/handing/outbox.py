"""Registrations on their way to the DTMS server: kept in the store until it has answered, whatever dies meanwhile.

Nobody waits for a delivery. Each ticket's is tried until DTMS has it, says that it is somebody else's, or the position
is gone; with pauses that grow while DTMS does not answer, and at once again when it does.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from dtms.domain.errors import PeerAway, StoreFailed
from dtms.domain.facts import Fact, FactKind, Json
from dtms.execute.journal import Journal
from dtms.ports.clock import Clock
from dtms.ports.peer import Answered, Peer
from dtms.ports.store import Kept, KeptKind, Store, Unit

log = structlog.get_logger(__name__)

PATH: Final = "/dtms/trade/enable"
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
LISTED_WITHIN_MS: Final = 60_000
"""How long a position may stay unlisted after it was handed over."""
FAILURES_ALERT: Final = 3
DOWN_ALERT_S: Final = 300.0
_TAKEN: Final = 200
_WAITS: Final = 202
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_REFUSED: Final = range(400, 500)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for a delivery."""

    is_over: bool
    told: str = ""
    alert: str | None = None


class Outbox:
    """Delivers registrations one after the other, oldest first."""

    def __init__(self, *, store: Store, peer: Peer, clock: Clock, journal: Journal) -> None:
        self._store = store
        self._peer = peer
        self._clock = clock
        self._journal = journal
        self._waiting: dict[int, Kept] = {}
        self._unlisted_ms: dict[str, int] = {}
        """Since when DTMS answers that the broker does not list a position."""
        self.refused: dict[int, str] = {}
        """What DTMS refused for good since this process began, and why: nobody need hand it over again."""
        self._soon = asyncio.Event()
        self._failures = 0
        self._is_loaded = False
        self._away_since_s: float | None = None
        self._is_told = False
        self.away: str | None = None
        """Why DTMS does not answer, while it does not."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def has(self, ticket: int) -> bool:
        """Answer whether a ticket's registration is on its way."""
        return ticket in self._waiting

    def letter(self, ticket: int, body: Mapping[str, Json]) -> Kept:
        """Return what is to be kept of a registration, in the commit of what brings it about; then ``take`` it."""
        sent = {**body, "ticket": ticket, "allow_pending": True}
        return Kept(kind=KeptKind.REGISTRATION, key=str(ticket), body=sent, at_ms=self._clock.wall_ms())

    def take(self, letter: Kept) -> None:
        """Deliver what was kept."""
        self._waiting[int(letter.key)] = letter
        self._soon.set()

    def drop(self, ticket: int) -> None:
        """Deliver no more what was kept of a ticket, and is committed to be forgotten."""
        if (letter := self._waiting.pop(ticket, None)) is not None:
            self._unlisted_ms.pop(letter.key, None)

    async def queue(self, ticket: int, body: Mapping[str, Json]) -> None:
        """Keep a registration durably, and deliver it soon."""
        letter = self.letter(ticket, body)
        await self._store.commit(Unit(keep=(letter,)))
        self.take(letter)

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                pause_s = await self.deliver()
            except StoreFailed as error:  # the loop that owns the store mends it; what is kept is kept
                log.warning("registrations_wait", told=str(error))
                pause_s = PAUSES_S[-1]
            self._soon.clear()
            await self._rest(pause_s)

    async def deliver(self) -> float:
        """Try every delivery that waits, once; return after how many seconds to try again."""
        await self._load()
        for ticket, letter in list(self._waiting.items()):
            if self._waiting.get(ticket) is not letter:
                continue  # it went to another meanwhile
            try:
                answer = await self._peer.ask("POST", PATH, body=letter.body)
            except PeerAway as error:
                return await self._note_away(error)
            await self._note_back()
            verdict = self._verdict(letter, answer)
            if verdict.is_over:
                await self._end(ticket, letter, verdict)
        self._failures = self._failures + 1 if self._waiting else 0
        return PAUSES_S[min(self._failures, len(PAUSES_S)) - 1] if self._waiting else PAUSES_S[-1]

    # --- what an answer means ------------------------------------------------------------------------------------

    def _verdict(self, letter: Kept, answer: Answered) -> Verdict:
        told = _message(answer)
        if answer.status == _TAKEN:
            return Verdict(is_over=True)
        if answer.status in (_WAITS, _NOT_FOUND):  # DTMS looked for the position, and the broker has none
            since_ms = self._unlisted_ms.setdefault(letter.key, self._clock.wall_ms())
            is_late = self._clock.wall_ms() - since_ms > LISTED_WITHIN_MS
            return Verdict(is_over=is_late, told="the broker does not list it", alert="WARNING")
        if answer.status == _CONFLICT:
            return Verdict(is_over=True, told=told)
        if answer.status in _REFUSED:
            return Verdict(is_over=True, told=f"DTMS refused it ({answer.status}): {told}", alert="ERROR")
        return Verdict(is_over=False)

    async def _end(self, ticket: int, letter: Kept, verdict: Verdict) -> None:
        if self._waiting.get(ticket) is not letter:  # a newer one took its place meanwhile
            return
        facts: tuple[Fact, ...] = ()
        if verdict.told:
            self.refused[ticket] = verdict.told
            details: dict[str, Json] = {"ticket": ticket, "alert": verdict.alert}
            told = f"position {ticket} is not handed to DTMS: {verdict.told}"
            facts = (self._journal.fact(FactKind.HANDED, told, details=details),)
        await self._store.commit(Unit(facts=facts, forget=((KeptKind.REGISTRATION, str(ticket)),)))
        self._waiting.pop(ticket, None)
        self._unlisted_ms.pop(letter.key, None)

    # --- when DTMS is away ---------------------------------------------------------------------------------------

    async def _note_away(self, error: PeerAway) -> float:
        now_s = self._clock.machine_s()
        self._failures += 1
        self.away = str(error)
        self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
        level = log.error if self._failures == FAILURES_ALERT else log.warning
        level("registration_not_delivered", told=str(error), waiting=len(self._waiting), attempt=self._failures)
        if now_s - self._away_since_s > DOWN_ALERT_S and not self._is_told:
            self._is_told = True
            told = f"DTMS does not answer since {now_s - self._away_since_s:.0f} s; {len(self._waiting)} wait for it"
            fact = self._journal.fact(FactKind.HANDED, told, details={"alert": "CRITICAL"})
            await self._store.commit(Unit(facts=(fact,)))
        return PAUSES_S[min(self._failures, len(PAUSES_S)) - 1]

    async def _note_back(self) -> None:
        if self.away is not None:
            log.info("dtms_answers_again", waiting=len(self._waiting))
        self._failures, self.away, self._away_since_s, self._is_told = 0, None, None, False

    async def _load(self) -> None:
        if not self._is_loaded:
            for letter in await self._store.kept(KeptKind.REGISTRATION):
                self._waiting.setdefault(int(letter.key), letter)
            self._is_loaded = True

    async def _rest(self, pause_s: float) -> None:
        """Rest for a while, or until something is to be delivered."""
        resting = asyncio.ensure_future(self._clock.sleep_machine(pause_s))
        called = asyncio.ensure_future(self._soon.wait())
        try:
            await asyncio.wait({resting, called}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            called.cancel()


def _message(answer: Answered) -> str:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return "no reason given"
    return str(body.get("message") or "no reason given") if isinstance(body, dict) else "no reason given"
