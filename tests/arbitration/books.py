"""What must be true of a day by the terminal's books, and of the store beside them: each check names what broke it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from tests.arbitration.kept import (
    DTMS,
    ENDED,
    EXITS,
    UNIVERSAL,
    Asked,
    Managed,
    facts,
    intents,
    managed,
    owners,
    states,
)
from tests.program.past import ledger_of
from tests.program.running import Site
from tests.replay.judge import DONE, OUT, is_ours

from dtms.replay import MAGIC_PREFIX
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import LOT_UNITS
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import BUY, LevelChange, RequestNote

STEP: Final = Decimal("0.01")
"""Least lots and lot step of both symbols."""


def sides(ledger: Ledger) -> Mapping[int, int]:
    """Return by position 1 for one that was bought, -1 for one that was sold."""
    return {
        d.position_id: 1 if d.type == BUY else -1 for d in ledger.deals if d.symbol and d.entry == MT5.DEAL_ENTRY_IN
    }


def levels(ledger: Ledger) -> Mapping[int, Sequence[LevelChange]]:
    """Return every stop and target that each position had, oldest first."""
    found: defaultdict[int, list[LevelChange]] = defaultdict(list)
    for change in ledger.levels:
        found[change.position].append(change)
    return found


def wrong_stops(ledger: Ledger) -> Iterator[str]:
    """Name every stop that was loosened, taken away or set on the wrong side, and every target that was changed."""
    side = sides(ledger)
    for position, changes in levels(ledger).items():
        sign = side[position]
        for change in changes:
            market = change.bid_points if sign > 0 else change.ask_points
            if change.sl_points and (market - change.sl_points) * sign <= 0:
                yield f"{position}: stop {change.sl_points} on the wrong side of {market} at {change.ms}"
        for before, after in pairwise(changes):
            is_looser = (after.sl_points - before.sl_points) * sign < 0 or not after.sl_points
            if before.sl_points and after.sl_points != before.sl_points and is_looser:
                yield f"{position}: stop {before.sl_points} loosened to {after.sl_points} at {after.ms}"
            if after.tp_points != before.tp_points:
                yield f"{position}: target {before.tp_points} became {after.tp_points} at {after.ms}"


def odd_lots(ledger: Ledger) -> Iterator[str]:
    """Name every deal off the grid of lots, and every part that left a rest which could not stand."""
    left: defaultdict[int, Decimal] = defaultdict(Decimal)
    for deal in (d for d in ledger.deals if d.symbol):
        lots = Decimal(deal.units) / LOT_UNITS
        left[deal.position_id] += -lots if deal.entry == OUT else lots
        if lots % STEP:
            yield f"{deal.position_id}: a deal of {lots} lots"
        if left[deal.position_id] < 0 or left[deal.position_id] % STEP:
            yield f"{deal.position_id}: {left[deal.position_id]} lots are left"


def number_in(note: RequestNote) -> int | None:
    """Return the number of the intent that a request carries."""
    magic = int(note.request.get("magic", 0))
    return magic - (MAGIC_PREFIX << 40) if is_ours(magic) else None


def doubled(ledger: Ledger) -> Iterator[str]:
    """Name every intent that was carried out more than once."""
    done = Counter(number_in(note) for note in ledger.requests if note.retcode in DONE)
    yield from (f"intent {number} was carried out {n} times" for number, n in done.items() if number and n > 1)


def unlike(ledger: Ledger, asked: Sequence[Asked]) -> Iterator[str]:
    """Name every intent of which store and ledger say different things."""
    done = {number_in(note) for note in ledger.requests if note.retcode in DONE} - {None}
    known = {one.number for one in asked}
    yield from (f"intent {number} was carried out, and is not in the store" for number in done - known if number)
    for one in asked:
        if one.state not in ENDED:
            yield f"intent {one.number} of {one.asker} is still {one.state}"
        elif (one.state == "CONFIRMED") != (one.number in done):
            what = "was" if one.number in done else "was not"
            yield f"intent {one.number} of {one.asker} is {one.state}, and {what} carried out"


def astray(site: Site, ledger: Ledger) -> Iterator[str]:
    """Name every position that nobody has in hand, or that two have, and every row of one that is gone."""
    held = {p.ticket for p in ledger.positions.values()}
    family = {p.ticket for p in ledger.positions.values() if is_ours(p.magic)} - _executed(intents(site), ledger)
    active = {t for t, state in states(site).items() if state != "CLOSED"}
    rows, registry = managed(site), owners(site)
    yield from _rows_astray(rows, held, ledger)
    yield from (f"trade {ticket} is watched, and its position is gone" for ticket in active - held)
    universal = {row.ticket for row in rows if row.manager == UNIVERSAL and row.closed_ms is None}
    had_one = {f.ticket for f in facts(site, "registered", "managed") if f.details.get("manager") != EXITS}
    for ticket in held - family:
        owner = registry.get(ticket, DTMS if ticket in active else "")
        if ticket in had_one and not owner:
            yield f"position {ticket} had an owner, and has none"
        if owner == DTMS and ticket not in active:
            yield f"position {ticket} is DTMS's by the registry, and DTMS does not watch it"
        if (owner == UNIVERSAL) != (ticket in universal):
            yield f"position {ticket} belongs to {owner or 'nobody'}, and the Universal manager disagrees"


def _rows_astray(rows: Sequence[Managed], held: set[int], ledger: Ledger) -> Iterator[str]:
    closed = {d.position_id for d in ledger.deals if d.symbol and d.entry == OUT}
    for row in rows:
        if row.closed_ms is None and row.ticket not in held:
            yield f"{row.manager} has {row.ticket} in hand, whose position is gone"
        if row.closed_ms is not None and row.body["close_reason"] in ("stop", "target") and row.ticket not in closed:
            yield f"{row.manager} says that {row.ticket} was closed, which no deal shows"


def _executed(asked: Sequence[Asked], ledger: Ledger) -> set[int]:
    """Return the positions that executions opened: they carry a number of ours, and are no trade's family."""
    numbers = {one.number for one in asked if one.asker == "execution"}
    return {p.ticket for p in ledger.positions.values() if p.magic - (MAGIC_PREFIX << 40) in numbers}


def broken(site: Site, *, whole: bool = True) -> list[str]:
    """Return everything that is not as it must be; ``whole`` compares the store too, when all is at rest."""
    ledger = ledger_of(site.journal)
    found = [*wrong_stops(ledger), *odd_lots(ledger), *doubled(ledger)]
    return [*found, *unlike(ledger, intents(site)), *astray(site, ledger)] if whole else found
