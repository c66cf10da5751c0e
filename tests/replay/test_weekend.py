"""Timers count minutes in which the symbol trades: a weekend does not run them out."""

from dataclasses import replace

from tests.replay.judge import check_invariants
from tests.replay.windows import EUR, SHORT, Played, Window, collected, config_of, registered

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact
from dtms.domain.market import Timeframe
from dtms.replay import replay_settings, stage

MINUTE = 60_000
LATE_MIN = Timeframe.M15.value
"""A timer is looked at with every closed M15 bar."""


def friday(at: str) -> Window:
    """Open a SELL with a stop out of reach, and watch it from Friday evening until Monday."""
    return Window(recording=EUR, at=at, side=SHORT, stop=1.5, hours=56, rules=())


def play(window: Window) -> Played:
    """Play with thresholds just below zero, so that an ordinary evening drives the trade into a hedge."""
    settings = replay_settings()
    timid = replace(settings.protection, warn_l1=-0.01, warn_l2=-0.02, warn_l2_exit=-0.01, hedge_at=-0.03)

    async def main() -> Played:
        on = stage(config_of(window), settings=replace(settings, protection=timid))
        await on.engine.start()
        ticket = await registered(on)
        await on.play(window.hours * 60)
        result = await collected(window, on, ticket)
        await on.engine.stop()
        return result

    return run_virtual(main())


def _check(start: Fact, end: Fact, limit_min: float, closed_min: float) -> None:
    """Assert that a span holds the timer's trading minutes, and all of the closed market beside them."""
    open_min = (end.market_ms - start.market_ms) / MINUTE - closed_min
    assert "timer expired" in str(end.details["reason"])
    assert limit_min <= open_min <= limit_min + LATE_MIN + 5


def test_the_flat_timer_waits_for_the_market() -> None:
    """Hedged on Friday evening, given up on Sunday night, when 150 minutes of trading have passed."""
    played = play(friday("2017-11-03T18:30Z"))
    (hedged, ended) = (played.of_rule(rule)[0] for rule in ("hedged", "given_up_hedged"))
    _check(hedged, ended, 150, closed_min=48 * 60 + 60)  # from Friday 21:00 to Sunday 22:00, the clocks changed
    check_invariants(played.books, friday("2017-11-03T18:30Z").spec)


def test_the_recovery_timer_waits_for_the_market() -> None:
    """Recovering on Friday evening, given up on Sunday night, when 90 minutes of trading have passed."""
    played = play(friday("2017-08-18T18:30Z"))
    (turned, ended) = (played.of_rule(rule)[0] for rule in ("turned", "recovery_failed"))
    _check(turned, ended, 90, closed_min=48 * 60)


def test_nothing_is_sent_while_the_market_is_closed() -> None:
    """Between the last bar of Friday and the first of Sunday no request reaches the broker."""
    played = play(friday("2017-11-03T18:30Z"))
    times = [n.ms for n in played.ledger.requests]
    (hedged,) = played.of_rule("hedged")
    sunday = hedged.market_ms + 48 * 60 * MINUTE
    assert not [ms for ms in times if hedged.market_ms + 130 * MINUTE < ms < sunday]
