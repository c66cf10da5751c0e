"""Stops and targets (8, 9): by the terminal's own books where they are known, by intents and by looks where not."""

from collections import defaultdict
from collections.abc import Iterator

from dtms.audit.ledger import Author, LevelChange
from dtms.audit.violations import Violation
from dtms.audit.world import World, sent
from dtms.domain.actions import Intent, MoveStop
from dtms.domain.market import Instrument, Side
from dtms.domain.prices import on_grid, same_price
from dtms.domain.trade import Trade

AT_ONCE_MS = 2_000
"""What reached the broker later was sized on another market: it has to keep the broker's own distance alone."""


def check_08_stops_protect(world: World) -> Iterator[Violation]:
    """No stop was loosened or taken away, and each lies on the grid, on the protective side, clear of the market."""
    for trade in world.books.trades:
        instrument = world.ledger.instruments.get(trade.symbol)
        if instrument is None:
            continue
        for intent in sent(world.intents_by_trade.get(trade.ticket, ())):
            if isinstance(intent.action, MoveStop):
                yield from _intended(trade, intent, intent.action, instrument)
        for identifier in world.families[trade.ticket]:
            yield from _since_last_look(world, trade, identifier, instrument)
    for number, change, before in our_moves(world):
        yield from _made(world, world.intents[number], change, before)


def _intended(trade: Trade, intent: Intent, action: MoveStop, instrument: Instrument) -> Iterator[Violation]:
    expected = action.expected_stop
    if not action.stop > 0.0:
        yield _stop(trade.ticket, intent.number, "a stop was to be taken away", action.stop, expected)
    elif on_grid(action.stop, instrument) != action.stop:
        yield _stop(trade.ticket, intent.number, "a stop off the tick grid was asked for", action.stop, expected)
    if expected is not None and is_looser(action.stop, expected, action.side):
        yield _stop(trade.ticket, intent.number, "a stop was to be loosened", action.stop, expected)


def is_looser(stop: float | None, than: float, side: Side) -> bool:
    """Answer whether a stop protects less than another; an absent one protects nothing."""
    return stop is None or (stop - than) * side.sign < 0


def _since_last_look(world: World, trade: Trade, identifier: int, instrument: Instrument) -> Iterator[Violation]:
    position = world.positions.get(identifier)
    before = world.stops_before.get(identifier)
    if position is None or before is None or not is_looser(position.stop, before, position.side):
        return
    if not same_price(position.stop, before, instrument):
        words = "its stop is gone" if position.stop is None else "its stop was loosened, and not by dtms"
        yield Violation(
            number=8,
            ticket=trade.ticket,
            about=f"position {identifier}",
            words=f"{words} since the last audit",
            figures={"stop": position.stop, "was": before},
        )


def our_moves(world: World) -> Iterator[tuple[int, LevelChange, LevelChange | None]]:
    """Yield each change of levels that an intent of ours made, with the change of that position before it."""
    by_position: defaultdict[int, list[LevelChange]] = defaultdict(list)
    for change in world.ledger.levels or ():
        intent = world.intents.get(change.number) if change.number is not None else None
        before = by_position[change.position]
        if intent is not None and isinstance(intent.action, MoveStop):
            yield intent.number, change, before[-1] if before else None
        before.append(change)


def _made(world: World, intent: Intent, change: LevelChange, before: LevelChange | None) -> Iterator[Violation]:
    action = intent.action
    instrument = world.ledger.instruments.get(action.symbol)
    assert isinstance(action, MoveStop)
    if instrument is None:
        return
    was, stop = before.stop if before else None, change.stop
    if stop is None:
        yield _stop(intent.ticket, intent.number, "a stop was taken away", stop, was)
        return
    if was is not None and is_looser(stop, was, action.side) and not _overtaken(intent, before):
        yield _stop(intent.ticket, intent.number, "a stop was loosened", stop, was)
    if stop != was:
        at_once = change.at_ms - intent.created_ms <= AT_ONCE_MS
        is_seen = at_once and not world.was_misled(action.symbol, intent.created_ms)
        yield from _placed(intent, change, stop, instrument, spread=change.ask - change.bid if is_seen else 0.0)


def _overtaken(intent: Intent, before: LevelChange | None) -> bool:
    """Answer whether somebody else changed the levels while the request was under way."""
    return before is not None and before.author is not Author.DTMS and before.at_ms >= intent.created_ms


def _placed(
    intent: Intent, change: LevelChange, stop: float, instrument: Instrument, *, spread: float
) -> Iterator[Violation]:
    assert isinstance(intent.action, MoveStop)
    side = intent.action.side
    market = change.bid if side is Side.LONG else change.ask
    clear = (market - stop) * side.sign
    if on_grid(stop, instrument) != stop:
        yield _stop(intent.ticket, intent.number, "a stop lies off the tick grid", stop, None)
    if clear < instrument.stops_level + spread - instrument.point / 2 or clear <= 0:
        yield Violation(
            number=8,
            ticket=intent.ticket,
            about=f"intent {intent.number}",
            words="a stop too near to the market, or beyond it",
            figures={"stop": stop, "market": market, "needed": instrument.stops_level + spread},
        )


def _stop(ticket: int, number: int, words: str, stop: float | None, was: float | None) -> Violation:
    return Violation(number=8, ticket=ticket, about=f"intent {number}", words=words, figures={"stop": stop, "was": was})


def check_09_levels_move_alone(world: World) -> Iterator[Violation]:
    """A change of a stop leaves the target bit-identical, and the reverse."""
    for number, change, before in our_moves(world):
        intent = world.intents[number]
        was = before.target if before else None
        if change.target != was and not _overtaken(intent, before):
            yield Violation(
                number=9,
                ticket=intent.ticket,
                about=f"intent {number}",
                words="the target changed with the stop",
                figures={"target": change.target, "was": was},
            )
