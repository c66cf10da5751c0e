"""What several managers over one store add to the invariants (30 to 33): one owner each, nothing fired twice.

What the main program remembers is judged only while it runs: until then nobody acts on it, and it is put right at its
start.
"""

from collections import defaultdict
from collections.abc import Iterator

from dtms.audit.violations import Violation
from dtms.audit.world import World
from dtms.domain.account import MarginMode
from dtms.domain.actions import Intent, IntentState
from dtms.domain.managed import Managed
from dtms.domain.plans import PlanStatus
from dtms.domain.position import DealEntry
from dtms.domain.trade import Owner, Trade

FOLLOWED = 2
"""Seconds of the machine: a change of owner reaches every process within one; another is for what they do then."""
LATE = 60
"""Seconds of the machine that there are to see that a position ended, or to begin to hand one over."""
FIRED = frozenset({IntentState.SENDING, IntentState.CONFIRMED, IntentState.UNKNOWN, IntentState.NEEDS_HUMAN})
"""Intents that were executed, or may have been."""
OPENED = frozenset({PlanStatus.EXECUTED, PlanStatus.CLOSED})
"""Orders of a bracket may rest side by side; the first to be filled has the others removed."""
OURS = (Owner.DTMS, Owner.NOBODY)


def check_30_one_owner(world: World) -> Iterator[Violation]:
    """No two managers hold one position as its owner; the registry says who does."""
    for trade in world.books.trades:
        entry = world.entries.get(trade.ticket)
        if entry is None or not trade.is_active or trade.alongside or _keeps_something(world, trade):
            continue
        if entry.manager not in OURS and entry.closed_ms is None and _is_old(world, entry.since_ms):
            yield _two(trade, f"DTMS watches it as its own, and {entry.owner} owns it")
    for managed in world.held_by_managers if world.books.main_is_up else ():
        entry = world.entries.get(managed.ticket)
        if managed.manager is not Owner.UNIVERSAL or not _is_old(world, managed.registered_ms):
            continue
        owner = "" if entry is None else entry.owner
        if owner != Owner.UNIVERSAL.value and (entry is None or _is_old(world, entry.since_ms)):
            yield _two(managed, f"the Universal manager has it in hand, and {owner or 'nobody'} owns it")


def _keeps_something(world: World, trade: Trade) -> bool:
    """Answer whether DTMS watches on over what it opened itself, which a person was called for."""
    return bool(trade.members) or any(i.state.is_open for i in world.intents_by_trade.get(trade.ticket, ()))


def _is_old(world: World, since_ms: int) -> bool:
    return world.now_ms - since_ms > FOLLOWED * world.slack_ms


def _two(one: Trade | Managed, words: str) -> Violation:
    return Violation(number=30, ticket=one.ticket, about=f"position {one.identifier}", words=words)


def check_31_what_is_held_is_there(world: World) -> Iterator[Violation]:
    """What a manager holds is at the broker, or closed a moment ago, or known to be missing."""
    ended = {deal.position_id: deal.time_ms for deal in world.ledger.deals if deal.entry is not DealEntry.IN}
    for managed in world.held_by_managers if world.books.main_is_up else ():
        if managed.identifier in world.positions or managed.unconfirmed:
            continue
        since = max(ended.get(managed.identifier, managed.registered_ms), managed.registered_ms)
        if _is_late(world, since):
            yield Violation(
                number=31,
                ticket=managed.ticket,
                about=f"position {managed.identifier}",
                words=f"{managed.manager.value} holds what the broker does not have, and nobody missed it",
            )


def check_32_a_plan_fires_once(world: World) -> Iterator[Violation]:
    """Of all intents of a plan at most one was executed or may have been; of the plans of a bracket one opened."""
    shots: defaultdict[str, list[Intent]] = defaultdict(list)
    for intent in world.books.intents:
        if intent.plan is not None and intent.state in FIRED:
            shots[intent.plan].append(intent)
    for plan, fired in shots.items():
        if len(fired) > 1:
            numbers = [*sorted(i.number for i in fired)]
            words = f"it fired {len(fired)} times"
            yield Violation(number=32, ticket=None, about=f"plan {plan}", words=words, figures={"intents": [*numbers]})
    brackets: defaultdict[str, set[str]] = defaultdict(set)
    for one in world.books.plans:
        if one.bracket_id is not None and one.status in OPENED:
            brackets[one.bracket_id].add(one.id)
    for bracket, plans in brackets.items():
        if len(plans) > 1:
            words = f"{len(plans)} plans of one bracket opened positions: {', '.join(sorted(plans))}"
            yield Violation(number=32, ticket=None, about=f"bracket {bracket}", words=words)


def check_33_what_was_opened_has_a_manager(world: World) -> Iterator[Violation]:
    """What an execution opened is in the registry or with DTMS, or on its way there, a minute later at most."""
    if world.ledger.margin_mode is not MarginMode.HEDGING:
        return  # an execution may have joined what nobody had
    for identifier, number in world.openers.items():
        position = world.positions.get(identifier)
        intent = world.intents.get(number) if number is not None else None
        if position is None or intent is None or not intent.action.kind.opens_trade or intent.state.is_open:
            continue
        known = {position.ticket, identifier} & (world.books.stored | world.entries.keys() | world.books.letters)
        since = max(position.opened_ms, intent.resolved_ms or 0)
        if not known and identifier not in world.tracked and _is_late(world, since):
            yield Violation(
                number=33,
                ticket=position.ticket,
                about=f"position {identifier}",
                words=f"intent {intent.number} opened it, and no manager has it",
            )


def _is_late(world: World, since_ms: int) -> bool:
    return world.now_ms - since_ms - world.idle_ms(since_ms, world.now_ms) > LATE * world.slack_ms
