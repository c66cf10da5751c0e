"""What happened at the broker, told neutrally: from a simulated terminal's own books, or from what a broker answers.

A simulated terminal tells all of it: every request, every change of levels with the market at that moment. A real one
tells positions and deals, so ``requests`` and ``levels`` are None, and checks that need them are not run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from dtms.domain.account import MarginMode
from dtms.domain.market import Instrument, Side
from dtms.domain.position import Deal, DealEntry, Position
from dtms.domain.prices import ZERO

DONE = frozenset({10008, 10009, 10010})
"""Retcodes of requests that the broker took."""
INVALID_FILL = 10030
"""Refused for its filling alone: the same request goes out with the next one."""


class Author(StrEnum):
    """Whose doing something was."""

    DTMS = "dtms"
    PROGRAM = "another program"
    PERSON = "a person"
    BROKER = "the broker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to the broker and its answer, with the market at that moment; prices are None when absent."""

    at_ms: int
    symbol: str
    author: Author
    number: int | None
    """Of the intent that it carries."""
    retcode: int
    position: int | None
    """The ticket that it names."""
    bid: float
    ask: float

    @property
    def is_done(self) -> bool:
        return self.retcode in DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """Stop and target of a position as they were set, with the market at that moment."""

    at_ms: int
    position: int
    """Its ticket."""
    stop: float | None
    target: float | None
    bid: float
    ask: float
    author: Author
    number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The broker's side of the world, up to ``until_ms``; all times are market UTC milliseconds."""

    account: tuple[int, str]
    """Login and server."""
    margin_mode: MarginMode
    fifo_close: bool
    positions: Mapping[int, Position]
    """Open at ``until_ms``, by ticket."""
    deals: Sequence[Deal]
    """Every deal since ``since_ms``, oldest first."""
    since_ms: int
    until_ms: int
    instruments: Mapping[str, Instrument]
    number_of: Callable[[int, str], int | None]
    """The intent's number in a magic number or, as the second witness, in a comment; None when it is not ours."""
    requests: Sequence[Request] | None = None
    levels: Sequence[LevelChange] | None = None
    median_spread: Mapping[str, float] = field(default_factory=dict)
    """Per symbol, as a price difference; what is not known is not judged."""

    @property
    def can_hedge(self) -> bool:
        return self.margin_mode is MarginMode.HEDGING and not self.fifo_close

    def number_of_deal(self, deal: Deal) -> int | None:
        return self.number_of(deal.magic, deal.comment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one deal made of a position: signed lots before and after, positive for LONG."""

    deal: Deal
    before: Decimal
    after: Decimal


class Holdings:
    """What was open of each position, by identifier, at any moment since the ledger begins.

    A ledger that begins in the middle is worked out backwards from what is open now, so that no deal before
    ``since_ms`` has to be known.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._now: defaultdict[int, Decimal] = defaultdict(Decimal)
        for position in ledger.positions.values():
            self._now[position.identifier] += position.side.sign * position.volume
        deals: defaultdict[int, list[Deal]] = defaultdict(list)
        for deal in ledger.deals:
            deals[deal.position_id].append(deal)
        is_whole = ledger.since_ms == 0
        self._steps = {i: _steps(found, ZERO if is_whole else self._begin(i, found)) for i, found in deals.items()}

    def _begin(self, identifier: int, deals: Sequence[Deal]) -> Decimal:
        return self._now[identifier] - sum((d.side.sign * d.volume for d in deals), ZERO)

    def steps(self, identifier: int) -> Sequence[Step]:
        """Return what each known deal made of a position, oldest first."""
        return self._steps.get(identifier, ())

    def now(self, identifier: int) -> Decimal:
        """Return the signed lots open now."""
        return self._now.get(identifier, ZERO)

    def at(self, identifier: int, deal: Deal) -> Decimal:
        """Return the signed lots open of a position right after a deal of whatever position."""
        held: Decimal | None = None
        for step in self.steps(identifier):
            if (step.deal.time_ms, step.deal.ticket) > (deal.time_ms, deal.ticket):
                return step.before if held is None else held
            held = step.after
        return self.now(identifier) if held is None else held

    def ended_ms(self, identifier: int) -> int | None:
        """Return when a position that is not open any more was closed; None while it is, or when that is not known."""
        steps = self.steps(identifier)
        return steps[-1].deal.time_ms if steps and steps[-1].after == ZERO else None

    def is_closed_by_deals(self, identifier: int) -> bool:
        """Answer whether deals closed a position, all of it where its opening is among them."""
        steps = self.steps(identifier)
        is_whole = bool(steps) and steps[0].deal.entry is DealEntry.IN
        moved = sum((step.deal.side.sign * step.deal.volume for step in steps), ZERO)
        return any(s.deal.entry is not DealEntry.IN for s in steps) and (moved == ZERO or not is_whole)

    def __iter__(self) -> Iterator[int]:
        return iter(self._now.keys() | self._steps.keys())


def _steps(deals: Sequence[Deal], begin: Decimal) -> list[Step]:
    held, steps = begin, list[Step]()
    for deal in deals:
        steps.append(Step(deal=deal, before=held, after=held + deal.side.sign * deal.volume))
        held = steps[-1].after
    return steps


def side_of(lots: Decimal) -> Side:
    """Return the side of signed lots."""
    return Side.LONG if lots > ZERO else Side.SHORT
