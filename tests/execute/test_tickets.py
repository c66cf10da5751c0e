"""Tickets that a broker replaces: the identifier stays, so nothing is lost, doubled or left in doubt."""

from pathlib import Path

import pytest
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.domain.trade import Role, State

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
WHEN = pytest.mark.parametrize("when", ["watching", "restart", "crash"])
MINUTE = 60_000


def renumber(lives: Lives, ticket: int) -> int:
    """Let the broker give a position another ticket, as it does at the night's swap."""
    terminal = lives.terminal._terminal
    return int(terminal._server.renumber(lives.held()[ticket]).ticket)


async def come_back(lives: Lives, when: str, ticket: int) -> int:
    """Change a ticket while dtms looks on, or while it is away; returns the new one."""
    if when == "watching":
        new = renumber(lives, ticket)
    else:
        await (lives.die() if when == "crash" else lives.on.engine.stop())
        new = renumber(lives, ticket)
        await lives.go_on()
    await lives.on.play(1.5)
    return new


@WHEN
def test_a_trade_is_found_under_both_tickets_and_goes_on(when: str, tmp_path: Path) -> None:
    """Never unconfirmed; told once; and the machine takes it through the same rows, acting on the new ticket."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        end_ms = lives.on.clock.market_ms() + int(WINDOW.hours * 60 * MINUTE)
        await lives.until(lambda t: t.machine.state is State.WARNING_L1)
        new = await come_back(lives, when, lives.ticket)
        trade = await lives.trade()
        assert (trade.position, trade.ticket, trade.unconfirmed) == (new, lives.ticket, False)
        for ticket in (lives.ticket, new):
            live = lives.on.engine.live(ticket)
            assert live is not None
            assert live.trade.ticket == lives.ticket
        news = await lives.news()
        assert not [f for f in news if f.kind is FactKind.UNCONFIRMED]
        assert len([f for f in news if "ticket" in f.details and f.kind is FactKind.CHANGED_OUTSIDE]) == 1
        assert len(lives.on.engine.live_trades()) == 1
        await lives.on.play((end_ms - lives.on.clock.market_ms()) / MINUTE)
        played = await lives.end()
        assert tuple(f.details["rule"] for f in played.transitions) == WINDOW.rules

    run_virtual(main())


@WHEN
@pytest.mark.parametrize("role", Role)
def test_a_family_position_is_known_under_its_new_ticket(when: str, role: Role, tmp_path: Path) -> None:
    """It is not attached a second time, not taken for gone, and what is due to it reaches it."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(lambda t: any(m.role is role for m in t.members))
        (member,) = before.members
        new = await come_back(lives, when, member.ticket)
        after = await lives.trade()
        assert [(m.ticket, m.identifier, m.role) for m in after.members] == [(new, member.identifier, role)]
        assert after.machine.state is before.machine.state
        news = [f.kind for f in await lives.news()]
        assert FactKind.HEDGE_GONE not in news
        assert FactKind.ADOPTED not in news
        lives.close_by_hand(lives.ticket)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        assert lives.held() == {}
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_ticket_may_change_again_and_again(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        tickets = [lives.ticket]
        for _ in range(3):
            tickets.append(renumber(lives, tickets[-1]))
            await lives.on.play(1.5)
        trade = await lives.trade()
        assert trade.position == tickets[-1]
        assert {lives.on.engine.book.ticket_of(ticket) for ticket in tickets} == {lives.ticket}
        lives.close_by_hand(tickets[-1])
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_swap_by_reopening_ends_no_trade(tmp_path: Path) -> None:
    """Lists that lag show the position gone, and deals that lag its closing alone: it is not taken for closed."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.on.play(3)
        symbol = WINDOW.symbol
        lives.do("set", name=f"symbol.{symbol}.swap_mode", value=7)
        lives.do("set", name=f"symbol.{symbol}.swap_long_points", value=-7.1)
        lives.fault("lag", ms_min=1_000, ms_max=40_000, times=0)
        before = await lives.trade()
        await lives.until(lambda t: t.moved_to is not None, limit_min=15 * 60)
        after = await lives.trade()
        assert after.is_active
        assert (after.risk, after.initial_stop) == (before.risk, before.initial_stop)
        assert [f for f in await lives.news() if f.kind is FactKind.CLOSED] == []
        await lives.on.engine.stop()

    run_virtual(main())
