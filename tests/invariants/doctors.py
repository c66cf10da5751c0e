"""Real recorded worlds, each with one thing made wrong. A table: the breach, its invariant, and the change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from dtms.audit.ledger import Author, Ledger, LevelChange, Request
from dtms.audit.spans import Span
from dtms.audit.world import Grant, Look, Unsound, World
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, Intent, IntentState, MoveStop
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.position import Deal, DealEntry, DealReason, Position
from dtms.domain.trade import Owner, State, Trade

Doctor = Callable[[World], World]
MINUTE_MS = 60_000
TICK = 0.00001


# --- parts of a world ------------------------------------------------------------------------------------------------


def with_ledger(world: World, **changes: Any) -> World:
    return replace(world, ledger=replace(world.ledger, **changes))


def with_books(world: World, **changes: Any) -> World:
    return replace(world, books=replace(world.books, **changes))


def trade_of(world: World) -> Trade:
    return world.books.trades[0]


def with_trade(world: World, **changes: Any) -> World:
    return with_books(world, trades=(replace(trade_of(world), **changes), *world.books.trades[1:]))


def intent_of(world: World, kind: ActionKind) -> Intent:
    return next(i for i in world.books.intents if i.action.kind is kind)


def with_intent(world: World, changed: Intent) -> World:
    """Put an intent in the place of the one with its number, or beside the others."""
    others = [i for i in world.books.intents if i.number != changed.number]
    return with_books(world, intents=sorted([*others, changed], key=lambda i: i.number))


def change_intent(kind: ActionKind, world: World, **changes: Any) -> World:
    return with_intent(world, replace(intent_of(world, kind), **changes))


def change_action(kind: ActionKind, world: World, **changes: Any) -> World:
    intent = intent_of(world, kind)
    return with_intent(world, replace(intent, action=replace(intent.action, **changes)))


def deal_of(world: World, kind: ActionKind) -> Deal:
    number = intent_of(world, kind).number
    return next(d for d in world.ledger.deals if world.ledger.number_of_deal(d) == number)


def with_deals(world: World, deals: Sequence[Deal]) -> World:
    return with_ledger(world, deals=sorted(deals, key=lambda d: (d.time_ms, d.ticket)))


def change_deal(kind: ActionKind, world: World, **changes: Any) -> World:
    deal = deal_of(world, kind)
    return with_deals(world, [replace(d, **changes) if d is deal else d for d in world.ledger.deals])


def without_deals(world: World, position: int, entry: DealEntry) -> World:
    """Let a position stay open: its closing never happened."""
    kept = [d for d in world.ledger.deals if not (d.position_id == position and d.entry is entry)]
    return with_deals(world, kept)


def with_fact(world: World, kind: FactKind, at_ms: int, ticket: int | None = None, **details: Any) -> World:
    last = max(f.id for f in world.books.facts)
    fact = Fact(
        kind=kind, ticket=ticket, market_ms=at_ms, machine_ms=at_ms, summary="made", details=details, id=last + 1
    )
    return with_books(world, facts=sorted([*world.books.facts, fact], key=lambda f: (f.market_ms, f.id)))


def transitions(world: World) -> list[Fact]:
    return [f for f in world.books.facts if f.kind is FactKind.TRANSITION]


def our_level(world: World, kind: ActionKind) -> LevelChange:
    number = intent_of(world, kind).number
    return next(c for c in world.ledger.levels or () if c.number == number)


def change_level(kind: ActionKind, world: World, **changes: Any) -> World:
    level = our_level(world, kind)
    return with_ledger(world, levels=[replace(c, **changes) if c is level else c for c in world.ledger.levels or ()])


def request_of(world: World, kind: ActionKind) -> Request:
    return world.requests_by_number[intent_of(world, kind).number][0]


def change_request(kind: ActionKind, world: World, **changes: Any) -> World:
    request = request_of(world, kind)
    kept = [replace(r, **changes) if r is request else r for r in world.ledger.requests or ()]
    return with_ledger(world, requests=kept)


def opened(world: World, identifier: int, *, number: int, side: Side, lots: str, at_ms: int) -> World:
    """Let a position be opened at the broker, with the magic number of an intent, and stay open."""
    like = deal_of(world, ActionKind.OPEN_HEDGE)
    magic = like.magic - intent_of(world, ActionKind.OPEN_HEDGE).number + number
    volume = Decimal(lots)
    deal = replace(
        like,
        ticket=like.ticket + 10_000,
        order=identifier,
        position_id=identifier,
        side=side,
        volume=volume,
        magic=magic,
        comment="",
        time_ms=at_ms,
    )
    return with_deals(
        with_position(world, identifier, side=side, volume=volume, magic=magic), [*world.ledger.deals, deal]
    )


def with_position(world: World, ticket: int, *, side: Side, volume: Decimal, magic: int = 0) -> World:
    position = Position(
        ticket=ticket,
        identifier=ticket,
        symbol=trade_of(world).symbol,
        side=side,
        volume=volume,
        entry=1.0,
        stop=None,
        target=None,
        price_now=1.0,
        profit=0.0,
        swap=0.0,
        magic=magic,
        comment="",
        opened_ms=0,
    )
    return with_ledger(world, positions={**world.ledger.positions, ticket: position})


def position_of(ledger: Ledger, ticket: int) -> Position:
    return ledger.positions[ticket]


def change_position(world: World, **changes: Any) -> World:
    """Change the trade's own position at the broker."""
    ticket = trade_of(world).position
    changed = replace(position_of(world.ledger, ticket), **changes)
    return with_ledger(world, positions={**world.ledger.positions, ticket: changed})


# --- what can be wrong -----------------------------------------------------------------------------------------------


def _row_lost(world: World) -> World:
    return with_books(world, stored=frozenset(), trades=())


def _two_rows(world: World) -> World:
    other = replace(trade_of(world), ticket=999)
    return with_books(world, trades=(*world.books.trades, other), stored=world.books.stored | {999})


def _hedge_enrolled(world: World) -> World:
    """Mutant 9 in a world's form: what dtms opened became a trade of its own."""
    hedge = deal_of(world, ActionKind.OPEN_HEDGE).position_id
    other = replace(trade_of(world), ticket=hedge, identifier=hedge, members=())
    return with_books(world, trades=(*world.books.trades, other), stored=world.books.stored | {hedge})


def _registered_again(world: World) -> World:
    return with_fact(world, FactKind.REGISTERED, world.now_ms, trade_of(world).ticket)


def _not_looked_at(world: World) -> World:
    return replace(world, looks={trade_of(world).ticket: Look(at_ms=world.now_ms - 181_000, interval_s=60.0)})


def _not_watched(world: World) -> World:
    return replace(world, looks={})


def _closed_in_the_store(world: World) -> World:
    trade = trade_of(world)
    return with_trade(world, machine=replace(trade.machine, state=State.CLOSED), closed_ms=world.now_ms)


def _closed_without_deals(world: World) -> World:
    """The position is not listed, which is no evidence."""
    return _closed_in_the_store(with_ledger(world, positions={}))


def _second_hedge(world: World, lots: str = "0.10") -> World:
    """Another hedge of another intent, while the first is open."""
    first = intent_of(world, ActionKind.OPEN_HEDGE)
    world = with_intent(world, replace(first, number=900))
    at_ms = deal_of(world, ActionKind.OPEN_HEDGE).time_ms + MINUTE_MS
    return opened(world, 777, number=900, side=trade_of(world).side.opposite, lots=lots, at_ms=at_ms)


def _hedge_again(world: World) -> World:
    """The same intent carried out once more: mutant 6 in a world's form."""
    hedge = intent_of(world, ActionKind.OPEN_HEDGE)
    at_ms = deal_of(world, ActionKind.OPEN_HEDGE).time_ms + MINUTE_MS
    return opened(world, 777, number=hedge.number, side=trade_of(world).side.opposite, lots="0.10", at_ms=at_ms)


def _hedge_left_behind(world: World) -> World:
    """The trade's own position is closed in the end, nothing else is done, and its hedge stands on."""
    hedge = deal_of(world, ActionKind.OPEN_HEDGE)
    ended_ms = world.holdings.ended_ms(trade_of(world).identifier)
    assert ended_ms is not None
    world = without_deals(world, hedge.position_id, DealEntry.OUT)
    world = with_position(world, hedge.position_id, side=hedge.side, volume=hedge.volume, magic=hedge.magic)
    intents = [i for i in world.books.intents if i.action.kind not in (ActionKind.CLOSE_HEDGE, ActionKind.CLOSE)]
    facts = [f for f in world.books.facts if f.market_ms < ended_ms]
    return with_ledger(with_books(world, intents=intents, facts=facts), until_ms=ended_ms + 121_000)


def _stop_looser(world: World, ticks: int = 1) -> World:
    """Mutant 3 in a world's form: one tick looser than what was set before."""
    before = (world.ledger.levels or ())[0].stop
    assert before is not None
    return change_level(ActionKind.TIGHTEN, world, stop=round(before - trade_of(world).side.sign * ticks * TICK, 5))


def _stop_at_the_market(world: World) -> World:
    return change_level(ActionKind.TIGHTEN, world, stop=our_level(world, ActionKind.TIGHTEN).bid)


def _stop_off_the_grid(world: World) -> World:
    stop = our_level(world, ActionKind.TIGHTEN).stop
    assert stop is not None
    return change_level(ActionKind.TIGHTEN, world, stop=stop + TICK / 3)


def _looser_intended(world: World) -> World:
    action = intent_of(world, ActionKind.TIGHTEN).action
    assert isinstance(action, MoveStop)
    return change_action(ActionKind.TIGHTEN, world, expected_stop=action.stop + TICK * action.side.sign)


def _loosened_since(world: World) -> World:
    position = position_of(world.ledger, trade_of(world).position)
    assert position.stop is not None
    return replace(world, stops_before={position.identifier: position.stop + TICK * position.side.sign})


def _stop_gone(world: World) -> World:
    before = replace(world, stops_before={trade_of(world).identifier: 1.0})
    return change_position(before, stop=None)


def _target_dropped(world: World) -> World:
    """Mutant 10 in a world's form: the position had a target before the stop was moved."""
    first, *others = world.ledger.levels or ()
    return with_ledger(world, levels=[replace(first, target=1.3), *others])


def _closed_too_much(world: World) -> World:
    return change_deal(ActionKind.CLOSE_HEDGE, world, volume=Decimal("0.30"))


def _part_off_the_step(world: World) -> World:
    """Mutant 4 in a world's form: 0.205 is no multiple of 0.01."""
    return change_action(ActionKind.CLOSE_PART, world, volume=Decimal("0.205"))


def _crumb_left(world: World) -> World:
    return change_action(ActionKind.CLOSE_PART, world, volume=Decimal("0.395"))


def _dealt_off_the_step(world: World) -> World:
    return change_deal(ActionKind.CLOSE_PART, world, volume=Decimal("0.205"))


def _readded_too_much(world: World) -> World:
    return change_deal(ActionKind.READD, world, volume=Decimal("0.50"))


def _without_intent(kind: ActionKind, world: World) -> World:
    number = intent_of(world, kind).number
    return with_books(world, intents=[i for i in world.books.intents if i.number != number])


def _committed_afterwards(world: World) -> World:
    """Mutant 1 in a world's form."""
    sent_ms = request_of(world, ActionKind.CLOSE_PART).at_ms
    return change_intent(ActionKind.CLOSE_PART, world, created_ms=sent_ms + 1)


def _dealt_elsewhere(world: World) -> World:
    return change_deal(ActionKind.CLOSE_PART, world, position_id=deal_of(world, ActionKind.OPEN_HEDGE).position_id)


def _sent_again(world: World) -> World:
    again = replace(request_of(world, ActionKind.OPEN_HEDGE), retcode=10004)
    return with_ledger(world, requests=[*(world.ledger.requests or ()), again])


def _hedge_while_unknown(world: World) -> World:
    first = intent_of(world, ActionKind.OPEN_HEDGE)
    world = with_intent(world, replace(first, state=IntentState.UNKNOWN, resolved_ms=None))
    return with_intent(world, replace(first, number=900, created_ms=first.created_ms + MINUTE_MS))


def _never_resolved(world: World) -> World:
    return change_intent(ActionKind.OPEN_HEDGE, world, state=IntentState.UNKNOWN, resolved_ms=None)


def _nobody_told(world: World) -> World:
    world = change_intent(ActionKind.OPEN_HEDGE, world, state=IntentState.NEEDS_HUMAN, resolved_ms=None)
    return with_trade(world, needs_attention=None)


def _older_token(world: World) -> World:
    return change_intent(ActionKind.CLOSE_PART, world, token=0)


def _token_given_twice(world: World) -> World:
    grants = [Grant(key="engine", holder=holder, token=3, at_ms=0) for holder in "ab"]
    return replace(world, grants=grants)


def _outlived_token(world: World) -> World:
    hedge, key = intent_of(world, ActionKind.OPEN_HEDGE), str(trade_of(world).ticket)
    newer = Grant(key=key, holder="b", token=hedge.token + 1, at_ms=hedge.created_ms - 1)
    return replace(world, grants=[Grant(key=key, holder="a", token=1, at_ms=0), newer])


def _foreign_position(world: World) -> World:
    world = with_position(world, 555, side=Side.LONG, volume=Decimal("0.4"))
    return change_action(ActionKind.TIGHTEN, world, position=555)


def _act_on_anothers(world: World) -> World:
    return with_trade(world, owner=Owner.UNIVERSAL)


def _act_after_letting_go(world: World) -> World:
    at_ms = intent_of(world, ActionKind.CLOSE_PART).created_ms - 1
    return with_fact(world, FactKind.DISABLED, at_ms, trade_of(world).ticket)


def _act_without_trade(world: World) -> World:
    return change_intent(ActionKind.TIGHTEN, world, ticket=4)


def _robot_closes(world: World) -> World:
    """Another program closes the hedge while dtms is HEDGED."""
    return change_deal(ActionKind.CLOSE_HEDGE, world, magic=777, comment="", order=1, reason=DealReason.EXPERT)


def _robot_moves(world: World) -> World:
    hedged_ms = deal_of(world, ActionKind.OPEN_HEDGE).time_ms
    level = replace(
        our_level(world, ActionKind.TIGHTEN), at_ms=hedged_ms + MINUTE_MS, author=Author.PROGRAM, number=None
    )
    return with_ledger(world, levels=[*(world.ledger.levels or ()), level])


def _transition_missing(world: World) -> World:
    second = transitions(world)[1]
    return with_books(world, facts=[f for f in world.books.facts if f is not second])


def _no_such_row(world: World) -> World:
    first = transitions(world)[0]
    wrong = replace(first, details={**first.details, "to": "HEDGED"})
    return with_books(world, facts=[wrong if f is first else f for f in world.books.facts])


def _row_elsewhere(world: World) -> World:
    return with_trade(world, machine=replace(trade_of(world).machine, state=State.WARNING_L1))


def _halted_before(world: World, kind: ActionKind, *, halted: bool) -> World:
    world = with_fact(world, FactKind.HALTED, intent_of(world, kind).created_ms - MINUTE_MS)
    return with_books(world, controls=replace(world.books.controls, halted=halted))


def _lifted_by_a_restart(world: World) -> World:
    return with_fact(world, FactKind.HALTED, world.now_ms - 1)


def _four_restarts(world: World) -> World:
    for number in range(4):
        world = with_fact(world, FactKind.LOOP_RESTARTED, world.now_ms - number * 10 * MINUTE_MS)
    return world


def _calm(world: World) -> World:
    """Let two minutes pass in which nothing happens."""
    later = with_ledger(world, until_ms=world.now_ms + 2 * MINUTE_MS)
    return replace(later, calm_since_ms=world.now_ms)


def _stop_differs(world: World) -> World:
    return _calm(with_trade(world, stop=1.0))


def _volume_differs(world: World) -> World:
    return _calm(with_trade(world, volume=Decimal("0.01")))


def _member_forgotten(world: World) -> World:
    return _calm(with_trade(world, members=()))


def _nobodys_position(world: World) -> World:
    hedge = deal_of(world, ActionKind.OPEN_HEDGE)
    return _calm(with_position(world, 888, side=Side.LONG, volume=Decimal("0.1"), magic=hedge.magic + 40))


def _tightened_last(world: World) -> World:
    added = intent_of(world, ActionKind.OPEN_HEDGE)
    tighten = intent_of(world, ActionKind.TIGHTEN)
    return with_intent(world, replace(tighten, number=950, ticket=4, created_ms=added.created_ms))


def _nan_span(world: World) -> World:
    at_ms = intent_of(world, ActionKind.OPEN_HEDGE).created_ms
    during = Span(at_ms - MINUTE_MS, at_ms + MINUTE_MS)
    return replace(world, unsound=[Unsound(symbol=trade_of(world).symbol, during=during, why="prices were NaN")])


def _wide(world: World) -> World:
    request = request_of(world, ActionKind.OPEN_HEDGE)
    return with_ledger(world, median_spread={request.symbol: (request.ask - request.bid) / 3})


HEDGE, TIGHTEN, PART = ActionKind.OPEN_HEDGE, ActionKind.TIGHTEN, ActionKind.CLOSE_PART

ON_A_LIVING_TRADE: dict[str, tuple[int, Doctor]] = {
    "a registered trade has no row": (1, _row_lost),
    "two rows for one position": (2, _two_rows),
    "a hedge is enrolled as a trade": (2, _hedge_enrolled),
    "registered while registered": (2, _registered_again),
    "not looked at for more than three intervals": (3, _not_looked_at),
    "not watched at all": (3, _not_watched),
    "closed in the store, open at the broker": (4, _closed_in_the_store),
    "closed on an empty list": (4, _closed_without_deals),
    "disabled by nobody": (4, partial(with_trade, disabled=True)),
    "two hedges at once": (5, _second_hedge),
    "more hedged than planned": (5, partial(change_action, HEDGE, volume=Decimal("0.05"))),
    "a hedge on the trade's own side": (5, partial(change_deal, HEDGE, side=Side.LONG)),
    "a hedge on a netting account": (6, partial(with_ledger, margin_mode=MarginMode.NETTING)),
    "a hedge on a FIFO account": (6, partial(with_ledger, fifo_close=True)),
    "a stop loosened by one tick": (8, _stop_looser),
    "a stop set to nothing": (8, partial(change_level, TIGHTEN, stop=None)),
    "a stop at the market": (8, _stop_at_the_market),
    "a stop off the grid": (8, _stop_off_the_grid),
    "a looser stop was intended": (8, _looser_intended),
    "a stop of 0 was intended": (8, partial(change_action, TIGHTEN, stop=0.0)),
    "a stop off the grid was intended": (8, partial(change_action, TIGHTEN, stop=1.199695)),
    "a stop looser than at the last audit": (8, _loosened_since),
    "a stop gone since the last audit": (8, _stop_gone),
    "the target dropped with the stop's move": (9, _target_dropped),
    "the target changed with the stop's move": (9, partial(change_level, TIGHTEN, target=1.3)),
    "more closed than open": (10, _closed_too_much),
    "a part off the volume step": (10, _part_off_the_step),
    "a part that leaves less than the minimum": (10, _crumb_left),
    "a part above what is open": (10, partial(change_action, PART, expected_volume=Decimal("0.10"))),
    "a deal off the volume step": (10, _dealt_off_the_step),
    "re-added beyond the initial volume": (11, _readded_too_much),
    "a hedge above the initial volume": (11, partial(_second_hedge, lots="0.90")),
    "a request without an intent": (12, partial(_without_intent, TIGHTEN)),
    "a deal without an intent": (12, partial(_without_intent, HEDGE)),
    "sent before it was committed": (12, _committed_afterwards),
    "a deal on another position": (12, _dealt_elsewhere),
    "a deal of another symbol": (12, partial(change_deal, HEDGE, symbol="GBPUSD.m")),
    "one intent, two orders": (13, _hedge_again),
    "sent twice": (13, _sent_again),
    "a second hedge while the first is unknown": (13, _hedge_while_unknown),
    "unknown for hours": (14, _never_resolved),
    "sending for hours": (14, partial(change_intent, HEDGE, state=IntentState.SENDING, resolved_ms=None)),
    "a person is needed and nobody was told": (14, _nobody_told),
    "sent with an older token": (15, _older_token),
    "a token given twice": (15, _token_given_twice),
    "sent with a token that another had outlived": (15, _outlived_token),
    "an act on a foreign position": (16, _foreign_position),
    "an act on another manager's trade": (16, _act_on_anothers),
    "an act on a trade that was let go": (16, _act_after_letting_go),
    "an act for a trade that nobody registered": (16, _act_without_trade),
    "another program closes in defence": (17, _robot_closes),
    "another program moves a stop in defence": (17, _robot_moves),
    "a transition is missing in the journal": (18, _transition_missing),
    "a transition that is no row": (18, _no_such_row),
    "the row is in another state than the journal": (18, _row_elsewhere),
    "added on crossed prices": (19, partial(change_request, HEDGE, bid=1.3)),
    "added on prices that are not numbers": (19, partial(change_request, HEDGE, bid=float("nan"))),
    "added while the data were known to be unsound": (19, _nan_span),
    "added at thrice the usual spread": (19, _wide),
    "acted under the kill switch": (20, partial(_halted_before, kind=PART, halted=True)),
    "the kill switch lifted by nobody": (20, _lifted_by_a_restart),
    "four restarts within an hour": (21, _four_restarts),
    "another stop in the store than at the broker": (23, _stop_differs),
    "another volume in the store than at the broker": (23, _volume_differs),
    "a re-added position that the store forgot": (23, _member_forgotten),
    "a position of ours that belongs to nobody": (23, _nobodys_position),
    "another login": (25, partial(with_ledger, account=(1, "Simulated-Demo"))),
    "another server": (25, partial(with_ledger, account=(5_000_001, "Elsewhere-Live"))),
    "a tightening that waited for a hedge": (29, _tightened_last),
}
"""Breaches of a trade that was hedged, turned and re-added, and is still open: the number, and how to make it."""

ON_AN_ENDED_TRADE: dict[str, tuple[int, Doctor]] = {
    "the hedge outlives its trade": (7, _hedge_left_behind),
}
"""Breaches of a trade that was closed together with its hedge."""
