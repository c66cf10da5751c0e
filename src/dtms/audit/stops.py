"""Stops and targets (8, 9): by the terminal's own books where they are known, by intents and by looks where not."""

from collections import defaultdict
from collections.abc import Iterator

from dtms.audit.ledger import Author, LevelChange
from dtms.audit.violations import Violation
from dtms.audit.world import World, is_alert, sent
from dtms.domain.actions import Intent, MoveStop, SetLevels
from dtms.domain.facts import FactKind, Json
from dtms.domain.market import Instrument, Side
from dtms.domain.owners import Asker
from dtms.domain.position import Position
from dtms.domain.prices import on_grid, same_price

AT_ONCE_MS = 2_000
"""What reached the broker later was sized on another market: it has to keep the broker's own distance alone."""


def check_08_stops_protect(world: World) -> Iterator[Violation]:
    """No manager loosened a stop or took one away; each lies on the grid, on the protective side, clear of the market.

    A person may loosen and remove, through dtms or in the terminal.
    """
    for intent in sent(world.books.intents):
        instrument = world.ledger.instruments.get(intent.action.symbol)
        if isinstance(intent.action, MoveStop | SetLevels) and instrument is not None:
            yield from _intended(intent, intent.action, instrument)
    for identifier, ticket in world.tracked.items():
        yield from _since_last_look(world, ticket, identifier)
    for number, change, before in our_moves(world):
        yield from _made(world, world.intents[number], change, before)


def _intended(intent: Intent, action: MoveStop | SetLevels, instrument: Instrument) -> Iterator[Violation]:
    expected, stop = action.expected_stop, action.stop
    if stop is not None and stop <= 0.0:
        yield _stop(intent.ticket, intent.number, "a stop was to be taken away", stop, expected)
    elif stop is not None and on_grid(stop, instrument) != stop:
        yield _stop(intent.ticket, intent.number, "a stop off the tick grid was asked for", stop, expected)
    if expected is not None and not may_loosen(intent) and is_looser(stop, expected, action.side):
        yield _stop(intent.ticket, intent.number, "a stop was to be loosened", stop, expected)


def may_loosen(intent: Intent) -> bool:
    """Answer whether an intent is a person's, who may set the levels that he wants."""
    return intent.asker is Asker.PERSON and isinstance(intent.action, SetLevels)


def is_looser(stop: float | None, than: float, side: Side) -> bool:
    """Answer whether a stop protects less than another; an absent one protects nothing."""
    return stop is None or (stop - than) * side.sign < 0


def _since_last_look(world: World, ticket: int, identifier: int) -> Iterator[Violation]:
    position, before = world.positions.get(identifier), world.stops_before.get(identifier)
    if position is None or before is None or not is_looser(position.stop, before, position.side):
        return
    instrument = world.ledger.instruments.get(position.symbol)
    if instrument is None or same_price(position.stop, before, instrument):
        return
    if _is_asked_for(world, position, instrument) or _is_told(world, ticket, position, before):
        return
    words = "its stop is gone" if position.stop is None else "its stop was loosened, and not by dtms"
    yield Violation(
        number=8,
        ticket=ticket,
        about=f"position {identifier}",
        words=f"{words} since the last audit",
        figures={"stop": position.stop, "was": before},
    )


def _is_asked_for(world: World, position: Position, instrument: Instrument) -> bool:
    """Answer whether a person asked for the stop that the position has."""
    asked = (i.action for i in sent(world.books.intents) if may_loosen(i))
    levels = (a for a in asked if isinstance(a, SetLevels) and a.position == position.ticket)
    return any(same_price(a.stop, position.stop, instrument) for a in levels)


def _is_told(world: World, ticket: int, position: Position, before: float) -> bool:
    """Answer whether an alert told of it already, when it was seen: once is enough."""
    facts = (f for f in world.facts_by_trade.get(ticket, ()) if f.kind is FactKind.CHANGED_OUTSIDE and is_alert(f))
    return any(_tells(fact.details.get("stop"), position.stop, before) for fact in facts if "stop" in fact.details)


def _tells(told: Json, stop: float | None, before: float) -> bool:
    """Compare a fact's stop, in each program's way of telling: what it is, what it was and is, or what was lost."""
    if isinstance(told, dict):
        return stop in (told.get("is", before), told.get("new", before))
    return told == stop or (stop is None and told == before)


def our_moves(world: World) -> Iterator[tuple[int, LevelChange, LevelChange | None]]:
    """Yield each change of levels that an intent of ours made, with the change of that position before it."""
    by_position: defaultdict[int, list[LevelChange]] = defaultdict(list)
    for change in world.ledger.levels or ():
        intent = world.intents.get(change.number) if change.number is not None else None
        before = by_position[change.position]
        if intent is not None and isinstance(intent.action, MoveStop | SetLevels):
            yield intent.number, change, before[-1] if before else None
        before.append(change)


def _made(world: World, intent: Intent, change: LevelChange, before: LevelChange | None) -> Iterator[Violation]:
    action = intent.action
    instrument = world.ledger.instruments.get(action.symbol)
    assert isinstance(action, MoveStop | SetLevels)
    if instrument is None:
        return
    was, stop = before.stop if before else None, change.stop
    if stop is None:
        if was is not None and not may_loosen(intent):
            yield _stop(intent.ticket, intent.number, "a stop was taken away", stop, was)
        return
    if (
        was is not None
        and not may_loosen(intent)
        and is_looser(stop, was, action.side)
        and not _overtaken(intent, before)
    ):
        yield _stop(intent.ticket, intent.number, "a stop was loosened", stop, was)
    if stop != was:
        at_once = change.at_ms - intent.created_ms <= AT_ONCE_MS
        is_seen = at_once and isinstance(action, MoveStop) and not world.was_misled(action.symbol, intent.created_ms)
        yield from _placed(intent, change, stop, instrument, spread=change.ask - change.bid if is_seen else 0.0)


def _overtaken(intent: Intent, before: LevelChange | None) -> bool:
    """Answer whether somebody else changed the levels while the request was under way."""
    return before is not None and before.author is not Author.DTMS and before.at_ms >= intent.created_ms


def _placed(
    intent: Intent, change: LevelChange, stop: float, instrument: Instrument, *, spread: float
) -> Iterator[Violation]:
    assert isinstance(intent.action, MoveStop | SetLevels)
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
    """A change of a stop leaves the target bit-identical; levels set together are those asked for."""
    for number, change, before in our_moves(world):
        intent = world.intents[number]
        was = before.target if before else None
        meant = intent.action.target if isinstance(intent.action, SetLevels) else was
        if change.target != meant and not _overtaken(intent, before):
            yield Violation(
                number=9,
                ticket=intent.ticket,
                about=f"intent {number}",
                words="the target changed with the stop",
                figures={"target": change.target, "was": was},
            )
