"""Each class of answers, end to end: how the action ends, what the state does, and what is asked of the broker next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from tests.adapters_mt5.faulty import Answering
from tests.execute.unsteady import Request, Scene, Send, Spoiling, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import EUR, LONG, SHIPPED, SHORT

from dtms.domain.actions import Intent, IntentState
from dtms.domain.facts import FactKind
from dtms.domain.trade import State, Visit
from dtms.terminal.simulated.constants import MT5

HEDGED = next(w for w in SHIPPED if w.rules[-1] == "given_up_hedged" and w.side is SHORT)
GIVEN_UP = next(w for w in SHIPPED if w.rules[-1] == "given_up_hedged" and w.side is LONG)
RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
OFTEN = 10_000
NOOP, REQUOTE, BUSY, BAD_STOPS, REJECT, NO_MONEY, NO_HEDGING = 10025, 10004, 10024, 10016, 10006, 10019, 10046
BAD_PRICE, SWITCHED_OFF = 10015, 10027


def test_every_request_finds_its_intent_committed() -> None:
    """At the moment of each send the store has the intent, in state SENDING."""
    scenes: list[Scene] = []
    found: list[tuple[int, IntentState]] = []

    def look(request: Request, send: Send) -> Any:
        number = scenes[0].on.broker.intent_of(request["magic"])
        assert number is not None
        found.append((number, _state_of(scenes[0], number)))
        return send(request)

    async def keep(scene: Scene) -> None:
        scenes.append(scene)

    played, scene = play(RECOVERED, look, during=keep, store_url="sqlite://")
    assert len(found) == len(scene.terminal.sent) >= 5
    assert {state for _, state in found} == {IntentState.SENDING}
    assert all(i.state is IntentState.CONFIRMED for i in played.intents.values())


def _state_of(scene: Scene, number: int) -> IntentState:
    """Read an intent's state at once: a store that works inline answers without waiting."""
    coroutine = scene.on.store.intents()
    try:
        coroutine.send(None)
    except StopIteration as answered:
        intents: Sequence[Intent] = answered.value
        return next(i.state for i in intents if i.number == number)
    raise AssertionError("the store did not answer at once")


def test_nothing_to_change_is_done() -> None:
    """NO_CHANGES: the stop is there already, so the move is confirmed and the state moves."""
    played, _ = play(HEDGED, Spoiling("S", retcode=NOOP, executes=True))
    assert played.transitions[0].details["rule"] == "warned"
    first = min(played.intents.values(), key=lambda i: i.number)
    assert (first.state, first.retcode) == (IntentState.CONFIRMED, NOOP)


@pytest.mark.parametrize(("retcode", "sends_a_check"), [(REQUOTE, 3), (BAD_PRICE, 2), (REJECT, 2)])
def test_a_failure_is_counted_and_ends_with_a_person(retcode: int, sends_a_check: int) -> None:
    """The state stays; it is decided anew with new intents and back-off, five times, then a person is called."""
    refusing = Spoiling("S", retcode=retcode, times=OFTEN)
    seen: list[Any] = []

    async def watch(scene: Scene) -> None:
        while not refusing.spoiled:
            await scene.on.play(0.25)
        await scene.on.play(5)
        seen.append(await scene.trade())

    played, scene = play(HEDGED, refusing, hours=0, during=watch)
    (trade,) = seen
    assert trade.machine.state is State.HEALTHY
    assert trade.needs_attention
    assert trade.retry.failures == 5
    assert [f.kind for f in played.facts].count(FactKind.NEEDS_ATTENTION) == 1
    assert len({r["magic"] for r in scene.terminal.sent}) == len(scene.terminal.sent) == 5 * sends_a_check
    assert {i.state for i in played.intents.values()} == {IntentState.REFUSED}
    checks = sorted({i.created_ms for i in played.intents.values()})
    waits = [b - a for a, b in pairwise(checks)]
    assert len(waits) == 4
    assert waits == sorted(waits)
    assert waits[0] >= 5_000


def test_a_failure_that_passes_is_made_good() -> None:
    """Refused twice, then accepted: the state moves, and nothing is left of the count."""
    played, _ = play(HEDGED, Spoiling("S", retcode=REJECT, times=4))
    assert tuple(f.details["rule"] for f in played.transitions) == HEDGED.rules
    assert played.trade.needs_attention is None
    assert played.trade.retry is None


def test_waiting_is_not_counted() -> None:
    """TOO_MANY_REQUESTS for half an hour: asked again and again, never counted, and done when the cause has ended."""
    waited: list[tuple[State, int, str | None]] = []
    refusing = Spoiling("S", retcode=BUSY, times=OFTEN)

    async def wait(scene: Scene) -> None:
        while not refusing.spoiled:
            await scene.on.play(0.5)
        await scene.on.play(10)
        trade = await scene.trade()
        waited.append((trade.machine.state, trade.retry.failures, trade.needs_attention))
        refusing.times = 0
        await scene.on.play(1)

    played, _ = play(HEDGED, refusing, during=wait, hours=1)
    assert waited == [(State.HEALTHY, 0, None)]
    assert len(refusing.spoiled) > 5
    assert "warned" in [f.details["rule"] for f in played.transitions]


def test_a_stop_that_the_broker_takes_for_too_near_is_set_farther_away_once() -> None:
    """INVALID_STOPS, though the symbol's stops level was kept: twice as far, not looser than it was, and then taken."""
    played, scene = play(HEDGED, Spoiling("S", retcode=BAD_STOPS, times=1))
    first, second, *_ = [r for r in scene.terminal.sent if letter_of(r) == "S"]
    assert HEDGED.stop > second["sl"] > first["sl"]
    assert first["magic"] != second["magic"]
    assert tuple(f.details["rule"] for f in played.transitions)[:2] == ("warned", "worsened")
    assert Visit.TIGHTENED in played.trade.machine.done or played.trade.machine.state is State.CLOSED
    check_invariants(played.books, HEDGED.spec)


def test_where_no_nearer_stop_is_taken_a_part_is_closed_instead() -> None:
    """INVALID_STOPS twice: the old stop stays, half is closed once in this visit, and the state moves."""
    played, scene = play(HEDGED, Spoiling("S", retcode=BAD_STOPS, times=OFTEN), hours=0.7)
    assert "".join(letter_of(r) for r in scene.terminal.sent).startswith("SSPH")
    (warned,) = played.of_rule("warned")
    assert "close_part: done" in str(warned.details["moves"])
    refusal = next(f for f in played.facts if f.kind is FactKind.REFUSAL)
    assert (refusal.details["rule"], refusal.details["alert"]) == ("invalid_stops", "ERROR")
    assert played.trade.volume == Decimal("0.2")
    assert len(played.books.stops_set(played.ticket, 2**62)) == 1
    check_invariants(played.books, HEDGED.spec)


def test_an_account_that_stands_still_is_told_once_and_waited_for() -> None:
    """CLIENT_DISABLES_AT: one call for a person, one request a minute to find out, no state moved, nothing counted."""
    refusing = Spoiling("S", retcode=SWITCHED_OFF, times=OFTEN)
    seen: list[Any] = []

    async def wait(scene: Scene) -> None:
        while not refusing.spoiled:
            await scene.on.play(0.5)
        await scene.on.play(10)
        seen.append(await scene.trade())
        refusing.times = 0
        await scene.on.play(3)

    played, _ = play(HEDGED, refusing, during=wait, hours=0)
    (trade,) = seen
    assert (trade.machine.state, trade.retry.failures, trade.needs_attention) == (State.HEALTHY, 0, None)
    assert 2 <= len(refusing.spoiled) <= 11
    pages = [f for f in played.facts if f.kind is FactKind.NEEDS_ATTENTION]
    assert [f.details["alert"] for f in pages] == ["CRITICAL"]
    assert "warned" in [f.details["rule"] for f in played.transitions]
    ends = [f for f in played.facts if f.kind is FactKind.RECOVERED and "requests are sent again" in f.summary]
    assert len(ends) == 1


def test_while_trading_is_switched_off_nothing_is_sent() -> None:
    """The terminal's button is off: seen in its flags before anything goes out, and again when it is on."""
    seen: list[tuple[int, State]] = []

    async def switch(scene: Scene) -> None:
        switches = scene.terminal.simulation.switches
        switches.terminal_trade_allowed = False
        while not await scene.on.store.facts(kinds=frozenset({FactKind.HELD.value})):
            await scene.on.play(0.5)
        await scene.on.play(4)
        seen.append((len(scene.terminal.sent), (await scene.trade()).machine.state))
        switches.terminal_trade_allowed = True
        await scene.on.play(2)

    played, scene = play(HEDGED, during=switch, hours=0)
    assert seen == [(0, State.HEALTHY)]
    assert scene.terminal.sent
    assert "warned" in [f.details["rule"] for f in played.transitions]
    assert [f.kind for f in played.facts].count(FactKind.NEEDS_ATTENTION) == 1


@pytest.mark.parametrize("retcode", [NO_MONEY, NO_HEDGING])
def test_a_refused_hedge_is_replaced_by_closing_a_part(retcode: int) -> None:
    """POLICY: never asked again in this visit; half of the rest is closed, the state stays, the flat timer runs."""
    refusing = Spoiling("H", retcode=retcode, times=OFTEN)
    seen: list[Any] = []

    async def watch(scene: Scene) -> None:
        while not refusing.spoiled:
            await scene.on.play(0.25)
        await scene.on.play(1)
        seen.append(await scene.trade())

    played, scene = play(HEDGED, refusing, during=watch)
    machine = seen[0].machine
    assert machine.state is State.WARNING_L2
    assert Visit.SUBSTITUTED in machine.done
    assert machine.flat_since_ms is not None
    assert seen[0].volume == Decimal("0.1")
    assert len(refusing.spoiled) == 1
    refusal = next(f for f in played.facts if f.kind is FactKind.REFUSAL)
    assert str(retcode) in str(refusal.details["reason"])
    hedging = scene.on.engine.status().account["hedging_possible"]
    assert hedging is (retcode != NO_HEDGING)
    check_invariants(played.books, HEDGED.spec)


def test_a_hedge_rejected_by_the_dealer_is_not_pressed() -> None:
    """STATE: a risk-adding request is not repeated in the same check."""
    refusing = Spoiling("H", retcode=REJECT, times=1)
    played, scene = play(HEDGED, refusing)
    hedges = [r for r in scene.terminal.sent if letter_of(r) == "H"]
    times = [
        i.created_ms for i in sorted(played.intents.values(), key=lambda i: i.number) if i.action.kind == "open_hedge"
    ]
    assert len(hedges) == len(times) == 2
    assert times[1] - times[0] >= 5_000


@pytest.mark.parametrize("retcode", [10011, 10012, 10031, 10008, 19_999])
def test_an_ambiguous_answer_is_reconciled(retcode: int) -> None:
    """Executed, with an answer that says nothing: unknown at first, then found and adopted; one hedge."""
    played, scene = play(HEDGED, Spoiling("H", retcode=retcode, executes=True))
    assert tuple(f.details["rule"] for f in played.transitions) == HEDGED.rules
    assert sum(letter_of(r) == "H" for r in scene.terminal.sent) == 1
    check_invariants(played.books, HEDGED.spec)


@pytest.mark.parametrize("retcode", [REJECT, 10045, 10033])
def test_closing_everything_is_retried_without_limit(retcode: int) -> None:
    """Whatever refuses it, and however often: a person is called, and the family is closed when it becomes possible."""
    refusing = Spoiling("C", retcode=retcode, times=OFTEN)
    during_refusal: list[Any] = []

    async def wait(scene: Scene) -> None:
        while not refusing.spoiled:
            await scene.on.play(0.5)
        await scene.on.play(5)
        during_refusal.append(await scene.trade())
        refusing.times = 0
        await scene.on.play(3)

    played, _ = play(HEDGED, refusing, during=wait, hours=0)
    trade = during_refusal[0]
    assert trade.machine.state is State.HEDGED
    assert trade.retry.failures > 5
    assert trade.needs_attention
    assert played.trade.machine.state is State.CLOSED
    assert all(played.books.open_lots(p, 2**62) == 0 for p in played.books.family())


def test_a_position_closed_by_somebody_else_counts_as_closed() -> None:
    """POSITION_CLOSED in answer to a close is success: the family's end is told, by the broker's deals."""
    played, _ = play(GIVEN_UP, Spoiling("C", retcode=10036, executes=True))
    assert played.trade.machine.state is State.CLOSED
    assert played.trade.close_price is not None


@dataclass(slots=True)
class FillingInPart:
    """Fill half of the first close of a kind, and say so."""

    letter: str
    cut: list[Request] = field(default_factory=list)

    def __call__(self, request: Request, send: Send) -> Any:
        if letter_of(request) != self.letter or self.cut:
            return send(request)
        self.cut.append(request)
        part = round(request["volume"] / 2, 2)
        did = send({**request, "volume": part})
        retcode = MT5.TRADE_RETCODE_DONE_PARTIAL
        return Answering(retcode, volume=part, price=did.price, order=did.order, deal=did.deal)


def test_a_close_that_is_filled_in_part_is_finished() -> None:
    """DONE_PARTIAL on closing everything: the rest is closed in the same check, and only then is the trade CLOSED."""
    played, scene = play(GIVEN_UP, FillingInPart("C"))
    assert played.trade.machine.state is State.CLOSED
    assert sum(letter_of(r) == "C" for r in scene.terminal.sent) == 2
    (ended,) = played.of_rule("given_up_hedged")
    assert all(played.books.open_lots(p, ended.market_ms) == 0 for p in played.books.family())


def test_a_hedge_close_that_is_filled_in_part_keeps_hedged_until_it_is_done() -> None:
    """RECOVERING is entered when nothing of the hedge is left."""
    part = FillingInPart("X")
    played, _ = play(RECOVERED, part)
    assert part.cut
    assert tuple(f.details["rule"] for f in played.transitions) == RECOVERED.rules
    (turned,) = played.of_rule("turned")
    assert played.books.hedged_lots(turned.market_ms) == 0
    check_invariants(played.books, RECOVERED.spec)


def test_a_restarted_gateway_gets_the_tokens_again() -> None:
    """Restarted after the first request, the gateway gets both tokens before the next one, which it does not refuse."""
    scenes: list[Scene] = []

    def restart_after_first(request: Request, send: Send) -> Any:
        if len(scenes[0].terminal.sent) == 1:
            scenes[0].on.gateway.instance += 1
        return send(request)

    async def keep(scene: Scene) -> None:
        scenes.append(scene)

    played, _ = play(HEDGED, restart_after_first, during=keep)
    assert tuple(f.details["rule"] for f in played.transitions) == HEDGED.rules
    assert not [i for i in played.intents.values() if i.state is IntentState.REFUSED]
    assert played.trade.needs_attention is None
