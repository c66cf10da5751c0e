"""What an outcome does to a trade: memory follows what the broker did, never what was asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.decide.proof import Executed
from dtms.decide.trade_state import TABLE, Move, Row, enter, mark, substituted
from dtms.domain.actions import Action, ActionKind, ClosePosition, Intent, MoveStop, OpenPosition
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import Machine, Member, Role, Trade

ROLE_OF = {ActionKind.OPEN_HEDGE: Role.HEDGE, ActionKind.READD: Role.READD}
ROW_BY_RULE: dict[str, Row] = {row.rule: row for row in TABLE}


def adopted(trade: Trade, intent: Intent, verdict: Executed) -> Trade:
    """Return the trade after an intent that turned out to be executed, before any transition."""
    action = intent.action
    match action:
        case MoveStop():
            trade = stop_moved(trade, action)
        case ClosePosition():
            trade = closed(trade, action, verdict.volume)
        case OpenPosition():
            trade = opened(trade, intent, verdict.positions, verdict.volume, merged=verdict.merged)
    return acted(trade, action.kind, verdict.at_ms)


def acted(trade: Trade, kind: ActionKind, at_ms: int) -> Trade:
    """Remember when a kind of action was last done."""
    return replace(trade, acted_ms={**trade.acted_ms, kind.value: max(at_ms, trade.acted_ms.get(kind.value, 0))})


def stop_moved(trade: Trade, action: MoveStop) -> Trade:
    """Record a stop that the broker confirmed."""
    if _is_own(trade, action.position):
        return replace(trade, stop=action.stop)
    return _with_members(trade, action.position, lambda m: replace(m, stop=action.stop))


def closed(trade: Trade, action: ClosePosition, filled: Decimal) -> Trade:
    """Take closed lots off the position, and count them when DTMS may re-add them."""
    if action.kind is ActionKind.CLOSE_PART:
        trade = _part_taken(trade, filled)
    left = max(ZERO, action.expected_volume - filled)  # not less once more when the broker's list came first
    if _is_own(trade, action.position):
        return replace(trade, volume=min(trade.volume, left))
    trade = _with_members(trade, action.position, lambda m: replace(m, volume=min(m.volume, left)))
    return replace(trade, members=tuple(m for m in trade.members if m.volume > ZERO))


def _part_taken(trade: Trade, filled: Decimal) -> Trade:
    left = None if trade.part_left is None else max(ZERO, trade.part_left - filled)
    return replace(trade, closed_by_dtms=trade.closed_by_dtms + filled, part_left=left or None)


def _is_own(trade: Trade, ticket: int) -> bool:
    """Answer whether a ticket is, or was, that of the trade's own position: a broker may replace it."""
    return ticket in (trade.position, trade.ticket)


def opened(
    trade: Trade, intent: Intent, positions: Sequence[Position], volume: Decimal, *, merged: Decimal = ZERO
) -> Trade:
    """Take what an intent opened into the trade's family; one order can have made several positions, or none.

    ``merged`` is the part of ``volume`` that a netting account added to the trade's own position.
    """
    role = ROLE_OF[intent.action.kind]
    for position in positions:
        trade = trade.with_member(member_of(position, role, intent.number))
    if role is Role.HEDGE:
        return replace(trade, machine=replace(trade.machine, hedges=trade.machine.hedges + 1))
    return replace(
        trade,
        volume=trade.volume + merged,
        machine=replace(trade.machine, readds=trade.machine.readds + 1),
        closed_by_dtms=max(ZERO, trade.closed_by_dtms - volume),
    )


def surplus(trade: Trade, verdict: Executed) -> Trade:
    """Mark what a late intent opened as not wanted: it is to be closed, whatever crashes before that."""
    return replace(trade, surplus=trade.surplus | {p.ticket for p in verdict.positions})


def member_of(position: Position, role: Role, intent: int) -> Member:
    return Member(
        ticket=position.ticket,
        identifier=position.identifier,
        role=role,
        side=position.side,
        volume=position.volume,
        entry=position.entry,
        stop=position.stop,
        target=position.target,
        intent=intent,
        opened_ms=position.opened_ms,
    )


def _with_members(trade: Trade, ticket: int, change: Callable[[Member], Member]) -> Trade:
    return replace(trade, members=tuple(change(m) if m.ticket == ticket else m for m in trade.members))


def is_still_there(trade: Trade, intent: Intent) -> bool:
    """Answer whether the trade is in the state that it left when the intent was made, without having left it since."""
    serves, machine = intent.serves, trade.machine
    return serves is not None and machine.state is serves.from_state and machine.entered_ms <= intent.created_ms


def late(trade: Trade, intent: Intent, at_ms: int) -> Trade:
    """Make the transition that a late confirmation serves, if the trade is still in the state that it left.

    A row with further moves is entered all the same: the breakeven that it lacks stays pending. A close that leaves
    positions open is not, nor a part of which some lots are left; the rest is decided anew.
    """
    if intent.serves is None or not is_still_there(trade, intent):
        return trade
    row = ROW_BY_RULE[intent.serves.rule]
    machine = _late_machine(trade, row, intent.action, at_ms)
    return trade if machine is trade.machine else replace(trade, machine=machine, retry=None)


def _late_machine(trade: Trade, row: Row, action: Action, at_ms: int) -> Machine:
    machine = trade.machine
    if isinstance(action, ClosePosition) and action.kind is ActionKind.CLOSE_PART:
        if trade.part_left is not None:
            return machine
        if row.substitute:  # the substitute of a hedge: the state stays, and the flat timer runs
            return substituted(machine, at_ms)
        pending = Move.BREAKEVEN in row.moves
        return replace(enter(mark(machine, Move.CLOSE_PART), row, at_ms), breakeven_pending=pending)
    if row.moves in ((Move.CLOSE_ALL,), (Move.CLOSE_REST,)) and (trade.open_volume > ZERO or trade.members):
        return machine
    if row.moves == (Move.CLOSE_HEDGE,) and trade.hedges:
        return machine
    if isinstance(action, MoveStop) and row.moves[-1].value != action.kind.value:
        return machine
    return enter(mark(machine, row.moves[-1]), row, at_ms)


def is_surplus(trade: Trade, intent: Intent) -> bool:
    """Answer whether what a late intent opened is no longer wanted: its state was left, or another took its place."""
    if not isinstance(intent.action, OpenPosition):
        return False
    is_second = intent.action.kind is ActionKind.OPEN_HEDGE and any(m.intent != intent.number for m in trade.hedges)
    return is_second or not is_still_there(trade, intent)
