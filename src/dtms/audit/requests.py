"""Requests and their intents: committed first, sent once, resolved, under the newest token (12 to 15, 20, 29)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dtms.audit.ledger import INVALID_FILL, Author
from dtms.audit.stops import is_looser
from dtms.audit.violations import Violation
from dtms.audit.world import World, is_of_main, sent
from dtms.domain.actions import (
    ActionKind,
    CancelOrder,
    ClosePosition,
    Intent,
    IntentState,
    OpenPosition,
    PlaceOrder,
    SetLevels,
)
from dtms.domain.facts import FactKind
from dtms.domain.owners import Asker
from dtms.domain.position import Deal, DealEntry

GRACE_S = 120.0
"""What two cycles take: an intent is aged when its trade is looked at."""


def check_12_every_send_has_its_intent(world: World) -> Iterator[Violation]:
    """Every request with a number of ours has an intent committed before it, and every deal fits exactly one."""
    for request in world.ledger.requests or ():
        if request.number is None or request.author is not Author.DTMS:
            continue
        intent = world.intents.get(request.number)
        if intent is None:
            yield _unexplained(None, f"intent {request.number}", "a request was sent without an intent")
        elif intent.created_ms > request.at_ms:
            words = "a request was sent before its intent was committed"
            yield _unexplained(intent.ticket, f"intent {intent.number}", words)
    for deal in world.ledger.deals:
        number = world.ledger.number_of_deal(deal)
        if number is not None:
            yield from _deal(world, deal, number)


def _deal(world: World, deal: Deal, number: int) -> Iterator[Violation]:
    intent = world.intents.get(number)
    if intent is None:
        yield _unexplained(None, f"deal {deal.ticket}", "a deal carries a number that no intent has")
        return
    action, about = intent.action, f"deal {deal.ticket}"
    if deal.symbol != action.symbol:
        yield _unexplained(intent.ticket, about, "a deal of another symbol than its intent's")
    if deal.entry is DealEntry.IN and not (isinstance(action, OpenPosition | PlaceOrder) and deal.side is action.side):
        yield _unexplained(intent.ticket, about, "a deal opened what its intent did not ask for")
    closed = world.identifiers.get(action.position, action.position) if isinstance(action, ClosePosition) else None
    if deal.entry is not DealEntry.IN and closed not in (None, deal.position_id):
        yield _unexplained(intent.ticket, about, "a deal closed another position than its intent's")


def _unexplained(ticket: int | None, about: str, words: str) -> Violation:
    return Violation(number=12, ticket=ticket, about=about, words=words)


def check_13_nothing_is_sent_twice(world: World) -> Iterator[Violation]:
    """An intent that changes exposure is sent once, makes one order, and is alone in being open."""
    for intent in world.books.intents:
        if intent.action.kind.changes_exposure:
            yield from _sent_twice(world, intent)
    orders: dict[int, set[int]] = {}
    for deal in world.ledger.deals:
        number = world.ledger.number_of_deal(deal)
        if number is not None and deal.entry is DealEntry.IN:
            orders.setdefault(number, set()).add(deal.order)
    for number, made in sorted(orders.items()):
        if len(made) > 1:
            yield _twice(world.intents.get(number), number, f"one number made {len(made)} orders")
    yield from _open_at_once(world)


def _sent_twice(world: World, intent: Intent) -> Iterator[Violation]:
    notes = [r for r in world.requests_by_number.get(intent.number, ()) if r.author is Author.DTMS]
    final = [r for r in notes if r.retcode != INVALID_FILL]
    if len(final) > 1:
        yield _twice(intent, intent.number, f"it was sent {len(final)} times")


def _open_at_once(world: World) -> Iterator[Violation]:
    """Two requests of a kind that add exposure, or two partial closes of whomever, open at the same time."""
    for ticket, intents in world.intents_by_trade.items():
        in_turn = sorted(sent(intents if ticket else ()), key=lambda i: (i.created_ms, i.number))
        for kinds in SOLE:
            before: Intent | None = None
            for intent in (i for i in in_turn if i.action.kind in kinds):
                if before is not None and _is_open_at(before, intent.created_ms):
                    words = f"it was begun while intent {before.number} was still open"
                    yield Violation(number=13, ticket=ticket, about=f"intent {intent.number}", words=words)
                before = intent


SOLE = ((ActionKind.OPEN_HEDGE, ActionKind.READD), (ActionKind.CLOSE_PART, ActionKind.TAKE_PARTIAL))
"""Kinds of which one at most may be open for a ticket."""


def _is_open_at(intent: Intent, at_ms: int) -> bool:
    return intent.resolved_ms is None or intent.resolved_ms > at_ms


def _twice(intent: Intent | None, number: int, words: str) -> Violation:
    return Violation(number=13, ticket=intent.ticket if intent else None, about=f"intent {number}", words=words)


def check_14_intents_are_resolved(world: World) -> Iterator[Violation]:
    """Every intent is terminal, or open and young, or escalated with an alert."""
    settings = world.settings.intents
    for intent in world.books.intents:
        age_ms = world.now_ms - intent.created_ms - world.idle_ms(intent.created_ms, world.now_ms)
        if (
            intent.state in (IntentState.SENDING, IntentState.UNKNOWN)
            and age_ms > (settings.escalate_s + GRACE_S) * 1e3
        ):
            words = f"it is {intent.state} for too long, and nobody was called"
            figures = {"age_s": age_ms / 1000, "escalate_s": settings.escalate_s}
            yield Violation(
                number=14, ticket=intent.ticket, about=f"intent {intent.number}", words=words, figures=figures
            )
        if intent.state is IntentState.NEEDS_HUMAN and not _is_told(world, intent):
            words = "it needs a person, and no alert was raised"
            yield Violation(number=14, ticket=intent.ticket, about=f"intent {intent.number}", words=words)


def _is_told(world: World, intent: Intent) -> bool:
    trade = world.trades.get(intent.ticket)
    if trade is not None and not is_of_main(intent) and trade.needs_attention is not None:
        return True
    return intent.created_ms < world.books.facts_since_ms or intent.number in world.shouted


def check_15_tokens_rise(world: World) -> Iterator[Violation]:
    """Tokens of a lease strictly rise with each grant, and nothing is sent under an older one than the newest."""
    newest: dict[str, int] = {}
    for grant in world.grants:
        if grant.token <= newest.get(grant.key, 0):
            words = f"token {grant.token} of lease {grant.key} follows {newest[grant.key]}"
            yield Violation(number=15, ticket=None, about=f"token {grant.token} of {grant.key}", words=words)
        newest[grant.key] = max(newest.get(grant.key, 0), grant.token)
    held = {lease.key: lease.token for lease in world.books.leases}
    by_key: defaultdict[str, list[Intent]] = defaultdict(list)
    for intent in sent(world.books.intents):
        key = world.key_of(intent)
        if key is not None and intent.created_ms >= world.books.facts_since_ms:  # the others had their turn
            by_key[key].append(intent)
    for key, intents in by_key.items():
        yield from _outlived(world, key, intents)
        for intent in intents:
            if intent.token > held.get(key, intent.token):
                yield _token(intent, "it was sent under a token that was never granted", held[key])


def _outlived(world: World, key: str, intents: Sequence[Intent]) -> Iterator[Violation]:
    """Follow the tokens of one lease: within a program by number, between programs by time, for clocks differ."""
    grants = [(grant.at_ms, grant.token) for grant in world.grants if grant.key == key]
    made = [(i.created_ms, i.token, is_of_main(i)) for i in intents]
    highest = {True: 0, False: 0}
    for intent in sorted(intents, key=lambda i: i.number):
        mine = is_of_main(intent)
        granted = [token for at_ms, token in grants if at_ms < intent.created_ms]
        theirs = [token for at_ms, token, of in made if of is not mine and at_ms < intent.created_ms - world.slack_ms]
        floor = max([highest[mine], *granted, *theirs])
        if intent.token < floor:
            yield _token(intent, "it was sent under an older token", floor)
        highest[mine] = max(highest[mine], intent.token)


def _token(intent: Intent, words: str, newest: int) -> Violation:
    figures = {"token": intent.token, "newest": newest}
    return Violation(number=15, ticket=intent.ticket, about=f"intent {intent.number}", words=words, figures=figures)


def check_20_the_halt_holds(world: World) -> Iterator[Violation]:
    """While the kill switch is on nothing is sent but what a person asks for and reduces."""
    for intent in sent(world.books.intents):
        slack_ms = world.slack_ms if is_of_main(intent) else 0
        during = (s.from_ms + slack_ms < intent.created_ms < s.to_ms - slack_ms for s in world.halts)
        if any(during) and not (_is_persons(intent) and _reduces(intent)):
            words = f"{intent.action.kind.value} was sent while the kill switch was on"
            yield Violation(number=20, ticket=intent.ticket, about=f"intent {intent.number}", words=words)
    switches = [f for f in world.books.facts if f.kind in (FactKind.HALTED, FactKind.RESUMED)]
    if switches and (switches[-1].kind is FactKind.HALTED) != world.books.controls.halted:
        words = "the journal and the controls disagree about the kill switch"
        yield Violation(
            number=20, ticket=None, about="controls", words=words, figures={"halted": world.books.controls.halted}
        )


def _is_persons(intent: Intent) -> bool:
    """Answer whether a person asked for it: DTMS's and an order's removal carry what they were asked with."""
    if is_of_main(intent) and not isinstance(intent.action, CancelOrder):
        return intent.asker is Asker.PERSON
    return intent.correlation_id is not None


def _reduces(intent: Intent) -> bool:
    action = intent.action
    if isinstance(action, SetLevels) and action.expected_stop is not None:
        return not is_looser(action.stop, action.expected_stop, action.side)
    return not action.kind.adds_risk


def check_29_tightening_never_waits(world: World) -> Iterator[Violation]:
    """Of what is decided at one moment, no tightening is sent after something that adds exposure."""
    added: dict[int, Intent] = {}
    for intent in sorted(world.books.intents, key=lambda i: i.number):
        if is_of_main(intent):
            continue  # decided by another program, which happens to have the same moment
        before = added.get(intent.created_ms)
        if before is not None and intent.action.kind is ActionKind.TIGHTEN:
            words = f"it waited for {before.action.kind.value} of trade {before.ticket}"
            yield Violation(number=29, ticket=intent.ticket, about=f"intent {intent.number}", words=words)
        if intent.action.kind.adds_risk:
            added[intent.created_ms] = intent
