"""What the broker's list shows of a request that it says it carried out."""

from collections.abc import Mapping
from decimal import Decimal

from dtms.decide import settle
from dtms.decide.proof import NumberOf, find, named_positions
from dtms.domain.actions import ClosePosition, Intent, MoveStop, OpenPosition
from dtms.domain.market import Instrument
from dtms.domain.position import Position
from dtms.domain.prices import ZERO, same_price
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade


def identifier_of(trade: Trade, ticket: int) -> int:
    """Return the identifier of a family's position; the ticket itself where the family no longer knows it."""
    if ticket in (trade.position, trade.ticket):
        return trade.identifier
    return next((m.identifier for m in trade.members if m.ticket == ticket), ticket)


def is_shown(trade: Trade, intent: Intent, snapshot: Snapshot, instrument: Instrument, numbers: NumberOf) -> bool:
    """Answer whether the list shows all that the answer says was done."""
    action = intent.action
    match action:
        case MoveStop():
            position = _found(trade, action.position, snapshot.positions)
            return position is not None and same_price(position.stop, action.stop, instrument)
        case ClosePosition():
            position = _found(trade, action.position, snapshot.positions)
            if position is None:  # what must be left of a part has to be seen: a list without it is no evidence
                return action.volume >= action.expected_volume
            return position.volume < action.expected_volume and position.volume <= _rest(intent, action)
        case OpenPosition():
            volume = _opened(intent, snapshot, numbers)
            return volume > ZERO and volume >= min(intent.filled or ZERO, action.volume)


def _found(trade: Trade, ticket: int, positions: Mapping[int, Position]) -> Position | None:
    return find(tuple(positions.values()), identifier_of(trade, ticket), ticket)


def _rest(intent: Intent, action: ClosePosition) -> Decimal:
    """Return what is left after the lots that the broker says it closed; all of them where it does not say."""
    filled = action.volume if intent.filled is None else min(intent.filled, action.volume)
    return action.expected_volume - filled


def _opened(intent: Intent, snapshot: Snapshot, numbers: NumberOf) -> Decimal:
    positions = named_positions(intent, tuple(snapshot.positions.values()), numbers)
    return sum((p.volume for p in positions), ZERO)


def settled(trade: Trade, intent: Intent, snapshot: Snapshot, numbers: NumberOf) -> Trade:
    """Return the trade after an intent that was confirmed at once, by what the broker now shows."""
    action = intent.action
    match action:
        case MoveStop():
            return settle.stop_moved(trade, action)
        case ClosePosition():
            return settle.closed(trade, action, _closed_volume(trade, intent, action, snapshot))
        case OpenPosition():
            positions = named_positions(intent, tuple(snapshot.positions.values()), numbers)
            return settle.opened(trade, intent, positions, sum((p.volume for p in positions), ZERO))


def _closed_volume(trade: Trade, intent: Intent, action: ClosePosition, snapshot: Snapshot) -> Decimal:
    position = _found(trade, action.position, snapshot.positions)
    if position is None:
        return action.expected_volume
    if intent.filled is not None:
        return min(intent.filled, action.volume)
    return action.expected_volume - position.volume
