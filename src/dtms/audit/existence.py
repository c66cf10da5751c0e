"""Trades and their rows: that none is lost, doubled, forgotten or ended without evidence (1 to 4, 23, 25)."""

from collections import Counter
from collections.abc import Iterator, Mapping

from dtms.audit.violations import Violation
from dtms.audit.world import World, is_alert
from dtms.domain.facts import FactKind
from dtms.domain.managed import Managed
from dtms.domain.position import Position
from dtms.domain.prices import ZERO
from dtms.domain.trade import State, Trade

INTERVALS_MAX = 3
CONVERGED_MS = 60_000


def check_01_registrations_exist(world: World) -> Iterator[Violation]:
    """What somebody was told to be registered has a row."""
    told = {f.ticket for f in world.books.facts if f.kind is FactKind.REGISTERED and f.ticket is not None}
    for ticket in sorted((world.books.acknowledged | told) - world.books.stored):
        yield Violation(number=1, ticket=ticket, about="row", words="it was registered, and the store has no row of it")


def check_02_one_position_one_trade(world: World) -> Iterator[Violation]:
    """No position is two trades, none is of two families, and none that dtms opened is a trade of its own."""
    active = [t for t in world.books.trades if t.is_active]
    owners = Counter((t.server, t.login, t.identifier) for t in active)
    members = Counter(identifier for t in active for identifier in world.families[t.ticket].members)
    for trade in active:
        if owners[trade.server, trade.login, trade.identifier] > 1:
            yield _of_position(trade, trade.identifier, "two trades watch one position")
        if trade.identifier in members:
            yield _of_position(trade, trade.identifier, "a position that dtms opened is a trade of its own")
        for identifier in world.families[trade.ticket].members:
            if members[identifier] > 1:
                yield _of_position(trade, identifier, "a position belongs to two families")
    yield from _managed_twice(world, members)
    yield from _registered_twice(world)


def _managed_twice(world: World, members: Mapping[int, int]) -> Iterator[Violation]:
    hands = Counter((m.manager, m.server, m.login, m.identifier) for m in world.held_by_managers)
    for managed in world.held_by_managers:
        if hands[managed.manager, managed.server, managed.login, managed.identifier] > 1:
            yield _of_position(managed, managed.identifier, f"{managed.manager.value} has one position twice")
        if managed.identifier in members:
            yield _of_position(managed, managed.identifier, "a position that dtms opened is in a manager's hands")


def _registered_twice(world: World) -> Iterator[Violation]:
    for ticket, facts in world.facts_by_trade.items():
        is_registered = False
        for fact in facts:
            if fact.kind is FactKind.REGISTERED and is_registered:
                yield Violation(number=2, ticket=ticket, about=f"fact {fact.id}", words="registered while registered")
            if fact.kind in (FactKind.REGISTERED, FactKind.DISABLED, FactKind.CLOSED):
                is_registered = fact.kind is FactKind.REGISTERED


def _of_position(trade: Trade | Managed, identifier: int, words: str) -> Violation:
    return Violation(number=2, ticket=trade.ticket, about=f"position {identifier}", words=words)


def check_03_nothing_goes_unlooked_at(world: World) -> Iterator[Violation]:
    """Every active trade was looked at within three intervals, or an alert tells that it was not."""
    looks = world.looks
    assert looks is not None
    alerts = [f for f in world.books.facts if is_alert(f)]
    for trade in world.books.trades:
        look = looks.get(trade.ticket)
        if not trade.is_active:
            continue
        since = max((look.at_ms if look else None) or 0, trade.registered_ms)
        limit_ms = INTERVALS_MAX * (look.interval_s if look else world.settings.cadence.fast_flat_s) * 1000
        silent_ms = world.now_ms - since - world.idle_ms(since, world.now_ms)
        alerted = any(f.ticket in (None, trade.ticket) and f.market_ms > since for f in alerts)
        if silent_ms > limit_ms and not alerted:
            yield Violation(
                number=3,
                ticket=trade.ticket,
                about="looks",
                words="nobody looked at it for more than three intervals, and no alert says so",
                figures={"silent_s": silent_ms / 1000, "limit_s": limit_ms / 1000},
            )


def check_04_ended_on_evidence(world: World) -> Iterator[Violation]:
    """What is closed in the store was closed at the broker, and what was disabled was disabled by somebody."""
    for trade in world.books.trades:
        if trade.machine.state is State.CLOSED:
            yield from _closed(world, trade)
        elif trade.disabled and trade.registered_ms >= world.books.facts_since_ms:
            kinds = {f.kind for f in world.facts_by_trade.get(trade.ticket, ())}
            if FactKind.DISABLED not in kinds:
                words = "it left the active set, and nobody disabled it"
                yield Violation(number=4, ticket=trade.ticket, about="disabled", words=words)


def _closed(world: World, trade: Trade) -> Iterator[Violation]:
    held = world.holdings.now(trade.identifier)
    if held * trade.side.sign > ZERO:
        yield Violation(
            number=4,
            ticket=trade.ticket,
            about=f"position {trade.identifier}",
            words="it is closed in the store and open at the broker",
            figures={"lots": float(abs(held))},
        )
    elif (
        held == ZERO
        and (trade.closed_ms or 0) >= world.ledger.since_ms
        and not world.holdings.is_closed_by_deals(trade.identifier)
    ):
        words = "it is closed in the store, and no deals at the broker closed it"
        yield Violation(number=4, ticket=trade.ticket, about=f"position {trade.identifier}", words=words)


def check_23_store_and_broker_agree(world: World) -> Iterator[Violation]:
    """A minute after nothing fails any more, the store's trades are the broker's positions."""
    assert world.calm_since_ms is not None
    if world.now_ms - world.calm_since_ms < CONVERGED_MS:
        return
    held = {p.identifier: p for p in world.ledger.positions.values()}
    known: set[int] = set()
    fresh = _changed_lately(world)
    for trade in world.books.trades:
        family = set(world.families[trade.ticket])
        known |= family
        if family & fresh:
            continue  # the market itself goes on: what it did a moment ago has its minute, too
        if trade.is_active:
            yield from _differences(trade, held.get(trade.identifier))
        if not trade.disabled:
            yield from _family_differences(trade, held, set(world.families[trade.ticket].members))
    for managed in world.held_by_managers:
        known.add(managed.identifier)
        if managed.identifier not in fresh:
            yield from _differences(managed, held.get(managed.identifier))
    for position in held.values():
        ours = world.ledger.number_of(position.magic, position.comment)
        if ours is not None and position.identifier not in known and not opens_trade(world, ours):
            yield Violation(
                number=23,
                ticket=None,
                about=f"position {position.identifier}",
                words="a position of ours belongs to no trade",
            )


def opens_trade(world: World, number: int) -> bool:
    """Answer whether an intent opens a trade of its own, which is no trade's family."""
    intent = world.intents.get(number)
    return intent is not None and intent.action.kind.opens_trade


def _changed_lately(world: World) -> set[int]:
    """Return the positions, by identifier, that changed at the broker within the last minute."""
    since = world.now_ms - CONVERGED_MS
    dealt = {deal.position_id for deal in world.ledger.deals if deal.time_ms > since}
    moved = {change.position for change in world.ledger.levels or () if change.at_ms > since}
    return dealt | {world.identifiers.get(ticket, ticket) for ticket in moved}


def _differences(trade: Trade | Managed, position: Position | None) -> Iterator[Violation]:
    there = (ZERO, None, None) if position is None else (position.volume, position.stop, position.target)
    here = (trade.volume, trade.stop, trade.target) if trade.volume else (ZERO, None, None)
    if here != there:
        yield Violation(
            number=23,
            ticket=trade.ticket,
            about=f"position {trade.identifier}",
            words="store and broker have different volume, stop or target",
            figures={"store": [_plain(v) for v in here], "broker": [_plain(v) for v in there]},
        )


def _family_differences(trade: Trade, held: dict[int, Position], family: set[int]) -> Iterator[Violation]:
    here = {m.identifier: (m.volume, m.stop) for m in trade.members}
    there = {i: (held[i].volume, held[i].stop) for i in family if i in held}
    for identifier in sorted(here.keys() | there.keys()):
        if here.get(identifier) != there.get(identifier):
            yield Violation(
                number=23,
                ticket=trade.ticket,
                about=f"position {identifier}",
                words="store and broker have different family positions",
                figures={
                    "store": [_plain(v) for v in here.get(identifier, ())],
                    "broker": [_plain(v) for v in there.get(identifier, ())],
                },
            )


def _plain(value: object) -> float | None:
    return None if value is None else float(str(value))


def check_25_expected_account(world: World) -> Iterator[Violation]:
    """Every trade, in whatever hands, is of the account that the terminal is connected to."""
    login, server = world.ledger.account
    watched: list[Trade | Managed] = [*world.books.trades, *world.held_by_managers]
    for one in watched:
        if (one.login, one.server) != (login, server):
            yield Violation(
                number=25,
                ticket=one.ticket,
                about="account",
                words=f"it is of {one.login} at {one.server}, and the terminal is on {login} at {server}",
            )
