"""Lists and connections that lie: what the caller sees, while the terminal's own books are as they are."""

from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.constants import MT5

FALL: Minute = (0, 0, -100, -100)
LOW: Minute = (-100, -100, -100, -100)
EVER = (0, 2**33)


@pytest.fixture
def lab(bench: MakeLab) -> Lab:
    return bench([FLAT] * 10)


def fault(lab: Lab, kind: str, **more: Any) -> None:
    lab.terminal.simulation.faults.add({"kind": kind, **more})


def tickets(lab: Lab) -> list[int] | None:
    """The positions that the caller is shown."""
    listed = lab.terminal.positions_get()
    return None if listed is None else [position.ticket for position in listed]


def deals(lab: Lab) -> list[int]:
    """The orders of the deals that the caller is shown, the deposit left out."""
    return [deal.order for deal in lab.terminal.history_deals_get(*EVER) or () if deal.order]


def held(lab: Lab) -> list[int]:
    return list(lab.terminal.simulation.ledger.positions)


class TestLag:
    def test_what_was_done_shows_later(self, lab: Lab) -> None:
        """10009 comes at once, positions, deals and history do not; the books have everything."""
        fault(lab, "lag", ms_min=700, ms_max=700)
        ticket = lab.opened(0)
        shown = (tickets(lab), lab.terminal.positions_total(), deals(lab), lab.terminal.history_orders_get(*EVER))
        assert shown == ([], 0, [], ())
        assert lab.terminal.positions_get(ticket=ticket) == ()
        assert held(lab) == [ticket]
        lab.clock.advance(0.699)
        assert tickets(lab) == []
        lab.clock.advance(0.001)
        assert (tickets(lab), deals(lab)) == ([ticket], [ticket])
        assert len(lab.terminal.history_orders_get(*EVER) or ()) == 1

    def test_a_closed_position_stays_listed_and_a_moved_stop_shows_the_old_one(self, lab: Lab) -> None:
        first, second = lab.opened(0, sl=price(-200)), lab.opened(1)
        lab.clock.advance(5)
        fault(lab, "lag", ms_min=500, ms_max=500)
        lab.levels(first, sl=price(-150))
        lab.market(0, position=second)
        assert [(p.ticket, p.sl) for p in lab.terminal.positions_get() or ()] == [(first, price(-200)), (second, 0.0)]
        assert deals(lab) == [first, second]
        lab.clock.advance(0.5)
        assert [(p.ticket, p.sl) for p in lab.terminal.positions_get() or ()] == [(first, price(-150))]
        assert len(deals(lab)) == 3

    def test_each_change_has_a_lag_of_its_own_so_they_come_in_any_order(self, lab: Lab) -> None:
        fault(lab, "lag", ms_min=0, ms_max=5_000, seed=3)
        opened = [lab.opened(0) for _ in range(12)]
        arrived: list[int] = []
        deal_first = position_first = 0
        for _ in range(52):
            listed, dealt = tickets(lab) or [], deals(lab)
            arrived += [ticket for ticket in listed if ticket not in arrived]
            deal_first += len(set(dealt) - set(listed))
            position_first += len(set(listed) - set(dealt))
            lab.clock.advance(0.1)
        assert sorted(arrived) == opened
        assert arrived != opened
        assert deal_first
        assert position_first

    def test_a_stop_that_the_market_hit_shows_late_as_well(self, bench: MakeLab) -> None:
        lab = bench([FLAT, FALL, LOW, LOW])
        ticket = lab.opened(0, sl=price(-50))
        fault(lab, "lag", ms_min=90_000, ms_max=90_000)
        lab.minute(2)
        assert (held(lab), tickets(lab)) == ([], [ticket])
        lab.minute(4)
        assert tickets(lab) == []

    def test_only_the_named_calls_lag(self, lab: Lab) -> None:
        fault(lab, "lag", calls=["history"])
        ticket = lab.opened(0)
        assert (tickets(lab), deals(lab)) == ([ticket], [])


class TestStale:
    def test_lists_are_as_they_were_so_many_seconds_ago(self, lab: Lab) -> None:
        fault(lab, "stale_list", age_s=10, times=0)
        first = lab.opened(0)
        lab.clock.advance(6)
        second = lab.opened(1)
        lab.market(1, position=first)
        seen = []
        for _ in range(8):
            seen.append(tickets(lab))
            lab.clock.advance(2)
        assert seen == [[], [], [first], [first], [first], [second], [second], [second]]

    def test_it_reaches_no_further_back_than_the_moment_it_was_put_in_place(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "stale_list", age_s=3600)
        assert tickets(lab) == [ticket]


class TestMissing:
    def test_rows_are_missing_others_each_time(self, lab: Lab) -> None:
        opened = {lab.opened(0) for _ in range(5)}
        fault(lab, "partial_list", missing=2, times=30)
        missing = [opened - set(tickets(lab) or ()) for _ in range(30)]
        assert {len(gone) for gone in missing} == {2}
        assert set.union(*missing) == opened

    def test_deals_and_orders_go_missing_too_and_counts_agree(self, lab: Lab) -> None:
        for _ in range(3):
            lab.opened(0)
        lab.send(action=5, volume=0.1, type=2, price=price(-300), type_filling=2)
        fault(lab, "partial_list", times=0)
        assert (len(deals(lab)), lab.terminal.orders_get(), lab.terminal.orders_total()) in ((2, (), 0), (3, (), 0))
        assert lab.terminal.positions_total() == 2

    def test_everything_is_missing_while_the_terminal_says_that_it_is_connected(self, lab: Lab) -> None:
        lab.opened(0)
        fault(lab, "empty_list", times=0)
        info = lab.terminal.terminal_info()
        assert info is not None
        assert info.connected
        assert (tickets(lab), deals(lab), lab.terminal.positions_total()) == ([], [], 0)
        assert len(held(lab)) == 1


def connected(lab: Lab) -> bool | None:
    info = lab.terminal.terminal_info()
    return None if info is None else bool(info.connected)


class TestConnection:
    def test_offline_nothing_is_carried_out_lists_and_quotes_stay_and_stops_work_at_the_server(
        self, bench: MakeLab
    ) -> None:
        lab = bench([FLAT, FALL, LOW, LOW, LOW])
        ticket = lab.opened(0, sl=price(-50))
        lab.minute(0.5)
        fault(lab, "offline")
        before = lab.terminal.symbol_info_tick("EURUSD")
        assert (connected(lab), tickets(lab)) == (False, [ticket])
        assert lab.market(0).retcode == MT5.TRADE_RETCODE_CONNECTION
        lab.minute(3)
        assert lab.terminal.symbol_info_tick("EURUSD") == before
        assert held(lab) == []
        lab.terminal.simulation.faults.clear()
        assert (connected(lab), tickets(lab)) == (True, [])
        after = lab.terminal.symbol_info_tick("EURUSD")
        assert after is not None
        assert after.bid == price(-100)

    def test_offline_lists_can_be_empty(self, lab: Lab) -> None:
        ticket = lab.opened(0)
        fault(lab, "empty_offline", for_s=5, times=1)
        assert (connected(lab), tickets(lab), deals(lab)) == (False, [], [])
        lab.clock.advance(5)
        assert (connected(lab), tickets(lab)) == (True, [ticket])

    def test_a_restart_is_none_then_unconnected_and_empty_then_partial_then_all(self, lab: Lab) -> None:
        opened = [lab.opened(0) for _ in range(4)]
        fault(lab, "restart", none_s=4, empty_s=4, partial_s=4)
        phases: list[tuple[int | None, bool | None]] = []
        for _ in range(8):
            listed = tickets(lab)
            if listed is None:
                assert lab.terminal.last_error() == (MT5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")
                assert lab.terminal.initialize() is (len(phases) >= 2)
                listed = tickets(lab)
            phases.append((None if listed is None else len(listed), connected(lab)))
            lab.clock.advance(2)
        assert phases == [(None, None)] * 2 + [(0, False)] * 2 + [(2, True)] * 2 + [(4, True)] * 2
        assert held(lab) == opened

    def test_while_it_restarts_a_caller_must_connect_anew(self, lab: Lab) -> None:
        fault(lab, "restart", none_s=2, empty_s=0, partial_s=0)
        assert tickets(lab) is None
        lab.clock.advance(3)
        assert tickets(lab) is None
        assert lab.terminal.initialize()
        assert tickets(lab) == []


class TestWrongAccount:
    def test_a_crossed_pipe_shows_another_account_and_empty_lists(self, lab: Lab) -> None:
        lab.opened(0)
        fault(lab, "wrong_account", login=4711, server="Other-Real", times=4)
        info = lab.terminal.account_info()
        assert info is not None
        assert (info.login, info.server) == (4711, "Other-Real")
        assert (tickets(lab), deals(lab), lab.terminal.orders_get()) == ([], [], ())
        info = lab.terminal.account_info()
        assert info is not None
        assert info.login == 5_000_001
        assert len(tickets(lab) or ()) == 1

    def test_a_request_goes_to_the_other_account_and_not_to_ours(self, lab: Lab) -> None:
        fault(lab, "wrong_account", times=2)
        done, refused = lab.market(0, magic=5), lab.market(0, 0.015)
        assert (done.retcode, refused.retcode) == (MT5.TRADE_RETCODE_DONE, MT5.TRADE_RETCODE_INVALID_VOLUME)
        assert done.order
        assert held(lab) == []
        assert [request["magic"] for request in lab.terminal.simulation.faults.elsewhere] == [5, 0]
        assert lab.terminal.simulation.ledger.requests == []
