"""A broker changes its conditions in mid-session: at a set time, or when it is told to; and a restart keeps them."""

import numpy as np
import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, price

from dtms.terminal.simulated import conditions
from dtms.terminal.simulated.config import ConfigError

BUY, SELL = 0, 1
JOURNAL = "journal.jsonl"


@pytest.mark.parametrize(
    ("mode", "buy", "sell", "close"),
    [(0, 10017, 10017, 10017), (1, 10009, 10042, 10009), (2, 10043, 10009, 10009), (3, 10044, 10044, 10009)],
)
def test_a_symbol_changes_its_trade_mode_at_a_set_time(
    bench: MakeLab, mode: int, buy: int, sell: int, close: int
) -> None:
    changes = [{"at": "2024-01-16T10:02:00Z", "set": "symbol.EURUSD.m.trade_mode", "to": mode}]
    lab = bench([FLAT] * 10, name="EURUSD.m", changes=changes)
    ticket = lab.opened(BUY)
    lab.minute(2.5)
    info = lab.terminal.symbol_info("EURUSD.m")
    assert info is not None
    assert info.trade_mode == mode
    assert lab.market(BUY).retcode == buy
    assert lab.market(SELL).retcode == sell
    assert lab.levels(ticket, sl=price(-50)).retcode == (10017 if mode == 0 else 10009)
    assert lab.market(SELL, position=ticket).retcode == close


def test_a_condition_and_a_manner_change_while_running(bench: MakeLab) -> None:
    lab = bench([FLAT] * 10)
    world = lab.terminal.simulation.world
    world.set("symbol.EURUSD.stops_level_points", 40)
    world.set("manners.comment_mode", "strip")
    world.set("switches.account_trade_expert", False)
    info, account = lab.terminal.symbol_info("EURUSD"), lab.terminal.account_info()
    assert info is not None
    assert account is not None
    assert (info.trade_stops_level, account.trade_expert) == (40, False)
    assert lab.market(BUY).retcode == 10026
    world.set("switches.account_trade_expert", True)
    assert lab.market(BUY, sl=price(-39)).retcode == 10016
    assert conditions.present(world)["manners.comment_mode"] == "strip"


def test_a_spread_jumps_from_the_next_tick_on_and_comes_back(bench: MakeLab) -> None:
    changes = [
        {"at": "2024-01-16T10:02:00Z", "set": "symbol.EURUSD.spread_factor", "to": 20},
        {"at": "2024-01-16T10:04:00Z", "set": "symbol.EURUSD.spread_factor", "to": 1},
    ]
    lab = bench([FLAT] * 10, changes=changes)
    sell = lab.opened(SELL, sl=price(30))
    lab.minute(6)
    ticks = lab.terminal.copy_ticks_from(lab.symbol, 0, 10**6, -1)
    assert ticks is not None
    spread = np.rint((ticks["ask"] - ticks["bid"]) * 1e5)
    at = (ticks["time_msc"] - lab.begin_ms - 7_200_000) / 60_000
    assert set(spread[at <= 2]) == {2.0}
    assert set(spread[(at > 2) & (at <= 4)]) == {40.0}
    assert set(spread[at > 4]) == {2.0}
    deal = (lab.terminal.history_deals_get(position=sell) or ())[-1]
    assert (deal.reason, deal.price) == (4, price(40))


def test_changed_conditions_are_still_in_force_after_a_restart(bench: MakeLab) -> None:
    before = bench([FLAT] * 10, journal=JOURNAL)
    world = before.terminal.simulation.world
    world.set("symbol.EURUSD.trade_mode", 3)
    world.set("symbol.EURUSD.spread_factor", 10)
    world.set("manners.fill_lots_max", 0.5)
    before.minute(1)
    before.terminal.simulation.close()
    after = bench([FLAT] * 10, journal=JOURNAL)
    assert conditions.present(after.terminal.simulation.world) == conditions.present(world)
    assert after.market(BUY).retcode == 10044
    after.minute(2)
    tick = after.terminal.symbol_info_tick("EURUSD")
    assert tick is not None
    assert round((tick.ask - tick.bid) * 1e5) == 20


def test_a_change_that_was_made_is_not_made_again_after_a_restart(bench: MakeLab) -> None:
    changes = [{"at": "2024-01-16T10:02:00Z", "set": "symbol.EURUSD.trade_mode", "to": 3}]
    before = bench([FLAT] * 10, journal=JOURNAL, changes=changes)
    before.minute(3)
    before.terminal.simulation.world.set("symbol.EURUSD.trade_mode", 4)
    before.minute(3.5)
    before.terminal.simulation.close()
    after = bench([FLAT] * 10, journal=JOURNAL, changes=changes)
    after.minute(4)
    assert after.market(BUY).retcode == 10009


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol.EURUSD.digits", 3),
        ("symbol.GBPUSD.trade_mode", 3),
        ("symbol.EURUSD.trade_mode", 9),
        ("symbol.EURUSD.stops_level_points", -1),
        ("switches.trade_modes", {}),
        ("switches.connected", "no"),
        ("manners.comment_mode", "x"),
        ("comment_mode", "strip"),
    ],
)
def test_what_cannot_be_set_is_refused_by_name(bench: MakeLab, name: str, value: object) -> None:
    lab = bench([FLAT] * 10)
    before = conditions.present(lab.terminal.simulation.world)
    with pytest.raises(ValueError, match=name):
        lab.terminal.simulation.world.set(name, value)
    assert conditions.present(lab.terminal.simulation.world) == before


def test_a_scheduled_change_that_cannot_be_stops_the_start(bench: MakeLab) -> None:
    changes = [{"at": "2024-01-16T10:02:00Z", "set": "symbol.EURUSD.trade_mode", "to": 9}]
    with pytest.raises(ValueError, match="trade_mode"):
        bench([FLAT] * 10, changes=changes)
    with pytest.raises(ConfigError, match="when"):
        bench([FLAT] * 10, changes=[{"when": "2024-01-16T10:02:00Z"}])
