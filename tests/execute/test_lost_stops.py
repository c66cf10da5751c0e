"""Stops that the broker lost while nobody watched: put back first, of the whole family, as soon as it takes them."""

from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.execute.unsteady import letter_of
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.recovery import owed
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Mode, State

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


def take_away(lives: Lives, ticket: int) -> None:
    """Remove a stop, as a broker does that loses it."""
    assert lives.held()[ticket].sl_points
    lives.do("act", act="modify", ticket=ticket, sl=0.0, tp=0.0)
    assert not lives.held()[ticket].sl_points


def stop_at(lives: Lives, ticket: int) -> float:
    (position,) = lives.terminal._terminal.positions_get(ticket=ticket) or ()
    return float(position.sl)


async def alerts(lives: Lives, level: str) -> list[Fact]:
    return [f for f in await lives.news() if f.details.get("alert") == level]


@pytest.mark.parametrize("what", ["own", "hedge", "re-added"])
@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "dropped"])
def test_a_stop_lost_while_away_is_back_before_the_first_cycle(what: str, crash: bool, tmp_path: Path) -> None:
    """Of the trade's own position, of its hedge, of a re-added one; and a second start sends nothing."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        if what == "own":
            await lives.on.play(3)
            ticket = lives.ticket
        elif what == "hedge":
            ticket = (await lives.until(lambda t: bool(t.hedges))).hedges[0].ticket
        else:
            ticket = (await lives.until(lambda t: bool(t.readds))).readds[0].ticket
        before, stop = await lives.trade(), stop_at(lives, ticket)
        await (lives.die() if crash else lives.on.engine.stop())
        take_away(lives, ticket)
        await lives.go_on()
        assert stop_at(lives, ticket) == stop
        after = await lives.trade()
        assert (after.stop, [m.stop for m in after.members]) == (before.stop, [m.stop for m in before.members])
        assert owed(after) == {}
        assert len([f for f in await alerts(lives, "ERROR") if f.details.get("position") == ticket]) == 1
        sent = len(lives.terminal.sent)
        await lives.restart(crash=crash)
        assert len(lives.terminal.sent) == sent
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_stop_lost_in_an_outage_is_put_back_at_the_reconnect(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.on.play(3)
        stop = stop_at(lives, lives.ticket)
        lives.fault("none", calls="asking", times=0)
        await lives.on.play(2)
        assert not lives.on.engine.health().ready
        take_away(lives, lives.ticket)
        lives.do("clear")
        await lives.on.play(1)
        assert lives.on.engine.health().ready
        assert stop_at(lives, lives.ticket) == stop
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_stop_that_the_broker_does_not_take_yet_stays_owed(tmp_path: Path) -> None:
    """Refused for now at the start, and after a crash: it is owed, nothing forgets it, and later it is back."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.on.play(3)
        stop = stop_at(lives, lives.ticket)
        await lives.die()
        take_away(lives, lives.ticket)
        lives.fault("market_closed", times=0)
        await lives.go_on()
        await lives.on.play(2)
        assert owed(await lives.trade()) == {lives.ticket: stop}
        await lives.restart(crash=True)
        assert owed(await lives.trade()) == {lives.ticket: stop}
        assert stop_at(lives, lives.ticket) == 0.0
        lives.do("clear")
        await lives.on.play(15)
        assert stop_at(lives, lives.ticket) == stop
        assert owed(await lives.trade()) == {}
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_stop_that_the_market_has_passed_is_an_alert(tmp_path: Path) -> None:
    """Nothing is sent, a person is called once, and a restart calls nobody again."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.on.play(3)
        await lives.die()
        take_away(lives, lives.ticket)
        lives.fault("gap", calls="symbol_info_tick", times=0, points=-3_000)
        sent = len(lives.terminal.sent)
        await lives.go_on()
        assert [letter_of(r) for r in lives.terminal.sent[sent:]].count("S") == 0
        (told,) = await alerts(lives, "CRITICAL")
        assert told.kind is FactKind.NEEDS_ATTENTION
        trade = await lives.trade()
        assert (trade.stop, owed(trade)) == (None, {})
        lives.do("clear")
        await lives.restart(crash=True)
        assert len(await alerts(lives, "CRITICAL")) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_who_only_watches_is_told_and_sets_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, mode=Mode.OBSERVE)
        await lives.on.play(3)
        await lives.die()
        take_away(lives, lives.ticket)
        await lives.go_on(mode=Mode.OBSERVE)
        await lives.on.play(1)
        assert lives.terminal.sent == []
        missing, taken_over = await alerts(lives, "ERROR")
        assert "is missing at the broker" in missing.summary
        assert "nothing at the broker protects it" in taken_over.summary
        assert (await lives.trade()).stop is None
        await lives.restart(crash=True)
        assert len(await alerts(lives, "ERROR")) == 2
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_stop_that_somebody_takes_away_while_dtms_watches_is_his_will(tmp_path: Path) -> None:
    """Also one that was lost and put back before: it is not owed again."""

    async def main() -> Any:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.on.play(3)
        await lives.die()
        take_away(lives, lives.ticket)
        await lives.go_on()
        take_away(lives, lives.ticket)
        await lives.on.play(2)
        assert (await lives.trade()).stop is None
        assert owed(await lives.trade()) == {}
        assert stop_at(lives, lives.ticket) == 0.0
        assert (await lives.trade()).machine.state is State.HEALTHY
        await lives.on.engine.stop()

    run_virtual(main())
