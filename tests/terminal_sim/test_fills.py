"""Stops and targets are filled as a market fills them, and the books say by what."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.structs import TradeDeal

BUY, SELL = 0, 1
FALL: Minute = (0, 0, -100, -100)
RISE: Minute = (0, 100, 0, 100)
NIGHT: list[Minute] = [None] * 600


def closing_deal(lab: Lab, ticket: int) -> TradeDeal:
    deals = lab.terminal.history_deals_get(position=ticket)
    assert deals
    return deals[-1]


@pytest.mark.parametrize(("side", "sl", "minute"), [(BUY, -50, FALL), (SELL, 50, RISE)])
def test_a_stop_fills_at_the_first_quote_at_or_beyond_it(bench: MakeLab, side: int, sl: int, minute: Minute) -> None:
    lab = bench([minute, FLAT])
    ticket = lab.opened(side, sl=price(sl), magic=77)
    lab.minute(1)
    assert lab.position(ticket) is None
    deal = closing_deal(lab, ticket)
    beyond = (price(sl) - deal.price) * (1 if side == BUY else -1)
    assert 0 <= beyond <= 60e-5
    ticks = lab.terminal.copy_ticks_range(lab.symbol, deal.time, deal.time + 1, -1)
    assert ticks is not None
    assert deal.price in ticks["bid" if side == BUY else "ask"]
    assert (deal.entry, deal.reason, deal.magic, deal.type) == (1, 4, 77, 1 - side)
    assert deal.comment == f"[sl {price(sl):.5f}]"


@pytest.mark.parametrize(("side", "tp", "minute"), [(BUY, 50, RISE), (SELL, -48, FALL)])
def test_a_target_fills_at_its_price(bench: MakeLab, side: int, tp: int, minute: Minute) -> None:
    lab = bench([minute, FLAT])
    ticket = lab.opened(side, tp=price(tp))
    lab.minute(1)
    deal = closing_deal(lab, ticket)
    assert (deal.price, deal.reason, deal.comment) == (price(tp), 5, f"[tp {price(tp):.5f}]")


def test_a_buy_closes_on_the_bid_and_a_sell_on_the_ask(bench: MakeLab) -> None:
    """The bid rises to 100 and the ask to 102: a sell's stop at 102 goes, a buy's target at 101 stays."""
    lab = bench([RISE, (100, 100, 100, 100)])
    sell, buy = lab.opened(SELL, sl=price(102)), lab.opened(BUY, tp=price(101))
    lab.minute(1)
    assert lab.position(sell) is None
    assert lab.position(buy) is not None


def test_a_gap_through_the_stop_fills_at_the_first_price_after_it(bench: MakeLab) -> None:
    lab = bench([FLAT, *NIGHT, (-300, -290, -310, -300)])
    ticket = lab.opened(BUY, sl=price(-50))
    lab.minute(600)
    assert lab.position(ticket) is not None
    lab.minute(602)
    assert closing_deal(lab, ticket).price == price(-300)


def test_a_gap_through_the_target_gives_the_target_and_no_more(bench: MakeLab) -> None:
    lab = bench([FLAT, *NIGHT, (300, 310, 290, 300)])
    ticket = lab.opened(BUY, tp=price(50))
    lab.minute(602)
    assert closing_deal(lab, ticket).price == price(50)


def test_the_spread_of_a_reopening_can_hit_the_stop_of_a_sell(bench: MakeLab) -> None:
    """Bids do not move, but the first minutes after a silence quote an ask eight times as far away."""
    minutes: list[Minute] = [FLAT, *NIGHT, *[FLAT] * 10]
    for factor, closed in ((1, False), (8, True)):
        lab = bench(minutes, spec={"wide_spread_factor": factor})
        ticket = lab.opened(SELL, sl=price(14))
        lab.minute(610)
        assert (lab.position(ticket) is None) is closed


def test_a_stop_within_one_minute_with_the_target_goes_by_the_path_alone(bench: MakeLab) -> None:
    """A bar that opens near its low goes there first, so a buy is stopped and its target never reached."""
    lab = bench([(0, 300, -100, 250), FLAT])
    ticket = lab.opened(BUY, sl=price(-100), tp=price(300))
    lab.minute(1)
    assert closing_deal(lab, ticket).reason == 4


def test_a_stop_set_later_is_watched_from_then_on(bench: MakeLab) -> None:
    lab = bench([FALL, (-100, -100, -100, -100), (-100, 0, -100, 0), (0, 0, -100, -100), FLAT])
    ticket = lab.opened(BUY)
    lab.minute(3)
    assert lab.levels(ticket, sl=price(-50)).retcode == 10009
    lab.minute(4)
    assert closing_deal(lab, ticket).time_msc >= (lab.begin_ms + 3 * 60_000) + 2 * 3_600_000


def test_a_removed_stop_protects_no_longer(bench: MakeLab) -> None:
    lab = bench([FALL, FLAT])
    ticket = lab.opened(BUY, sl=price(-50), tp=price(500))
    assert lab.levels(ticket, tp=price(500)).retcode == 10009
    lab.minute(1)
    assert lab.position(ticket) is not None


def test_every_setting_of_levels_is_on_record_with_the_market_of_that_moment(bench: MakeLab) -> None:
    lab = bench([FLAT, (0, 60, 0, 60), (60, 60, 60, 60)])
    ticket = lab.opened(BUY, sl=price(-50))
    lab.minute(2)
    lab.levels(ticket, sl=price(20))
    seen = [(c.position, c.sl_points - 110_000, c.bid_points - 110_000) for c in lab.terminal.simulation.ledger.levels]
    assert seen == [(ticket, -50, 0), (ticket, 20, 60)]


def test_playing_in_one_go_or_second_by_second_fills_alike(bench: MakeLab) -> None:
    path: list[Minute] = [(0, 40, -30, 20), (20, 80, 10, 70), (70, 75, -60, -40), (-40, 10, -90, 0), (0, 5, -5, 0)]
    books = []
    for steps in (1, 300):
        lab = bench(path)
        for i in range(6):
            lab.opened(i % 2, sl=price(-20 - 10 * i if i % 2 == 0 else 20 + 10 * i), tp=0.0)
        for step in range(1, steps + 1):
            lab.minute(5 * step / steps)
        books.append(lab.terminal.simulation.ledger.deals)
    assert len(books[0]) > 7
    assert books[0] == books[1]
