"""Matching the store with one consistent look at the broker: pure, and run again it changes nothing.

| store | broker | what happens |
| --- | --- | --- |
| trade | position | the broker's volume, entry, stop and target win; differences are told |
| trade | its position under another ticket | the identifier stays, so it is the same; the ticket is followed |
| trade | more lots than known | merged: the initial volume grows by what was added, the initial stop and R stay |
| trade | its position on the other side | reversed: the trade ends with the deals' figures; the rest begins another |
| trade | no position, closing deals found | its volume becomes 0: the machine's *position gone* row closes it |
| trade | no position, no evidence | stays, ``unconfirmed``, asked again |
| family position | gone with closing deals | leaves the family |

A list alone is no evidence of what adds or ends: it can be stale, partial or empty. Lots that were added, lots that
show again, and a position that is gone are believed when the deals of the position say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.decide.lives import Life, in_order, life_of, lives, open_volume
from dtms.domain.facts import FactKind, Json
from dtms.domain.position import Deal, DealEntry, DealReason, Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import Member, Role, Trade

OUT = (DealEntry.OUT, DealEntry.OUT_BY, DealEntry.INOUT)
Positions = Mapping[int, Position]
"""By ticket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What matching found, for the journal."""

    kind: FactKind
    summary: str
    details: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Matched:
    """The trade as the broker has it, and what differed."""

    trade: Trade
    notes: tuple[Note, ...] = ()


def find(positions: Positions, ticket: int, identifier: int) -> Position | None:
    """Return a position by its ticket, or by its identifier when the broker gave it another ticket."""
    if (position := positions.get(ticket)) is not None:
        return position
    return next((p for p in positions.values() if p.identifier == identifier), None)


def missing(trade: Trade, positions: Positions) -> list[int]:
    """Return the identifiers of the family's positions whose deals must be searched before they can be judged.

    Those that are not listed, and those that are listed with more lots than known or on another side.
    """
    own = find(positions, trade.position, trade.identifier)
    asked = [trade.identifier] if trade.is_active and _is_in_question(trade, own) else []
    return asked + [m.identifier for m in trade.members if find(positions, m.ticket, m.identifier) is None]


def _is_in_question(trade: Trade, own: Position | None) -> bool:
    if own is None:
        return trade.volume > ZERO
    return own.volume > trade.volume or own.side is not trade.side


def match(trade: Trade, positions: Positions, deals: Mapping[int, Sequence[Deal]]) -> Matched:
    """Match one trade with the positions, and with the deals of those in question (by identifier)."""
    notes: list[Note] = []
    if trade.is_active:
        own = find(positions, trade.position, trade.identifier)
        trade = _own(trade, own, deals.get(trade.identifier, ()), notes)
    for member in trade.members:
        position = find(positions, member.ticket, member.identifier)
        trade = _member(trade, member, position, deals.get(member.identifier, ()), notes)
    return Matched(trade, tuple(notes))


# --- the own position ----------------------------------------------------------------------------------------------


def _own(trade: Trade, position: Position | None, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    if position is None or position.side is not trade.side:
        return _absent(trade, position, deals, notes) if trade.volume > ZERO else trade
    if position.volume > trade.volume and open_volume(deals) != position.volume:
        position = replace(position, volume=trade.volume)  # an old list looks like this too: asked again
        if trade.volume == ZERO:
            return trade
    return _present(trade, position, deals, notes)


def _present(trade: Trade, position: Position, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    now = replace(
        trade,
        volume=position.volume,
        initial_volume=_initial_volume(trade, position, deals),
        entry=position.entry,
        stop=position.stop,
        owed_stop=_still_owed(trade, position),
        target=position.target,
        moved_to=None if position.ticket == trade.ticket else position.ticket,
        unconfirmed=False,
    )
    if trade.volume == ZERO:
        now = replace(now, closed_ms=None, close_price=None, close_reason=None, realised=0.0)
        summary = f"the position shows again with {position.volume} lots after it was closed: it is watched on"
        details: dict[str, Json] = {"volume": float(position.volume), "alert": "ERROR"}
        notes.append(Note(kind=FactKind.ADOPTED, summary=summary, details=details))
    elif changed := _changes(trade, now):
        told = ", ".join(f"{name} {_was(change)}" for name, change in changed.items())
        bare = _bared(trade.stop, position.stop)
        summary = f"changed outside dtms: {told}{bare}"
        details = {**changed, "alert": "ERROR" if bare else "WARNING"}
        notes.append(Note(kind=FactKind.CHANGED_OUTSIDE, summary=summary, details=details))
    return now if now != trade else trade


def _initial_volume(trade: Trade, position: Position, deals: Sequence[Deal]) -> Decimal:
    """The first lots and all that were added since: never more than the deals brought in."""
    added = position.volume - trade.volume
    life = life_of(trade, deals)
    if added <= ZERO or trade.volume == ZERO or life is None:
        return trade.initial_volume
    return max(trade.initial_volume, min(trade.initial_volume + added, life.entered))


def _changes(before: Trade, now: Trade) -> dict[str, Json]:
    compared: tuple[tuple[str, Json, Json], ...] = (
        ("ticket", before.position, now.position),
        ("volume", _plain(before.volume), _plain(now.volume)),
        ("initial volume", _plain(before.initial_volume), _plain(now.initial_volume)),
        ("entry", before.entry, now.entry),
        ("stop", before.stop, now.stop),
        ("target", before.target, now.target),
    )
    return {name: {"was": was, "is": is_now} for name, was, is_now in compared if was != is_now}


def _was(change: Json) -> str:
    assert isinstance(change, dict)
    was, is_now = ("none" if change[when] is None else change[when] for when in ("was", "is"))
    return f"{was} → {is_now}"


def _bared(was: float | None, is_now: float | None) -> str:
    """Say what a person must know when somebody took a stop away; nothing otherwise."""
    return "; nothing at the broker protects it any more" if was is not None and is_now is None else ""


def _plain(value: Decimal) -> Json:
    return float(value)


def closing(deals: Sequence[Deal]) -> list[Deal]:
    """Return the deals that closed (part of) a position."""
    return [d for d in deals if d.entry in OUT]


def _absent(trade: Trade, position: Position | None, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    """End a trade whose position is gone or reversed, on its closing deals alone."""
    life = life_of(trade, deals)
    if life is None or not life.has_ended(trade.initial_volume):
        if not trade.unconfirmed:
            what = "does not list the position" if position is None else f"lists a {position.side.direction} position"
            summary = f"the broker {what}, and no closing deals were found: asking again"
            notes.append(Note(kind=FactKind.UNCONFIRMED, summary=summary, details={"alert": "WARNING"}))
        return replace(trade, unconfirmed=True)
    last = closing(in_order(life.deals))[-1]
    by = f"reversed by {_by(last)}" if life.is_reversed else f"closed at the broker by {_by(last)}"
    if last.reason is DealReason.STOP_OUT:
        notes.append(_stopped_out("position", trade.position, last))
    return replace(
        trade,
        volume=ZERO,
        unconfirmed=False,
        owed_stop=None,
        closed_ms=last.time_ms,
        close_price=last.price,
        close_reason=trade.close_reason or by,
        realised=_money(life.deals),
    )


def _by(deal: Deal) -> str:
    return deal.reason.value.replace("_", " ")


def _stopped_out(what: str, ticket: int, deal: Deal) -> Note:
    """Call a person: the account ran out of margin, and the broker closed what it liked."""
    summary = f"the broker closed {what} #{ticket} for want of margin, at {deal.price:.10g}"
    return Note(kind=FactKind.CHANGED_OUTSIDE, summary=summary, details={"position": ticket, "alert": "CRITICAL"})


# --- hedges and re-added positions ---------------------------------------------------------------------------------


def _member(trade: Trade, member: Member, position: Position | None, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    if position is not None:
        return _member_present(trade, member, position, notes)
    told = lives(deals)
    if not told or not told[-1].has_ended(member.volume):
        return trade
    last = closing(in_order(told[-1].deals))[-1]
    kind = FactKind.HEDGE_GONE if member.role is Role.HEDGE else FactKind.CHANGED_OUTSIDE
    what = "hedge" if member.role is Role.HEDGE else "re-added position"
    details: dict[str, Json] = {"position": member.ticket, "price": last.price, "reason": last.reason.value}
    summary = f"the {what} #{member.ticket} was closed by {_by(last)} at {last.price:.10g}"
    notes.append(Note(kind=kind, summary=summary, details=details))
    if last.reason is DealReason.STOP_OUT:
        notes.append(_stopped_out(what, member.ticket, last))
    return replace(trade.without_member(member.ticket), surplus=trade.surplus - {member.ticket})


def _member_present(trade: Trade, member: Member, position: Position, notes: list[Note]) -> Trade:
    now = replace(
        member,
        ticket=position.ticket,
        volume=position.volume,
        entry=position.entry,
        stop=position.stop,
        owed_stop=_still_owed(member, position),
        target=position.target,
    )
    if now == member:
        return trade
    if now != replace(member, owed_stop=now.owed_stop):
        bare = _bared(member.stop, position.stop)
        details: dict[str, Json] = {"position": now.ticket, "volume": float(position.volume), "stop": position.stop}
        details["alert"] = "ERROR" if bare else "WARNING"
        was = "" if now.ticket == member.ticket else f", which was #{member.ticket},"
        summary = f"{member.role.value} #{now.ticket}{was} changed outside dtms{bare}"
        notes.append(Note(kind=FactKind.CHANGED_OUTSIDE, summary=summary, details=details))
    surplus = trade.surplus
    if member.ticket in surplus:
        surplus = surplus - {member.ticket} | {now.ticket}
    members = tuple(now if m.ticket == member.ticket else m for m in trade.members)
    return replace(trade, members=members, surplus=surplus)


# --- stops that the broker lost ------------------------------------------------------------------------------------


def owing(trade: Trade, positions: Positions) -> Matched:
    """Note the recorded stops that are missing at the broker as owed: they are put back before anything else.

    Asked at a start and after a reconnect alone; while dtms watches, a stop that goes is one that somebody took away.
    """
    notes: list[Note] = []
    own = find(positions, trade.position, trade.identifier)
    if own is not None and own.side is trade.side and own.stop is None and trade.stop is not None:
        notes.append(_lost_stop("the position", own.ticket, trade.stop))
        trade = replace(trade, owed_stop=trade.stop, stop=None)
    for member in trade.members:
        position = find(positions, member.ticket, member.identifier)
        if position is not None and position.stop is None and member.stop is not None:
            notes.append(_lost_stop(f"the {member.role.value}", position.ticket, member.stop))
            now = replace(member, owed_stop=member.stop, stop=None)
            trade = replace(trade, members=tuple(now if m.ticket == member.ticket else m for m in trade.members))
    return Matched(trade, tuple(notes))


def _still_owed(before: Trade | Member, position: Position) -> float | None:
    """Owe a stop until the position has one; one that was back and was taken away is owed no longer."""
    return before.owed_stop if before.stop is None and position.stop is None else None


def _lost_stop(what: str, ticket: int, stop: float) -> Note:
    summary = f"the stop {stop:.10g} of {what} #{ticket} is missing at the broker"
    details: dict[str, Json] = {"position": ticket, "stop": stop, "alert": "ERROR"}
    return Note(kind=FactKind.CHANGED_OUTSIDE, summary=summary, details=details)


def owed(trade: Trade) -> dict[int, float]:
    """Return the stops that are to be put back, by the ticket of their position."""
    found = {m.ticket: m.owed_stop for m in trade.members if m.owed_stop is not None and m.stop is None}
    if trade.owed_stop is not None and trade.stop is None and trade.volume > ZERO:
        found[trade.position] = trade.owed_stop
    return found


def owes(trade: Trade) -> bool:
    """Answer quickly whether ``owed`` could name anything."""
    return trade.owed_stop is not None or any(m.owed_stop is not None for m in trade.members)


def forgiven(trade: Trade, tickets: Sequence[int]) -> Trade:
    """Return the trade without the owed stops of these positions: they can not be put back any more."""
    members = tuple(replace(m, owed_stop=None) if m.ticket in tickets else m for m in trade.members)
    own = None if trade.position in tickets else trade.owed_stop
    return replace(trade, members=members, owed_stop=own)


# --- figures -------------------------------------------------------------------------------------------------------


def with_figures(trade: Trade, own: Sequence[Deal], others: Sequence[Deal]) -> Trade:
    """Return the trade with the price and time of its closing and the money of all its positions' deals."""
    life = life_of(trade, own)
    mine = own if life is None else life.deals
    money = _money((*mine, *others))
    last = max(closing(mine), key=lambda d: (d.time_ms, d.ticket), default=None)
    if last is None:
        return replace(trade, realised=money)
    return replace(trade, realised=money, close_price=last.price, closed_ms=last.time_ms)


def _money(deals: Sequence[Deal]) -> float:
    return round(sum(d.profit + d.swap + d.commission + d.fee for d in deals), 2)


def is_fully_told(deals: Sequence[Deal]) -> bool:
    """Answer whether the deals of a position close all that they opened."""
    told: list[Life] = lives(deals)
    return bool(told) and any(life.entered > ZERO and life.is_over for life in told)


def closed_by_stop(deals: Sequence[Deal]) -> bool:
    """Answer whether the last closing deal was a stop."""
    out = closing(deals)
    return bool(out) and max(out, key=lambda d: (d.time_ms, d.ticket)).reason in (DealReason.STOP, DealReason.STOP_OUT)
