"""How the adapter answers when the terminal fails: None is not empty, and nothing goes out twice."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.adapters_mt5.bench import EURUSD, Desk, LocalBench, changed, closed, described, moved
from tests.adapters_mt5.faulty import Answering, Faulty, altered

from dtms.domain.actions import ActionKind, OpenPosition
from dtms.domain.errors import BrokerUnavailable, OutcomeUnknown, WrongAccount
from dtms.domain.market import Filling, Side, Timeframe
from dtms.domain.position import OrderState, Position
from dtms.ports.broker import Answer, BarRequest
from dtms.terminal.simulated.api import SimulatedTerminal
from dtms.terminal.simulated.constants import MT5


class FaultyBench(LocalBench):
    """A local bench whose terminal can be made to fail while the story runs."""

    faulty: Faulty

    def module(self, terminal: SimulatedTerminal) -> Faulty:
        self.faulty = Faulty(terminal)
        return self.faulty


@pytest.fixture
def bench() -> FaultyBench:
    return FaultyBench(description=described())


def requests_in_ledger(bench: LocalBench) -> int:
    assert bench.terminal is not None
    return len(bench.terminal.simulation.ledger.requests)


def last_request(bench: LocalBench) -> dict[str, Any]:
    assert bench.terminal is not None
    return dict(bench.terminal.simulation.ledger.requests[-1].request)


IPC_TIMEOUT = -10005


class TestNoneIsNotEmpty:
    @pytest.mark.parametrize("name", ["positions_get", "orders_get", "account_info", "terminal_info"])
    def test_a_snapshot_without_one_of_its_parts_is_no_snapshot(self, bench: FaultyBench, name: str) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            bench.faulty.faults[name] = None, IPC_TIMEOUT
            with pytest.raises(BrokerUnavailable, match=r"-10005|-1\b"):
                await desk.broker.snapshot([EURUSD])
            del bench.faulty.faults[name]
            assert (await desk.broker.snapshot([EURUSD])).positions == {}

        bench(story)

    @pytest.mark.parametrize("code", [IPC_TIMEOUT, -10001, -10004])
    def test_quotes_and_symbols_that_cannot_be_asked_for_are_not_unknown(self, bench: FaultyBench, code: int) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            bench.faulty.faults.update(symbol_info_tick=(None, code), symbol_info=(None, code))
            with pytest.raises(BrokerUnavailable):
                await desk.broker.quotes([EURUSD])
            with pytest.raises(BrokerUnavailable):
                await desk.broker.instrument(EURUSD)

        bench(story)

    @pytest.mark.parametrize("name", ["history_deals_get", "history_orders_get", "positions_get", "orders_get"])
    def test_evidence_that_is_incomplete_is_none(self, bench: FaultyBench, name: str) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            bench.faulty.faults[name] = None, -1
            with pytest.raises(BrokerUnavailable):
                await desk.broker.find_by_magic(desk.broker.magic_of(1), desk.clock.market_ms())

        bench(story)

    def test_bars_and_ticks_raise_where_the_terminal_cannot_be_reached(self, bench: FaultyBench) -> None:
        """Any other None is a lack of that symbol's alone: no bars now, which is stale before it is believed."""

        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            request = BarRequest(symbol=EURUSD, timeframe=Timeframe.M15, count=5)
            bench.faulty.faults.update(copy_rates_from_pos=(None, IPC_TIMEOUT), copy_ticks_range=(None, IPC_TIMEOUT))
            with pytest.raises(BrokerUnavailable):
                await desk.broker.bars([request])
            with pytest.raises(BrokerUnavailable):
                await desk.broker.flow(EURUSD, 0, 1)
            for code in (-1, -4):
                bench.faulty.faults.update(copy_rates_from_pos=(None, code), copy_ticks_range=(None, code))
                (bars,) = await desk.broker.bars([request])
                assert len(bars) == 0
                assert len(await desk.broker.flow(EURUSD, 0, 300_000)) == 0

        bench(story)

    def test_a_quote_from_before_the_known_one_does_not_replace_it(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            assert bench.terminal is not None
            newest, raw = await desk.tick(), bench.terminal.symbol_info_tick(EURUSD)
            assert raw is not None
            for back_s, is_kept in ((60, True), (3_600, False)):  # out of order; a clock that was set back
                older = altered(raw, bid=raw.bid - 0.01, time=raw.time - back_s, time_msc=raw.time_msc - back_s * 1000)
                bench.faulty.faults["symbol_info_tick"] = older, 1
                tick = await desk.tick()
                assert (tick == newest) is is_kept

        bench(story)

    def test_a_disconnected_terminal_shows_no_empty_lists(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            assert bench.terminal is not None
            bench.terminal.simulation.switches.connected = False
            bench.faulty.faults["positions_get"] = (), 1  # as a terminal shows it while it is not connected
            for look in (desk.broker.snapshot([]), desk.broker.positions([position.ticket]), desk.broker.account()):
                with pytest.raises(BrokerUnavailable):
                    await look
            with pytest.raises(BrokerUnavailable):
                await desk.broker.quotes([EURUSD])

        bench(story)

    def test_a_terminal_that_comes_back_is_attached_again(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            assert bench.terminal is not None
            bench.terminal.shutdown()  # from here on every call answers None, -10004
            with pytest.raises(BrokerUnavailable):
                await desk.broker.snapshot([EURUSD])
            assert EURUSD in (await desk.broker.snapshot([EURUSD])).ticks

        bench(story)


class TestWrongAccount:
    def test_an_account_that_is_not_the_expected_one_is_believed_in_nothing(self) -> None:
        for options in ({"expected_login": 1}, {"expected_server": "Elsewhere-Live"}):
            bench = LocalBench(description=described(), broker_options=options)

            async def story(desk: Desk) -> None:
                with pytest.raises(WrongAccount):
                    await desk.broker.connect()
                with pytest.raises(WrongAccount):
                    await desk.broker.snapshot([])

            bench(story)

    def test_the_gateway_refuses_by_its_own_expectation(self) -> None:
        async def story(desk: Desk) -> None:
            with pytest.raises(WrongAccount):
                await desk.broker.connect()

        LocalBench(description=described(), gateway_options={"login": 1, "server": "Elsewhere"})(story)

    def test_an_account_that_changes_under_us_stops_reading_and_sending(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            fence, tick = await desk.fence(), await desk.tick()
            assert bench.terminal is not None
            own = bench.terminal.account_info()
            assert own is not None
            bench.faulty.faults["account_info"] = altered(own, login=999), 1
            before = requests_in_ledger(bench)
            result = await desk.broker.send(closed(position), number=50, fence=fence, tick=tick)
            assert (result.answer, result.sent, result.name) == (Answer.WAIT, False, "GATEWAY_WRONG_ACCOUNT")
            assert requests_in_ledger(bench) == before
            for look in (
                desk.broker.snapshot([]),
                desk.broker.deals(position=position.identifier),
                desk.broker.find_by_magic(position.magic, 0),
                desk.broker.positions([position.ticket]),
            ):
                with pytest.raises(WrongAccount):
                    await look

        bench(story)


class TestChecking:
    @pytest.mark.parametrize(
        ("code", "answer", "retcode"),
        [
            (IPC_TIMEOUT, Answer.WAIT, 0),
            (-10004, Answer.WAIT, 0),
            (-1, Answer.WAIT, 0),
            (-2, Answer.FIX, -2),
            (-8, Answer.POLICY, -8),
        ],
    )
    def test_a_check_without_an_answer_is_never_an_unknown_outcome(
        self, bench: FaultyBench, code: int, answer: Answer, retcode: int
    ) -> None:
        """Nothing was sent, so nothing has to be looked for."""

        async def story(desk: Desk) -> None:
            action, tick = await desk.opening(), await desk.tick()
            bench.faulty.faults["order_check"] = None, code
            result = await desk.broker.check(action, number=1, tick=tick)
            assert (result.answer, result.sent, result.retcode) == (answer, False, retcode)
            assert requests_in_ledger(bench) == 0

        bench(story)


class TestSending:
    def test_a_lost_answer_is_unknown_and_the_order_is_found_by_its_magic(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            action = await desk.opening()
            bench.faulty.executes = True
            bench.faulty.faults["order_send"] = None, IPC_TIMEOUT
            result = await desk.send(action)
            assert (result.answer, result.sent) == (Answer.AMBIG, True)
            assert requests_in_ledger(bench) == 1
            magic = desk.broker.magic_of(desk.number)
            positions, _, deals = await desk.broker.find_by_magic(magic, desk.clock.market_ms())
            assert [position.magic for position in positions] == [magic]
            assert len(deals) == 1

        bench(story)

    def test_an_order_that_came_to_nothing_leaves_no_evidence(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            bench.faulty.faults["order_send"] = None, -10001
            assert (await desk.send(await desk.opening())).answer is Answer.AMBIG
            found = await desk.broker.find_by_magic(desk.broker.magic_of(desk.number), 0)
            assert found == ([], [], [])

        bench(story)

    def test_a_broker_that_strips_the_magic_is_found_out_by_the_comment(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            magic = position.magic
            assert bench.terminal is not None
            stripped = [altered(p, magic=0) for p in bench.terminal.positions_get() or ()]
            bench.faulty.faults["positions_get"] = tuple(stripped), 1
            positions, *_ = await desk.broker.find_by_magic(magic, 0)
            assert [found.ticket for found in positions] == [position.ticket]
            others, *_ = await desk.broker.find_by_magic(magic + 1, 0)
            assert others == []

        bench(story)

    @pytest.mark.parametrize(
        ("state", "left", "is_evidence"),
        [
            (MT5.ORDER_STATE_FILLED, 0.0, True),
            (MT5.ORDER_STATE_STARTED, 0.1, True),
            (MT5.ORDER_STATE_REJECTED, 0.1, False),
            (MT5.ORDER_STATE_CANCELED, 0.1, False),
            (MT5.ORDER_STATE_CANCELED, 0.04, True),
        ],
    )
    def test_a_past_order_is_evidence_unless_it_came_to_nothing(
        self, bench: FaultyBench, state: int, left: float, is_evidence: bool
    ) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            assert bench.terminal is not None
            (order,) = bench.terminal.history_orders_get(position=position.identifier) or ()
            past = altered(order, state=state, volume_initial=0.1, volume_current=left)
            bench.faulty.faults["history_orders_get"] = (past,), 1
            _, orders, _ = await desk.broker.find_by_magic(position.magic, 0)
            assert bool(orders) is is_evidence

        bench(story)

    def test_an_exception_out_of_the_module_is_an_unknown_outcome(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            action = await desk.opening()
            bench.faulty.faults["order_send"] = ValueError("half way"), 0
            result = await desk.send(action)
            assert (result.answer, result.sent) == (Answer.AMBIG, True)

        bench(story)

    def test_a_terminal_without_its_trade_server_is_not_sent_anything(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            fence, tick = await desk.fence(), await desk.tick()
            assert bench.terminal is not None
            bench.terminal.simulation.switches.connected = False
            before = requests_in_ledger(bench)
            result = await desk.broker.send(closed(position), number=50, fence=fence, tick=tick)
            assert (result.answer, result.sent) == (Answer.WAIT, False)
            assert requests_in_ledger(bench) == before

        bench(story)

    def test_an_unknown_return_code_is_an_unknown_outcome(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            action = await desk.opening()
            for retcode in (0, 10037, 10099):
                bench.faulty.faults["order_send"] = Answering(retcode), 1
                result = await desk.send(action)
                assert (result.answer, result.retcode, result.sent) == (Answer.AMBIG, retcode, True)

        bench(story)

    def test_a_stop_move_is_one_request_and_names_both_levels(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            assert position.stop is not None
            await desk.send(moved(position, position.stop + 0.0005))
            request = last_request(bench)
            assert (request["action"], request["position"]) == (MT5.TRADE_ACTION_SLTP, position.ticket)
            assert (request["sl"], request["tp"]) == (position.stop + 0.0005, position.target)

        bench(story)

    def test_a_request_names_its_position_side_price_and_intent(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open(Side.SHORT, kind=ActionKind.READD)
            opened = last_request(bench)
            assert opened["comment"].startswith("DR")
            assert len(opened["comment"]) <= 16
            tick = await desk.tick()
            await desk.send(closed(position))
            request = last_request(bench)
            assert (request["position"], request["type"]) == (position.ticket, MT5.ORDER_TYPE_BUY)
            assert request["price"] == pytest.approx(tick.ask, abs=1e-4)
            assert desk.broker.intent_of(request["magic"]) == desk.number
            assert (request["comment"][:2], request["deviation"]) == ("DC", 20)

        bench(story)


class TestEvidence:
    def test_all_of_the_symbol_is_listed_with_what_carries_the_number(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            mine, other = await desk.open(), await desk.open(Side.SHORT)
            look = await desk.broker.evidence(1, EURUSD, desk.clock.market_ms())
            assert {p.ticket for p in look.positions} == {mine.ticket, other.ticket}
            assert [desk.broker.number_in(d.magic, d.comment) for d in look.deals] == [1, 2]
            assert [(o.state, o.filled) for o in look.past_orders] == [(OrderState.FILLED, mine.volume)] * 2
            assert look.begun_ms <= desk.clock.market_ms()
            elsewhere = await desk.broker.evidence(1, "BTCUSDc", desk.clock.market_ms())
            assert [p.ticket for p in elsewhere.positions] == [mine.ticket]

        bench(story)

    def test_a_number_is_read_from_the_magic_first_and_else_from_the_comment(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            assert desk.broker.number_in(position.magic, "") == desk.number
            assert desk.broker.number_in(0, position.comment) == desk.number
            assert desk.broker.number_in(0, f"[{position.comment}") is None
            assert desk.broker.number_in(777, "EA 1.2") is None

        bench(story)

    @pytest.mark.parametrize("name", ["positions_get", "orders_get", "history_orders_get", "history_deals_get"])
    def test_a_look_without_one_of_its_parts_is_no_look(self, bench: FaultyBench, name: str) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            bench.faulty.faults[name] = None, IPC_TIMEOUT
            with pytest.raises(BrokerUnavailable):
                await desk.broker.evidence(1, EURUSD, desk.clock.market_ms())

        bench(story)

    def test_a_terminal_that_is_cut_off_in_the_middle_proves_nothing(self, bench: FaultyBench) -> None:
        """Connected when the look begins and not when it ends: the empty lists in between are not believed."""

        async def story(desk: Desk) -> None:
            await desk.open()
            assert bench.terminal is not None
            whole = bench.terminal.positions_get

            def cut_off(*arguments: Any, **named: Any) -> Any:
                assert bench.terminal is not None
                bench.terminal.simulation.switches.connected = False
                whole(*arguments, **named)
                return ()

            bench.faulty.positions_get = cut_off  # type: ignore[attr-defined]
            with pytest.raises(BrokerUnavailable):
                await desk.broker.evidence(1, EURUSD, desk.clock.market_ms())

        bench(story)


class TestLine:
    """What a lost line means depends on whether the request can have gone out."""

    @pytest.mark.parametrize(
        ("lost", "answer", "sent"),
        [(OutcomeUnknown("broken"), Answer.AMBIG, True), (BrokerUnavailable("nobody there"), Answer.WAIT, False)],
    )
    def test_a_send_over_a_line_that_breaks(
        self, bench: FaultyBench, monkeypatch: pytest.MonkeyPatch, lost: Exception, answer: Answer, sent: bool
    ) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            assert position.stop is not None
            fence, tick = await desk.fence(), await desk.tick()
            sends: list[str] = []

            async def broken(request: Mapping[str, Any]) -> Mapping[str, Any]:
                sends.append(request["call"])
                raise lost

            with monkeypatch.context() as patch:
                patch.setattr(desk.link, "call", broken)
                for action in (moved(position, position.stop), closed(position), another_like(position)):
                    result = await desk.broker.send(action, number=90, fence=fence, tick=tick)
                    assert (result.answer, result.sent) == (answer, sent)
                assert sends[0] == "send"
                assert sends.count("send") <= 3
                with pytest.raises(BrokerUnavailable):
                    await desk.broker.snapshot([])
            assert (await desk.broker.snapshot([])).positions

        bench(story)


def another_like(position: Position) -> OpenPosition:
    return OpenPosition(
        kind=ActionKind.READD, symbol=position.symbol, side=position.side, volume=position.volume, stop=1.0, target=None
    )


class TestFillings:
    def test_the_fillings_come_from_the_symbols_mask(self) -> None:
        for mask, execution, expected in (
            (1, 2, (Filling.FOK,)),
            (2, 2, (Filling.IOC,)),
            (3, 1, (Filling.FOK, Filling.IOC, Filling.RETURN)),
            (0, 3, (Filling.RETURN,)),
            (0, 2, ()),
        ):

            async def story(desk: Desk, expected: tuple[Filling, ...] = expected) -> None:
                assert (await desk.instrument()).fillings == expected

            LocalBench(description=changed(described(), filling_mask=mask, exemode=execution))(story)

    @pytest.mark.parametrize("mask", [1, 2])
    def test_a_symbol_that_names_no_filling_gets_one_after_the_other_until_one_is_taken(self, mask: int) -> None:
        """The broker in truth takes what ``mask`` says, and its symbol declares nothing."""
        bench = FaultyBench(description=changed(described(), filling_mask=mask))

        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            assert bench.terminal is not None
            told = bench.terminal.symbol_info(EURUSD)
            assert told is not None
            bench.faulty.faults["symbol_info"] = altered(told, filling_mode=0), 1
            result = await desk.send(await desk.opening())
            assert result.answer is Answer.OK
            notes = bench.terminal.simulation.ledger.requests
            assert {note.request["magic"] for note in notes} == {desk.broker.magic_of(desk.number)}
            assert [note.request["type_filling"] for note in notes] == ([0] if mask == 1 else [0, 1])
            assert len((await desk.broker.snapshot([])).positions) == 1

        bench(story)

    def test_the_filling_that_was_taken_is_asked_for_first_the_next_time(self) -> None:
        bench = FaultyBench(description=changed(described(), filling_mask=2))

        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            assert bench.terminal is not None
            told = bench.terminal.symbol_info(EURUSD)
            assert told is not None
            bench.faulty.faults["symbol_info"] = altered(told, filling_mode=0), 1
            for _ in range(2):
                assert (await desk.send(await desk.opening())).answer is Answer.OK
            notes = bench.terminal.simulation.ledger.requests
            assert [note.request["type_filling"] for note in notes] == [0, 1, 1]

        bench(story)

    def test_a_broker_that_refuses_comments_gets_none_and_the_order_is_found_all_the_same(
        self, bench: FaultyBench
    ) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            assert bench.terminal is not None
            send, refused = bench.terminal.order_send, []

            def refusing(request: Mapping[str, Any]) -> Any:
                if "comment" in request:
                    refused.append(request)
                    bench.faulty._error = (-2, 'Invalid "comment" argument')
                    return None
                return send(dict(request))

            bench.faulty.order_send = refusing  # type: ignore[attr-defined]
            for _ in range(2):
                assert (await desk.send(await desk.opening())).answer is Answer.OK
            assert len(refused) == 1
            magic = desk.broker.magic_of(desk.number)
            positions, *_ = await desk.broker.find_by_magic(magic, 0)
            assert [position.comment for position in positions] == [""]

        bench(story)

    def test_no_other_refusal_is_followed_by_a_second_request(self, bench: FaultyBench) -> None:
        async def story(desk: Desk) -> None:
            action = await desk.opening()
            for retcode in (10004, 10006, 10011, 10012, 10013, 10016, 10021, 10024, 10031):
                bench.faulty.faults["order_send"] = Answering(retcode), 1
                bench.faulty.asked.clear()
                await desk.send(action)
                assert bench.faulty.asked.count("order_send") == 1, retcode

        bench(story)
