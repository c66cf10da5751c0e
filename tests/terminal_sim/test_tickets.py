"""Tickets that change while the identifier stays: the night's swap by re-opening, and maintenance."""

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, price

from dtms.terminal.simulated.structs import TradePosition

BUY, SELL = 0, 1
ROLLOVER = 7
EVENING = "2024-01-16T21:58Z"
JOURNAL = "journal.jsonl"


def only(lab: Lab) -> TradePosition:
    (held,) = lab.terminal.positions_get() or ()
    return held


@pytest.mark.parametrize(
    ("mode", "side", "closed", "reopened"),
    [(7, BUY, 0, 7), (7, SELL, 2, 5), (8, BUY, 0, 7), (8, SELL, 0, 3)],
)
def test_a_swap_by_reopening_gives_a_new_ticket_at_a_price_that_bears_the_swap(
    bench: MakeLab, mode: int, side: int, closed: int, reopened: int
) -> None:
    spec = {"swap_mode": mode, "swap_long_points": -7.1, "swap_short_points": 3.2}
    lab = bench([FLAT] * 10, begin=EVENING, spec=spec)
    ticket = lab.opened(side, 1.0, sl=price(-50 if side == BUY else 50), magic=9, comment="mine")
    before = only(lab)
    lab.minute(2.1)
    after = only(lab)
    assert after.ticket != ticket
    assert (after.identifier, after.time_msc) == (ticket, before.time_msc)
    assert (after.price_open, after.swap) == (price(reopened), 0.0)
    assert (after.sl, after.magic, after.comment, after.volume) == (before.sl, 9, "mine", 1.0)
    _, out, back = lab.terminal.history_deals_get(position=ticket) or ()
    assert (out.entry, out.reason, out.price) == (1, ROLLOVER, price(closed))
    assert (back.entry, back.reason, back.price) == (0, ROLLOVER, price(reopened))
    assert lab.market(1 - side, 1.0, position=ticket).retcode == 10036
    assert lab.market(1 - side, 1.0, position=after.ticket).retcode == 10009
    info = lab.terminal.symbol_info(lab.symbol)
    assert info is not None
    assert info.swap_mode == mode


def test_a_night_costs_the_same_whether_charged_or_taken_by_reopening(bench: MakeLab) -> None:
    equities = []
    for mode in (1, 7):
        spec = {"swap_mode": mode, "swap_long_points": -7.0}
        lab = bench([FLAT] * 10, begin="2024-01-17T21:58Z", spec=spec)
        lab.opened(BUY, 1.0)
        lab.minute(2.1)
        info = lab.terminal.account_info()
        assert info is not None
        equities.append(info.equity)
    assert equities == [9_977.0, 9_977.0]  # a spread of 2, and three nights of 7, at 1 a point


def test_a_broker_may_show_the_reopening_as_a_new_time_of_opening(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, begin=EVENING, spec={"swap_mode": 7}, manners={"reopen_keeps_time": False})
    lab.opened(BUY)
    lab.minute(2.1)
    assert only(lab).time_msc == lab.begin_ms + 2 * 60_000 + 2 * 3_600_000


def test_no_swap_changes_nothing(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, begin=EVENING, spec={"swap_mode": 0, "swap_long_points": -7.0})
    ticket = lab.opened(BUY)
    lab.minute(2.1)
    assert (only(lab).ticket, only(lab).swap) == (ticket, 0.0)


def test_maintenance_renumbers_a_position_without_a_deal(bench: MakeLab) -> None:
    acts: list[dict[str, object]] = [
        {"at": "2024-01-16T10:01:00Z", "name": "a", "symbol": "EURUSD", "side": "BUY", "lots": 0.3},
        {"at": "2024-01-16T10:02:00Z", "kind": "renumber", "name": "a"},
        {"at": "2024-01-16T10:03:00Z", "kind": "modify", "name": "a", "sl": {"points": 50}},
        {"at": "2024-01-16T10:04:00Z", "kind": "close", "name": "a", "lots": 0.1},
    ]
    lab = bench([FLAT] * 10, actors=[act | {"symbol": "EURUSD"} for act in acts])
    lab.minute(1.5)
    before = only(lab)
    lab.minute(2.5)
    after = only(lab)
    assert after.ticket > before.ticket
    assert (after.identifier, after.time_msc, after.price_open) == (before.ticket, before.time_msc, before.price_open)
    assert lab.terminal.history_deals_total(0, 2**33) == 2  # the deposit and the entry
    lab.minute(5)
    assert (only(lab).sl, only(lab).volume) == (price(-50), 0.2)
    assert [d.entry for d in lab.terminal.history_deals_get(position=before.ticket) or ()] == [0, 1]


def test_changed_tickets_come_back_from_the_journal_and_are_not_given_again(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10, begin=EVENING, spec={"swap_mode": 7}, journal=JOURNAL)
    lab.opened(BUY, 0.3)
    lab.minute(2.1)
    lab.terminal._server.renumber(lab.terminal.simulation.ledger.positions[only(lab).ticket])
    changed = only(lab)
    lab.terminal.simulation.close()
    again = bench([FLAT] * 10, begin=EVENING, spec={"swap_mode": 7}, journal=JOURNAL)
    assert only(again) == changed
    assert again.opened(BUY, 0.1) > changed.ticket
