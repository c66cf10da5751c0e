"""Managed positions kept true to the broker's list: changed from outside, missing, closed on evidence alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dtms.decide.lives import in_order, lives
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, ClosePosition, Intent, MoveStop, SetLevels
from dtms.domain.facts import FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.market import Instrument, Side
from dtms.domain.owners import Ownership
from dtms.domain.position import Deal, DealEntry, DealReason, Position
from dtms.domain.prices import ZERO, same_price
from dtms.domain.snapshot import Snapshot
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.news import ended
from dtms.ports.store import Unit

ASK_MS = 2_000
"""Market time between two questions for the deals of a position that is missing."""
ASK_SLOWLY_MS = 30_000
REASONS = {
    DealReason.STOP: "stop",
    DealReason.TARGET: "target",
    DealReason.STOP_OUT: "stop out",
    DealReason.CLIENT: "closed by hand",
    DealReason.MOBILE: "closed by hand",
    DealReason.WEB: "closed by hand",
}


@dataclass(frozen=True, slots=True)
class Closed:
    """How a position ended, by its deals; ``money`` in account currency."""

    at_ms: int
    price: float
    money: float
    reason: str


class Presence:
    """Matches what is remembered with a look at the broker."""

    def __init__(self, bench: Bench, floor: Floor) -> None:
        self._bench = bench
        self._floor = floor

    async def check(self, snapshot: Snapshot) -> None:
        """Match every charge with the look; what differs is recorded.

        Raises:
            BrokerUnavailable: when deals that are asked for cannot be read; nothing was concluded from that.
        """
        for charge in list(self._floor.charges.values()):
            if not charge.managed.is_active:
                self._leave(charge)
                continue
            position = self._floor.position(charge.managed)
            if position is not None and is_as_known(charge.managed, position):
                continue
            if charge.lock.locked():
                continue  # somebody is at it: what comes of that is committed with it
            async with charge.lock:
                if self._floor.charges.get(charge.key) is not charge:
                    continue
                if position is None:
                    await self._missing(charge, snapshot)
                else:
                    await self._changed(charge, position, snapshot.taken_ms)

    def _leave(self, charge: Charge) -> None:
        """Forget what has ended, once nothing of it is open any more."""
        if not charge.open_intents:
            self._floor.drop(charge)

    # --- changed -------------------------------------------------------------------------------------------------

    async def _changed(self, charge: Charge, position: Position, now_ms: int) -> None:
        """Take over what the broker shows, and tell who changed it."""
        before = charge.managed
        after = self._adopted(before, position)
        charge.remember_stop(position.stop, now_ms)
        charge.next_ms = 0
        if after == before:
            return
        told, details = _differences(before, after)
        if told:
            changer = await self._changer(before, after, self._floor.book.symbols[before.symbol].instrument)
            by = "outside" if changer is None else f"{changer.asker.value} (intent {changer.number})"
            after = _late(after, changer)
            details |= {"by": by, "alert": None if by != "outside" else "WARNING"}
            summary = f"{told}, changed by {by}"
            fact = self._bench.fact(FactKind.CHANGED_OUTSIDE, summary, before, details)
        else:
            fact = self._bench.fact(FactKind.CHANGED_OUTSIDE, "listed again", before, {"by": "broker"})
        await self._bench.store.commit(Unit(managed=(after,), facts=(fact,)))
        charge.managed = after
        self._bench.journal.tell((fact,))

    def _adopted(self, managed: Managed, position: Position) -> Managed:
        after = replace(managed, volume=position.volume, stop=position.stop, target=position.target, unconfirmed=False)
        merged = position.volume - managed.volume
        if self._bench.margin_mode is MarginMode.HEDGING or merged <= 0:
            return after
        # Another entry of the symbol went into the position: volume and entry follow the broker, R stays.
        return replace(after, entry=position.entry, initial_volume=managed.initial_volume + merged)

    async def _changer(self, before: Managed, after: Managed, instrument: Instrument) -> Intent | None:
        """Return the request of dtms's own that changed a position; None when somebody outside did."""
        intents = await self._bench.store.intents(ticket=before.ticket)
        return next((i for i in reversed(intents) if _explains(i, before, after, instrument)), None)

    # --- missing -------------------------------------------------------------------------------------------------

    async def _missing(self, charge: Charge, snapshot: Snapshot) -> None:
        """Close what its deals show to be closed; without them it may be there, and is asked for again."""
        now, managed = snapshot.taken_ms, charge.managed
        if now < charge.asked_ms + (ASK_SLOWLY_MS if managed.unconfirmed else ASK_MS):
            return
        charge.asked_ms = now
        deals = await self._bench.broker.deals(position=managed.identifier)
        closed = closed_by(deals, managed.side, self._bench.broker.intent_of)
        if closed is not None:
            await self._close(charge, closed)
        elif not managed.unconfirmed:
            await self._unconfirmed(charge)

    async def _close(self, charge: Charge, closed: Closed) -> None:
        managed, ticket = charge.managed, charge.managed.ticket
        after = replace(ended(managed, closed.reason, closed.at_ms), realised=closed.money)
        details: dict[str, Json] = {"reason": closed.reason, "price": closed.price, "profit": closed.money}
        fact = self._bench.fact(FactKind.UNMANAGED, f"position closed: {closed.reason}", managed, details)
        row = (await self._bench.store.standing(ticket)).ownership
        rows: tuple[Ownership, ...] = ()
        if row is not None and row.closed_ms is None:
            rows = (replace(row, closed_ms=closed.at_ms, version=row.version + 1),)
        await self._bench.store.commit(Unit(managed=(after,), ownership=rows, facts=(fact,)))
        charge.managed = after
        self._floor.ownerships.pop(ticket, None)
        self._leave(charge)
        self._bench.journal.tell((fact,))

    async def _unconfirmed(self, charge: Charge) -> None:
        managed = replace(charge.managed, unconfirmed=True)
        told = "not listed by the broker, and no deal tells that it was closed"
        fact = self._bench.fact(FactKind.UNCONFIRMED, told, managed, {"alert": "WARNING"})
        await self._bench.store.commit(Unit(managed=(managed,), facts=(fact,)))
        charge.managed = managed
        self._bench.journal.tell((fact,))


def is_as_known(managed: Managed, position: Position) -> bool:
    """Answer, quickly, whether the broker has the position exactly as it is remembered."""
    return (
        position.volume == managed.volume
        and position.stop == managed.stop
        and position.target == managed.target
        and not managed.unconfirmed
    )


def closed_by(deals: Sequence[Deal], side: Side, number_of: Callable[[int], int | None]) -> Closed | None:
    """Return how a position was closed, None while its deals do not show that all of it was.

    On a netting account one that was reversed is closed, and another has begun under its identifier.
    """
    told = lives(deals)
    if not told or told[-1].entered == ZERO or not (told[-1].is_over or told[-1].side is not side):
        return None
    outs = [d for d in in_order(deals) if d.entry is not DealEntry.IN]
    last = outs[-1]
    number = number_of(last.magic)
    reason = REASONS.get(last.reason) or (f"closed by intent {number}" if number is not None else "closed")
    money = sum(d.profit + d.swap + d.commission + d.fee for d in deals)
    return Closed(at_ms=last.time_ms, price=last.price, money=round(money, 2), reason=reason)


def _differences(before: Managed, after: Managed) -> tuple[str, dict[str, Json]]:
    pairs: dict[str, tuple[Json, Json]] = {
        "volume": (float(before.volume), float(after.volume)),
        "stop": (before.stop, after.stop),
        "target": (before.target, after.target),
    }
    found = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    told = ", ".join(f"{name} from {old} to {new}" for name, (old, new) in found.items())
    details: dict[str, Json] = {name: {"old": old, "new": new} for name, (old, new) in found.items()}
    return told, details


def _late(managed: Managed, changer: Intent | None) -> Managed:
    """Return the memory after a part that was closed although it counted as not executed."""
    is_part = changer is not None and changer.action.kind is ActionKind.TAKE_PARTIAL
    mine = changer is not None and changer.asker.manager is managed.manager
    return replace(managed, partial_done=True) if is_part and mine else managed


def _explains(intent: Intent, before: Managed, after: Managed, instrument: Instrument) -> bool:
    """Answer whether an intent did what a look shows to be different."""
    match intent.action:
        case MoveStop() | SetLevels() as levels:
            return before.stop != after.stop and same_price(levels.stop, after.stop, instrument)
        case ClosePosition() as part:
            return part.expected_volume == before.volume and after.volume == before.volume - part.volume
        case _:
            return False
