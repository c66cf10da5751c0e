"""Recorded bars for the tests of the market reading; the folder is named by ``DTMS_DATA_DIR``."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dtms.domain.market import Bars, Floats, FlowBars, Timeframe

EURUSD_2019 = "EURUSD_M5_20191011_20200614"
XAUUSD_2025 = "XAUUSD_M5_20250701_20260318"
BTCUSD_2025 = "BTCUSD_M5_20250918_20260318"
POINTS = {"EURUSD": 1e-5, "GBPUSD": 1e-5, "USDJPY": 1e-3, "XAUUSD": 1e-2, "BTCUSD": 1e-2}


@cache
def recorded(name: str) -> Bars:
    """Read one recorded file of bars, unknown volumes and spreads as 0; skip the test without the data."""
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "bars").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with recorded bars")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(Path(folder) / "bars" / f"{name}.parquet")
    symbol, timeframe = name.split("_")[:2]

    def column(of: str) -> Floats:
        values = np.asarray(table[of].to_numpy(zero_copy_only=False), dtype=np.float64)
        return np.nan_to_num(values) if of in ("tick_volume", "spread_points") else values

    return Bars(
        symbol=symbol,
        timeframe=Timeframe[timeframe],
        time_ms=table["time_utc"].to_numpy(zero_copy_only=False).astype("datetime64[ms]").astype(np.int64),
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("tick_volume"),
        spread=column("spread_points") * POINTS[symbol],
    )


def aggregate(bars: Bars, timeframe: Timeframe) -> Bars:
    """Join bars into longer ones; spans without a bar stay absent."""
    opening = bars.time_ms - bars.time_ms % timeframe.ms
    starts = np.flatnonzero(np.diff(opening, prepend=-1))
    ends = np.append(starts[1:], len(bars)) - 1
    return Bars(
        symbol=bars.symbol,
        timeframe=timeframe,
        time_ms=opening[starts],
        open=bars.open[starts],
        high=np.maximum.reduceat(bars.high, starts),
        low=np.minimum.reduceat(bars.low, starts),
        close=bars.close[ends],
        volume=np.add.reduceat(bars.volume, starts),
        spread=np.minimum.reduceat(bars.spread, starts),
    )


@cache
def m15_of(name: str) -> Bars:
    """Return the M15 bars made of a recorded M5 file."""
    return aggregate(recorded(name), Timeframe.M15)


def closed_before(m15: Bars, at_ms: int) -> Bars:
    """Return the bars that were closed at ``at_ms``."""
    return m15[: int(np.searchsorted(m15.time_ms, at_ms - m15.timeframe.ms, side="right"))]


def mirrored(bars: Bars) -> Bars:
    """Turn a market upside down by negating every price, which floats do exactly."""
    return replace(bars, open=-bars.open, high=-bars.low, low=-bars.high, close=-bars.close)


def flow_of(bars: Bars, seed: int = 7) -> FlowBars:
    """Invent signed ticks for recorded bars: leaning by the bar's direction, within its tick volume."""
    rng = np.random.default_rng(seed)
    lean = np.sign(bars.close - bars.open) * 0.1 + rng.normal(0.0, 0.2, len(bars))
    return FlowBars(time_ms=bars.time_ms, signed=np.rint(np.clip(lean, -1, 1) * bars.volume), total=bars.volume)


def mirrored_flow(flow: FlowBars) -> FlowBars:
    return replace(flow, signed=-flow.signed)
