"""Trades with positions beside them, over HTTP on the engine: disabling, enabling again, hedges, changed tickets."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.server.living import FIRST, BrokenStore, Living, opening
from tests.server.world import check_envelope

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import StoreFailed
from dtms.domain.facts import FactKind
from dtms.domain.market import Side
from dtms.domain.trade import Machine, Member, Role, State, Trade
from dtms.ports.store import Unit

ONE, BESIDE = f"/dtms/trade/{FIRST}", FIRST + 1


async def begun(folder: Path, actors: Sequence[dict[str, Any]]) -> Living:
    """Start a server that protects the first position."""
    lives = await Living.begin(folder, actors)
    await lives.on.play(0.6)
    assert (await lives.enable(FIRST)).status_code == 200
    return lives


async def become(lives: Living, **changes: Any) -> Trade:
    """Make the trade what it would be after some time, in the store and in memory."""
    engine = lives.on.engine
    watch = engine.book.watches[FIRST]
    trade = replace(watch.trade, **changes)
    await engine._desk.commit(watch, trade, [])
    engine.book.index(trade)
    return trade


async def joined(lives: Living, role: Role, side: Side) -> Member:
    """Take the second position for one that dtms opened for the trade."""
    held = (await lives.on.broker.positions([BESIDE]))[BESIDE]
    return Member(
        ticket=BESIDE,
        identifier=held.identifier,
        role=role,
        side=side,
        volume=held.volume,
        entry=held.entry,
        stop=held.stop,
        target=held.target,
        intent=1,
        opened_ms=held.opened_ms,
    )


async def stored(lives: Living) -> Trade:
    trade = await lives.on.store.trade(FIRST)
    assert trade is not None
    return trade


def test_a_trade_enabled_again_keeps_its_family_its_r_and_its_counts(tmp_path: Path) -> None:
    """Else the re-added position would be nobody's, and a new pair of hedges would be allowed with every enabling."""

    async def main() -> None:
        lives = await begun(tmp_path, [opening("10:00:10"), opening("10:00:20")])
        readd = await joined(lives, Role.READD, Side.LONG)
        machine = Machine(state=State.WARNING_L1, entered_ms=lives.on.clock.market_ms(), hedges=2, readds=1)
        known = {"closed_by_dtms": Decimal("0.1"), "acted_ms": {"re_add": 5}, "part_left": Decimal("0.05")}
        before = await become(lives, members=(readd,), machine=machine, **known)
        assert (await lives.post(f"{ONE}/disable")).status_code == 200
        assert (await stored(lives)).members == (readd,)
        await lives.on.play(0.2)
        answer = (await lives.enable(FIRST)).json()
        assert (answer["already_registered"], answer["trade_info"]["state"]) == (False, "HEALTHY")
        after = await stored(lives)
        assert (after.members, after.machine.hedges, after.machine.readds) == ((readd,), 2, 1)
        assert (after.risk, after.initial_stop, after.initial_volume) == (
            before.risk,
            before.initial_stop,
            before.initial_volume,
        )
        assert (after.closed_by_dtms, after.registered_ms) == (Decimal("0.1"), before.registered_ms)
        assert (after.disabled, after.machine.done, after.part_left) == (False, frozenset(), None)
        assert len(await lives.facts(FactKind.ENABLED)) == 1
        check_envelope(await lives.enable(BESIDE), 409, "conflict")
        await lives.on.engine.stop()

    run_virtual(main())


async def hedged(folder: Path) -> Living:
    lives = await begun(folder, [opening("10:00:10"), opening("10:00:20", "SELL")])
    hedge = await joined(lives, Role.HEDGE, Side.SHORT)
    now_ms = lives.on.clock.market_ms()
    machine = Machine(state=State.HEDGED, entered_ms=now_ms, flat_since_ms=now_ms, hedges=1, armed=True)
    await become(lives, members=(hedge,), machine=machine)
    return lives


def test_a_hedge_stands_in_the_way_of_disabling_unless_it_is_to_be_closed(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await hedged(tmp_path)
        body = check_envelope(await lives.post(f"{ONE}/disable"), 409, "conflict")
        assert body["details"]["hedges"] == [BESIDE]
        await lives.post("/dtms/halt")
        check_envelope(await lives.post(f"{ONE}/disable", {"close_hedge": True}), 503, "halted")
        await lives.post("/dtms/resume")
        answer = await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k")
        assert answer.status_code == 200, answer.text
        assert set(await lives.on.broker.positions([FIRST, BESIDE])) == {FIRST}
        assert (await stored(lives)).members == ()
        again = await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k")
        assert again.content == answer.content
        await lives.on.engine.stop()

    run_virtual(main())


def fail_after_the_send(lives: Living) -> None:
    """Let the first commit after the request that closes the hedge fail."""
    store: Any = lives.on.store
    commit = store.commit
    left = [1]

    async def failing(unit: Unit) -> Any:
        gone = BESIDE not in await lives.on.broker.positions([BESIDE])
        if gone and left:
            left.pop()
            raise StoreFailed("disk I/O error")
        return await commit(unit)

    store.commit = failing


def test_a_store_that_fails_after_the_hedge_was_closed_leaves_a_known_request(tmp_path: Path) -> None:
    """The request is open in memory and store, the engine unready; it is found, and the same request goes on."""

    async def main() -> None:
        lives = await hedged(tmp_path)
        fail_after_the_send(lives)
        answer = await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k")
        check_envelope(answer, 503, "not_ready")
        watch = lives.on.engine.book.watches[FIRST]
        (intent,) = watch.open_intents.values()
        assert intent.action.kind == "close_hedge"
        assert [i["ticket"] for i in (await lives.get("/dtms/status"))["dtms_status"]["unknown_intents"]] == [FIRST]
        assert not lives.on.engine.health().ready
        await lives.on.play(1)
        assert lives.on.engine.health().ready
        assert lives.on.engine.book.watches[FIRST].open_intents == {}
        again = await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k")
        assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)
        sends = [n for n in lives.control({"do": "ledger", "last": 50})["requests"] if n["request"]["magic"]]
        assert len(sends) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_crash_between_closing_the_hedge_and_disabling_is_gone_on_with(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await hedged(tmp_path)
        with BrokenStore(lives.on.store, "reopen"):
            fail_after_the_send(lives)
            check_envelope(await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k"), 503, "not_ready")
            await lives.crash()
        await lives.on.play(0.5)
        again = await lives.post(f"{ONE}/disable", {"close_hedge": True}, key="k")
        assert again.status_code == 200, again.text
        trade = await stored(lives)
        assert (trade.disabled, trade.members) == (True, ())
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_trade_is_found_by_its_first_and_by_its_present_ticket(tmp_path: Path) -> None:
    """The broker renumbered the position: both tickets lead to one trade, and registering it again changes nothing."""

    async def main() -> None:
        mine = opening("10:00:10", name="a")
        lives = await begun(tmp_path, [mine, {**mine, "at": "2017-09-05T10:01:00Z", "kind": "renumber"}])
        await lives.on.play(2)
        (held,) = lives.on.terminal.positions_get() or ()
        assert held.ticket != FIRST
        trade = await lives.get(ONE)
        info = trade["trade_info"]
        assert (trade["ticket"], info["moved_to"], info["position_ticket"]) == (FIRST, held.ticket, held.ticket)
        assert any(str(held.ticket) in warning for warning in info["warnings"])
        assert (await lives.get(f"/dtms/trade/{held.ticket}"))["trade_info"] == info
        assert (await lives.get(f"/dtms/trade/{held.ticket}/history"))["ticket"] == FIRST
        page = await lives.get(f"/dtms/trades?tickets={held.ticket},{FIRST},5")
        assert [t["ticket"] for t in page["trades"]] == [FIRST]
        assert (await lives.get(f"/dtms/actions?ticket={held.ticket}"))["total_actions"] == 0
        for ticket in (FIRST, held.ticket):
            again = (await lives.enable(ticket)).json()
            assert (again["already_registered"], again["trade_info"]["ticket"]) == (True, FIRST)
        lives.offline()
        await lives.on.play(0.5)
        assert (await lives.get(f"/dtms/trade/{held.ticket}"))["ticket"] == FIRST
        lives.online()
        await lives.on.play(0.5)
        await lives.post("/dtms/mode", {"mode": "observe", "ticket": held.ticket})
        assert (await stored(lives)).mode == "observe"
        assert (await lives.post(f"/dtms/trade/{held.ticket}/disable")).status_code == 200
        back = (await lives.enable(held.ticket)).json()
        assert (back["already_registered"], back["trade_info"]["ticket"]) == (False, FIRST)
        assert (await stored(lives)).moved_to == held.ticket
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_that_was_renumbered_unseen_is_known_by_its_identifier(tmp_path: Path) -> None:
    """Registered in the moment after the change, before any look: it is the trade that it was."""

    async def main() -> None:
        lives = await begun(tmp_path, [opening("10:00:10")])
        simulated: Any = lives.on.terminal
        server = simulated._server
        server.renumber(simulated.simulation.ledger.positions[FIRST])
        (held,) = simulated.positions_get()
        again = (await lives.enable(held.ticket)).json()
        assert (again["already_registered"], again["trade_info"]["ticket"]) == (True, FIRST)
        assert len(await lives.on.store.facts(kinds=frozenset({"registered"}))) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_under_defence_in_the_store_alone_is_a_conflict_for_its_own_registration_only(
    tmp_path: Path,
) -> None:
    """Another process registered it meanwhile: the others of the batch are kept, each by itself."""

    async def main() -> None:
        lives = await begun(tmp_path, [opening("10:00:10"), opening("10:00:20"), opening("10:00:30")])
        theirs = replace(await stored(lives), ticket=5, identifier=BESIDE)
        await lives.on.store.commit(Unit(create=(theirs,)))
        answer = await lives.post("/dtms/trades/enable", [{"ticket": BESIDE}, {"ticket": BESIDE + 1}], key="k")
        refused, new = answer.json()["results"]
        assert (answer.status_code, refused["status"], refused["details"]["known_as"]) == (207, 409, [5])
        assert (new["status"], new["already_registered"]) == (200, False)
        assert lives.on.engine.live(BESIDE) is None
        assert lives.on.engine.live(BESIDE + 1) is not None
        again = await lives.post("/dtms/trades/enable", [{"ticket": BESIDE}, {"ticket": BESIDE + 1}], key="k")
        assert again.content == answer.content
        await lives.on.engine.stop()

    run_virtual(main())
