"""Whose a trade is: settled at its registration, followed while it is watched, judged by the registry."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from tests.execute.claims import ELSEWHERE, claim, entry_of, kept_intent, leased, opened_by_request
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import ActionKind, ClosePosition, IntentState, MoveStop
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Asker
from dtms.domain.trade import Mode, Owner, State
from dtms.execute.service import RefusalCode, Refused, Registered, Registration
from dtms.ports.store import Kept, KeptKind, Lease
from dtms.settings import Settings

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
SECOND = 1 / 60


def watched(
    folder: Path, scenario: Callable[[Lives], Awaitable[None]], *, register: bool = True, **changes: Any
) -> None:
    """Run a scenario on an engine with the trader's position."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, folder, register=register, **changes)
        if not register:
            await lives.on.play(31)
            (lives.ticket,) = lives.held()
        await scenario(lives)
        await lives.on.engine.stop()

    run_virtual(main())


async def asked(lives: Lives, **how: Any) -> Registered | Refused:
    try:
        return await lives.on.engine.register(Registration(ticket=lives.ticket, **how))
    except Refused as refused:
        return refused


async def told(lives: Lives, kind: FactKind) -> list[Fact]:
    return [f for f in await lives.news() if f.kind is kind]


@pytest.mark.parametrize("owner", [Owner.UNIVERSAL.value, Owner.EXITS.value, "a later manager"])
def test_a_position_of_another_manager_is_refused_with_its_name(owner: str, tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        await claim(lives, lives.ticket, owner)
        refused = await asked(lives)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.details["owner"]) == (RefusalCode.OWNED, owner)
        assert await lives.on.store.trade(lives.ticket) is None
        assert await lives.news() == []

    watched(tmp_path, scenario, register=False)


@pytest.mark.parametrize("owner", [Owner.UNIVERSAL.value, "a later manager"])
def test_takeover_makes_dtms_the_owner_and_says_so(owner: str, tmp_path: Path) -> None:
    """Registry and trade change in one commit, and a crash after it finds both."""

    async def scenario(lives: Lives) -> None:
        before = await claim(lives, lives.ticket, owner)
        done = await asked(lives, takeover=True)
        assert isinstance(done, Registered)
        assert (done.trade.owner, done.trade.alongside) == (Owner.DTMS, False)
        await lives.restart(crash=True)
        entry = await entry_of(lives, lives.ticket)
        assert (entry.owner, entry.version) == (Owner.DTMS.value, before.version + 1)
        (fact,) = await told(lives, FactKind.OWNER_CHANGED)
        assert (fact.ticket, fact.details["before"]) == (lives.ticket, owner)
        assert lives.on.engine.live(lives.ticket) is not None

    watched(tmp_path, scenario, register=False)


def test_alongside_leaves_the_owner_and_watches_beside_it(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        before = await claim(lives, lives.ticket)
        done = await asked(lives, alongside=True)
        assert isinstance(done, Registered)
        assert (done.trade.owner, done.trade.alongside) == (Owner.UNIVERSAL, True)
        await lives.on.play(2)
        assert await entry_of(lives, lives.ticket) == before
        assert lives.on.engine.live(lives.ticket) is not None

    watched(tmp_path, scenario, register=False)


def test_nobody_is_defended_beside_an_owner_that_is_unknown(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        await claim(lives, lives.ticket, "a later manager")
        refused = await asked(lives, alongside=True)
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.OWNED

    watched(tmp_path, scenario, register=False)


def test_takeover_of_what_is_defended_already_changes_the_owner_alone(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        await claim(lives, lives.ticket)
        await asked(lives, alongside=True)
        done = await asked(lives, takeover=True)
        assert isinstance(done, Registered)
        assert done.already_registered
        assert (done.trade.owner, done.trade.alongside) == (Owner.DTMS, False)
        assert (await entry_of(lives, lives.ticket)).owner == Owner.DTMS.value
        again = await asked(lives, takeover=True)
        assert isinstance(again, Registered)
        assert len(await told(lives, FactKind.OWNER_CHANGED)) == 1
        await lives.on.play(2)
        assert await lives.trade() == lives.on.engine.book.watches[lives.ticket].trade

    watched(tmp_path, scenario, register=False)


@pytest.mark.parametrize("by_watcher", [True, False])
def test_a_claimed_trade_is_let_go_within_a_second(by_watcher: bool, tmp_path: Path) -> None:
    """The main program claims it: DTMS watches it no more, and does not take it up again at its next start."""

    async def scenario(lives: Lives) -> None:
        desk = lives.on.engine.desk
        desk.settings = with_poll(desk.settings)
        await lives.on.play(1)
        await lives.on.engine.register(Registration(ticket=lives.ticket, by_watcher=by_watcher))
        await claim(lives, lives.ticket)
        await lives.on.play(SECOND)
        assert lives.on.engine.live(lives.ticket) is None
        trade = await lives.trade()
        assert (trade.disabled, trade.machine.state) == (True, State.HEALTHY)
        (fact,) = await told(lives, FactKind.DISABLED)
        assert fact.details["owner"] == Owner.UNIVERSAL.value
        await lives.restart(crash=True)
        await lives.on.play(2)
        assert lives.on.engine.live(lives.ticket) is None

    watched(tmp_path, scenario, register=False)


def test_a_hedge_is_not_left_behind_beside_another_owner(tmp_path: Path) -> None:
    """Claimed with a hedge open, by a person's word: DTMS defends beside the new owner, says so once, and ends it."""

    async def scenario(lives: Lives) -> None:
        hedged = await lives.until(lambda t: bool(t.hedges))
        await claim(lives, lives.ticket)
        await lives.on.play(2)
        trade = await lives.trade()
        assert (trade.owner, trade.alongside, trade.disabled) == (Owner.UNIVERSAL, True, False)
        (fact,) = await told(lives, FactKind.OWNER_CHANGED)
        assert (fact.details["alert"], fact.details["owner"]) == ("ERROR", Owner.UNIVERSAL.value)
        await lives.restart(crash=True)
        done = await lives.until(lambda t: not t.hedges)
        assert done.machine.state in (State.HEALTHY, State.CLOSED)
        assert hedged.hedges[0].ticket not in lives.held()
        readded = [f for f in await told(lives, FactKind.ACTION) if f.details["action"] == ActionKind.READD.value]
        assert readded == []
        assert len(await told(lives, FactKind.OWNER_CHANGED)) == 1

    watched(tmp_path, scenario)


def test_beside_an_owner_that_is_unknown_a_person_is_called_for_the_hedge_once(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        await lives.until(lambda t: bool(t.hedges))
        await claim(lives, lives.ticket, "a later manager")
        await lives.on.play(10)
        assert lives.on.engine.live(lives.ticket) is not None
        calls = [f for f in await told(lives, FactKind.NEEDS_ATTENTION) if "claimed" in f.summary]
        assert [f.details["alert"] for f in calls] == ["ERROR"]

    watched(tmp_path, scenario)


def with_poll(settings: Settings, poll_ms: int = 250) -> Settings:
    """Return settings of the cadence at which the product runs."""
    return replace(settings, cadence=replace(settings.cadence, tick_poll_ms=poll_ms))


def claimed_after_a_look(lives: Lives) -> None:
    """Have another manager claim the position right after DTMS looked at the registry for the first time."""
    store: Any = lives.on.store
    look, looks = store.ownerships, list[int]()

    async def claimed_after(tickets: Any = None) -> Any:
        found = await look(tickets)
        if tickets is not None and not looks:
            looks.append(1)
            await claim(lives, lives.ticket)
        return found

    store.ownerships = claimed_after


def test_a_claim_at_the_moment_of_the_registration_wins(tmp_path: Path) -> None:
    """The claim comes between the look at the registry and the commit: nothing of the registration is ever stored.

    Neither the trade nor the answer that a repetition of the request gets says that it was protected.
    """

    async def scenario(lives: Lives) -> None:
        claimed_after_a_look(lives)
        answers: list[Any] = []

        def receipt(results: Any) -> Kept:
            answers.append(results)
            told: dict[str, Json] = {"registered": isinstance(results[0], Registered)}
            return Kept(kind=KeptKind.ANSWER, key="a key", body=told, at_ms=lives.on.clock.wall_ms())

        asks = [Registration(ticket=lives.ticket)]
        (refused,) = await lives.on.engine.register_all(asks, receipt)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.details["owner"]) == (RefusalCode.OWNED, Owner.UNIVERSAL.value)
        assert lives.on.engine.live(lives.ticket) is None
        assert await lives.on.store.trade(lives.ticket) is None
        assert await told(lives, FactKind.REGISTERED) == []
        (kept,) = await lives.on.store.kept(KeptKind.ANSWER, "a key")
        assert kept.body == {"registered": False}

    watched(tmp_path, scenario, register=False)


def test_a_takeover_at_the_moment_of_a_claim_is_judged_anew(tmp_path: Path) -> None:
    """What the watcher registered is claimed while a person takes it over: the one who comes later sees the other."""

    async def scenario(lives: Lives) -> None:
        await lives.on.engine.register(Registration(ticket=lives.ticket, by_watcher=True))
        claimed_after_a_look(lives)
        done = await asked(lives, takeover=True)
        assert isinstance(done, Registered)
        assert (await entry_of(lives, lives.ticket)).owner == Owner.DTMS.value
        await lives.on.play(2)
        assert lives.on.engine.live(lives.ticket) is not None
        assert not (await lives.trade()).by_watcher

    watched(tmp_path, scenario, register=False)


def test_a_registration_is_refused_while_another_changes_the_position(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        lease = await leased(lives, lives.ticket)
        refused = await asked(lives)
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.LEASE_HELD
        assert await lives.on.store.trade(lives.ticket) is None
        await lives.on.store.release(lease)
        assert isinstance(await asked(lives), Registered)

    watched(tmp_path, scenario, register=False)


def test_mode_and_watch_change_only_when_nobody_else_has_the_lease(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        lease, engine = await leased(lives, lives.ticket), lives.on.engine
        before = await lives.trade()
        for ask in (
            lambda: engine.set_mode(Mode.OBSERVE, lives.ticket, None),
            lambda: engine.disable(lives.ticket, close_hedge=False, correlation_id=None),
        ):
            with pytest.raises(Refused) as refused:
                await ask()
            assert refused.value.code is RefusalCode.LEASE_HELD
        assert await lives.trade() == before
        await lives.on.store.release(lease)
        await engine.set_mode(Mode.OBSERVE, lives.ticket, None)
        assert (await lives.trade()).mode is Mode.OBSERVE

    watched(tmp_path, scenario)


def test_a_state_waits_for_a_lease_and_nobody_else_waits_with_it(tmp_path: Path) -> None:
    """Another process has the ticket while a row is due: the trade comes back to it, and it is made when it is free."""

    async def scenario(lives: Lives) -> None:
        await lives.until(lambda t: t.machine.armed)
        clock = lives.on.clock
        held_ms, until_ms = 0, clock.market_ms() + 3 * 3_600_000
        while not held_ms and clock.market_ms() < until_ms:
            await leased(lives, lives.ticket)
            before = clock.machine_s()
            await lives.on.play(0.2)
            assert clock.machine_s() - before < 13
            if [f for f in await told(lives, FactKind.HELD) if "lease" in f.summary]:
                held_ms = clock.market_ms()
        assert held_ms
        assert (await lives.trade()).machine.state is State.HEALTHY
        assert lives.terminal.sent == []
        await lives.until(lambda t: t.machine.state is not State.HEALTHY, limit_min=2)

    watched(tmp_path, scenario)


def stop_move(lives: Lives, stop: float, was: float | None, kind: ActionKind = ActionKind.TRAIL) -> MoveStop:
    return MoveStop(
        kind=kind,
        position=lives.ticket,
        symbol=WINDOW.symbol,
        side=WINDOW.side,
        stop=stop,
        target=None,
        expected_stop=was,
    )


def test_what_another_manager_did_is_told_as_its_own_and_alarms_nobody(tmp_path: Path) -> None:
    """A stop that Intelligent Exit moved and a part that it took are adopted, with the intents that did it."""

    async def scenario(lives: Lives) -> None:
        trade = await lives.trade()
        assert trade.stop is not None
        stop = round(trade.stop + 0.0002, 5)
        moved = await kept_intent(lives, stop_move(lives, stop, trade.stop), lives.ticket, IntentState.CONFIRMED)
        lives.act("modify", ticket=lives.ticket, sl=stop)
        await lives.on.play(1)
        part = ClosePosition(
            kind=ActionKind.TAKE_PARTIAL,
            position=lives.ticket,
            symbol=WINDOW.symbol,
            side=WINDOW.side,
            volume=Decimal("0.1"),
            expected_volume=trade.volume,
        )
        taken = await kept_intent(lives, part, lives.ticket, IntentState.CONFIRMED, filled=Decimal("0.1"))
        lives.close_by_hand(lives.ticket, 0.1)
        await lives.on.play(1)
        after = await lives.trade()
        assert (after.stop, after.volume) == (stop, trade.volume - Decimal("0.1"))
        facts = await told(lives, FactKind.CHANGED_OUTSIDE)
        assert [f.details["intents"] for f in facts] == [[moved.number], [taken.number]]
        assert all(Asker.EXITS.value in f.summary and "alert" not in f.details for f in facts)

    watched(tmp_path, scenario)


def test_a_ticket_that_was_fenced_higher_leaves_the_engine_ready(tmp_path: Path) -> None:
    """The gateway knows a higher token for one ticket: its open request waits, and the house does not stand still."""

    async def scenario(lives: Lives) -> None:
        trade, engine = await lives.trade(), lives.on.engine
        moved = stop_move(lives, (trade.stop or 0.0) + 0.0002, trade.stop, ActionKind.TIGHTEN)
        intent = await kept_intent(lives, moved, lives.ticket, IntentState.UNKNOWN, asker=Asker.DTMS)
        engine.book.watches[lives.ticket].open_intents[intent.number] = intent
        await lives.on.broker.announce(str(lives.ticket), 1_000_000)
        await lives.on.play(2)
        assert engine.health().reasons == ()
        kept = await lives.on.store.intent(intent.number)
        assert kept is not None
        assert kept.state.is_open

    watched(tmp_path, scenario)


def test_a_verdict_is_not_committed_under_a_lease_that_another_took(tmp_path: Path) -> None:
    """The look at the broker outlasted the lease: what the request came to is committed when the ticket is free."""

    async def scenario(lives: Lives) -> None:
        trade, store, broker = await lives.trade(), cast("Any", lives.on.store), cast("Any", lives.on.broker)
        stop = round((trade.stop or 0.0) + 0.0002, 5)
        moved = stop_move(lives, stop, trade.stop, ActionKind.TIGHTEN)
        intent = await kept_intent(lives, moved, lives.ticket, IntentState.UNKNOWN, asker=Asker.DTMS)
        lives.act("modify", ticket=lives.ticket, sl=stop)
        lives.on.engine.book.watches[lives.ticket].open_intents[intent.number] = intent
        key, evidence, taken = str(lives.ticket), broker.evidence, list[Lease]()

        async def outlasting(*asked: Any) -> Any:
            found = await evidence(*asked)
            if not taken and (lease := await store.lease(key)) is not None and lease.holder != ELSEWHERE:
                await store.release(lease)  # as if it had run out
                taken.append(await leased(lives, lives.ticket))
            return found

        broker.evidence = outlasting
        while not taken and lives.on.clock.market_ms() < intent.created_ms + 120_000:
            await lives.on.play(0.1)
        kept = await store.intent(intent.number)
        assert kept.state.is_open, "committed while another had the lease"
        await store.release(taken[-1])
        await lives.on.play(2)
        assert (await store.intent(intent.number)).state is IntentState.CONFIRMED

    watched(tmp_path, scenario)


def test_a_stop_that_no_request_explains_is_still_a_persons(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        trade = await lives.trade()
        assert trade.stop is not None
        await kept_intent(lives, stop_move(lives, trade.stop + 0.0001, trade.stop), lives.ticket, IntentState.CONFIRMED)
        lives.act("modify", ticket=lives.ticket, sl=round(trade.stop + 0.0003, 5))
        await lives.on.play(1)
        (fact,) = await told(lives, FactKind.CHANGED_OUTSIDE)
        assert fact.details["alert"] == "WARNING"

    watched(tmp_path, scenario)


@pytest.mark.parametrize("crash", [True, False])
def test_an_execution_for_a_strategy_is_left_to_the_main_program(crash: bool, tmp_path: Path) -> None:
    """Neither while watching nor at a start; one for no strategy is protected at the next start at the latest."""

    async def scenario(lives: Lives) -> None:
        theirs = await opened_by_request(lives, strategy_type="default_standard")
        ours = await opened_by_request(lives, strategy_type=None)
        await lives.on.play(2)
        assert [lives.on.engine.live(t) for t in (theirs, ours)] == [None, None]
        await lives.restart(crash=crash)
        await lives.on.play(2)
        assert lives.on.engine.live(theirs) is None
        live = lives.on.engine.live(ours)
        assert live is not None
        assert live.trade.owner is Owner.DTMS

    watched(tmp_path, scenario)


def test_what_was_opened_by_request_may_be_registered_and_a_family_position_may_not(tmp_path: Path) -> None:
    async def scenario(lives: Lives) -> None:
        ticket = await opened_by_request(lives, strategy_type=None)
        done = await lives.on.engine.register(Registration(ticket=ticket))
        assert not done.already_registered
        hedged = await lives.until(lambda t: bool(t.hedges))
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=hedged.hedges[0].ticket))
        assert (refused.value.code, refused.value.details["trade"]) == (RefusalCode.CONFLICT, lives.ticket)

    watched(tmp_path, scenario)


def test_what_was_opened_for_a_strategy_is_the_universal_managers_before_it_claims_it(tmp_path: Path) -> None:
    """Between the fill and the claim nobody else gets it by chance; taken over, a later claim finds DTMS's entry."""

    async def scenario(lives: Lives) -> None:
        ticket = await opened_by_request(lives, strategy_type="default_standard")
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=ticket))
        assert (refused.value.code, refused.value.details["owner"]) == (RefusalCode.OWNED, Owner.UNIVERSAL.value)
        done = await lives.on.engine.register(Registration(ticket=ticket, takeover=True))
        assert done.trade.owner is Owner.DTMS
        entry = await entry_of(lives, ticket)
        assert (entry.owner, entry.version) == (Owner.DTMS.value, 0)

    watched(tmp_path, scenario)


def test_requests_of_the_main_program_are_not_dtms_to_resolve(tmp_path: Path) -> None:
    """An open one of another manager stays as it is, through a start too; beside it nothing changes exposure."""

    async def scenario(lives: Lives) -> None:
        trade = await lives.trade()
        part = ClosePosition(
            kind=ActionKind.TAKE_PARTIAL,
            position=lives.ticket,
            symbol=WINDOW.symbol,
            side=WINDOW.side,
            volume=Decimal("0.1"),
            expected_volume=trade.volume,
        )
        intent = await kept_intent(lives, part, lives.ticket, IntentState.UNKNOWN)
        await lives.restart(crash=True)
        await lives.until(lambda t: t.machine.state is State.WARNING_L1)
        await lives.on.play(60)
        assert await lives.on.store.intent(intent.number) == intent
        assert not lives.on.engine.book.watches[lives.ticket].open_intents
        sent = [i for i in await lives.on.store.intents(ticket=lives.ticket) if i.asker is Asker.DTMS]
        assert sent
        assert not [i for i in sent if i.action.kind.changes_exposure]

    watched(tmp_path, scenario)
