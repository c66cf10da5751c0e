"""What the broker's list shows of a request that it says it carried out."""

from collections.abc import Mapping
from decimal import Decimal

from dtms.decide import settle
from dtms.decide.proof import NumberOf, find, named_positions
from dtms.domain.actions import (
    Action,
    CancelOrder,
    ClosePosition,
    Intent,
    MoveStop,
    OpenPosition,
    PlaceOrder,
    SetLevels,
)
from dtms.domain.market import Instrument
from dtms.domain.position import Order, Position
from dtms.domain.prices import ZERO, same_price
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Trade


def identifier_of(trade: Trade, ticket: int) -> int:
    """Return the identifier of a family's position; the ticket itself where the family no longer knows it."""
    if ticket in (trade.position, trade.ticket):
        return trade.identifier
    return next((m.identifier for m in trade.members if m.ticket == ticket), ticket)


def is_shown(trade: Trade, intent: Intent, snapshot: Snapshot, instrument: Instrument, numbers: NumberOf) -> bool:
    """Answer whether the list shows all that the answer to a trade's request says was done."""
    named = position_of(intent.action)
    identifier = None if named is None else identifier_of(trade, named)
    return is_visible(intent, snapshot, instrument, numbers, identifier)


def is_visible(
    intent: Intent, snapshot: Snapshot, instrument: Instrument, numbers: NumberOf, identifier: int | None = None
) -> bool:
    """Answer whether the lists show all that the answer says was done.

    ``identifier`` is that of the position that the action names, where it is known: its ticket can change.
    """
    action = intent.action
    match action:
        case MoveStop():
            position = _found(action.position, identifier, snapshot.positions)
            return position is not None and same_price(position.stop, action.stop, instrument)
        case SetLevels():
            position = _found(action.position, identifier, snapshot.positions)
            return position is not None and _stands(position, action, instrument)
        case ClosePosition():
            position = _found(action.position, identifier, snapshot.positions)
            if position is None:  # what must be left of a part has to be seen: a list without it is no evidence
                return action.volume >= action.expected_volume
            return position.volume < action.expected_volume and position.volume <= _rest(intent, action)
        case OpenPosition():
            volume = _opened(intent, snapshot, numbers)
            return volume > ZERO and volume >= min(intent.filled or ZERO, action.volume)
        case PlaceOrder():
            return _placed(intent, snapshot, numbers) is not None or _opened(intent, snapshot, numbers) > ZERO
        case CancelOrder():
            return all(order.ticket != action.order for order in snapshot.orders)


def position_of(action: Action) -> int | None:
    """Return the ticket of the position that an action changes; None for one that changes none."""
    match action:
        case MoveStop() | SetLevels() | ClosePosition():
            return action.position
        case OpenPosition() | PlaceOrder() | CancelOrder():
            return None


def _found(ticket: int, identifier: int | None, positions: Mapping[int, Position]) -> Position | None:
    return find(tuple(positions.values()), identifier, ticket)


def _stands(position: Position, action: SetLevels, instrument: Instrument) -> bool:
    stop = same_price(position.stop, action.stop, instrument)
    return stop and same_price(position.target, action.target, instrument)


def _placed(intent: Intent, snapshot: Snapshot, numbers: NumberOf) -> Order | None:
    """Return the pending order that an intent placed, by its ticket or number."""
    return next(
        (o for o in snapshot.orders if o.ticket == intent.order or numbers(o.magic, o.comment) == intent.number), None
    )


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
        case SetLevels() | PlaceOrder() | CancelOrder():
            return trade  # nothing of this is DTMS's own: what others did to its trade is seen, and adopted


def _closed_volume(trade: Trade, intent: Intent, action: ClosePosition, snapshot: Snapshot) -> Decimal:
    position = _found(action.position, identifier_of(trade, action.position), snapshot.positions)
    if position is None:
        return action.expected_volume
    if intent.filled is not None:
        return min(intent.filled, action.volume)
    return action.expected_volume - position.volume
