"""Who may change a position (16, 17)."""

from collections.abc import Iterator

from dtms.audit.ledger import Author
from dtms.audit.violations import Violation
from dtms.audit.world import World, sent
from dtms.domain.actions import ActionKind, ClosePosition, Intent, MoveStop, SetLevels
from dtms.domain.facts import FactKind
from dtms.domain.position import DealReason
from dtms.domain.trade import Owner, Trade

OURS = (Owner.DTMS, Owner.NOBODY)
CLEANS_UP = (ActionKind.CLOSE_HEDGE, ActionKind.CLOSE)


def check_16_only_as_owner_or_by_rank(world: World) -> Iterator[Violation]:
    """Every intent concerns its own trade's family, which dtms owns, or defends, and has not let go of."""
    for trade in world.books.trades:
        known = set(world.families[trade.ticket])
        for intent in sent(world.intents_by_trade.get(trade.ticket, ())):
            action = intent.action
            if isinstance(action, MoveStop | ClosePosition | SetLevels):
                identifier = world.identifiers.get(action.position)
                if identifier is not None and identifier not in known and identifier in world.openers:
                    yield _act(intent, f"it changes position {action.position}, which is not of its trade's family")
            if trade.owner not in OURS and not _by_rank(intent):
                yield _act(intent, f"the trade belongs to {trade.owner.value}, and was not defended")
            if _let_go_before(world, trade, intent) and not _cleans_up(intent):
                yield _act(intent, "dtms had been told to let go of the trade")
    for intent in world.books.intents:
        if intent.ticket not in world.books.stored:
            yield _act(intent, "it serves a trade that is not registered")


def _by_rank(intent: Intent) -> bool:
    serves = intent.serves
    defends = serves is not None and (serves.from_state.is_defensive or serves.to_state.is_defensive)
    return defends or _cleans_up(intent)


def _cleans_up(intent: Intent) -> bool:
    return isinstance(intent.action, ClosePosition) and intent.action.kind in CLEANS_UP


def _let_go_before(world: World, trade: Trade, intent: Intent) -> bool:
    is_free = False
    for fact in world.facts_by_trade.get(trade.ticket, ()):
        if fact.market_ms >= intent.created_ms:
            break
        if fact.kind in (FactKind.DISABLED, FactKind.REGISTERED):
            is_free = fact.kind is FactKind.DISABLED
    return is_free


def _act(intent: Intent, words: str) -> Violation:
    return Violation(number=16, ticket=intent.ticket, about=f"intent {intent.number}", words=words)


def check_17_nobody_acts_while_dtms_defends(world: World) -> Iterator[Violation]:
    """While a trade is defended, no other program changes a position of its family."""
    changes = tuple(_changes_by_programs(world))
    for trade in world.books.trades:
        spans, family = tuple(world.defensive_spans(trade.ticket)), set(world.families[trade.ticket])
        for about, at_ms, identifier, number in changes if spans else ():
            by_us = number is not None and number in world.intents and world.intents[number].ticket == trade.ticket
            if identifier in family and not by_us and any(at_ms in span for span in spans):
                words = f"another program changed position {identifier} while dtms defended the trade"
                yield Violation(number=17, ticket=trade.ticket, about=about, words=words)


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
