"""Executions and pending orders where a broker is difficult, and what became of those whose answer was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.adapters_mt5.bench import Desk, LocalBench, changed, closed, described
from tests.adapters_mt5.test_orders_contract import execution, levels, pending, removal, waiting

from dtms.decide.proof import Executed, NotExecuted, NotYet, Question, Verdict, judge
from dtms.domain.actions import Action, ActionKind, CancelOrder, Ending, Intent, IntentState, OrderWay
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.market import Side
from dtms.domain.prices import on_grid
from dtms.domain.snapshot import Evidence
from dtms.execute.answers import outcome_of
from dtms.execute.shown import is_visible, position_of
from dtms.ports.broker import Answer
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults import Fault, Of, When
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.manners import CommentMode
from dtms.terminal.simulated.recording import BarRecording, write_recording

K = FaultKind
SETTLE_MS = 20_000
HOUR_S = 3_600


def last_request(bench: LocalBench) -> dict[str, Any]:
    assert bench.terminal is not None
    return dict(bench.terminal.simulation.ledger.requests[-1].request)


# --- what becomes of a pending order -------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "way"), [(Side.SHORT, OrderWay.LIMIT), (Side.LONG, OrderWay.STOP)])
def test_what_a_pending_order_fills_bears_its_number_and_levels(side: Side, way: OrderWay) -> None:
    """Both wait above a market that rises: they are reached, a limit at its price, a stop at that or a worse one."""
    bench = LocalBench(description=described())

    async def story(desk: Desk) -> None:
        tick, instrument = await desk.tick(), await desk.instrument()
        near = on_grid(tick.opening(side) + 30 * instrument.point, instrument)
        stop = on_grid(near - 900 * instrument.point * side.sign, instrument)
        result = await desk.send(await pending(desk, side, way, price=near, stop=stop, target=None))
        assert result.answer is Answer.OK, result
        for _ in range(48):
            if await waiting(desk, result.order) is None:
                break
            await asyncio.sleep(HOUR_S / 2)
        assert result.order is not None
        position = await desk.position(result.order)
        assert position is not None, "the order was never reached"
        assert (position.side, position.volume) == (side, desk.lot)
        assert near <= position.entry <= near + (0 if way is OrderWay.LIMIT else 20 * instrument.point)
        assert (position.stop, position.target) == (stop, None)
        assert desk.broker.number_in(position.magic, position.comment) == desk.number
        deals = await desk.broker.deals(position=position.identifier)
        assert [(deal.order, deal.magic) for deal in deals] == [(result.order, position.magic)]

    bench(story)


@pytest.mark.parametrize(
    ("mask", "type_time", "life_days"),
    [(15, MT5.ORDER_TIME_GTC, None), (14, MT5.ORDER_TIME_DAY, 1), (12, MT5.ORDER_TIME_SPECIFIED, 30), (8, 3, 31)],
)
def test_an_order_lives_as_long_as_the_symbol_lets_it(mask: int, type_time: int, life_days: int | None) -> None:
    """Until it is removed where that is allowed, else for the longest that is."""
    bench = LocalBench(description=changed(described(), expiration_mask=mask))

    async def story(desk: Desk) -> None:
        result = await desk.send(await pending(desk))
        assert result.answer is Answer.OK, result
        assert last_request(bench)["type_time"] == type_time
        order = await waiting(desk, result.order)
        assert order is not None
        if life_days is None:
            assert order.expires_ms is None
        else:
            assert order.expires_ms is not None
            left_days = (order.expires_ms - desk.clock.market_ms()) / 86_400_000
            assert life_days - 1 < left_days <= life_days

    bench(story)


def test_a_broker_that_refuses_comments_gets_the_order_without_one() -> None:
    bench = LocalBench(description=described())

    async def story(desk: Desk) -> None:
        await desk.broker.connect()
        assert bench.terminal is not None
        bench.terminal.simulation.world.manners.comment_mode = CommentMode.REFUSE
        checked = await desk.broker.check(await pending(desk), number=1, tick=await desk.tick())
        assert checked.answer is Answer.OK
        result = await desk.send(await pending(desk))
        order = await waiting(desk, result.order)
        assert order is not None
        assert order.comment == ""
        assert desk.broker.number_in(order.magic, order.comment) == desk.number

    bench(story)


@pytest.mark.parametrize("judged", [False, True])
def test_an_order_gets_the_filling_that_the_broker_takes_and_gets_it_at_once_from_then_on(judged: bool) -> None:
    """A filling that is refused (10030) was certainly not taken, so the next one is tried, under the same intent."""
    bench = LocalBench(description=described())

    async def story(desk: Desk) -> None:
        await desk.broker.connect()
        assert bench.terminal is not None
        bench.terminal.simulation.world.manners.pending_filling_judged = judged
        requests = bench.terminal.simulation.ledger.requests
        for tries in (1 + judged, 1):
            before = len(requests)
            result = await desk.send(await pending(desk))
            assert result.answer is Answer.OK, result
            sent = [dict(note.request) for note in requests[before:]]
            assert len(sent) == tries
            assert {request["magic"] for request in sent} == {desk.broker.magic_of(desk.number)}
            assert sent[-1]["type_filling"] == (MT5.ORDER_FILLING_IOC if judged else MT5.ORDER_FILLING_RETURN)
        assert len((await desk.broker.snapshot([])).orders) == 2

    bench(story)


# --- asking beforehand ---------------------------------------------------------------------------------------------


def test_a_check_tells_that_the_margin_does_not_suffice_and_what_to_do() -> None:
    async def story(desk: Desk) -> None:
        instrument = await desk.instrument()
        action = await execution(desk, volume=instrument.volume_max)
        result = await desk.broker.check(action, number=1, tick=await desk.tick())
        assert (result.name, result.answer) == ("NO_MONEY", Answer.POLICY)
        advice = desk.broker.explain(result.retcode)
        assert "margin" in advice.meaning
        assert "smaller volume" in advice.remedy

    LocalBench(description=described())(story)


@pytest.mark.parametrize("fault", ["offline", "other account"])
def test_a_check_that_cannot_be_had_is_waited_for_and_never_an_error(fault: str) -> None:
    bench = LocalBench(description=described())

    async def story(desk: Desk) -> None:
        action, tick = await execution(desk), await desk.tick()
        assert bench.terminal is not None
        if fault == "offline":
            bench.terminal.simulation.switches.connected = False
        else:
            bench.terminal.simulation.world.account = replace(bench.terminal.simulation.world.account, login=1)
        result = await desk.broker.check(action, number=1, tick=tick)
        assert (result.answer, result.sent) == (Answer.WAIT, False), result

    bench(story)


def test_amounts_of_a_yen_pair_are_in_the_dollars_of_the_account(tmp_path: Path) -> None:
    """At 150 yen a dollar, 100,000 units gain 662.25 between 150.000 and 151.000, and half of them tie up 500."""
    minutes = 600
    start_ms = load_config(described()).start_ms - 300 * 60_000
    ms, ones = start_ms + np.arange(minutes, dtype=np.int64) * 60_000, np.ones(minutes, dtype=np.int64)
    flat = np.full(minutes, 150.0)
    bars = BarRecording(minutes=1, ms=ms, open=flat, high=flat, low=flat, close=flat, volume=ones, spread_points=ones)
    write_recording(tmp_path / "flat.csv.gz", bars, 3)
    symbol = {"name": "USDJPY.m", "like": "USDJPY", "recording": str(tmp_path / "flat.csv.gz")}

    async def story(desk: Desk) -> None:
        desk.symbol = "USDJPY.m"
        assert (await desk.instrument()).currency_profit == "JPY"
        assert (await desk.broker.account()).currency == "USD"
        assert await desk.broker.profit(desk.symbol, Side.LONG, Decimal(1), 150.0, 151.0) == 662.25
        assert await desk.broker.margin(desk.symbol, Side.LONG, Decimal("0.5"), 150.0) == 500.0

    LocalBench(description=described(symbols=[symbol]))(story)


@pytest.mark.parametrize("call", ["margin", "profit"])
def test_an_amount_that_the_terminal_cannot_tell_is_no_amount(call: str) -> None:
    async def story(desk: Desk) -> None:
        asked = {
            "margin": lambda: desk.broker.margin("NO.SUCH", Side.LONG, Decimal(1), 1.1),
            "profit": lambda: desk.broker.profit("NO.SUCH", Side.LONG, Decimal(1), 1.1, 1.2),
        }
        with pytest.raises(BrokerUnavailable):
            await asked[call]()

    LocalBench(description=described())(story)


# --- the lease of the program --------------------------------------------------------------------------------------


def test_a_send_is_made_under_both_leases_and_refused_when_either_was_taken_over() -> None:
    """The ticket's own lease may be the newest there is: a program that was replaced sends nothing with it."""

    async def story(desk: Desk) -> None:
        main = await desk.fence("main", 4)
        fence = replace(await desk.fence("10", 1), program=(main.key, main.token))
        assert (await desk.send(await execution(desk), fence)).answer is Answer.OK
        await desk.fence("main", 5)
        refused = await desk.send(await execution(desk), fence)
        assert (refused.name, refused.sent) == ("GATEWAY_FENCED", False)
        renewed = replace(fence, program=("main", 5))
        assert (await desk.send(await execution(desk), renewed)).answer is Answer.OK
        await desk.fence("10", 2)
        assert (await desk.send(await execution(desk), renewed)).name == "GATEWAY_FENCED"
        assert len((await desk.broker.snapshot([])).positions) == 2

    LocalBench(description=described())(story)


# --- what is shown, and what is proven -----------------------------------------------------------------------------


def intended(desk: Desk, action: Action, **answered: Any) -> Intent:
    """Return the intent under which the next request is sent."""
    return Intent(
        number=desk.number + 1,
        ticket=0,
        action=action,
        serves=None,
        state=IntentState.SENDING,
        token=1,
        created_ms=desk.clock.market_ms(),
        **answered,
    )


async def an_execution(desk: Desk) -> Action:
    return await execution(desk)


async def a_pending_order(desk: Desk) -> Action:
    return await pending(desk)


async def a_removal(desk: Desk) -> Action:
    order = await waiting(desk, (await desk.send(await pending(desk))).order)
    assert order is not None
    return removal(order)


async def new_levels(desk: Desk) -> Action:
    position = await desk.open()
    assert position.stop is not None
    return levels(position, None, position.target)


async def a_new_target(desk: Desk) -> Action:
    position = await desk.open()
    return levels(position, position.stop, None)


async def a_partial_profit(desk: Desk) -> Action:
    position = await desk.open()
    return replace(closed(position, desk.lot / 2), kind=ActionKind.TAKE_PARTIAL)


KINDS = [an_execution, a_pending_order, a_removal, new_levels, a_new_target, a_partial_profit]
Make = Callable[[Desk], Awaitable[Action]]
OF_KIND = {
    "execution": Of.OPENING,
    "order": Of.PENDING,
    "removal": Of.PENDING,
    "levels": Of.LEVELS,
    "target": Of.LEVELS,
    "profit": Of.CLOSING,
}


@pytest.mark.parametrize("make", KINDS)
def test_what_was_done_is_to_be_seen_and_was_not_before(make: Make) -> None:
    async def story(desk: Desk) -> None:
        action, instrument = await make(desk), await desk.instrument()
        intent = intended(desk, action)
        before = await desk.broker.snapshot([desk.symbol])
        assert not is_visible(intent, before, instrument, desk.broker.number_in)
        result = await desk.send(action)
        assert outcome_of(result, action).ending is Ending.DONE
        intent = replace(intent, order=result.order, filled=result.volume)
        after = await desk.broker.snapshot([desk.symbol])
        assert is_visible(intent, after, instrument, desk.broker.number_in, position_of(action))

    LocalBench(description=described())(story)


async def found_out(desk: Desk, intent: Intent, known: frozenset[int]) -> Verdict:
    """Look every few seconds until it is known what became of a request, as the programs do."""
    action, looks = intent.action, list[Evidence]()
    order = action.order if isinstance(action, CancelOrder) else None
    question = Question(
        intent=intent,
        numbers=desk.broker.number_in,
        instrument=await desk.instrument(),
        since_ms=intent.created_ms,
        settle_ms=SETTLE_MS,
        target=position_of(action),
        claimed=known,
    )
    found: Verdict = NotYet("nobody looked")
    for _ in range(8):
        looks.append(await desk.broker.evidence(intent.number, action.symbol, intent.created_ms, order=order))
        found = judge(question, looks)
        if not isinstance(found, NotYet):
            break
        await asyncio.sleep(5)
    return found


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("kind", [K.LOST_EXECUTED, K.LOST_UNEXECUTED, K.LOST_LATE])
@pytest.mark.parametrize("kept", [True, False], ids=["numbers kept", "numbers dropped"])
def test_a_lost_answer_is_found_out_whatever_became_of_the_request(make: Make, kind: FaultKind, kept: bool) -> None:
    """Carried out, not carried out, or carried out seven seconds later; with nothing of ours kept, too."""
    bench = LocalBench(description=described())

    async def story(desk: Desk) -> None:
        await desk.broker.connect()
        assert bench.terminal is not None
        action, manners = await make(desk), bench.terminal.simulation.world.manners
        if not kept:
            manners.magic_kept, manners.comment_mode = False, CommentMode.STRIP
        known = frozenset((await desk.broker.snapshot([])).positions)
        of = next(of for word, of in OF_KIND.items() if word in make.__name__)
        late = {"late_s": 7.0} if kind is K.LOST_LATE else {}
        bench.terminal.simulation.faults.add(Fault(kind=kind, when=When(times=1, of=of), arguments=late))
        intent = intended(desk, action)
        result = await desk.send(action)
        assert result.answer is Answer.AMBIG, result
        verdict = await found_out(desk, intent, known)
        assert isinstance(verdict, NotExecuted if kind is K.LOST_UNEXECUTED else Executed), verdict
        if isinstance(verdict, Executed) and make is an_execution:
            assert (verdict.volume, len(verdict.positions)) == (desk.lot, 1)

    bench(story)
