"""What the store holds after a day, read beside the programs: facts in the order of their commits, intents, owners."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.program.running import Site

DEFENSIVE = frozenset({"WARNING_L2", "HEDGED"})
DTMS, UNIVERSAL, EXITS = "dtms_manager", "universal_sl_tp_manager", "intelligent_exit_manager"
ENDED = frozenset({"CONFIRMED", "REFUSED", "NOT_EXECUTED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One fact; ids rise in the order of commits, ``machine_ms`` is the machine's wall clock."""

    id: int
    kind: str
    ticket: int | None
    market_ms: int
    machine_ms: int
    summary: str
    details: dict[str, Any]

    @property
    def manager(self) -> str:
        """Whose doing it tells of; DTMS's facts name nobody."""
        return str(self.details.get("manager", DTMS))

    @property
    def is_done(self) -> bool:
        return self.kind == "action" and self.details.get("ending") == "done"


def facts(site: Site, *kinds: str) -> list[Told]:
    """Read the journal, all of it or the kinds that are named."""
    columns = "id, kind, ticket, market_ms, machine_ms, summary, details"
    rows = site.rows(f"SELECT {columns} FROM facts UNION SELECT {columns} FROM archived_facts ORDER BY 1")
    return [
        Told(id=i, kind=k, ticket=t, market_ms=at, machine_ms=ms, summary=s, details=json.loads(d))
        for i, k, t, at, ms, s, d in rows
        if not kinds or k in kinds
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One intent."""

    number: int
    ticket: int
    state: str
    created_ms: int
    body: dict[str, Any]

    @property
    def asker(self) -> str:
        return str(self.body.get("asker", DTMS))


def intents(site: Site) -> list[Asked]:
    """Read all intents."""
    rows = site.rows(
        "SELECT number, ticket, state, created_ms, body FROM intents "
        "UNION SELECT number, ticket, state, created_ms, body FROM archived_intents ORDER BY 1"
    )
    return [Asked(number=n, ticket=t, state=s, created_ms=at, body=json.loads(b)) for n, t, s, at, b in rows]


@dataclass(frozen=True, slots=True)
class Managed:
    """One row of a manager beside DTMS."""

    manager: str
    ticket: int
    closed_ms: int | None
    body: dict[str, Any]


def managed(site: Site) -> list[Managed]:
    """Read what the managers beside DTMS have, or had, in hand."""
    rows = site.rows("SELECT manager, ticket, closed_ms, body FROM managed ORDER BY 1, 2")
    return [Managed(m, t, closed, json.loads(body)) for m, t, closed, body in rows]


def states(site: Site) -> dict[int, str]:
    """Read DTMS's state of each trade."""
    return {ticket: str(state) for ticket, state in site.rows("SELECT ticket, state FROM trades")}


def owners(site: Site) -> dict[int, str]:
    """Read the registry's open entries."""
    return {t: str(owner) for t, owner in site.rows("SELECT ticket, owner FROM ownership WHERE closed_ms IS NULL")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Defence:
    """DTMS was defensive: from one fact to another; ``until`` is None while it still is."""

    ticket: int
    since: Told
    until: Told | None

    def covers(self, fact: Told) -> bool:
        """Answer whether a fact of the ticket was committed within it."""
        return (
            fact.ticket == self.ticket and self.since.id < fact.id and (self.until is None or fact.id < self.until.id)
        )


def defences(journal: Sequence[Told]) -> Iterator[Defence]:
    """Yield every span in which DTMS was defensive."""
    moves: defaultdict[int, list[Told]] = defaultdict(list)
    for fact in journal:
        if fact.kind == "transition" and fact.ticket is not None:
            moves[fact.ticket].append(fact)
    for ticket, found in moves.items():
        since: Told | None = None
        for fact in found:
            is_defensive = fact.details["to"] in DEFENSIVE
            if is_defensive and since is None:
                since = fact
            elif not is_defensive and since is not None:
                yield Defence(ticket=ticket, since=since, until=fact)
                since = None
        if since is not None:
            yield Defence(ticket=ticket, since=since, until=None)
