"""The journal against the rows (18), and the loop's restarts (21)."""

from collections.abc import Iterator

from dtms.audit.violations import Violation
from dtms.audit.world import World
from dtms.decide.trade_state import TABLE
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import State

ROWS = {row.rule: row for row in TABLE}
RESTARTS_PER_HOUR = 3
HOUR_MS = 3_600_000


def check_18_the_journal_rebuilds_the_states(world: World) -> Iterator[Violation]:
    """Each trade's transitions are rows of the table, follow each other, and lead to the state that is stored."""
    for trade in world.books.trades:
        facts = world.facts_by_trade.get(trade.ticket, ())
        state: State | None = None
        for fact in facts:
            if fact.kind is FactKind.REGISTERED:
                state = State.HEALTHY
            if fact.kind is FactKind.TRANSITION:
                yield from _transition(trade.ticket, fact, state)
                state = State(str(fact.details["to"]))
        if state is not None and state is not trade.machine.state:
            words = f"the journal leads to {state}, and the row says {trade.machine.state}"
            yield Violation(number=18, ticket=trade.ticket, about="row", words=words)


def _transition(ticket: int, fact: Fact, state: State | None) -> Iterator[Violation]:
    """Judge one transition; ``state`` is what the journal led to so far, None while its beginning is not known."""
    row = ROWS.get(str(fact.details["rule"]))
    source, to = State(str(fact.details["from"])), State(str(fact.details["to"]))
    if state is not None and source is not state:
        words = f"it leaves {source}, and the journal led to {state}"
        yield Violation(number=18, ticket=ticket, about=f"fact {fact.id}", words=words)
    if row is None or row.source not in (None, source) or row.to is not to or source is State.CLOSED:
        words = f"{source} to {to} by {fact.details['rule']} is no row of the table"
        yield Violation(number=18, ticket=ticket, about=f"fact {fact.id}", words=words)


def check_21_few_restarts(world: World) -> Iterator[Violation]:
    """Within no hour was the monitoring loop restarted more than three times."""
    at = [f.machine_ms for f in world.books.facts if f.kind is FactKind.LOOP_RESTARTED]
    for first, fourth in zip(at, at[RESTARTS_PER_HOUR:], strict=False):
        if fourth - first < HOUR_MS:
            words = f"the loop was restarted {RESTARTS_PER_HOUR + 1} times within an hour"
            figures = {"within_s": (fourth - first) / 1000}
            yield Violation(number=21, ticket=None, about=f"restart at {fourth}", words=words, figures=figures)
