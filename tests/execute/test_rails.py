"""Rails in a moving market: what adds risk is refused with its figures, what reduces passes, and the memory lasts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.faulty import altered
from tests.execute.restarting import Lives
from tests.execute.unsteady import Scene, letter_of, play
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, SHIPPED, SHORT, Played, Window, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.calendar import Release
from dtms.domain.facts import FactKind
from dtms.domain.trade import State
from dtms.settings import RailSettings, Settings
from dtms.terminal.simulated.constants import MT5

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
RECOVERED = next(w for w in SHIPPED if w.rules[-1] == "recovered" and w.recording != BTC)
STOPPED = next(w for w in SHIPPED if w.rules[-1] == "position_gone" and w.side is SHORT)


def railed(window: Window, **rails: Any) -> Settings:
    return replace(settings_of(window), rails=replace(RailSettings(), **rails))


def letters(scene: Scene) -> str:
    """Return the kinds of all requests, in order."""
    return "".join(letter_of(r) for r in scene.terminal.sent)


def rails_of(played: Played) -> set[str]:
    return {str(f.details.get("rail")) for f in played.facts if f.kind is FactKind.REFUSAL and f.details.get("rail")}


def test_a_daily_loss_stops_the_hedge_and_not_what_reduces() -> None:
    """Floating loss counts: the hedge is refused with its figures, half of the rest is closed instead."""
    played, scene = play(HEDGED, settings=railed(HEDGED, daily_loss_percent=0.0001))
    assert rails_of(played) == {"daily_loss"}
    refusal = next(f for f in played.facts if f.details.get("rail") == "daily_loss")
    assert "limit 0.0001 %" in str(refusal.details["reason"])
    assert letters(scene).startswith("SPP")
    assert "H" not in letters(scene)
    check_invariants(played.books, HEDGED.spec)


def test_the_reserve_of_requests_is_kept_for_what_reduces() -> None:
    """With one request left above the reserve and two already sent, the hedge is refused; closing goes on."""
    played, scene = play(RECOVERED, settings=railed(RECOVERED, requests_per_day=502, requests_reserve=500))
    assert "request_budget" in rails_of(played)
    assert "H" not in letters(scene)
    assert letters(scene).count("P") == 2


def test_a_release_blocks_exposure_around_it(tmp_path: Path) -> None:
    """A high-impact release for the symbol's currency at the time of the shock: no hedge, but stops and parts."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        await lives.on.engine.stop()
        soon = lives.on.clock.market_ms() + 45 * 60_000
        release = Release(time_ms=soon, currency="USD", impact="high", event="Gross Domestic Product")
        await lives.go_on(releases=(replace(release, currency="JPY"), release))
        await lives.on.play(60)
        played = await lives.end()
        assert "news" in rails_of(played)
        told = next(f for f in played.facts if f.details.get("rail") == "news")
        assert "Gross Domestic Product (USD)" in str(told.details["reason"])
        assert "".join(letter_of(r) for r in lives.terminal.sent).startswith("SPP")

    run_virtual(main())


def test_stop_outs_in_a_row_survive_a_crash(tmp_path: Path) -> None:
    """The count is stored with the close that it counts, so a crash right after it loses nothing."""

    async def main() -> None:
        lives = await Lives.begin(STOPPED, tmp_path)
        while (await lives.trade()).machine.state is not State.CLOSED:
            await lives.on.play(0.5)
        before = lives.on.engine.status().rails["stop_outs"]
        await lives.restart(crash=True)
        after = lives.on.engine.status().rails["stop_outs"]
        assert before == after
        assert isinstance(after, dict)
        assert after["in_row"] == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_loss_anchors_survive_a_restart(tmp_path: Path) -> None:
    """The day's anchor is that of the reset, not that of the start."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        await lives.on.play(100)
        before = lives.on.engine.status().rails["daily_loss"]
        await lives.restart(crash=True)
        await lives.on.play(1)
        after = lives.on.engine.status().rails["daily_loss"]
        assert isinstance(before, dict)
        assert isinstance(after, dict)
        assert after["anchor"] == before["anchor"] == 1_000_000.0
        assert after["lost_percent"] not in (None, 0.0)
        await lives.on.engine.stop()

    run_virtual(main())


def widened(points: int) -> Any:
    return lambda tick: altered(tick, ask=tick.bid + points / 100)


def test_a_wide_spread_refuses_the_hedge_and_lets_the_stop_move() -> None:
    """Three times the median: the stop is far from the market and moves, a part is closed, the hedge is refused."""

    async def widen(scene: Scene) -> None:
        scene.terminal.quote = widened(4_500)

    played, scene = play(HEDGED, during=widen, hours=0.7)
    assert rails_of(played) == {"spread_spike"}
    assert letters(scene).startswith("SPP")


def test_a_spike_that_would_hit_the_stop_itself_delays_it() -> None:
    """While the stop would lie within the spread, it is not moved; when the spike is over, it is."""
    held: list[str] = []

    async def widen(scene: Scene) -> None:
        scene.terminal.quote = widened(12_000)
        for _ in range(400):
            facts = await scene.on.store.facts(kinds=frozenset({FactKind.HELD.value}))
            if facts:
                held.append(facts[0].summary)
                break
            await scene.on.play(0.25)
        assert scene.terminal.sent == []
        scene.terminal.quote = None
        await scene.on.play(1)

    _, scene = play(HEDGED, during=widen, hours=0)
    assert "spread spike" in held[0]
    assert letters(scene).startswith("S")


@pytest.mark.parametrize("lots", [0.01, 0.02])
def test_the_smallest_trades_are_protected_by_what_is_possible(lots: float) -> None:
    """0.01 lots: nothing can be parted or hedged, the trade goes to L2 all the same; 0.02: one part and no hedge."""
    window = replace(HEDGED, lots=lots)
    played, scene = play(window, hours=0.7)
    assert played.of_rule("worsened")
    assert "minimum_lot" in rails_of(played)
    assert letters(scene).count("P") == (0 if lots == 0.01 else 1)
    assert "H" not in letters(scene)
    check_invariants(played.books, window.spec)


def test_under_close_only_a_part_is_closed_instead_of_a_hedge() -> None:
    """The symbol is switched to close-only in mid-session: the hedge is not possible, closing is."""

    async def switch(scene: Scene) -> None:
        scene.terminal.simulation.switches.trade_modes[HEDGED.symbol] = MT5.SYMBOL_TRADE_MODE_CLOSEONLY

    played, scene = play(HEDGED, during=switch, hours=0.7)
    refused = [f for f in played.facts if f.kind is FactKind.REFUSAL]
    assert refused
    assert "PP" in letters(scene).replace("H", "")
    assert not played.books.hedges()
    check_invariants(played.books, HEDGED.spec)
