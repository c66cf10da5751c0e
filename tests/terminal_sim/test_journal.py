"""A restarted terminal goes on with the same tickets, books and time."""

from pathlib import Path
from typing import Any

import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Lab, Minute, price

from dtms.terminal.simulated.api import open_terminal, resume_ms
from dtms.terminal.simulated.config import load_config
from dtms.terminal.simulated.journal import JournalError, read_journal

FALL: Minute = (0, 0, -100, -100)
LOW: Minute = (-100, -100, -100, -100)
JOURNAL = "journal.jsonl"


def books(lab: Lab) -> list[Any]:
    terminal = lab.terminal
    shown = (terminal.positions_get(), terminal.orders_get(), terminal.history_deals_get(0, 2**33))
    return [*shown, terminal.account_info(), terminal.simulation.utc_ms(), terminal.simulation.ledger.requests]


def used(bench: MakeLab) -> Lab:
    lab = bench([FLAT] * 3 + [FALL, LOW, LOW, LOW], journal=JOURNAL)
    lab.opened(0, 0.2, sl=price(-50), magic=9, comment="kept")
    ticket = lab.opened(1, 0.3)
    lab.market(0, 0.1, position=ticket)
    lab.send(action=5, volume=0.1, type=2, price=price(-300), type_filling=2)
    lab.minute(2)
    return lab


def again(bench: MakeLab, **options: Any) -> Lab:
    return bench([FLAT] * 3 + [FALL, LOW, LOW, LOW], journal=JOURNAL, **options)


def test_a_restart_shows_the_same_books_at_the_same_moment(bench: MakeLab) -> None:
    before = used(bench)
    before.terminal.simulation.close()
    after = again(bench)
    assert books(after) == books(before)


def test_after_a_restart_the_market_goes_on_and_tickets_with_it(bench: MakeLab) -> None:
    """The stop that was set before the restart is hit after it; the next ticket is a new one."""
    before = used(bench)
    highest = max(order.ticket for order in before.terminal.simulation.ledger.history_orders.values())
    after = again(bench)
    after.minute(5)
    deals = after.terminal.history_deals_get(0, 2**33)
    assert deals is not None
    assert (deals[-1].reason, deals[-1].magic) == (4, 9)
    assert after.opened(0) > highest + 1


def test_a_torn_last_line_loses_that_act_alone(bench: MakeLab, tmp_path: Path) -> None:
    before = used(bench)
    before.opened(0, 0.7)
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-10])
    after = again(bench)
    volumes = [position.volume for position in after.terminal.positions_get() or ()]
    assert volumes == [0.2, 0.2]
    after.opened(0, 0.4)
    assert [p.volume for p in again(bench).terminal.positions_get() or ()] == [0.2, 0.2, 0.4]


def test_a_broken_line_before_the_last_stops_the_start(bench: MakeLab, tmp_path: Path) -> None:
    used(bench)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b'{"at_ms":', *lines[1:]]))
    with pytest.raises(JournalError, match="line 2"):
        again(bench)


def test_the_market_pauses_while_down_or_goes_on_if_so_configured(bench: MakeLab, tmp_path: Path) -> None:
    used(bench).terminal.simulation.close()
    resumed = read_journal(tmp_path / JOURNAL)
    assert resumed is not None
    given = {"start": "2024-01-16T10:00Z", "rate": 2.0, "symbols": [], "journal": JOURNAL}
    paused = load_config(given, tmp_path)
    going = load_config(given | {"while_down": "continues"}, tmp_path)
    assert resume_ms(paused, resumed, resumed.wall_s + 60) == resumed.at_ms + 2_000
    assert resume_ms(going, resumed, resumed.wall_s + 60) == resumed.at_ms + 120_000


def test_time_never_goes_back_over_a_restart(bench: MakeLab, tmp_path: Path) -> None:
    """The last moment seen before a crash, which may not have been written, lies before the first one after it."""
    used(bench).terminal.simulation.close()
    given = {"start": "2024-01-16T10:00Z", "rate": 30.0, "journal": JOURNAL}
    symbols = [{"name": "EURUSD", "recording": "market.csv.gz"}]
    config = load_config(given | {"symbols": symbols}, tmp_path)
    real = [50.0]
    first = open_terminal(config, lambda: real[0])
    assert first.initialize()
    for _ in range(40):
        real[0] += 0.05
        first.positions_total()
    seen = first.simulation.utc_ms()
    second = open_terminal(config, lambda: real[0])
    assert second.simulation.utc_ms() >= seen


def test_the_same_calls_write_the_same_bytes(bench: MakeLab, tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    written = []
    for _ in range(2):
        lab = used(bench)
        lab.minute(6)
        lab.terminal.simulation.close()
        written.append(path.read_bytes())
        path.unlink()
    assert written[0] == written[1]
    assert written[0].count(b"\n") > 6


def test_without_a_journal_nothing_is_kept(bench: MakeLab, tmp_path: Path) -> None:
    lab = bench([FLAT] * 5)
    lab.opened(0)
    assert bench([FLAT] * 5).terminal.positions_get() == ()
    assert not (tmp_path / JOURNAL).exists()
