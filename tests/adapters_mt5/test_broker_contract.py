"""The contract of the Broker port, held by every terminal: simulated here, behind a socket, or one of your own.

To run it against a terminal with a demo account, start ``dtms terminal --module metatrader5`` and set
``DTMS_CONTRACT_GATEWAY=host:port``, ``DTMS_CONTRACT_SECRET_FILE``, ``DTMS_CONTRACT_SYMBOL``, ``DTMS_CONTRACT_LOTS``
(at least twice the minimum). It opens and closes small positions.
"""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from tests.adapters_mt5.bench import BTCUSD, Bench, Desk, LocalBench, closed, described, moved

from dtms.domain.errors import PermissionGone
from dtms.domain.market import Side, Timeframe
from dtms.domain.position import DealEntry
from dtms.domain.prices import on_grid
from dtms.ports.broker import Answer, BarRequest, Broker

HOUR_MS = 3_600_000


class TestReading:
    def test_connecting_again_gives_the_same_account(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            broker: Broker = desk.broker
            first, again = await broker.connect(), await broker.connect()
            assert first.key == again.key
            assert first.currency
            assert (await broker.account()).login == first.login

        bench(story)

    def test_a_snapshot_has_the_quotes_asked_for_and_leaves_out_what_is_not_quoted(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            snapshot = await desk.broker.snapshot([desk.symbol, "NO.SUCH"])
            assert set(snapshot.ticks) == {desk.symbol}
            assert snapshot.ticks[desk.symbol].is_sound
            assert snapshot.account.equity > 0

        bench(story)

    def test_quotes_are_dated_in_utc_on_the_market_clock(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            tick = await desk.tick()
            assert abs(desk.clock.market_ms() - tick.time_ms) < 120_000

        bench(story)

    def test_bars_are_closed_in_order_and_the_newest_wanted(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            wanted = [BarRequest(symbol=desk.symbol, timeframe=frame, count=20) for frame in Timeframe]
            for bars, asked in zip(await desk.broker.bars(wanted), wanted, strict=True):
                assert (bars.symbol, bars.timeframe, len(bars)) == (asked.symbol, asked.timeframe, asked.count)
                assert (np.diff(bars.time_ms) >= asked.timeframe.ms).all()
                # Longer bars begin with the trade server's day.
                opened_ms = [at_ms + desk.broker.server_offset_ms(at_ms) for at_ms in bars.time_ms.tolist()]
                assert not any(at_ms % asked.timeframe.ms for at_ms in opened_ms)
                now_ms = desk.clock.market_ms()
                assert now_ms - 2 * asked.timeframe.ms < bars.last_close_ms <= now_ms
                assert (bars.high >= np.maximum(bars.open, bars.close)).all()
                assert (bars.spread < bars.close / 100).all()

        bench(story)

    def test_flow_lies_in_its_window_on_five_minutes(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            await desk.broker.connect()
            end_ms = Timeframe.M5.floor_ms(desk.clock.market_ms())
            flow = await desk.broker.flow(desk.symbol, end_ms - HOUR_MS, end_ms)
            assert len(flow) == 12
            assert not (flow.time_ms % Timeframe.M5.ms).any()
            assert flow.time_ms.min() >= end_ms - HOUR_MS
            assert flow.time_ms.max() < end_ms
            assert (np.abs(flow.signed) <= flow.total).all()
            assert flow.total.sum() > 0

        bench(story)

    def test_a_symbol_is_described_and_an_unknown_one_is_none(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            known = await desk.instrument()
            assert known.symbol == desk.symbol
            assert known.volume_step > 0
            assert known.fillings
            assert known.tick_value > 0
            assert await desk.broker.instrument("NO.SUCH") is None

        bench(story)


class TestActing:
    def test_a_position_lives_from_opening_to_the_deal_that_closed_it(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            began_ms = desk.clock.market_ms() - 60_000
            position = await desk.open()
            opened = desk.number
            assert (position.volume, position.side) == (desk.lot, Side.LONG)
            assert abs(position.opened_ms - desk.clock.market_ms()) < 180_000
            half = desk.lot / 2
            result = await desk.send(closed(position, half))
            assert (result.answer, result.volume) == (Answer.OK, half)
            rest = await desk.position(position.ticket)
            assert rest is not None
            assert (rest.volume, rest.stop, rest.target) == (desk.lot - half, position.stop, position.target)
            assert (await desk.send(closed(rest))).answer is Answer.OK
            assert await desk.position(position.ticket) is None

            deals = await desk.broker.deals(position=position.identifier)
            assert [deal.entry for deal in deals] == [DealEntry.IN, DealEntry.OUT, DealEntry.OUT]
            assert [deal.side for deal in deals] == [Side.LONG, Side.SHORT, Side.SHORT]
            assert sum((deal.volume for deal in deals[1:]), Decimal(0)) == desk.lot
            recent = await desk.broker.deals(from_ms=began_ms, to_ms=desk.clock.market_ms() + 60_000)
            assert {deal.ticket for deal in deals} <= {deal.ticket for deal in recent}
            assert not await desk.broker.deals(from_ms=began_ms - 60_000, to_ms=began_ms)
            for number in range(opened, desk.number + 1):  # each deal is found by the intent that made it
                *_, found = await desk.broker.find_by_magic(desk.broker.magic_of(number), began_ms)
                assert [deal.ticket for deal in found] == [deals[number - opened].ticket]

        bench(story)

    def test_moving_a_stop_keeps_the_target_and_again_changes_nothing(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            instrument = await desk.instrument()
            assert position.stop is not None
            tighter = on_grid(position.stop + 50 * instrument.point, instrument)
            assert (await desk.send(moved(position, tighter))).answer is Answer.OK
            after = await desk.position(position.ticket)
            assert after is not None
            assert (after.stop, after.target) == (tighter, position.target)
            assert (await desk.send(moved(after, tighter))).answer is Answer.NOOP
            await desk.send(closed(after))

        bench(story)

    def test_a_stop_set_without_a_target_leaves_none(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open(Side.SHORT, target=None)
            assert position.stop is not None
            assert position.target is None
            instrument = await desk.instrument()
            tighter = on_grid(position.stop - 50 * instrument.point, instrument)
            assert (await desk.send(moved(position, tighter))).answer is Answer.OK
            after = await desk.position(position.ticket)
            assert after is not None
            assert after.target is None
            await desk.send(closed(after))

        bench(story)

    def test_a_stop_on_the_wrong_side_is_refused_and_the_old_one_stays(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            instrument, tick = await desk.instrument(), await desk.tick()
            above = on_grid(tick.ask + 400 * instrument.point, instrument)
            result = await desk.send(moved(position, above, target=None))
            assert (result.answer, result.name) == (Answer.FIX, "INVALID_STOPS")
            after = await desk.position(position.ticket)
            assert after is not None
            assert (after.stop, after.target) == (position.stop, position.target)
            await desk.send(closed(position))

        bench(story)

    def test_what_cannot_be_closed_is_refused_for_certain(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            position = await desk.open()
            too_much = replace(closed(position), volume=position.volume * 2)
            assert (await desk.send(too_much)).name == "INVALID_CLOSE_VOLUME"
            assert (await desk.send(closed(position))).answer is Answer.OK
            gone = await desk.send(closed(position))
            assert (gone.answer, gone.name) == (Answer.STATE, "POSITION_CLOSED")

        bench(story)

    def test_a_volume_off_the_step_is_refused(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            instrument = await desk.instrument()
            result = await desk.send(await desk.opening(volume=instrument.volume_min + instrument.volume_step / 3))
            assert (result.answer, result.name) == (Answer.FIX, "INVALID_VOLUME")

        bench(story)

    def test_opposite_positions_stand_side_by_side_on_a_hedging_account(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            long, short = await desk.open(), await desk.open(Side.SHORT)
            held = await desk.broker.positions([long.ticket, short.ticket, 1])
            assert {long.ticket, short.ticket} == set(held)
            assert held[short.ticket].side is Side.SHORT
            for position in (long, short):
                assert (await desk.send(closed(position))).answer is Answer.OK

        bench(story)

    def test_an_unknown_symbol_is_not_sent(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            result = await desk.send(await desk.opening(symbol="NO.SUCH"))
            assert (result.answer, result.sent) == (Answer.FIX, False)

        bench(story)


class TestFencing:
    def test_a_lower_token_is_neither_announced_nor_sent(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            key = f"fence-{desk.clock.market_ms()}"
            old = await desk.fence(key, 5)
            await desk.fence(key, 6)
            with pytest.raises(PermissionGone):
                await desk.fence(key, 5)
            before = (await desk.broker.snapshot([])).positions
            result = await desk.send(await desk.opening(), old)
            assert (result.answer, result.sent, result.name) == (Answer.STATE, False, "GATEWAY_FENCED")
            assert set((await desk.broker.snapshot([])).positions) == set(before)

        bench(story)

    def test_a_key_that_nobody_announced_and_another_instance_are_refused(self, bench: Bench) -> None:
        async def story(desk: Desk) -> None:
            fence = await desk.fence()
            unknown = await desk.send(await desk.opening(), replace(fence, key="never announced"))
            other = await desk.send(await desk.opening(), replace(fence, instance=fence.instance + 1))
            assert (unknown.name, unknown.sent) == ("GATEWAY_FENCED", False)
            assert (other.name, other.sent) == ("GATEWAY_OTHER_INSTANCE", False)

        bench(story)


def test_several_symbols_come_in_one_answer() -> None:
    async def story(desk: Desk) -> None:
        quotes = await desk.broker.quotes([desk.symbol, BTCUSD])
        assert set(quotes) == {desk.symbol, BTCUSD}

    LocalBench(description=described())(story)
