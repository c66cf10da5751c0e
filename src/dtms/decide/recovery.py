"""Matching the store with one consistent look at the broker: pure, and run again it changes nothing.

| store | broker | what happens |
| --- | --- | --- |
| trade | position | the broker's volume, stop and target win; differences are told |
| trade | no position, closing deals found | its volume becomes 0: the machine's *position gone* row closes it |
| trade | no position, no evidence | stays, ``unconfirmed``, asked again |
| family position | gone with closing deals | leaves the family |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from dtms.domain.facts import FactKind, Json
from dtms.domain.position import Deal, DealEntry, DealReason, Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import Member, Role, Trade

OUT = (DealEntry.OUT, DealEntry.OUT_BY, DealEntry.INOUT)


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


def missing(trade: Trade, positions: Mapping[int, Position]) -> list[int]:
    """Return the identifiers of the family's positions that the broker does not list: their deals must be searched."""
    own = [trade.identifier] if trade.volume > ZERO and trade.ticket not in positions else []
    return own + [m.identifier for m in trade.members if m.ticket not in positions]


def match(trade: Trade, positions: Mapping[int, Position], deals: Mapping[int, Sequence[Deal]]) -> Matched:
    """Match one trade with the positions, and with the deals of those that are missing (by identifier)."""
    notes: list[Note] = []
    position = positions.get(trade.ticket)
    if position is not None:
        trade = _present(trade, position, notes)
    elif trade.volume > ZERO:
        trade = _absent(trade, deals.get(trade.identifier, ()), notes)
    for member in trade.members:
        trade = _member(trade, member, positions.get(member.ticket), deals.get(member.identifier, ()), notes)
    return Matched(trade, tuple(notes))


def _present(trade: Trade, position: Position, notes: list[Note]) -> Trade:
    changed: dict[str, Json] = {}
    for name, before, now in (
        ("volume", trade.volume, position.volume),
        ("stop", trade.stop, position.stop),
        ("target", trade.target, position.target),
    ):
        if before != now:
            changed[name] = {"was": _plain(before), "is": _plain(now)}
    if changed:
        told = ", ".join(f"{name} {_was(change)}" for name, change in changed.items())
        notes.append(Note(kind=FactKind.CHANGED_OUTSIDE, summary=f"changed outside dtms: {told}", details=changed))
    if not changed and not trade.unconfirmed:
        return trade
    return replace(trade, volume=position.volume, stop=position.stop, target=position.target, unconfirmed=False)


def _was(change: Json) -> str:
    assert isinstance(change, dict)
    return f"{change['was']} → {change['is']}"


def _plain(value: Decimal | float | None) -> Json:
    return float(value) if isinstance(value, Decimal) else value


def closing(deals: Sequence[Deal]) -> list[Deal]:
    """Return the deals that closed (part of) a position."""
    return [d for d in deals if d.entry in OUT]


def _absent(trade: Trade, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    out = closing(deals)
    opened = sum((d.volume for d in deals if d.entry is DealEntry.IN), ZERO) or trade.initial_volume
    if not out or sum((d.volume for d in out), ZERO) < opened:
        if not trade.unconfirmed:
            summary = "the broker does not list the position, and no closing deals were found: asking again"
            notes.append(Note(kind=FactKind.UNCONFIRMED, summary=summary, details={"alert": "WARNING"}))
        return replace(trade, unconfirmed=True)
    last = max(out, key=lambda d: (d.time_ms, d.ticket))
    profit = round(sum(d.profit + d.swap + d.commission + d.fee for d in deals), 2)
    reason = f"closed at the broker by {last.reason.value.replace('_', ' ')}"
    return replace(
        trade,
        volume=ZERO,
        unconfirmed=False,
        closed_ms=last.time_ms,
        close_price=last.price,
        close_reason=trade.close_reason or reason,
        realised=profit,
    )


def _member(trade: Trade, member: Member, position: Position | None, deals: Sequence[Deal], notes: list[Note]) -> Trade:
    if position is not None:
        return _member_present(trade, member, position, notes)
    out = closing(deals)
    if not out or sum((d.volume for d in out), ZERO) < member.volume:
        return trade
    last = max(out, key=lambda d: (d.time_ms, d.ticket))
    kind = FactKind.HEDGE_GONE if member.role is Role.HEDGE else FactKind.CHANGED_OUTSIDE
    what = "hedge" if member.role is Role.HEDGE else "re-added position"
    by = last.reason.value.replace("_", " ")
    details: dict[str, Json] = {"position": member.ticket, "price": last.price, "reason": last.reason.value}
    notes.append(
        Note(kind=kind, summary=f"the {what} #{member.ticket} was closed by {by} at {last.price:.10g}", details=details)
    )
    return trade.without_member(member.ticket)


def _member_present(trade: Trade, member: Member, position: Position, notes: list[Note]) -> Trade:
    now = replace(member, volume=position.volume, stop=position.stop, target=position.target)
    if now == member:
        return trade
    details: dict[str, Json] = {"position": member.ticket, "volume": float(position.volume), "stop": position.stop}
    summary = f"{member.role.value} #{member.ticket} changed outside dtms"
    notes.append(Note(kind=FactKind.CHANGED_OUTSIDE, summary=summary, details=details))
    return replace(trade, members=tuple(now if m.ticket == member.ticket else m for m in trade.members))


def with_figures(trade: Trade, own: Sequence[Deal], others: Sequence[Deal]) -> Trade:
    """Return the trade with the price and time of its closing and the money of all its positions' deals."""
    money = round(sum(d.profit + d.swap + d.commission + d.fee for d in (*own, *others)), 2)
    last = max(closing(own), key=lambda d: (d.time_ms, d.ticket), default=None)
    if last is None:
        return replace(trade, realised=money)
    return replace(trade, realised=money, close_price=last.price, closed_ms=last.time_ms)


def is_fully_told(deals: Sequence[Deal]) -> bool:
    """Answer whether the deals of a position close all that they opened."""
    opened = sum((d.volume for d in deals if d.entry is DealEntry.IN), ZERO)
    return opened > ZERO and sum((d.volume for d in closing(deals)), ZERO) >= opened


def closed_by_stop(deals: Sequence[Deal]) -> bool:
    """Answer whether the last closing deal was a stop."""
    out = closing(deals)
    return bool(out) and max(out, key=lambda d: (d.time_ms, d.ticket)).reason in (DealReason.STOP, DealReason.STOP_OUT)
