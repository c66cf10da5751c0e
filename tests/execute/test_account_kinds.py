"""What kind of account it is: one that nets, one that closes first in, first out, one that prohibits hedging."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.faulty import Answering
from tests.execute.restarting import Lives
from tests.execute.unsteady import letter_of
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, SHORT, Window

from dtms.adapters.virtual_loop import run_virtual
from dtms.decide.capabilities import Learned
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import State
from dtms.execute.service import Registration

RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
HEDGED_LONG = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is LONG)
WHEN = pytest.mark.parametrize("when", ["watching", "restart", "crash"])
SIDES = pytest.mark.parametrize("window", [HEDGED, HEDGED_LONG], ids=["SELL", "BUY"])
NETTING, FIFO, NO_HEDGE = {"margin_mode": 0}, {"fifo_close": True}, {"hedge_allowed": False}


def lots(volume: Decimal) -> float:
    return round(float(volume), 8)


async def meanwhile(lives: Lives, when: str, what: Any) -> None:
    """Let something happen while dtms looks on, or while it is away."""
    if when == "watching":
        what()
    else:
        await (lives.die() if when == "crash" else lives.on.engine.stop())
        what()
        await lives.go_on()
    await lives.on.play(1.5)


async def of_kind(lives: Lives, kind: FactKind) -> list[Fact]:
    return [f for f in await lives.news() if f.kind is kind]


# --- netting -------------------------------------------------------------------------------------------------------


@WHEN
def test_a_second_entry_merges_into_the_trade(when: str, tmp_path: Path) -> None:
    """Volume and entry follow the broker; R, initial stop and owner stay; the initial volume grows; it is told once."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path, account=NETTING)
        await lives.on.play(2)
        before = await lives.trade()
        await meanwhile(lives, when, lambda: lives.open_as("BUY", 0.2, stop=RECOVERED.stop))
        after = await lives.trade()
        assert (lots(after.volume), lots(after.initial_volume)) == (0.6, 0.6)
        (position,) = lives.terminal._terminal.positions_get() or ()
        assert after.entry == position.price_open != before.entry
        assert (after.risk, after.initial_stop, after.owner) == (before.risk, before.initial_stop, before.owner)
        (told,) = [f for f in await of_kind(lives, FactKind.CHANGED_OUTSIDE) if "initial volume" in f.details]
        assert told.details["volume"] == {"was": 0.4, "is": 0.6}
        await lives.restart(crash=True)
        assert await lives.trade() == after
        assert len(lives.on.engine.live_trades()) == 1
        await lives.on.engine.stop()

    run_virtual(main())


@WHEN
def test_a_reversal_ends_the_trade_and_begins_another(when: str, tmp_path: Path) -> None:
    """0.4 long, 1.0 sold: the trade is CLOSED with the deals' figures, and 0.6 short are a trade of their own."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path, account=NETTING)
        await lives.on.play(2)
        await meanwhile(lives, when, lambda: lives.open_as("SELL", 1.0, stop=1.2200))
        await lives.on.play(2)
        old = await lives.trade()
        assert old.machine.state is State.CLOSED
        assert str(old.close_reason).startswith("reversed by")
        (position,) = lives.held().values()
        new = await lives.trade(position.ticket)
        assert (new.side, lots(new.volume), lots(new.initial_volume)) == (SHORT, 0.6, 0.6)
        assert (new.is_active, new.identifier, new.stop) == (True, old.identifier, 1.2200)
        assert new.ticket != old.ticket
        assert new.risk == pytest.approx(abs(new.entry - 1.2200))
        lives.close_by_hand(new.ticket)
        await lives.on.play(3)
        assert (await lives.trade(new.ticket)).machine.state is State.CLOSED
        assert (await lives.trade(new.ticket)).close_reason == "closed at the broker by expert"
        await lives.on.engine.stop()

    run_virtual(main())


# --- no hedge can stand --------------------------------------------------------------------------------------------


@SIDES
@pytest.mark.parametrize("account", [NETTING, FIFO], ids=["netting", "fifo"])
def test_where_no_hedge_can_stand_half_is_closed_instead(
    window: Window, account: dict[str, Any], tmp_path: Path
) -> None:
    """Nothing is sent to open one; 50 % is closed, the state stays, and the flat timer ends the trade."""

    async def main() -> None:
        lives = await Lives.begin(window, tmp_path, account=account)
        after = await lives.until(lambda t: t.machine.flat_since_ms is not None)
        assert after.machine.state is State.WARNING_L2
        assert lots(after.volume) == 0.1  # halved on the way to WARNING_L2, and once more
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        played = await lives.end()
        assert played.transitions[-1].details["rule"] in ("given_up_unhedged", "position_gone")
        assert all(letter_of(r) != "H" for r in lives.terminal.sent)
        refused = [f for f in played.facts if f.kind is FactKind.REFUSAL and f.details.get("rule") == "account"]
        assert refused

    run_virtual(main())


@SIDES
def test_a_prohibition_is_learned_once_and_for_all(window: Window, tmp_path: Path) -> None:
    """Only the refusal tells (10046): half is closed instead; after a crash no hedge is asked for again."""

    async def main() -> None:
        lives = await Lives.begin(window, tmp_path, account=NO_HEDGE)
        await lives.until(lambda t: t.machine.flat_since_ms is not None)
        asked = [r for r in lives.terminal.sent if letter_of(r) == "H"]
        assert len(asked) == 1
        (told,) = await of_kind(lives, FactKind.LEARNED)
        assert told.details["retcode"] == 10046
        await lives.die()
        await lives.go_on()
        assert lives.on.engine._desk.learned == Learned(no_hedging=True)
        assert not lives.on.engine.status().account["hedging_possible"]
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        assert [letter_of(r) for r in lives.terminal.sent].count("H") == 1
        await lives.on.engine.stop()

    run_virtual(main())


@SIDES
def test_a_symbol_that_only_closes_is_closed_out_of(window: Window, tmp_path: Path) -> None:
    """Switched to close-only in mid-session: no hedge, half is closed instead, and the rest can be closed as well."""

    async def main() -> None:
        lives = await Lives.begin(window, tmp_path)
        await lives.on.play(2)
        lives.do("set", name=f"symbol.{window.symbol}.trade_mode", value=3)
        await lives.until(lambda t: t.machine.flat_since_ms is not None)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        assert lives.held() == {}
        assert [letter_of(r) for r in lives.terminal.sent].count("H") <= 1
        await lives.on.engine.stop()

    run_virtual(main())


# --- first in, first out -------------------------------------------------------------------------------------------


def test_behind_an_older_position_nothing_can_be_closed(tmp_path: Path) -> None:
    """Another program's older position of the symbol: the trade's closes are not possible, and are not sent.

    The machine goes on, told why; it ends only when its position is closed, which it is once the older one is gone.
    """
    older = {"at": "2017-11-10T12:40Z", "kind": "open", "name": "robot", "symbol": HEDGED_LONG.symbol, "side": "BUY"}

    async def main() -> None:
        acts = [{**older, "lots": 0.1, "magic": 777}]
        lives = await Lives.begin(HEDGED_LONG, tmp_path, account=FIFO, acts=acts, register=False)
        await lives.on.play(31)
        (robot, own) = sorted(lives.held())
        lives.ticket = own
        await lives.on.engine.register(Registration(ticket=own))
        await lives.until(lambda t: t.machine.flat_since_ms is not None)
        refused = [f for f in await of_kind(lives, FactKind.REFUSAL) if "first in, first out" in f.summary]
        assert any(f.details["action"] == "close_part" and str(robot) in f.summary for f in refused)
        await lives.until(lambda t: t.close_reason is not None)
        await lives.on.play(2.5)
        waiting = await lives.trade()
        assert waiting.is_active
        assert own in lives.held()
        assert all(r.get("position") != own or r["action"] != 1 for r in lives.terminal.sent)
        told = [f for f in await of_kind(lives, FactKind.HELD) if f.details["rule"] == "given_up_unhedged"]
        assert len(told) == 1
        lives.close_by_hand(robot)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        assert lives.held() == {}
        await lives.on.engine.stop()

    run_virtual(main())


# --- margin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", ["hedge", "own"])
def test_a_stopped_out_leg_is_noticed_and_a_person_called(leg: str, tmp_path: Path) -> None:
    """The broker closes one leg for want of margin: at the next look the trade goes on without it, or ends whole."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        before = await lives.until(lambda t: bool(t.hedges))
        ticket = before.hedges[0].ticket if leg == "hedge" else lives.ticket
        lives.act("close", ticket=ticket, reason="so")
        await lives.on.play(1.1)
        after = await lives.trade()
        assert [f for f in await lives.news() if f.details.get("alert") == "CRITICAL" and "margin" in f.summary]
        if leg == "hedge":
            assert after.hedges == ()
            assert after.machine.state is State.WARNING_L2
        else:
            assert after.machine.state is State.CLOSED
            assert lives.held() == {}
        await lives.on.engine.stop()

    run_virtual(main())


@SIDES
def test_without_money_for_a_hedge_half_is_closed(window: Window, tmp_path: Path) -> None:
    """10019 for the hedge: it is not asked for again in this visit; half is closed instead."""

    async def main() -> None:
        lives = await Lives.begin(window, tmp_path)
        lives.terminal.spoil = lambda request, send: Answering(10019) if letter_of(request) == "H" else send(request)
        await lives.until(lambda t: t.machine.flat_since_ms is not None)
        await lives.until(lambda t: t.machine.state is State.CLOSED)
        assert [letter_of(r) for r in lives.terminal.sent].count("H") == 1
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("how", ["close", "off"])
@SIDES
def test_the_configuration_can_forbid_hedges(window: Window, how: str, tmp_path: Path) -> None:
    """With ``close`` half is closed and the timer ends it; with ``off`` WARNING_L2 is the deepest state."""
    named: Any = how
    forbidden = replace(window, hedge=named)

    async def main() -> None:
        lives = await Lives.begin(forbidden, tmp_path)
        await lives.until(lambda t: t.machine.state is State.WARNING_L2)
        await lives.on.play(90)
        played = await lives.end()
        rules = [f.details["rule"] for f in played.transitions]
        assert all(letter_of(r) != "H" for r in lives.terminal.sent)
        assert "hedged" not in rules
        substituted = [f for f in played.facts if f.kind is FactKind.REFUSAL and f.details["rule"] == "hedged"]
        assert bool(substituted) == (how == "close")

    run_virtual(main())
