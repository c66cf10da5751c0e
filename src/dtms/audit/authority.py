"""Who may change a position (16, 17), by the authority table and what held when each intent was committed."""

from collections.abc import Iterator

from dtms.audit.ledger import Author
from dtms.audit.spans import Span
from dtms.audit.standings import Standings
from dtms.audit.violations import Violation
from dtms.audit.world import World, is_of_main, sent
from dtms.decide.authority import Denied, refuse
from dtms.domain.actions import ActionKind, ClosePosition, Intent, MoveStop, SetLevels
from dtms.domain.facts import FactKind
from dtms.domain.owners import Asker
from dtms.domain.position import DealReason

CLEANS_UP = (ActionKind.CLOSE_HEDGE, ActionKind.CLOSE)
RANKS_BELOW = frozenset({Asker.UNIVERSAL, Asker.EXITS, Asker.EXECUTION})
"""Who stands back while DTMS is defensive; a person does not."""
DEFENDED = "dtms_defensive"
WATCHED = (FactKind.DISABLED, FactKind.REGISTERED, FactKind.ENABLED)


def check_16_only_as_owner_or_by_rank(world: World) -> Iterator[Violation]:
    """Every intent was its asker's to have, and concerns no position of another trade's family."""
    standings = Standings(world)
    for intent in sent(world.books.intents):
        yield from _of_its_family(world, intent)
        if intent.created_ms >= world.books.facts_since_ms:
            yield from _without_say(standings, intent)
        if is_of_main(intent):
            continue
        if intent.ticket not in world.books.stored:
            yield _act(intent, "it serves a trade that is not registered")
        elif _let_go_before(world, intent) and not _cleans_up(intent):
            yield _act(intent, "dtms had been told to let go of the trade")


def _of_its_family(world: World, intent: Intent) -> Iterator[Violation]:
    action = intent.action
    if not isinstance(action, MoveStop | ClosePosition | SetLevels) or intent.asker is Asker.PERSON:
        return
    identifier = world.identifiers.get(action.position)
    if identifier is None:
        return
    if is_of_main(intent):
        if identifier in world.members:
            told = f"position {action.position} belongs to the family of trade {world.members[identifier]}"
            yield _act(intent, f"{intent.asker.value} changes what is DTMS's: {told}")
        return
    own = world.families.get(intent.ticket)
    if own is not None and identifier not in set(own) and identifier in world.openers:
        yield _act(intent, f"it changes position {action.position}, which is not of its trade's family")


def _without_say(standings: Standings, intent: Intent) -> Iterator[Violation]:
    """Judge an intent by the table: wrong is what nothing permitted that held about its moment."""
    if not intent.ticket or (intent.asker is Asker.DTMS and _cleans_up(intent)):
        return
    denials = _denials(standings, intent)
    if denials and None not in denials:
        denied = next(d for d in denials if d is not None)
        if denied.rule != DEFENDED:  # those are told as 17
            yield _act(intent, denied.reason)


def _denials(standings: Standings, intent: Intent) -> list[Denied | None]:
    """Return what the table says of all that held; nothing when it is not known."""
    stood = standings.around(intent.ticket, intent.created_ms)
    if intent.asker is Asker.DTMS and any(s.state is None for s in stood):
        return []  # what is left of the family of a trade that has ended is nobody else's
    moving = intent.serves.to_state if intent.serves is not None else None
    return [refuse(intent.asker, s.owner, s.state, breakeven=s.breakeven, to_state=moving) for s in stood]


def _cleans_up(intent: Intent) -> bool:
    return isinstance(intent.action, ClosePosition) and intent.action.kind in CLEANS_UP


def _let_go_before(world: World, intent: Intent) -> bool:
    is_free = False
    for fact in world.facts_by_trade.get(intent.ticket, ()):
        if fact.market_ms >= intent.created_ms:
            break
        if fact.kind in WATCHED:
            is_free = fact.kind is FactKind.DISABLED
    return is_free


def _act(intent: Intent, words: str) -> Violation:
    return Violation(number=16, ticket=intent.ticket, about=f"intent {intent.number}", words=words)


def check_17_nobody_acts_while_dtms_defends(world: World) -> Iterator[Violation]:
    """While a trade is defended no other manager's intent is committed, and no other program changes its family."""
    standings = Standings(world)
    for intent in sent(world.books.intents):
        if intent.asker in RANKS_BELOW and intent.ticket in world.trades:
            yield from _in_defence(standings, intent, world.slack_ms)
    changes = tuple(_changes_by_programs(world))
    for trade in world.books.trades:
        spans, family = tuple(standings.defensive(trade.ticket)), set(world.families[trade.ticket])
        for about, at_ms, identifier, number in changes if spans else ():
            by_us = number is not None and _is_explained(world, number, trade.ticket)
            if identifier in family and not by_us and any(at_ms in span for span in spans):
                words = f"another program changed position {identifier} while dtms defended the trade"
                yield Violation(number=17, ticket=trade.ticket, about=about, words=words)


def _in_defence(standings: Standings, intent: Intent, slack_ms: int) -> Iterator[Violation]:
    """Judge the commit of an intent, a change of state's way to every process left aside."""
    for span in standings.defensive(intent.ticket):
        if intent.created_ms in Span(span.from_ms + slack_ms, span.to_ms - slack_ms):
            words = f"{intent.asker.value} had an intent committed while dtms defended the trade"
            yield Violation(number=17, ticket=intent.ticket, about=f"intent {intent.number}", words=words)


def _is_explained(world: World, number: int, ticket: int) -> bool:
    """Answer whether a change is an intent's: of the trade itself, or of what joined the position of its symbol."""
    intent = world.intents.get(number)
    return intent is not None and (intent.ticket == ticket or intent.action.kind.opens_trade)


def _changes_by_programs(world: World) -> Iterator[tuple[str, int, int, int | None]]:
    by_order = {intent.order: intent.number for intent in world.books.intents if intent.order is not None}
    for deal in world.ledger.deals:
        if deal.reason is DealReason.EXPERT:  # some brokers drop magic and comment: the order tells whose it was
            number = world.ledger.number_of_deal(deal) or by_order.get(deal.order)
            yield f"deal {deal.ticket}", deal.time_ms, deal.position_id, number
    for change in world.ledger.levels or ():
        if change.author in (Author.PROGRAM, Author.DTMS):
            identifier = world.identifiers.get(change.position, change.position)
            yield f"levels of {change.position} at {change.at_ms}", change.at_ms, identifier, change.number
