"""A really played account of several managers with one thing made wrong: the breach, its invariant, how it is made."""

from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from tests.invariants.doctors import (
    MINUTE_MS,
    Doctor,
    change_action,
    change_deal,
    change_intent,
    change_level,
    deal_of,
    intent_of,
    with_books,
    with_deals,
    with_fact,
    with_intent,
    with_ledger,
    with_position,
)

from dtms.audit.world import World
from dtms.domain.actions import ActionKind, Intent, IntentState, MoveStop
from dtms.domain.facts import FactKind
from dtms.domain.managed import Managed
from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Owner, State, Trade
from dtms.ports.store import Lease

EXECUTE, LEVELS, TRAIL, PART = (
    ActionKind.EXECUTE,
    ActionKind.SET_LEVELS,
    ActionKind.TRAIL,
    ActionKind.TAKE_PARTIAL,
)


# --- parts of the account --------------------------------------------------------------------------------------------


def led(world: World) -> int:
    """Return the ticket of the Universal manager's position that an execution opened."""
    return intent_of(world, PART).ticket


def beside(world: World) -> Trade:
    """Return the trade of the Universal manager beside which DTMS stands, hedged by now."""
    return next(t for t in world.books.trades if t.alongside)


def defended(world: World) -> Trade:
    """Return DTMS's own trade, hedged by now."""
    return next(t for t in world.books.trades if not t.alongside)


def last_trail(world: World) -> Intent:
    """Return the last move of the Universal manager, long after breakeven."""
    return max((i for i in world.books.intents if i.action.kind is TRAIL), key=lambda i: i.number)


def first_trail(world: World) -> Intent:
    """Return the first move of Intelligent Exit, before breakeven."""
    return next(i for i in world.books.intents if i.action.kind is TRAIL)


def change_last(world: World, **changes: Any) -> World:
    return with_intent(world, replace(last_trail(world), **changes))


def hedged_ms(world: World, ticket: int) -> int:
    facts = world.facts_by_trade[ticket]
    return next(f.market_ms for f in facts if f.kind is FactKind.TRANSITION and f.details["to"] == State.HEDGED.value)


def held(world: World) -> Managed:
    """Return the Universal manager's memory of what DTMS stands beside."""
    return next(m for m in world.books.managed if m.manager is Owner.UNIVERSAL)


def with_held(world: World, **changes: Any) -> World:
    changed = replace(held(world), **changes)
    return with_books(world, managed=[changed if m is held(world) else m for m in world.books.managed])


def with_entry(world: World, ticket: int, **changes: Any) -> World:
    rows = [replace(e, **changes) if e.ticket == ticket else e for e in world.books.ownerships]
    return with_books(world, ownerships=rows)


def with_trade_of(world: World, trade: Trade, **changes: Any) -> World:
    rows = [replace(t, **changes) if t.ticket == trade.ticket else t for t in world.books.trades]
    return with_books(world, trades=rows)


def calm(world: World) -> World:
    later = with_ledger(world, until_ms=world.now_ms + 2 * MINUTE_MS)
    return replace(later, calm_since_ms=world.now_ms)


# --- what can be wrong -----------------------------------------------------------------------------------------------


def _hedge_in_hand(world: World) -> World:
    return with_held(world, identifier=beside(world).members[0].identifier)


def _in_hand_twice(world: World) -> World:
    return with_books(world, managed=[*world.books.managed, replace(held(world), ticket=999)])


def _manager_loosens(world: World) -> World:
    action = last_trail(world).action
    assert isinstance(action, MoveStop)
    assert action.expected_stop is not None
    return change_last(world, action=replace(action, stop=round(action.expected_stop + 0.0001, 5)))


def _loosened_unseen(world: World) -> World:
    position = world.positions[beside(world).identifier]
    assert position.stop is not None
    return replace(world, stops_before={position.identifier: position.stop + 0.0001})


def _execution_without_intent(world: World) -> World:
    return with_books(world, intents=[i for i in world.books.intents if i.action.kind is not EXECUTE])


def _executed_twice(world: World) -> World:
    first = deal_of(world, EXECUTE)
    again = replace(first, ticket=first.ticket + 9_000, order=777, position_id=777)
    return with_deals(world, [*world.ledger.deals, again])


def _two_parts_open(world: World) -> World:
    part = intent_of(world, PART)
    world = with_intent(world, replace(part, state=IntentState.UNKNOWN, resolved_ms=None))
    action = replace(part.action, kind=ActionKind.CLOSE_PART)
    later = replace(part, number=900, asker=Asker.DTMS, action=action, created_ms=part.created_ms + 5_000)
    return with_intent(world, later)


def _older_than_the_other_programs(world: World) -> World:
    """Main's intent, and minutes later DTMS's under an older token of the same lease."""
    hedge = intent_of(world, ActionKind.OPEN_HEDGE)
    before = replace(last_trail(world), ticket=hedge.ticket, token=hedge.token + 1, number=9_000)
    return with_intent(world, replace(before, created_ms=hedge.created_ms - MINUTE_MS))


def _never_granted(world: World) -> World:
    newest = last_trail(world)
    lease = Lease(key=str(newest.ticket), holder="a:1:1", token=newest.token - 1, expires_s=9e9)
    return with_books(world, leases=[lease])


def _dtms_beside_at_rest(world: World) -> World:
    """DTMS tightens a stop of the Universal manager's when it is not defensive."""
    return change_intent(ActionKind.TIGHTEN, world, ticket=beside(world).ticket)


def _after_giving_away(world: World) -> World:
    at_ms, ticket = last_trail(world).created_ms - 2 * MINUTE_MS, led(world)
    told = {"from": Owner.UNIVERSAL.value, "to": "", "asker": "person"}
    return with_entry(with_fact(world, FactKind.OWNER_CHANGED, at_ms, ticket, **told), ticket, owner="", since_ms=at_ms)


def _on_a_hedge(world: World) -> World:
    action = last_trail(world).action
    assert isinstance(action, MoveStop)
    return change_last(world, action=replace(action, position=beside(world).members[0].ticket))


def _in_defence(world: World, trade: str, asker: Asker) -> World:
    ticket = {"own": defended, "beside": beside}[trade](world).ticket
    at_ms = hedged_ms(world, ticket) + 2_000
    return change_last(world, ticket=ticket, asker=asker, created_ms=at_ms)


def _halted(world: World, intent: Intent, **changes: Any) -> World:
    world = with_fact(world, FactKind.HALTED, intent.created_ms - MINUTE_MS)
    world = with_books(world, controls=replace(world.books.controls, halted=True))
    return with_intent(world, replace(intent, **changes))


def _program_in_the_halt(world: World) -> World:
    return _halted(world, first_trail(world), correlation_id="asked-over-http")


def _person_loosens_in_the_halt(world: World) -> World:
    return _halted(world, intent_of(world, LEVELS))


def _two_owners(world: World) -> World:
    return with_trade_of(world, beside(world), alongside=False, members=(), owner=Owner.DTMS)


def _gone_unmissed(world: World) -> World:
    positions = {t: p for t, p in world.ledger.positions.items() if p.identifier != held(world).identifier}
    return with_ledger(world, positions=positions)


def _fired_twice(world: World) -> World:
    first = replace(intent_of(world, EXECUTE), plan="p1")
    return with_intent(with_intent(world, first), replace(first, number=900))


def _bracket_opened_twice(world: World) -> World:
    plans = [_plan(world, name) for name in ("p1", "p2")]
    return with_books(world, plans=plans)


def _plan(world: World, name: str) -> Plan:
    return Plan(
        id=name,
        symbol=intent_of(world, EXECUTE).action.symbol,
        side=Side.SHORT,
        entry=1.2,
        stop=None,
        target=None,
        volume=Decimal("0.1"),
        risk_pct=None,
        conditions={},
        expires_ms=world.now_ms,
        created_ms=0,
        bracket_id="b",
        status=PlanStatus.EXECUTED,
    )


def _nobodys(world: World) -> World:
    made = deal_of(world, EXECUTE)
    return with_position(world, 888, side=Side.SHORT, volume=Decimal("0.1"), magic=made.magic)


ON_A_SHARED_ACCOUNT: dict[str, tuple[int, Doctor]] = {
    "a hedge in a manager's hands": (2, _hedge_in_hand),
    "a position in a manager's hands twice": (2, _in_hand_twice),
    "a manager was to loosen a stop": (8, _manager_loosens),
    "a program was to loosen levels": (8, partial(change_intent, LEVELS, asker=Asker.EXITS)),
    "a program loosened levels": (8, partial(change_intent, LEVELS, asker=Asker.UNIVERSAL)),
    "levels off the grid were asked for": (8, partial(change_action, LEVELS, stop=1.207651)),
    "the stop of a manager's position loosened unseen": (8, _loosened_unseen),
    "another target than was asked for": (9, partial(change_level, LEVELS, target=1.3)),
    "a manager's part off the volume step": (10, partial(change_action, PART, volume=Decimal("0.205"))),
    "a manager's part of more than is open": (10, partial(change_action, PART, expected_volume=Decimal("0.10"))),
    "an execution's deal on the other side": (12, partial(change_deal, EXECUTE, side=Side.LONG)),
    "an execution without an intent": (12, _execution_without_intent),
    "an execution made two orders": (13, _executed_twice),
    "two managers close parts at once": (13, _two_parts_open),
    "a manager's request unknown for hours": (14, partial(change_intent, PART, state=IntentState.UNKNOWN)),
    "an execution needs a person who was not told": (
        14,
        partial(change_intent, EXECUTE, state=IntentState.NEEDS_HUMAN),
    ),
    "a manager's older token": (15, partial(change_last, token=2)),
    "an older token than another program's": (15, _older_than_the_other_programs),
    "a token that was never granted": (15, _never_granted),
    "Universal acts on a trade of DTMS": (16, lambda w: change_last(w, ticket=defended(w).ticket, created_ms=0)),
    "Intelligent Exit acts on Universal's after breakeven": (16, partial(change_last, asker=Asker.EXITS)),
    "DTMS acts beside an owner and is not defensive": (16, _dtms_beside_at_rest),
    "an execution changes what is open": (16, partial(change_last, asker=Asker.EXECUTION)),
    "Universal acts after it gave the position away": (16, _after_giving_away),
    "a manager acts on a hedge": (16, _on_a_hedge),
    "Intelligent Exit acts while DTMS is defensive": (17, partial(_in_defence, trade="own", asker=Asker.EXITS)),
    "Universal acts on its own while DTMS is defensive": (
        17,
        partial(_in_defence, trade="beside", asker=Asker.UNIVERSAL),
    ),
    "a program acts under the kill switch": (20, _program_in_the_halt),
    "a person loosens under the kill switch": (20, _person_loosens_in_the_halt),
    "a manager remembers another stop than the broker": (23, lambda w: calm(with_held(w, stop=1.0))),
    "a manager holds a trade of another account": (25, partial(with_held, login=1)),
    "two owners: DTMS and Universal": (30, _two_owners),
    "two owners: Universal and whom the registry names": (30, lambda w: with_entry(w, held(w).ticket, owner="x")),
    "a manager holds what is gone": (31, _gone_unmissed),
    "a plan fired twice": (32, _fired_twice),
    "two plans of a bracket opened positions": (32, _bracket_opened_twice),
    "an execution's position that nobody has": (33, _nobodys),
}
"""Breaches of an account that several managers share: the number, and how to make it."""
