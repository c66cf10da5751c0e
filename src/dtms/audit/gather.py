"""A picture of both sides through the ports: consistent, because the broker was the same before and after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dtms.audit.ledger import Ledger
from dtms.audit.spans import Span
from dtms.audit.world import Books, Look, World
from dtms.domain.account import MarginMode
from dtms.domain.actions import Intent
from dtms.domain.errors import DtmsError
from dtms.domain.facts import Fact, FactKind
from dtms.domain.managed import Managed
from dtms.domain.market import Instrument
from dtms.domain.owners import Ownership, lease_key, opening_key
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.position import Deal, Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, State, Trade
from dtms.ports.broker import Broker
from dtms.ports.store import KeptKind, Lease, Loaded, Store
from dtms.settings import Settings

TRIES = 3
PAGE = 5_000
CLOSED_MAX = 500
ABOUT_INTENTS = frozenset(
    {FactKind.ACTION, FactKind.INTENT, FactKind.TRANSITION, FactKind.CLOSED, FactKind.NEEDS_ATTENTION}
)
"""Facts of trades whose intents have to be read."""
NAMED_MAX = 500
"""Intents that are asked for one by one; for more of them all are read."""
OPEN_PLANS = frozenset(status for status in PlanStatus if status.is_open)
MAIN = "main"
"""The lease that the main program holds while it runs."""


class Unsteady(DtmsError):
    """Broker and store changed with every look: nothing can be said of them now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What is asked beside the ports: since when, and what the engine alone knows."""

    since_ms: int
    settings: Settings
    mode: Mode
    looks: Callable[[], Mapping[int, Look]] | None
    stops_before: Mapping[int, float | None] | None
    """None takes the stops that the store has."""
    machine_s: float = 0.0
    """The machine's monotonic seconds, by which leases run out."""
    slack_ms: int = 1_000
    """Market time that passes in a second of the machine, 1000 at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    loaded: Loaded
    facts: Sequence[Fact]
    closed: Sequence[Trade]
    managed: Sequence[Managed]
    plans: Sequence[Plan]
    letters: frozenset[int]

    @property
    def trades(self) -> Sequence[Trade]:
        return tuple({t.ticket: t for t in (*self.loaded.trades, *self.closed)}.values())


async def gather(broker: Broker, store: Store, asking: Asking) -> World:
    """Read both sides: the broker's first, so that every deal that is seen has its intent in what is read after.

    Raises:
        BrokerUnavailable: when the broker gave no sound answer.
        StoreFailed: when the store could not be read.
        Unsteady: when the positions changed during every try.
    """
    for _ in range(TRIES):
        before = await broker.snapshot(())
        deals = await broker.deals(from_ms=asking.since_ms)
        stored = await _stored(store, asking.since_ms)
        deals = _merged([deals, *[await broker.deals(position=trade.identifier) for trade in stored.closed]])
        intents = await _intents(broker, store, stored, before, deals)
        ownerships = await _ownerships(store, intents, asking.since_ms)
        leases = await _leases(store, intents, before.account.margin_mode, asking.machine_s)
        instruments = await _instruments(broker, _symbols(stored, intents, ownerships, asking.since_ms))
        after = await broker.snapshot(())
        if _held(before) == _held(after):
            main_is_up = any(lease.key == MAIN for lease in leases)
            books = _books(asking, stored, intents, ownerships, leases, main_is_up=main_is_up)
            return _world(broker, asking, after, deals, books, instruments)
    raise Unsteady(f"the broker's positions changed during each of {TRIES} looks")


def _held(snapshot: Snapshot) -> Mapping[int, tuple[object, ...]]:
    return {p.ticket: (p.identifier, p.side, p.volume, p.stop, p.target) for p in snapshot.positions.values()}


def _merged(lists: Sequence[Sequence[Deal]]) -> Sequence[Deal]:
    return sorted({d.ticket: d for found in lists for d in found}.values(), key=lambda d: (d.time_ms, d.ticket))


async def _stored(store: Store, since_ms: int) -> _Stored:
    loaded = await store.load()
    facts: list[Fact] = []
    while page := await store.facts(since_ms=since_ms, after=facts[-1].id if facts else None, limit=PAGE):
        facts += page
        if len(page) < PAGE:
            break
    ended = [f.ticket for f in facts if f.kind is FactKind.CLOSED and f.ticket is not None][-CLOSED_MAX:]
    closed = await store.trades(states=frozenset({State.CLOSED}), tickets=ended, limit=CLOSED_MAX) if ended else None
    waiting = await store.kept(KeptKind.REGISTRATION)
    return _Stored(
        loaded=loaded,
        facts=facts,
        closed=closed.trades if closed else (),
        managed=await store.managed(),
        plans=await store.plans(statuses=OPEN_PLANS),
        letters=frozenset(int(kept.key) for kept in waiting),
    )


async def _intents(
    broker: Broker, store: Store, stored: _Stored, snapshot: Snapshot, deals: Sequence[Deal]
) -> Sequence[Intent]:
    """Read the intents of what something happened to, and those that a deal, a position or a plan names."""
    tickets = {f.ticket for f in stored.facts if f.kind in ABOUT_INTENTS and f.ticket is not None}
    tickets |= {t.ticket for t in stored.trades if t.members} | {i.ticket for i in stored.loaded.intents if i.ticket}
    found = {i.number: i for i in stored.loaded.intents}
    for ticket in sorted(tickets):
        found |= {i.number: i for i in await store.intents(ticket=ticket)}
    marked: Sequence[Deal | Position] = (*deals, *snapshot.positions.values())
    numbers = {broker.number_in(one.magic, one.comment) for one in marked} | {plan.intent for plan in stored.plans}
    missing = sorted(number for number in numbers if number is not None and number not in found)
    if len(missing) > NAMED_MAX:
        return list((found | {i.number: i for i in await store.intents()}).values())
    named = [await store.intent(number) for number in missing]
    return [*found.values(), *(intent for intent in named if intent is not None)]


async def _ownerships(store: Store, intents: Sequence[Intent], since_ms: int) -> Sequence[Ownership]:
    """Read the registry: what is open, and what intents were about that were committed since."""
    found = {entry.ticket: entry for entry in await store.ownerships()}
    named = {i.ticket for i in intents if i.ticket and i.created_ms >= since_ms} - found.keys()
    ended = await store.ownerships(sorted(named)) if named else ()
    return [*found.values(), *ended]


async def _leases(store: Store, intents: Sequence[Intent], mode: MarginMode, machine_s: float) -> Sequence[Lease]:
    """Read the leases that are held of those that open intents were sent under, and the main program's."""
    open_ones = [i for i in intents if i.state.is_open]
    keys = {lease_key(i.ticket, i.action.symbol, mode) if i.ticket else opening_key(i.number) for i in open_ones}
    found = [await store.lease(key) for key in (MAIN, *sorted(keys))]
    return [lease for lease in found if lease is not None and lease.expires_s > machine_s]


def _symbols(
    stored: _Stored, intents: Sequence[Intent], ownerships: Sequence[Ownership], since_ms: int
) -> frozenset[str]:
    fresh = {intent.action.symbol for intent in intents if intent.created_ms >= since_ms}
    known = {t.symbol for t in stored.trades} | {m.symbol for m in stored.managed} | {o.symbol for o in ownerships}
    return frozenset(fresh | known)


async def _instruments(broker: Broker, symbols: frozenset[str]) -> Mapping[str, Instrument]:
    found = {symbol: await broker.instrument(symbol) for symbol in sorted(symbols)}
    return {symbol: instrument for symbol, instrument in found.items() if instrument is not None}


def _books(
    asking: Asking,
    stored: _Stored,
    intents: Sequence[Intent],
    ownerships: Sequence[Ownership],
    leases: Sequence[Lease],
    *,
    main_is_up: bool,
) -> Books:
    return Books(
        trades=stored.trades,
        stored=stored.loaded.tickets,
        intents=intents,
        facts=stored.facts,
        facts_since_ms=asking.since_ms,
        controls=stored.loaded.controls,
        mode=asking.mode,
        ownerships=ownerships,
        managed=stored.managed,
        plans=stored.plans,
        letters=stored.letters,
        leases=leases,
        main_is_up=main_is_up,
    )


def _world(
    broker: Broker,
    asking: Asking,
    snapshot: Snapshot,
    deals: Sequence[Deal],
    books: Books,
    instruments: Mapping[str, Instrument],
) -> World:
    account = snapshot.account
    ledger = Ledger(
        account=(account.login, account.server),
        margin_mode=account.margin_mode,
        fifo_close=account.fifo_close,
        positions=snapshot.positions,
        deals=deals,
        since_ms=asking.since_ms,
        until_ms=snapshot.taken_ms,
        instruments=instruments,
        number_of=broker.number_in,
    )
    stops = {**{managed.identifier: managed.stop for managed in books.managed}, **stops_of(books.trades)}
    return World(
        ledger=ledger,
        books=books,
        settings=asking.settings,
        looks=asking.looks() if asking.looks is not None else None,
        stops_before=stops if asking.stops_before is None else asking.stops_before,
        outages=_away(books.facts),
        slack_ms=asking.slack_ms,
    )


def stops_of(trades: Sequence[Trade]) -> Mapping[int, float | None]:
    """Return the stops that the store has, by position identifier."""
    own = {trade.identifier: trade.stop for trade in trades}
    return own | {member.identifier: member.stop for trade in trades for member in trade.members}


def _away(facts: Sequence[Fact]) -> Sequence[Span]:
    """Whatever came before the last recovery, dtms or the broker may have been away."""
    recovered = [f.market_ms for f in facts if f.kind is FactKind.RECOVERED]
    return (Span(0, recovered[-1]),) if recovered else ()
