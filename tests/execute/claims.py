"""What other programs write and hold beside a running engine: registry entries, leases, requests of their own."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.execute.restarting import Lives

from dtms.domain.actions import Action, ActionKind, Intent, IntentState, OpenPosition
from dtms.domain.owners import Asker, Ownership
from dtms.domain.trade import Owner
from dtms.ports.store import Lease, Unit

ELSEWHERE = "replay:99:0"
"""The holder under which another program holds its leases."""


async def claim(lives: Lives, ticket: int, owner: str = Owner.UNIVERSAL.value) -> Ownership:
    """Write into the registry that another manager owns a position, as that manager does."""
    store = lives.on.store
    found = await store.ownerships([ticket])
    if found:
        entry = replace(found[0], owner=owner, version=found[0].version + 1)
    else:
        position = lives.held()[ticket]
        login, server = lives.on.engine.desk.account
        entry = Ownership(
            ticket=ticket,
            identifier=position.ticket,
            login=login,
            server=server,
            symbol=lives.window.symbol,
            side=lives.window.side,
            owner=owner,
            strategy_type="default_standard",
        )
    await store.commit(Unit(ownership=(entry,)))
    return entry


async def entry_of(lives: Lives, ticket: int) -> Ownership:
    (entry,) = await lives.on.store.ownerships([ticket])
    return entry


async def leased(lives: Lives, ticket: int) -> Lease:
    """Hold a ticket's lease as another process does."""
    grant = await lives.on.store.grant(str(ticket), ELSEWHERE, 15.0, ticket=ticket)
    return grant.lease


async def kept_intent(lives: Lives, action: Action, ticket: int, state: IntentState, **known: Any) -> Intent:
    """Store a request of another manager."""
    (number,) = await lives.on.store.next_intent_numbers(1)
    intent = Intent(
        number=number,
        ticket=ticket,
        action=action,
        serves=None,
        state=state,
        token=1,
        created_ms=lives.on.clock.market_ms(),
        asker=known.pop("asker", Asker.EXITS),
        **known,
    )
    await lives.on.store.commit(Unit(intents=(intent,)))
    return intent


async def opened_by_request(lives: Lives, *, strategy_type: str | None) -> int:
    """Open a position as an execution of the main program does; returns its ticket."""
    action = OpenPosition(
        kind=ActionKind.EXECUTE,
        symbol=lives.window.symbol,
        side=lives.window.side,
        volume=Decimal("0.1"),
        stop=None,
        target=None,
    )
    intent = await kept_intent(
        lives, action, 0, IntentState.CONFIRMED, asker=Asker.EXECUTION, strategy_type=strategy_type
    )
    magic = lives.on.broker.magic_of(intent.number)
    return lives.open_as(lives.window.side.direction, 0.1, magic=magic)
