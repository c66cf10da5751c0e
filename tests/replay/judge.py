"""What the terminal's ledger says of a replay: positions over time, what was asked, and the invariants it must keep.

Nothing here reads the engine's memory; its stored intents are only matched with the numbers that the ledger shows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tests.invariants.books import told

from dtms.audit.invariants import INVARIANTS, judge
from dtms.audit.world import Books as Stored
from dtms.audit.world import World
from dtms.domain.actions import Intent
from dtms.domain.market import Instrument, Side
from dtms.domain.trade import Trade
from dtms.ports.store import Controls
from dtms.replay import MAGIC_PREFIX
from dtms.settings import Settings
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import LOT_UNITS
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import Deal, LevelChange, RequestNote
from dtms.terminal.simulated.spec import AccountSpec, SymbolSpec

DONE = (MT5.TRADE_RETCODE_DONE, MT5.TRADE_RETCODE_DONE_PARTIAL)
IN, OUT = MT5.DEAL_ENTRY_IN, MT5.DEAL_ENTRY_OUT


def is_ours(magic: int) -> bool:
    """Answer whether a magic number carries an intent's number."""
    return magic >> 40 == MAGIC_PREFIX


def lots(units: int) -> Decimal:
    return Decimal(units) / LOT_UNITS


def side_of(deal: Deal) -> Side:
    return Side.LONG if deal.type == MT5.DEAL_TYPE_BUY else Side.SHORT


@dataclass(frozen=True, slots=True)
class Books:
    """A ledger, read for one trade: its own position and those that carry the numbers of its intents."""

    ledger: Ledger
    ticket: int
    intents: Mapping[int, Intent]
    """By magic number."""

    def _is_family(self, magic: int) -> bool:
        return is_ours(magic) and magic in self.intents and self.intents[magic].ticket == self.ticket

    @property
    def deals(self) -> list[Deal]:
        return [d for d in self.ledger.deals if d.symbol]

    @property
    def opening(self) -> Deal:
        return next(d for d in self.deals if d.position_id == self.ticket and d.entry == IN)

    @property
    def side(self) -> Side:
        return side_of(self.opening)

    def opened_by_us(self) -> list[Deal]:
        return [d for d in self.deals if d.entry == IN and self._is_family(d.magic)]

    def hedges(self) -> list[Deal]:
        return [d for d in self.opened_by_us() if side_of(d) is not self.side]

    def readds(self) -> list[Deal]:
        return [d for d in self.opened_by_us() if side_of(d) is self.side]

    def family(self) -> list[int]:
        return [self.ticket, *(d.position_id for d in self.opened_by_us())]

    def open_lots(self, position: int, at_ms: int) -> Decimal:
        """Return what was open of a position after all that happened up to a moment."""
        units = sum(
            d.units if d.entry == IN else -d.units for d in self.deals if d.position_id == position and d.ms <= at_ms
        )
        return lots(units)

    def side_lots(self, at_ms: int) -> Decimal:
        return sum(
            (self.open_lots(p, at_ms) for p in (self.ticket, *(d.position_id for d in self.readds()))), Decimal(0)
        )

    def hedged_lots(self, at_ms: int) -> Decimal:
        return sum((self.open_lots(d.position_id, at_ms) for d in self.hedges()), Decimal(0))

    def asked(self, from_ms: int, to_ms: int) -> list[RequestNote]:
        """Return the trade's requests of a span, in order."""
        notes = self.ledger.requests
        return [n for n in notes if self._is_family(n.request.get("magic", 0)) and from_ms <= n.ms <= to_ms]

    def stops_set(self, position: int, until_ms: int) -> list[LevelChange]:
        return [c for c in self.ledger.levels if c.position == position and c.ms <= until_ms]

    def request_of(self, deal: Deal) -> RequestNote:
        """Return the request that made a deal."""
        return next(n for n in self.ledger.requests if n.request.get("magic") == deal.magic and n.retcode in DONE)

    def closing(self, position: int) -> list[Deal]:
        return [d for d in self.deals if d.position_id == position and d.entry != IN]

    def moments(self) -> Iterator[int]:
        return iter(sorted({d.ms for d in self.deals}))


def check_hedges(books: Books) -> None:
    """Assert that at most one hedge is open at a time, that it has a stop, and that it is not above half the rest."""
    for deal in books.hedges():
        before = [d for d in books.hedges() if d.ticket < deal.ticket]
        assert all(books.open_lots(d.position_id, deal.ms) == 0 for d in before), "a second live hedge"
        assert books.open_lots(deal.position_id, deal.ms) * 2 <= books.side_lots(deal.ms)
        asked = books.request_of(deal)
        assert asked.request["sl"] > 0.0, "a hedge without a stop"
        assert asked.request["comment"][:2] == "DH"
    assert len(books.hedges()) <= 2


def check_readds(books: Books) -> None:
    """Assert that every re-added position was opened with the trade's stop, and never more than twice."""
    assert len(books.readds()) <= 2
    for deal in books.readds():
        asked = books.request_of(deal)
        live = books.stops_set(books.ticket, deal.ms)[-1]
        assert asked.request["sl"] > 0.0
        opened = books.stops_set(deal.position_id, deal.ms)[0]
        assert opened.sl_points == live.sl_points
        assert opened.tp_points == live.tp_points


def check_intents(ledger: Ledger, intents: Mapping[int, Intent]) -> None:
    """Assert that every request of ours has one intent, committed before it, and that none was carried out twice."""
    ours = [n for n in ledger.requests if is_ours(n.request.get("magic", 0))]
    for note in ours:
        assert note.request["magic"] in intents, "a request without an intent"
        assert intents[note.request["magic"]].created_ms <= note.ms
    done = Counter(n.request["magic"] for n in ours if n.retcode in DONE)
    assert set(done.values()) <= {1}, "an intent was carried out twice"


LEDGER_ALONE = frozenset({5, 8, 9, 10, 11, 12, 13, 29})
"""Invariants that a ledger and the stored intents show without the rows and the journal of trades."""


def check_invariants(books: Books, spec: SymbolSpec) -> None:
    """Assert all that must hold on every event of a ledger that one trade and its family made."""
    ledger = told(books.ledger, [spec], AccountSpec(), max(books.moments()) + 1)
    stored = Stored(
        trades=(_trade(books, ledger.instruments[spec.name]),),
        stored=frozenset(i.ticket for i in books.intents.values()),
        intents=list(books.intents.values()),
        facts=(),
        facts_since_ms=0,
        controls=Controls(),
    )
    rows = [row for row in INVARIANTS if row.number in LEDGER_ALONE]
    found = judge(World(ledger=ledger, books=stored, settings=Settings()), rows).violations
    assert not found, "\n".join(map(str, found))
    check_hedges(books)
    check_readds(books)


def _trade(books: Books, instrument: Instrument) -> Trade:
    """Make the trade that a ledger tells of."""
    opening = books.opening
    volume = lots(opening.units)
    return Trade(
        ticket=books.ticket,
        identifier=books.ticket,
        login=0,
        server="",
        symbol=instrument.symbol,
        side=books.side,
        entry=opening.price_points * instrument.point,
        initial_volume=volume,
        initial_stop=None,
        risk=instrument.point,
        nominal_risk=True,
        registered_ms=opening.ms,
        opened_ms=opening.ms,
        volume=volume,
        stop=None,
        target=None,
    )


def order_of_closes(notes: Iterable[RequestNote]) -> Sequence[int]:
    """Return the positions that requests closed, in order."""
    closes = (n.request for n in notes if n.retcode in DONE and "volume" in n.request)
    return [request["position"] for request in closes if "position" in request]
