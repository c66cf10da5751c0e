"""Swings exist once confirmed; the first close beyond one breaks it, along the prevailing direction or against it."""

from collections.abc import Sequence

import numpy as np
from tests.market.made import MONDAY_MS, bars_of, swing_bars
from tests.market.recorded import XAUUSD_2025, m15_of, mirrored

from dtms.domain.market import Bars, Side
from dtms.market.structure import Break, BreakKind, LatestBreak, find_breaks, swing_rows

M15_MS = 15 * 60_000


def breaks_of(bars: Bars, atr: float = 1.0) -> tuple[tuple[Break, ...], LatestBreak | None]:
    return find_breaks(bars, np.full(len(bars), atr), side_bars=3, margin_atr=0.1, newest_bars=10_000)


def hill(close: Sequence[float]) -> Bars:
    """Make bars whose highs and lows lie 0.5 around the close."""
    return swing_bars([c + 0.5 for c in close], [c - 0.5 for c in close], close)


UP_THEN_BREAK = [10, 11, 12, 13, 12, 11, 10.5, 11, 12, 13.55]
"""A swing high of 13.5 at row 3, confirmed at row 6; the last close lies 0.05 above it."""


def test_a_swing_is_higher_than_three_bars_on_each_side() -> None:
    assert swing_rows(np.array([1.0, 2, 3, 4, 3, 2, 1, 0]), 3).tolist() == [3]


def test_a_tie_within_three_bars_is_no_swing() -> None:
    assert swing_rows(np.array([1.0, 2, 3, 4, 3, 4, 1, 0, 0]), 3).tolist() == []


def test_fewer_bars_than_a_swing_needs_have_none() -> None:
    assert swing_rows(np.array([1.0, 2, 3, 4, 3, 2]), 3).tolist() == []


def test_a_close_beyond_a_swing_by_less_than_a_tenth_of_atr_breaks_nothing() -> None:
    assert breaks_of(hill(UP_THEN_BREAK)) == ((), None)


def test_a_close_beyond_a_swing_by_a_tenth_of_atr_breaks_it_once() -> None:
    breaks, latest = breaks_of(hill([*UP_THEN_BREAK[:-1], 13.65, 13.9, 14.2]))
    assert [(b.side, b.level, b.close_ms) for b in breaks] == [(Side.LONG, 13.5, MONDAY_MS + 10 * M15_MS)]
    assert latest == LatestBreak(kind=BreakKind.BOS, side=Side.LONG, level=13.5, age_bars=2, undone=False)


def test_a_close_back_beyond_the_level_undoes_a_break_for_good() -> None:
    _, latest = breaks_of(hill([*UP_THEN_BREAK[:-1], 13.7, 13.4, 13.8]))
    assert latest is not None
    assert latest.undone


def test_a_swing_cannot_be_broken_before_its_confirmation() -> None:
    # Row 3 is the highest of seven, but the close of row 5 is beyond it only if it counted from row 4 on.
    bars = swing_bars([1, 2, 3, 4, 3, 3, 3], [0] * 7, [1, 2, 3, 2, 2, 4.5, 2])
    assert breaks_of(bars) == ((), None)


def test_the_first_break_against_the_prevailing_direction_is_a_change_of_character_and_turns_it() -> None:
    up = [10, 11, 12, 13, 12, 11, 10, 11, 12, 14]  # breaks 13.5 upwards, swing low 9.5 at row 6
    down = [13, 12, 11, 9, 8, 7, 8, 9, 10, 9, 8, 6]  # breaks 9.5 downwards, later the next swing low
    breaks, latest = breaks_of(hill([*up, *down]))
    assert [(b.kind, b.side, b.level) for b in breaks] == [
        (BreakKind.BOS, Side.LONG, 13.5),
        (BreakKind.CHOCH, Side.SHORT, 9.5),
        (BreakKind.BOS, Side.SHORT, 6.5),
    ]
    assert latest is not None
    assert (latest.kind, latest.age_bars) == (BreakKind.BOS, 0)


def test_a_mirrored_market_breaks_the_same_swings_for_the_other_side() -> None:
    bars = m15_of(XAUUSD_2025)[1_000:1_600]
    breaks, latest = breaks_of(bars, atr=5.0)
    turned, turned_latest = breaks_of(mirrored(bars), atr=5.0)
    assert len(breaks) > 20
    assert [(b.kind, b.side.opposite, b.close_ms, -b.level) for b in breaks] == [
        (b.kind, b.side, b.close_ms, b.level) for b in turned
    ]
    assert latest is not None
    assert turned_latest is not None
    assert (latest.side.opposite, latest.age_bars) == (turned_latest.side, turned_latest.age_bars)


def test_breaks_of_a_recorded_market_are_those_found_bar_by_bar() -> None:
    """The vectorised search agrees with the rule written out as a walk over closed bars."""
    bars = m15_of(XAUUSD_2025)[2_000:2_600]
    breaks, _ = breaks_of(bars, atr=4.0)
    assert [(b.close_ms, b.side, b.kind, b.level) for b in breaks] == _walk(bars, margin=0.4)


def _walk(bars: Bars, margin: float) -> list[tuple[int, Side, BreakKind, float]]:
    found: list[tuple[int, Side, BreakKind, float]] = []
    level: dict[Side, float | None] = {Side.LONG: None, Side.SHORT: None}
    prevailing: Side | None = None
    for now in range(6, len(bars)):
        span, middle = slice(now - 6, now + 1), now - 3
        for side, extremes in ((Side.LONG, bars.high), (Side.SHORT, -bars.low)):
            others = np.delete(extremes[span], 3)
            if (extremes[middle] > others).all():
                level[side] = float(extremes[middle])
            held = level[side]
            if held is not None and side.sign * float(bars.close[now]) - held >= margin:
                kind = BreakKind.CHOCH if prevailing not in (None, side) else BreakKind.BOS
                found.append((int(bars.time_ms[now]) + M15_MS, side, kind, side.sign * held))
                level[side], prevailing = None, side
    return found


def test_a_market_without_swings_has_no_breaks() -> None:
    assert breaks_of(bars_of(range(100, 150))) == ((), None)
