"""What is open: hedges, parts, re-adds and what is left behind (5 to 7, 10, 11, 19)."""

from collections.abc import Iterator
from decimal import Decimal

from dtms.audit.ledger import Author, Step, side_of
from dtms.audit.violations import Violation
from dtms.audit.world import Family, World
from dtms.domain.actions import ActionKind, ClosePosition, Intent, OpenPosition, PlaceOrder
from dtms.domain.facts import FactKind
from dtms.domain.market import Instrument
from dtms.domain.position import Deal, DealEntry
from dtms.domain.prices import ZERO
from dtms.domain.trade import Mode, Trade

CYCLES = 2
CLOSING = (FactKind.HELD, FactKind.ACTION, FactKind.NEEDS_ATTENTION)
"""Facts which tell that something was tried."""


def check_05_one_hedge(world: World) -> Iterator[Violation]:
    """At most one hedge intent of a trade has something open, of the opposite side and not above what was planned."""
    for trade in world.books.trades:
        family = world.families[trade.ticket]
        for identifier, number in family.hedges.items():
            yield from _hedge_side(world, trade, identifier, number)
        yield from _hedges_at_once(world, trade, family)
        for number in sorted(set(family.hedges.values())):
            yield from _above_plan(world, trade, number)


def _hedge_side(world: World, trade: Trade, identifier: int, number: int) -> Iterator[Violation]:
    opened = [s.deal.side for s in world.holdings.steps(identifier) if s.deal.entry is DealEntry.IN]
    held = world.holdings.now(identifier)
    if trade.side in opened or (held != ZERO and side_of(held) is trade.side):
        yield _hedge(trade, number, f"hedge {identifier} is on the trade's own side")


def _hedges_at_once(world: World, trade: Trade, family: Family) -> Iterator[Violation]:
    moments = [s.deal for i in family.hedges for s in world.holdings.steps(i) if s.deal.entry is DealEntry.IN]
    for deal in moments:
        live = {n for i, n in family.hedges.items() if world.holdings.at(i, deal) != ZERO}
        if len(live) > 1:
            yield _hedge(trade, max(live), f"two hedges were open at once, of intents {sorted(live)}")
    now = {n for i, n in family.hedges.items() if world.holdings.now(i) != ZERO}
    if len(now) > 1 and not moments:
        yield _hedge(trade, max(now), f"two hedges are open, of intents {sorted(now)}")


def _above_plan(world: World, trade: Trade, number: int) -> Iterator[Violation]:
    action = world.intents[number].action
    assert isinstance(action, OpenPosition)
    opened = opened_lots(world, number)
    if opened > action.volume:
        figures = {"opened": float(opened), "planned": float(action.volume)}
        yield Violation(
            number=5,
            ticket=trade.ticket,
            about=f"intent {number}",
            words="more was hedged than planned",
            figures=figures,
        )


def opened_lots(world: World, number: int) -> Decimal:
    """Return what was opened under an intent's number, by deals where they are known, by what is open where not."""
    dealt: dict[int, Decimal] = {}
    for deal in world.ledger.deals:
        if deal.entry is DealEntry.IN and world.ledger.number_of_deal(deal) == number:
            dealt[deal.position_id] = dealt.get(deal.position_id, ZERO) + deal.volume
    for position in world.ledger.positions.values():
        if position.identifier not in dealt and world.ledger.number_of(position.magic, position.comment) == number:
            dealt[position.identifier] = position.volume
    return sum(dealt.values(), ZERO)


def _hedge(trade: Trade, number: int, words: str) -> Violation:
    return Violation(number=5, ticket=trade.ticket, about=f"intent {number}", words=words)


def check_06_no_hedge_where_none_can_be(world: World) -> Iterator[Violation]:
    """On a netting or FIFO account nothing was opened or asked for as a hedge."""
    if world.ledger.can_hedge:
        return
    for deal in world.ledger.deals:
        intent = _opener(world, deal)
        if intent is not None and intent.action.kind is ActionKind.OPEN_HEDGE:
            yield Violation(
                number=6,
                ticket=intent.ticket,
                about=f"intent {intent.number}",
                words=f"a hedge was opened on a {world.ledger.margin_mode} account",
                figures={"lots": float(deal.volume), "fifo": world.ledger.fifo_close},
            )


def _opener(world: World, deal: Deal) -> Intent | None:
    number = world.ledger.number_of_deal(deal)
    return world.intents.get(number) if number is not None and deal.entry is DealEntry.IN else None


def check_07_nothing_left_behind(world: World) -> Iterator[Violation]:
    """Two cycles after a trade's own position is gone, nothing of its family is open, or its closing is under way."""
    for trade in world.books.trades:
        ended_ms = _own_ended_ms(world, trade)
        if ended_ms is None or trade.disabled or world.mode_of(trade) is not Mode.AUTO:
            continue
        for identifier in world.families[trade.ticket].members:
            yield from _left_behind(world, trade, identifier, ended_ms)


def _own_ended_ms(world: World, trade: Trade) -> int | None:
    if world.holdings.now(trade.identifier) * trade.side.sign > ZERO:
        return None
    return world.holdings.ended_ms(trade.identifier) or trade.closed_ms


def _left_behind(world: World, trade: Trade, identifier: int, ended_ms: int) -> Iterator[Violation]:
    steps = world.holdings.steps(identifier)
    opened_ms = next((s.deal.time_ms for s in steps if s.before == ZERO), 0)
    gone_ms = world.holdings.ended_ms(identifier) if world.holdings.now(identifier) == ZERO else world.now_ms
    since = max(ended_ms, opened_ms)
    if gone_ms is None or gone_ms <= since:
        return
    allowed_ms = CYCLES * world.settings.cadence.fast_hedged_s * 1000
    left_ms = gone_ms - since - world.idle_ms(since, gone_ms)
    if left_ms > allowed_ms and not _is_closing(world, trade, since, since + int(allowed_ms)):
        yield Violation(
            number=7,
            ticket=trade.ticket,
            about=f"position {identifier}",
            words="it stands alone: the trade's own position is gone, and nothing was done to close it",
            figures={"alone_s": left_ms / 1000, "allowed_s": allowed_ms / 1000},
        )


def _is_closing(world: World, trade: Trade, from_ms: int, to_ms: int) -> bool:
    tried = any(
        isinstance(i.action, ClosePosition) and from_ms <= i.created_ms <= to_ms
        for i in world.intents_by_trade.get(trade.ticket, ())
    )
    return tried or any(
        f.kind in CLOSING and from_ms <= f.market_ms <= to_ms for f in world.facts_by_trade.get(trade.ticket, ())
    )


def check_10_closes_fit(world: World) -> Iterator[Violation]:
    """No position was closed beyond what was open; what dtms closes fits the step and the minimum."""
    for identifier, ticket in world.tracked.items():
        for step in world.holdings.steps(identifier):
            if world.ledger.can_hedge and _crosses(step):
                yield _close(ticket, f"deal {step.deal.ticket}", "more was closed than was open", step)
            yield from _rest(world, ticket, step)
    for intent in world.books.intents:
        instrument = world.ledger.instruments.get(intent.action.symbol)
        if isinstance(intent.action, ClosePosition) and instrument is not None:
            yield from _planned_close(intent, intent.action, instrument)


def _crosses(step: Step) -> bool:
    return step.before * step.after < ZERO or (step.before == ZERO and step.deal.entry is not DealEntry.IN)


def _planned_close(intent: Intent, action: ClosePosition, instrument: Instrument) -> Iterator[Violation]:
    rest = action.expected_volume - action.volume
    wrong = {
        "the volume to close is not on the step": action.volume % instrument.volume_step != ZERO,
        "more is to be closed than is open": rest < ZERO,
        "what would be left is below the minimum": ZERO < rest < instrument.volume_min,
    }
    for words in (words for words, holds in wrong.items() if holds):
        figures = {"close": float(action.volume), "of": float(action.expected_volume)}
        yield Violation(number=10, ticket=intent.ticket, about=f"intent {intent.number}", words=words, figures=figures)


def _rest(world: World, ticket: int, step: Step) -> Iterator[Violation]:
    number = world.ledger.number_of_deal(step.deal)
    intent = world.intents.get(number) if number is not None else None
    instrument = world.ledger.instruments.get(step.deal.symbol)
    if instrument is None or step.deal.entry is DealEntry.IN or intent is None:
        return
    if not isinstance(intent.action, ClosePosition):
        return
    if step.deal.volume % instrument.volume_step != ZERO:
        yield _close(ticket, f"deal {step.deal.ticket}", "a close is not on the volume step", step)
    filled_whole = step.deal.volume >= intent.action.volume
    if filled_whole and ZERO < abs(step.after) < instrument.volume_min:
        yield _close(ticket, f"deal {step.deal.ticket}", "what is left is below the minimum", step)


def _close(ticket: int, about: str, words: str, step: Step) -> Violation:
    figures = {"before": float(step.before), "closed": float(step.deal.volume), "after": float(step.after)}
    return Violation(number=10, ticket=ticket, about=about, words=words, figures=figures)


def check_11_exposure_never_grows(world: World) -> Iterator[Violation]:
    """Neither the trade's side nor its net, hedge counted, was ever above the initial volume."""
    for trade in world.books.trades:
        family = world.families[trade.ticket]
        for deal in sorted(
            (s.deal for i in family for s in world.holdings.steps(i)), key=lambda d: (d.time_ms, d.ticket)
        ):
            held = trade.side.sign * sum((world.holdings.at(i, deal) for i in family.side), ZERO)
            net = held + trade.side.sign * sum((world.holdings.at(i, deal) for i in family.hedges), ZERO)
            if max(held, abs(net)) > trade.initial_volume:
                yield Violation(
                    number=11,
                    ticket=trade.ticket,
                    about=f"deal {deal.ticket}",
                    words="the exposure grew beyond the initial volume",
                    figures={"held": float(held), "net": float(net), "initial": float(trade.initial_volume)},
                )


def check_19_adds_on_sound_data(world: World) -> Iterator[Violation]:
    """Nothing was added on data that were stale, crossed, not a number or quoted too wide."""
    for request in world.ledger.requests or ():
        intent = world.intents.get(request.number) if request.number is not None else None
        if intent is None or not intent.action.kind.adds_risk or request.author is not Author.DTMS:
            continue
        if isinstance(intent.action, PlaceOrder):
            continue  # waits for its price, whatever is quoted now
        for why in _unsound(world, intent, request.bid, request.ask):
            yield Violation(
                number=19,
                ticket=intent.ticket,
                about=f"intent {intent.number}",
                words=f"exposure was added on unsound data: {why}",
                figures={"bid": request.bid, "ask": request.ask},
            )


def _unsound(world: World, intent: Intent, bid: float, ask: float) -> Iterator[str]:
    symbol = intent.action.symbol
    median, factor = world.ledger.median_spread.get(symbol), world.settings.rails.spread_factor
    if not 0.0 < bid <= ask < float("inf"):
        yield "no sound quote"
    elif median is not None and ask - bid > factor * median * 1.000001:
        yield f"a spread of {ask - bid:.6g}, where the median is {median:.6g}"
    for stretch in world.unsound:
        if stretch.knowable and stretch.symbol == symbol and intent.created_ms in stretch.during:
            yield stretch.why
