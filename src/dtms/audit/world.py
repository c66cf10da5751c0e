"""Both sides of an account at one moment: the broker's ledger and the store, with what checks ask of the two."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from dtms.audit.ledger import Holdings, Ledger, Request
from dtms.audit.spans import Span, halted_spans
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, Intent, IntentState, OpenPosition
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Asker, Ownership, lease_key, opening_key
from dtms.domain.plans import Plan
from dtms.domain.position import DealEntry, Position
from dtms.domain.trade import Mode, Trade
from dtms.ports.store import Controls, Lease
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsound:
    """A stretch in which a symbol's data were not what the market was: stale, crossed, not a number, of another time.

    ``knowable`` tells whether whoever saw them could know: then nothing may be added on them.
    """

    symbol: str
    during: Span
    why: str
    knowable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """When a trade was last looked at, None for never, and how often it should be."""

    at_ms: int | None
    interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A lease that was given, with its token."""

    key: str
    holder: str
    token: int
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The store's side. ``facts`` are those since ``facts_since_ms``, oldest first; ``stored`` are tickets of all rows.

    ``acknowledged`` are tickets whose registration somebody was told to have succeeded.
    """

    trades: Sequence[Trade]
    stored: frozenset[int]
    intents: Sequence[Intent]
    facts: Sequence[Fact]
    facts_since_ms: int
    controls: Controls
    mode: Mode = Mode.AUTO
    """Of the account, as it is now."""
    acknowledged: frozenset[int] = frozenset()
    ownerships: Sequence[Ownership] = ()
    """Entries of positions that are open, and of those that intents are about."""
    managed: Sequence[Managed] = ()
    """What managers beside DTMS hold now."""
    plans: Sequence[Plan] = ()
    letters: frozenset[int] = frozenset()
    """Tickets whose registration with DTMS is on its way."""
    leases: Sequence[Lease] = ()
    """Leases that are held, of those that open intents are sent under."""
    main_is_up: bool = True
    """Whether the main program runs: while it does not, what it remembers stands still."""


class Need(StrEnum):
    """What a check needs beyond deals, positions and the store."""

    REQUESTS = "requests"
    LEVELS = "levels"
    LOOKS = "looks"
    CALM = "calm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The positions of a trade, by identifier: its own, and those that its intents opened, with the intents."""

    own: int
    hedges: Mapping[int, int]
    readds: Mapping[int, int]

    @property
    def members(self) -> Mapping[int, int]:
        return {**self.hedges, **self.readds}

    @property
    def side(self) -> tuple[int, ...]:
        """The positions on the trade's side."""
        return (self.own, *self.readds)

    def __iter__(self) -> Iterator[int]:
        return iter((self.own, *self.hedges, *self.readds))


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: what is derived is worked out once
class World:
    """All that the invariants are judged on. What is None is not known, and what needs it is not judged."""

    ledger: Ledger
    books: Books
    settings: Settings
    looks: Mapping[int, Look] | None = None
    stops_before: Mapping[int, float | None] = field(default_factory=dict)
    """Stops at the last audit, by position identifier."""
    grants: Sequence[Grant] = ()
    outages: Sequence[Span] = ()
    """When dtms did not run, or the broker or the store did not answer."""
    unsound: Sequence[Unsound] = ()
    calm_since_ms: int | None = None
    """Since when nothing was made to fail."""
    slack_ms: int = 1_000
    """Market time in which a change reaches every process, and by which their clocks may differ: a machine's second."""

    @property
    def now_ms(self) -> int:
        return self.ledger.until_ms

    @cached_property
    def holdings(self) -> Holdings:
        return Holdings(self.ledger)

    @cached_property
    def positions(self) -> Mapping[int, Position]:
        """What is open now, by identifier."""
        return {p.identifier: p for p in self.ledger.positions.values()}

    @cached_property
    def intents(self) -> Mapping[int, Intent]:
        """Every known intent by its number."""
        return {intent.number: intent for intent in self.books.intents}

    @cached_property
    def trades(self) -> Mapping[int, Trade]:
        return {trade.ticket: trade for trade in self.books.trades}

    @cached_property
    def intents_by_trade(self) -> Mapping[int, Sequence[Intent]]:
        found: defaultdict[int, list[Intent]] = defaultdict(list)
        for intent in sorted(self.books.intents, key=lambda i: i.number):
            found[intent.ticket].append(intent)
        return found

    @cached_property
    def facts_by_trade(self) -> Mapping[int, Sequence[Fact]]:
        found: defaultdict[int, list[Fact]] = defaultdict(list)
        for fact in self.books.facts:
            if fact.ticket is not None:
                found[fact.ticket].append(fact)
        return found

    @cached_property
    def requests_by_number(self) -> Mapping[int, Sequence[Request]]:
        found: defaultdict[int, list[Request]] = defaultdict(list)
        for request in self.ledger.requests or ():
            if request.number is not None:
                found[request.number].append(request)
        return found

    @cached_property
    def identifiers(self) -> Mapping[int, int]:
        """The identifier of each position that is known under a ticket."""
        known = {d.position_id: d.position_id for d in self.ledger.deals}
        for trade in self.books.trades:
            known |= {trade.ticket: trade.identifier, trade.position: trade.identifier}
            known |= {member.ticket: member.identifier for member in trade.members}
        return known | {p.ticket: p.identifier for p in self.ledger.positions.values()}

    @cached_property
    def families(self) -> Mapping[int, Family]:
        """The family of each trade, by its ticket."""
        opened = self._opened()
        return {trade.ticket: _family(trade, opened.get(trade.ticket, {})) for trade in self.books.trades}

    @cached_property
    def openers(self) -> Mapping[int, int | None]:
        """The number under which each position was opened, of those whose opening is known; None for not by dtms."""
        openings = (deal for deal in self.ledger.deals if deal.entry is DealEntry.IN)
        dealt = {deal.position_id: self.ledger.number_of_deal(deal) for deal in openings}
        held = {i: self.ledger.number_of(p.magic, p.comment) for i, p in self.positions.items()}
        return dealt | held

    def _opened(self) -> Mapping[int, Mapping[int, Intent]]:
        """Positions that the intents of each trade opened, by trade and identifier."""
        found: defaultdict[int, dict[int, Intent]] = defaultdict(dict)
        pairs = [(intent.number, intent.order) for intent in self.books.intents if intent.order is not None]
        pairs += [(m.intent, m.identifier) for trade in self.books.trades for m in trade.members]
        known = [(number, identifier) for identifier, number in self.openers.items() if number is not None]
        for number, identifier in (*pairs, *known):
            intent = self.intents.get(number)
            if intent is not None and isinstance(intent.action, OpenPosition):
                found[intent.ticket][identifier] = intent
        return found

    def idle_ms(self, from_ms: int, to_ms: int) -> int:
        """Return for how long of a stretch dtms could not act: it or the world was away, or the kill switch was on."""
        spans = [*self.outages, *self.halts]
        return sum(span.overlap_ms(from_ms, to_ms) for span in spans)

    @cached_property
    def halts(self) -> Sequence[Span]:
        """When the kill switch was on."""
        books = self.books
        return halted_spans(books.facts, Span(books.facts_since_ms, self.now_ms), is_halted=books.controls.halted)

    def was_misled(self, symbol: str, at_ms: int) -> bool:
        """Answer whether what was decided at a moment was decided on another market than the real one."""
        return any(stretch.symbol == symbol and at_ms in stretch.during for stretch in self.unsound)

    def mode_of(self, trade: Trade) -> Mode:
        return trade.mode or self.books.mode

    @cached_property
    def entries(self) -> Mapping[int, Ownership]:
        """The registry's entries by ticket."""
        return {entry.ticket: entry for entry in self.books.ownerships}

    @cached_property
    def held_by_managers(self) -> Sequence[Managed]:
        """What managers beside DTMS have in hand."""
        return [managed for managed in self.books.managed if managed.is_active]

    @cached_property
    def tracked(self) -> Mapping[int, int]:
        """The ticket that every position is known under which dtms has to do with, by identifier."""
        found = {entry.identifier: entry.ticket for entry in self.books.ownerships if entry.closed_ms is None}
        found |= {managed.identifier: managed.ticket for managed in self.held_by_managers}
        return found | {identifier: t.ticket for t in self.books.trades for identifier in self.families[t.ticket]}

    @cached_property
    def members(self) -> Mapping[int, int]:
        """The trade of every position beside a trade's own, by identifier."""
        return {i: trade.ticket for trade in self.books.trades for i in self.families[trade.ticket].members}

    @cached_property
    def shouted(self) -> frozenset[int]:
        """Numbers of intents that a person was called for."""
        called = (f.details.get("intent") for f in self.books.facts if f.kind is FactKind.NEEDS_ATTENTION)
        return frozenset(number for number in called if isinstance(number, int))

    def key_of(self, intent: Intent) -> str | None:
        """Return the key of the lease that an intent is sent under; None for what removes an order of another's."""
        mode = self.ledger.margin_mode
        if intent.ticket or mode is not MarginMode.HEDGING:
            return lease_key(intent.ticket, intent.action.symbol, mode)
        return opening_key(intent.number) if intent.action.kind.opens_trade else None


def _family(trade: Trade, opened: Mapping[int, Intent]) -> Family:
    def of(kind: ActionKind) -> dict[int, int]:
        return {i: intent.number for i, intent in opened.items() if intent.action.kind is kind}

    return Family(own=trade.identifier, hedges=of(ActionKind.OPEN_HEDGE), readds=of(ActionKind.READD))


def sent(intents: Iterable[Intent]) -> Iterator[Intent]:
    """Leave out what only waits for an approval."""
    return (intent for intent in intents if intent.state is not IntentState.PLANNED)


def is_of_main(intent: Intent) -> bool:
    """Answer whether an intent is the main program's."""
    return intent.asker is not Asker.DTMS


def is_alert(fact: Fact) -> bool:
    """Answer whether a fact calls for a person."""
    alert: Json = fact.details.get("alert")
    return bool(alert)
