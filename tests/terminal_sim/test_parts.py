"""Orders that the market cannot fill whole, that open several positions, or that are filled later."""

from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

BUY, SELL = 0, 1
FOK, IOC, RETURN = 0, 1, 2
INSTANT_LIKE = {"exemode": 3}  # execution by exchange, which takes RETURN
RISE: Minute = (0, 100, 0, 100)
HIGH: Minute = (100, 100, 100, 100)


def deal(lab: Lab, side: int, lots: float, filling: int, **more: object) -> tuple[int, float, int]:
    result = lab.send(action=1, type=side, volume=lots, type_filling=filling, **more)
    return result.retcode, result.volume, result.order


def test_immediate_or_cancel_fills_what_there_is_and_cancels_the_rest(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"fill_lots_max": 0.25})
    retcode, lots, ticket = deal(lab, BUY, 0.6, IOC, sl=price(-50), magic=7)
    assert (retcode, lots) == (10010, 0.25)
    position = lab.position(ticket)
    assert position is not None
    assert (position.volume, position.sl, position.magic) == (0.25, price(-50), 7)
    (order,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert (order.volume_initial, order.volume_current, order.state) == (0.6, 0.35, 2)
    lab.minute(3)
    assert lab.terminal.orders_get() == ()
    assert len(lab.terminal.history_deals_get(position=ticket) or ()) == 1


def test_a_close_is_filled_in_part_too(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5)
    ticket = lab.opened(BUY, 0.6)
    lab.terminal.simulation.world.manners.fill_lots_max = 0.25
    assert deal(lab, SELL, 0.6, IOC, position=ticket)[:2] == (10010, 0.25)
    position = lab.position(ticket)
    assert position is not None
    assert position.volume == 0.35


def test_fill_or_kill_is_rejected_unless_the_broker_fills_a_part_of_it_all_the_same(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"fill_lots_max": 0.25})
    assert deal(lab, BUY, 0.6, FOK)[0] == 10006
    assert lab.terminal.positions_get() == ()
    assert deal(lab, BUY, 0.25, FOK)[0] == 10009
    lab.terminal.simulation.world.manners.fok_is_whole = False
    assert deal(lab, BUY, 0.6, FOK)[:2] == (10010, 0.25)


def test_what_return_leaves_is_filled_later_at_the_mean_price(bench: MakeLab) -> None:
    """0.4 at 2 at once; a minute later, at 102, the next 0.4, and then the last 0.2."""
    lab = bench([RISE, HIGH, HIGH, HIGH], spec=INSTANT_LIKE, manners={"fill_lots_max": 0.4, "refill_delay_ms": 90_000})
    retcode, lots, ticket = deal(lab, BUY, 1.0, RETURN, sl=price(-500))
    assert (retcode, lots) == (10010, 0.4)
    (live,) = lab.terminal.orders_get() or ()
    assert (live.ticket, live.state, live.volume_current, live.type) == (ticket, 3, 0.6, BUY)
    lab.minute(1.2)
    position = lab.position(ticket)
    assert position is not None
    assert (position.volume, position.price_open, position.sl) == (0.8, price(52), price(-500))
    lab.minute(3)
    position = lab.position(ticket)
    assert position is not None
    assert position.volume == 1.0
    assert lab.terminal.orders_get() == ()
    (done,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert (done.state, done.volume_current) == (4, 0.0)
    assert [d.volume for d in lab.terminal.history_deals_get(ticket=ticket) or ()] == [0.4, 0.4, 0.2]


@pytest.mark.parametrize("mode", [0, 2])
def test_a_ticket_appears_again_when_the_rest_is_filled_after_a_close(bench: MakeLab, mode: int) -> None:
    lab = bench([FLAT] * 5, spec=INSTANT_LIKE, account={"margin_mode": mode}, manners={"fill_lots_max": 0.4})
    _, _, ticket = deal(lab, BUY, 0.6, RETURN)
    first = lab.position(ticket)
    assert first is not None
    assert deal(lab, SELL, 0.4, RETURN, position=ticket)[0] == 10009
    assert lab.position(ticket) is None
    lab.minute(1)
    again = lab.position(ticket)
    assert again is not None
    assert (again.identifier, again.volume) == (first.identifier, 0.2)
    assert again.time_msc > first.time_msc


def test_the_rest_of_an_order_can_be_cancelled_and_does_not_come_back(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec=INSTANT_LIKE, manners={"fill_lots_max": 0.4})
    _, _, ticket = deal(lab, BUY, 0.6, RETURN)
    assert lab.send(action=8, order=ticket).retcode == 10009
    lab.minute(3)
    position = lab.position(ticket)
    assert position is not None
    assert position.volume == 0.4


def test_a_second_close_waits_for_the_first_to_be_filled(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, spec=INSTANT_LIKE)
    ticket = lab.opened(BUY, 0.6)
    lab.terminal.simulation.world.manners.fill_lots_max = 0.4
    assert deal(lab, SELL, 0.6, RETURN, position=ticket)[:2] == (10010, 0.4)
    assert deal(lab, SELL, 0.2, RETURN, position=ticket)[0] == 10039
    lab.minute(1)
    assert lab.position(ticket) is None
    assert deal(lab, SELL, 0.2, RETURN, position=ticket)[0] == 10036


def test_the_rest_of_a_close_ends_with_the_position(bench: MakeLab) -> None:
    lab = bench([(0, 0, -100, -100), FLAT], spec=INSTANT_LIKE, manners={"refill_delay_ms": 100_000})
    ticket = lab.opened(BUY, 0.6, sl=price(-50))
    lab.terminal.simulation.world.manners.fill_lots_max = 0.4
    _, _, closing = deal(lab, SELL, 0.6, RETURN, position=ticket)
    lab.minute(2)
    assert lab.position(ticket) is None
    (order,) = lab.terminal.history_orders_get(ticket=closing) or ()
    assert (order.state, order.volume_current) == (2, 0.2)
    assert lab.terminal.positions_total() == 0


@pytest.mark.parametrize(("rest", "filling", "later"), [("refills", IOC, 0.6), ("cancelled", RETURN, 0.4)])
def test_a_broker_may_handle_the_rest_against_its_filling(
    bench: MakeLab, rest: str, filling: int, later: float
) -> None:
    lab = bench([FLAT] * 5, spec=INSTANT_LIKE, manners={"fill_lots_max": 0.4, "partial_rest": rest})
    _, _, ticket = deal(lab, BUY, 0.6, filling)
    lab.minute(2)
    position = lab.position(ticket)
    assert position is not None
    assert position.volume == later


def test_a_rest_waits_over_a_closed_market(bench: MakeLab) -> None:
    minutes: list[Minute] = [FLAT, *[None] * 60, HIGH, HIGH]
    lab = bench(minutes, spec=INSTANT_LIKE, manners={"fill_lots_max": 0.4, "refill_delay_ms": 120_000})
    _, _, ticket = deal(lab, BUY, 0.6, RETURN)
    lab.minute(30)
    held = lab.position(ticket)
    assert held is not None
    assert held.volume == 0.4
    lab.minute(62)
    grown = lab.position(ticket)
    assert grown is not None
    assert grown.volume == 0.6
    assert (lab.terminal.history_deals_get(ticket=ticket) or ())[-1].time_msc >= lab.begin_ms + 61 * 60_000


def test_a_rest_that_cannot_be_paid_is_rejected(bench: MakeLab) -> None:
    lab = bench([(0, 0, -700, -700), FLAT], spec=INSTANT_LIKE, account={"balance": 1_500.0, "stop_out_percent": 10.0})
    lab.terminal.simulation.world.manners.fill_lots_max = 1.0
    lab.terminal.simulation.world.manners.refill_delay_ms = 70_000
    _, _, ticket = deal(lab, BUY, 1.3, RETURN)
    lab.minute(2)
    (order,) = lab.terminal.history_orders_get(ticket=ticket) or ()
    assert (order.state, order.volume_current) == (5, 0.3)


def test_an_order_may_be_accepted_first_and_filled_later(bench: MakeLab) -> None:
    lab = bench([RISE, HIGH, HIGH, HIGH], manners={"execution_delay_ms": 100_000})
    result = lab.market(BUY, 0.3, magic=4)
    assert (result.retcode, result.deal, result.volume) == (10008, 0, 0.3)
    assert lab.terminal.positions_get() == ()
    (waiting,) = lab.terminal.orders_get() or ()
    assert (waiting.ticket, waiting.state, waiting.magic) == (result.order, 1, 4)
    lab.minute(1.5)
    position = lab.position(result.order)
    assert position is not None
    assert (position.price_open, position.magic) == (price(102), 4)
    closing = lab.market(SELL, 0.3, position=position.ticket)
    assert closing.retcode == 10008
    assert lab.market(SELL, 0.3, position=position.ticket).retcode == 10039
    lab.minute(3.5)
    assert lab.position(position.ticket) is None


def test_one_order_may_open_several_positions_each_a_step_worse(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"step_fills": 3, "step_slip_points": 5})
    result = lab.market(SELL, 0.5, sl=price(300), magic=9, comment="one")
    assert (result.retcode, result.volume) == (10009, 0.5)
    held = lab.terminal.positions_get() or ()
    assert [p.volume for p in held] == [0.18, 0.16, 0.16]
    assert [p.price_open for p in held] == [price(0), price(-5), price(-10)]
    assert result.price == price(-5)  # the mean, on the grid
    assert held[0].ticket == result.order
    assert len({p.ticket for p in held}) == 3
    assert {(p.magic, p.comment, p.sl) for p in held} == {(9, "one", price(300))}
    deals = lab.terminal.history_deals_get(ticket=result.order) or ()
    assert [d.position_id for d in deals] == [p.identifier for p in held]
    for position in held:
        assert lab.market(BUY, position.volume, position=position.ticket).retcode == 10009


def test_steps_never_fall_below_the_minimum_lot(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, manners={"step_fills": 5}, spec={"volume_min_lots": 0.1, "volume_step_lots": 0.1})
    lab.opened(BUY, 0.3)
    assert [p.volume for p in lab.terminal.positions_get() or ()] == pytest.approx([0.1, 0.1, 0.1])
    lab.opened(BUY, 0.1)
    assert lab.terminal.positions_total() == 4


def test_a_netting_account_has_one_position_however_it_is_filled(bench: MakeLab) -> None:
    lab = bench([FLAT] * 5, account={"margin_mode": 0}, manners={"step_fills": 3})
    lab.opened(BUY, 0.3)
    assert lab.terminal.positions_total() == 1


def test_a_restart_goes_on_filling_what_was_left(bench: MakeLab) -> None:
    options: dict[str, Any] = {
        "spec": INSTANT_LIKE,
        "manners": {"fill_lots_max": 0.4, "refill_delay_ms": 60_000},
        "journal": "journal.jsonl",
    }
    before = bench([FLAT] * 5, **options)
    _, _, ticket = deal(before, BUY, 0.6, RETURN)
    before.terminal.simulation.close()
    after = bench([FLAT] * 5, **options)
    (live,) = after.terminal.orders_get() or ()
    assert (live.ticket, live.volume_current) == (ticket, 0.2)
    after.minute(2)
    position = after.position(ticket)
    assert position is not None
    assert position.volume == 0.6


@pytest.mark.parametrize("mode", [0, 2])
def test_parts_are_filled_alike_in_one_go_or_second_by_second(bench: MakeLab, mode: int) -> None:
    books = []
    for steps in (1, 240):
        path: list[Minute] = [(0, 40, -30, 20), (20, 80, 10, 70), (70, 75, -60, -40), (-40, 10, -90, 0)]
        manners = {"fill_lots_max": 0.2, "execution_delay_ms": 7_000, "refill_delay_ms": 11_000}
        lab = bench(path, spec=INSTANT_LIKE, account={"margin_mode": mode}, manners=manners)
        deal(lab, BUY, 0.7, RETURN, sl=price(-80))
        deal(lab, SELL, 0.3, RETURN)
        for step in range(1, steps + 1):
            lab.minute(4 * step / steps)
        books.append(lab.terminal.simulation.ledger.deals)
    assert len(books[0]) > 5
    assert books[0] == books[1]
