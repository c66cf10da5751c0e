"""Symbols and configuration: names as the broker spells them, spreads, shipped markets, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.terminal_sim.conftest import MakeLab
from tests.terminal_sim.lab import FLAT, Minute, write_market

from dtms.terminal.simulated.api import build_world, stepped_terminal
from dtms.terminal.simulated.config import SHIPPED, ConfigError, load_config
from dtms.terminal.simulated.recording import BarRecording, RecordingError, load_recording

BOTH: list[dict[str, Any]] = [
    {"name": "EURUSD.m", "like": "EURUSD", "recording": "shipped:EURUSD_H1_2017", "stops_level_points": 25},
    {"name": "BTCUSDc", "like": "BTCUSD", "recording": "shipped:BTCUSD_H1_2017", "selected": False},
]
START = {"start": "2017-10-03T08:00Z"}


def test_a_symbol_bears_the_brokers_name_and_overridden_conditions() -> None:
    terminal, _ = stepped_terminal(load_config(START | {"symbols": BOTH}))
    assert terminal.initialize()
    info = terminal.symbol_info("EURUSD.m")
    assert info is not None
    assert (info.name, info.trade_stops_level, info.digits, info.select) == ("EURUSD.m", 25, 5, True)
    assert terminal.symbol_info("EURUSD") is None
    assert [s.name for s in terminal.symbols_get(group="*BTC*,!*.m") or ()] == ["BTCUSDc"]
    assert terminal.symbols_total() == 2


def test_a_symbol_must_be_selected_to_have_quotes() -> None:
    terminal, _ = stepped_terminal(load_config(START | {"symbols": BOTH}))
    assert terminal.initialize()
    assert terminal.symbol_info_tick("BTCUSDc") is None
    hidden = terminal.symbol_info("BTCUSDc")
    assert hidden is not None
    assert (hidden.select, hidden.bid) == (False, 0.0)
    assert terminal.symbol_select("BTCUSDc", True)
    assert terminal.symbol_info_tick("BTCUSDc") is not None


@pytest.mark.parametrize("name", ["EURUSD_H1_2017", "BTCUSD_H1_2017"])
def test_a_shipped_recording_is_half_a_year_of_sound_hours(name: str) -> None:
    recording = load_recording(SHIPPED / f"{name}.csv.gz")
    assert isinstance(recording, BarRecording)
    assert recording.minutes == 60
    assert (recording.ms[-1] - recording.ms[0]) / 86_400_000 > 175
    assert {"source", "licence", "reconstructed"} <= set(recording.about)


def test_shipped_weeks_open_on_sunday_evening_and_bitcoin_never_closes() -> None:
    feeds = build_world(load_config(START | {"symbols": BOTH})).feeds
    saturday, sunday, monday = (1_507_377_600_000 + i * 86_400_000 for i in range(3))  # 2017-10-07 12:00 UTC and on
    assert [feeds["EURUSD.m"].is_open(ms) for ms in (saturday, sunday, monday)] == [False, False, True]
    assert feeds["EURUSD.m"].next_open_ms(saturday) == sunday + 9 * 3_600_000
    assert all(feeds["BTCUSDc"].is_open(ms) for ms in (saturday, sunday, monday))


def test_the_spread_is_wider_around_the_servers_midnight_and_after_a_reopening(bench: MakeLab) -> None:
    minutes: list[Minute] = [FLAT] * 30 + [None] * 60 + [FLAT] * 30
    lab = bench(minutes, begin="2024-01-16T21:30Z", spec={"typical_spread_points": 8, "wide_spread_factor": 4})
    lab.minute(130)
    ticks = lab.terminal.copy_ticks_from(lab.symbol, 0, 10**6, -1)
    assert ticks is not None
    spread = np.rint((ticks["ask"] - ticks["bid"]) * 1e5)
    at = (ticks["time_msc"] - lab.begin_ms - 7_200_000) / 60_000
    assert set(spread[(at >= 5) & (at < 25)]) == {2.0}
    assert spread[(at >= 25) & (at < 30)].min() >= 32  # five minutes before midnight
    assert spread[(at >= 90) & (at < 95)].min() >= 32  # five minutes after the silence
    assert set(spread[(at >= 95)]) == {2.0}


def test_an_unknown_spread_becomes_the_typical_one() -> None:
    terminal, _ = stepped_terminal(load_config(START | {"symbols": BOTH}))
    assert terminal.initialize()
    tick = terminal.symbol_info_tick("EURUSD.m")
    assert tick is not None
    assert 8 <= round((tick.ask - tick.bid) * 1e5) <= 10


def test_a_configuration_is_read_from_a_file_with_paths_beside_it(tmp_path: Path) -> None:
    write_market(tmp_path / "market.csv.gz", [FLAT] * 3)
    given = {"start": "2024-01-16T10:00:30Z", "symbols": [{"name": "EURUSD", "recording": "market.csv.gz"}]}
    (tmp_path / "sim.json").write_text(json.dumps(given), encoding="utf-8")
    terminal, _ = stepped_terminal(load_config(tmp_path / "sim.json"))
    assert terminal.initialize()
    assert terminal.terminal_info() is not None
    assert terminal.version() is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"speed": 3}, "speed"),
        ({"account": {"money": 3}}, "money"),
        ({"account": {"margin_mode": 3}}, "margin_mode"),
        ({"manners": {"comment_mode": "x"}}, "comment_mode"),
        ({"faults": [{"kind": "nonsense"}]}, "faults"),
        ({"changes": [{"at": "2017-10-03T08:00Z", "set": "x", "from": 1}]}, "from"),
        ({"account": {"leverage": 0}}, "account.leverage"),
        ({"account": {"balance": "much"}}, "account.balance"),
        ({"symbols": [{"name": "EURUSD", "recording": "x", "filling_mask": 8}]}, "EURUSD.filling_mask"),
        ({"manners": {"colour": "x"}}, "colour"),
        ({"symbols": [{"name": "EURUSD", "recording": "x", "colour": 1}]}, "colour"),
        ({"symbols": [{"name": "EURUSD"}]}, "recording"),
        ({"symbols": [{"name": "NOSUCH", "recording": "x"}]}, "like"),
    ],
)
def test_a_wrong_key_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(START | {"symbols": []} | given)


def test_a_symbol_whose_money_cannot_be_converted_stops_the_start() -> None:
    odd = [BOTH[0] | {"currency_profit": "SEK"}]
    with pytest.raises(LookupError, match="SEK"):
        build_world(load_config(START | {"symbols": odd}))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2024-01-16T10:01Z,1.1,1.0,1.0,1.1,1,1", "outside low"),
        ("2024-01-16T10:00Z,1.1,1.2,1.0,1.1,1,1", "does not rise"),
    ],
)
def test_a_recording_that_no_market_can_be_is_refused(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    head = '#{"timeframe_minutes": 1}\ntime_utc,open,high,low,close,tick_volume,spread_points\n'
    path.write_text(f"{head}2024-01-16T10:00Z,1.1,1.2,1.0,1.1,,\n{row}\n", encoding="utf-8")
    with pytest.raises(RecordingError, match=said):
        load_recording(path)
