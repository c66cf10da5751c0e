"""What an outcome does to a trade: memory follows what the broker did, never what was asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from dtms.decide.trade_state import TABLE, Move, Row, enter, mark, substituted
from dtms.domain.actions import Action, ActionKind, ClosePosition, Intent, MoveStop, OpenPosition, Serves
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import Machine, Member, Role, Trade

ROLE_OF = {ActionKind.OPEN_HEDGE: Role.HEDGE, ActionKind.READD: Role.READD}
ROW_BY_RULE: dict[str, Row] = {row.rule: row for row in TABLE}


def stop_moved(trade: Trade, action: MoveStop) -> Trade:
    """Record a stop that the broker confirmed."""
    if action.position == trade.ticket:
        return replace(trade, stop=action.stop)
    return _with_members(trade, action.position, lambda m: replace(m, stop=action.stop))


def closed(trade: Trade, action: ClosePosition, filled: Decimal) -> Trade:
    """Take closed lots off the position, and count them when DTMS may re-add them."""
    counted = filled if action.kind is ActionKind.CLOSE_PART else ZERO
    trade = replace(trade, closed_by_dtms=trade.closed_by_dtms + counted)
    left = max(ZERO, action.expected_volume - filled)  # not less once more when the broker's list came first
    if action.position == trade.ticket:
        return replace(trade, volume=min(trade.volume, left))
    trade = _with_members(trade, action.position, lambda m: replace(m, volume=min(m.volume, left)))
    return replace(trade, members=tuple(m for m in trade.members if m.volume > ZERO))


def opened(trade: Trade, intent: Intent, positions: Sequence[Position]) -> Trade:
    """Take what an intent opened into the trade's family; one order can have made several positions."""
    role = ROLE_OF[intent.action.kind]
    for position in positions:
        trade = trade.with_member(member_of(position, role, intent.number))
    volume = sum((p.volume for p in positions), ZERO)
    if role is Role.HEDGE:
        return replace(trade, machine=replace(trade.machine, hedges=trade.machine.hedges + 1))
    return replace(
        trade,
        machine=replace(trade.machine, readds=trade.machine.readds + 1),
        closed_by_dtms=max(ZERO, trade.closed_by_dtms - volume),
    )


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


def late(trade: Trade, action: Action, serves: Serves | None, at_ms: int) -> Trade:
    """Make the transition that a late confirmation serves, if the trade is still in the state that it left.

    A row with further moves is entered all the same: the breakeven that it lacks stays pending. A close that leaves
    positions open is not; the rest is decided anew.
    """
    if serves is None or trade.machine.state is not serves.from_state:
        return trade
    row = ROW_BY_RULE[serves.rule]
    everything_closed = trade.open_volume == ZERO and not trade.members
    machine = _late_machine(trade.machine, row, action, at_ms, everything_closed=everything_closed)
    return replace(trade, machine=machine)


def _late_machine(machine: Machine, row: Row, action: Action, at_ms: int, *, everything_closed: bool) -> Machine:
    if isinstance(action, ClosePosition) and action.kind is ActionKind.CLOSE_PART:
        if row.substitute:  # the substitute of a hedge: the state stays, and the flat timer runs
            return substituted(machine, at_ms)
        return replace(enter(mark(machine, Move.CLOSE_PART), row, at_ms), breakeven_pending=True)
    if row.moves in ((Move.CLOSE_ALL,), (Move.CLOSE_REST,)) and not everything_closed:
        return machine
    if isinstance(action, MoveStop) and row.moves[-1].value != action.kind.value:
        return machine
    return enter(mark(machine, row.moves[-1]), row, at_ms)


def is_surplus(trade: Trade, intent: Intent) -> bool:
    """Answer whether what a late intent opened is no longer wanted."""
    adds = isinstance(intent.action, OpenPosition)
    return adds and (intent.serves is None or trade.machine.state is not intent.serves.from_state)
