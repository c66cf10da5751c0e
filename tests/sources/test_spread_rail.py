"""The spread rail in recorded markets: an ordinary spread lets a hedge pass, a reopening and a rollover do not."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.replay.windows import EUR, SHORT, Window, config_of, registered

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.guards import is_spread_spike
from dtms.replay import Stage, replay_settings, stage
from dtms.settings import RailSettings
from dtms.survey import Sample, Tally, survey_recording

FRIDAY = Window(recording=EUR, at="2017-11-03T18:30Z", side=SHORT, stop=1.5, hours=56, rules=())


def surveyed(name: str, seed: int) -> Tally:
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "bars").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with recorded bars")
    sample = Sample(entries=24, stretches=1, hours=24, seed=seed)
    return survey_recording(Path(folder) / "bars" / f"{name}.parquet", sample)


@pytest.mark.parametrize(
    ("name", "seed", "hedges"),
    [
        ("GBPUSD_M1_20120201_20120301", 1, 4),
        ("USDJPY_M1_20130201_20130301", 3, 3),
    ],
)
def test_on_minutes_with_narrow_recorded_spreads_hedges_are_opened(name: str, seed: int, hedges: int) -> None:
    """Real M1 bars, whose smallest spreads of 15 minutes are less than half of what is quoted."""
    tally = surveyed(name, seed)
    assert tally.actions["open_hedge"] == hedges
    assert tally.refused["open_hedge: spread_spike"] == 0
    assert (tally.failures, tally.unproven) == (0, 0)


def test_a_spread_three_times_the_usual_refuses_the_hedge_on_the_same_recording() -> None:
    """USDJPY on 27 February 2013 at 19:25: one point quoted in the recording, three tenths usual."""
    tally = surveyed("USDJPY_M1_20130201_20130301", 2)
    assert tally.actions["open_hedge"] == 0
    assert tally.refused["open_hedge: spread_spike"] == 3


def is_spike(on: Stage) -> bool:
    (symbol,) = on.engine.book.active_symbols()
    assert symbol.tick is not None
    return is_spread_spike(symbol.tick, symbol.bars.median_spread(), RailSettings())


def ms(utc: str) -> int:
    return int(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def test_the_first_minutes_after_a_weekend_and_around_midnight_are_spikes_and_those_between_are_not() -> None:
    """Looked at every minute of 26 hours from Sunday's reopening at 22:00 on; the server's midnight is at 22:00 too."""

    async def main() -> set[str]:
        on = stage(config_of(FRIDAY), settings=replay_settings(poll_ms=10_000))
        await on.engine.start()
        await registered(on)
        await on.play((ms("2017-11-05T22:00") - on.clock.market_ms()) / 60_000 + 0.75)
        spikes: set[str] = set()
        while on.clock.market_ms() < ms("2017-11-07T00:00"):
            if is_spike(on):
                spikes.add(datetime.fromtimestamp(on.clock.market_ms() / 1000, UTC).strftime("%a %H:%M"))
            await on.play(1)
        await on.engine.stop()
        return spikes

    sunday = {f"Sun 22:{minute:02}" for minute in range(10)}
    monday = {f"Mon 21:{minute}" for minute in range(55, 60)} | {f"Mon 22:{minute:02}" for minute in range(10)}
    assert run_virtual(main()) == sunday | monday
