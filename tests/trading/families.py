"""Trades with a family, as DTMS's server would have written them."""

from dataclasses import replace

from tests.trading.house import House

from dtms.domain.actions import ActionKind, Intent, IntentState, OpenPosition
from dtms.domain.trade import Member, Role, State
from dtms.ports.store import Unit


async def hedged(house: House, *, numbered: bool) -> tuple[int, int]:
    """Let DTMS have a trade with a hedge, known by its number, or by the trade's members alone."""
    own = house.open()
    trade = await house.watch(own, State.HEDGED)
    (number,) = await house.store.next_intent_numbers(1)
    magic = house.broker.magic_of(number) if numbered else 0
    ticket = house.open("SELL", 0.2, magic=magic)
    hedge = await house.position(ticket)
    action = OpenPosition(
        kind=ActionKind.OPEN_HEDGE, symbol=hedge.symbol, side=hedge.side, volume=hedge.volume, stop=None, target=None
    )
    intent = Intent(
        number=number, ticket=own, action=action, serves=None, state=IntentState.CONFIRMED, token=1, created_ms=1
    )
    member = Member(
        ticket=ticket,
        identifier=hedge.identifier,
        role=Role.HEDGE,
        side=hedge.side,
        volume=hedge.volume,
        entry=hedge.entry,
        stop=None,
        target=None,
        intent=number,
        opened_ms=hedge.opened_ms,
    )
    await house.store.commit(Unit(trades=(replace(trade, members=(member,)),), intents=(intent,)))
    return own, ticket
