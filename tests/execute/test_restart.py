"""Starting again: everything is as it was, what happened in between is found, and a second recovery changes nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.execute.unsteady import Request, Send, letter_of
from tests.replay.judge import check_invariants
from tests.replay.windows import BTC, EUR, LONG, SHIPPED, SHORT, Window, config_of, registered, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.errors import Misconfigured
from dtms.domain.facts import FactKind
from dtms.domain.trade import Role, State, Trade
from dtms.ports.store import Unit
from dtms.replay import stage
from dtms.terminal.simulated.records import Reason

RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)
MINUTE = 60_000


async def until(lives: Lives, holds: Callable[[Any], bool], limit_min: float = 600) -> None:
    """Play until the trade's row is as wanted."""
    for _ in range(int(limit_min * 2)):
        live = lives.on.engine.live(lives.ticket)
        if live is not None and holds(live.trade):
            return
        await lives.on.play(0.5)
    raise AssertionError("the trade never got there")


def in_state(state: State) -> Callable[[Any], bool]:
    return lambda trade: trade.machine.state is state


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "dropped"])
@pytest.mark.parametrize("state", [State.WARNING_L1, State.WARNING_L2, State.HEDGED, State.HEALTHY])
def test_a_restart_changes_nothing(state: State, crash: bool, tmp_path: Path) -> None:
    """State, timers, visits, members, scores: the row is the same, nothing is told, and the market takes it on."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        end_ms = lives.on.clock.market_ms() + int(RECOVERED.hours * 60 * MINUTE)
        if state is State.HEALTHY:
            await lives.on.play(3)
        else:
            await until(lives, in_state(state))
        before, told = await lives.trade(), await lives.news()
        await lives.restart(crash=crash)
        assert await lives.trade() == before
        assert await lives.news() == told
        await lives.on.play((end_ms - lives.on.clock.market_ms()) / MINUTE)
        played = await lives.end()
        assert tuple(f.details["rule"] for f in played.transitions) == RECOVERED.rules
        check_invariants(played.books, RECOVERED.spec)

    run_virtual(main())


def test_many_restarts_make_the_same_trade(tmp_path: Path) -> None:
    """Dropped every 45 minutes, the trade passes through the same rows as in one piece."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        end_ms = lives.on.clock.market_ms() + int(RECOVERED.hours * 60 * MINUTE)
        while lives.on.clock.market_ms() < end_ms:
            await lives.on.play(45)
            await lives.restart(crash=True)
        played = await lives.end()
        assert tuple(f.details["rule"] for f in played.transitions) == RECOVERED.rules
        check_invariants(played.books, RECOVERED.spec)

    run_virtual(main())


@pytest.mark.parametrize("executed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("letter", "SPHXR")
def test_a_crash_around_a_send_is_finished(letter: str, executed: bool, tmp_path: Path) -> None:
    """Dropped just before or just after the broker did it: nothing is done twice, and what was done is adopted."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        cut: list[int] = []

        def crash(request: Request, send: Send) -> Any:
            if letter_of(request) != letter or cut:
                return send(request)
            cut.append(request["magic"])
            if executed:
                send(request)
            raise asyncio.CancelledError

        lives.terminal.spoil = crash
        for _ in range(2_000):
            if cut:
                break
            await lives.on.play(0.5)
        await lives.die()
        (sending,) = [i for i in await lives.on.store.intents() if i.state is IntentState.SENDING]
        await lives.go_on()
        await lives.on.play(7)
        intents = {i.number: i for i in await lives.on.store.intents()}
        state = intents[sending.number].state
        if executed:
            assert state is IntentState.CONFIRMED
        else:
            assert state is IntentState.NOT_EXECUTED
        played = await lives.end()
        assert sum(r["magic"] == cut[0] for r in lives.terminal.sent) == 1
        check_invariants(played.books, RECOVERED.spec)

    run_virtual(main())


def test_recovering_twice_is_recovering_once(tmp_path: Path) -> None:
    """After positions changed while nobody watched, a second start finds nothing more."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        await until(lives, in_state(State.HEDGED))
        await lives.on.engine.stop()
        lives.close_by_hand(lives.ticket, 0.05)
        await lives.go_on()
        once, told = await lives.trade(), await lives.news()
        await lives.restart(crash=False)
        assert await lives.trade() == once
        assert await lives.news() == told
        await lives.on.engine.stop()

    run_virtual(main())


def test_volume_and_hedge_changed_while_away_are_taken_over(tmp_path: Path) -> None:
    """The broker's volume wins; a hedge closed by hand leads back to WARNING_L2, from where a second may follow."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        await until(lives, in_state(State.HEDGED))
        await lives.on.play(0.5)  # the same action on a trade waits 10 s
        before = await lives.trade()
        await lives.on.engine.stop()
        lives.close_by_hand(lives.ticket, 0.05)
        assert before.hedge is not None
        lives.close_by_hand(before.hedge.ticket)
        await lives.go_on()
        await lives.on.play(0.5)
        after = await lives.trade()
        assert after.volume == before.volume - Decimal("0.05")
        assert after.closed_by_dtms == before.closed_by_dtms
        assert before.hedge.ticket not in [m.ticket for m in after.members]
        (gone,) = [f for f in await lives.news() if f.details.get("rule") == "hedge_gone"]
        assert (gone.details["from"], gone.details["to"]) == ("HEDGED", "WARNING_L2")
        assert after.machine.state is State.HEDGED or after.machine.flat_since_ms == before.machine.flat_since_ms
        kinds = [f.kind for f in await lives.news()]
        assert FactKind.CHANGED_OUTSIDE in kinds
        assert FactKind.HEDGE_GONE in kinds
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_closed_while_away_ends_its_trade_and_the_hedge(tmp_path: Path) -> None:
    """CLOSED with the deals' figures; the hedge is closed within two cycles."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        await until(lives, in_state(State.HEDGED))
        await lives.on.engine.stop()
        lives.close_by_hand(lives.ticket)
        closed_ms = lives.on.clock.market_ms()
        await lives.on.clock.sleep_market(600)
        await lives.go_on()
        await lives.on.play(1)
        trade, played = await lives.trade(), await lives.end()
        assert trade.machine.state is State.CLOSED
        assert trade.closed_ms is not None
        assert abs(trade.closed_ms - closed_ms) < 1_000
        books = played.books
        assert all(books.open_lots(p, 2**62) == 0 for p in books.family())
        cents = sum(d.profit_cents + d.swap_cents + d.commission_cents for d in books.deals)
        assert round(trade.realised * 100) == cents

    run_virtual(main())


def test_a_stop_removed_while_away_is_put_back(tmp_path: Path) -> None:
    """The recorded stop is set again before anything else, and once."""
    quiet = replace(RECOVERED, hours=1.0)

    async def main() -> None:
        acts = [_modify(quiet, "2017-09-08T12:17Z", 0.0)]
        lives = await Lives.begin(quiet, tmp_path, acts=acts)
        await lives.on.play(5)
        before = await lives.trade()
        await lives.on.engine.stop()
        await lives.on.clock.sleep_market(10 * 60)
        assert lives.terminal.positions_get(ticket=lives.ticket)[0].sl == 0.0
        await lives.go_on()
        assert lives.terminal.positions_get(ticket=lives.ticket)[0].sl == before.stop
        restored = lives.terminal.simulation.ledger.levels[-1]
        assert restored.reason == Reason.EXPERT
        assert (await lives.trade()).stop == before.stop
        sent = len(lives.terminal.sent)
        await lives.restart(crash=False)
        assert len(lives.terminal.sent) == sent
        await lives.on.engine.stop()

    run_virtual(main())


def _modify(window: Window, at: str, price: float) -> dict[str, Any]:
    return {"at": at, "kind": "modify", "name": "a", "symbol": window.symbol, "sl": {"price": price}}


def _opening(window: Window, at: str, name: str, magic: int) -> dict[str, Any]:
    return {
        "at": at,
        "kind": "open",
        "name": name,
        "symbol": window.symbol,
        "side": "SELL",
        "lots": 0.1,
        "sl": {"atr": 6},
        "magic": magic,
    }


def test_strangers_are_adopted_unless_another_program_owns_them(tmp_path: Path) -> None:
    """A position opened by hand while away becomes a trade; one with another program's number does not."""

    async def main() -> None:
        at = "2017-09-08T12:11Z"
        acts = [_opening(RECOVERED, at, "hand", 0), _opening(RECOVERED, at, "robot", 777)]
        lives = await Lives.begin(RECOVERED, tmp_path, acts=acts)
        await lives.restart(crash=False, away_min=10)
        held = {p.magic: p.ticket for p in lives.terminal.positions_get() if p.ticket != lives.ticket}
        adopted = await lives.trade(held[0])
        assert adopted.by_watcher
        assert await lives.on.store.trade(held[777]) is None
        await lives.restart(crash=True)
        assert await lives.trade(held[0]) == adopted
        assert lives.on.engine.live(held[777]) is None
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_trade_disabled_by_hand_is_not_enrolled_again(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        await lives.on.engine.disable(lives.ticket, close_hedge=False, correlation_id=None)
        await lives.restart(crash=False)
        assert lives.on.engine.live(lives.ticket) is None
        assert (await lives.trade()).disabled
        assert len(lives.terminal.positions_get()) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_two_engines_on_one_store_are_refused(tmp_path: Path) -> None:
    """The second gives up with one clear line, and the first goes on."""

    async def main() -> None:
        lives = await Lives.begin(HEDGED, tmp_path)
        first = lives.on
        with pytest.raises(Misconfigured, match="another DTMS server"):
            await lives.go_on()
        assert first.engine.health().ready
        await first.play(HEDGED.hours * 60)
        lives.on = first
        played = await lives.end()
        assert tuple(f.details["rule"] for f in played.transitions) == HEDGED.rules

    run_virtual(main())


def test_a_re_added_position_stays_in_the_family(tmp_path: Path) -> None:
    """After the re-add and a crash the trade still knows what it opened, and adopts nothing as a stranger."""

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        await until(lives, lambda trade: bool(trade.readds))
        before = await lives.trade()
        await lives.restart(crash=True)
        after = await lives.trade()
        assert [m.role for m in after.members] == [Role.READD]
        assert after == before
        assert len(lives.on.engine.live_trades()) == 1
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("is_open", [True, False], ids=["still open", "stopped meanwhile"])
def test_a_closed_trade_that_has_a_leg_left_is_taken_up_again(is_open: bool, tmp_path: Path) -> None:
    """Dropped after its trade was CLOSED and before its late hedge was closed: the hedge is closed, the row has none.

    So it is when the broker rewrote its number and comment, which leaves the row alone to tell whose it is.
    """

    async def main() -> None:
        lives = await Lives.begin(RECOVERED, tmp_path)
        hedged = await lives.until(lambda t: bool(t.hedges))
        (hedge,) = hedged.hedges
        await lives.die()
        lives.close_by_hand(lives.ticket)
        if not is_open:
            lives.close_by_hand(hedge.ticket)
        ended = replace(hedged.machine, state=State.CLOSED)
        left = replace(hedged, machine=ended, volume=Decimal(0), surplus=frozenset({hedge.ticket}))
        await lives.on.store.commit(Unit(trades=(left,)))
        lives.renew()
        lives.on.broker.number_in = lambda magic, comment: None  # type: ignore[method-assign]
        lives.on.broker.intent_of = lambda magic: None  # type: ignore[method-assign]
        await lives.on.engine.start()
        await lives.on.play(2)
        assert lives.held() == {}
        trade = await lives.trade()
        assert (trade.machine.state, trade.members) == (State.CLOSED, ())
        assert lives.on.engine.live(lives.ticket) is None
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_replay_goes_on_after_a_crash_of_its_loop(tmp_path: Path) -> None:
    """A new stage on a new loop, at the moment of the crash: the machine's clock goes on, so the lease runs out."""
    url = f"sqlite:///{(tmp_path / 'store.db').as_posix()}"
    config = replace(config_of(RECOVERED), journal=tmp_path / "terminal.jsonl")

    async def first() -> tuple[int, Trade | None]:
        on = stage(config, settings=settings_of(RECOVERED), store_url=url)
        await on.engine.start()
        ticket = await registered(on)
        await on.play(20)
        on.terminal.simulation.close()  # what it wrote so far is there; nothing else is stopped
        return on.clock.market_ms(), await on.store.trade(ticket)

    async def second(at_ms: int, before: Trade | None) -> None:
        holder = "replay:2:0"
        on = stage(config, settings=settings_of(RECOVERED), store_url=url, start_ms=at_ms, instance=2, holder=holder)
        await on.engine.start()
        assert on.engine.health().ready
        assert before is not None
        assert await on.store.trade(before.ticket) == before
        await on.engine.stop()

    run_virtual(second(*run_virtual(first())))
