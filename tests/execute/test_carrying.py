"""One request on its way: judged on what is true under the lease, sent at most once, and nothing sent by a loser."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.execute.claims import claim
from tests.execute.restarting import Lives
from tests.execute.unsteady import Lost
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import (
    Action,
    ActionKind,
    ClosePosition,
    Ending,
    Intent,
    IntentState,
    MoveStop,
    OpenPosition,
    Outcome,
)
from dtms.domain.errors import PermissionGone
from dtms.domain.owners import Asker, opening_key
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Machine, Mode, Owner, State
from dtms.execute.authority import MAIN, EngineLease, Fenced
from dtms.execute.carrying import (
    LEASE_HELD,
    NOT_LISTED,
    STOP_CHANGED,
    VOLUME_CHANGED,
    Carrier,
    Done,
    Task,
    Unsent,
)
from dtms.execute.leases import LEASE_S, WAIT_S, Leases
from dtms.execute.shown import is_visible
from dtms.ports.store import Controls, Lease, Unit
from dtms.settings import IntentSettings

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
HERE, ELSEWHERE = "replay:50:0", "replay:60:0"


@dataclass(slots=True)
class Program:
    """The main program's way to the broker, beside a running DTMS engine."""

    lives: Lives
    carrier: Carrier
    leases: Leases

    @property
    def ticket(self) -> int:
        return self.lives.ticket

    @property
    def stop(self) -> float:
        (position,) = self.lives.terminal.positions_get(ticket=self.ticket)
        return float(position.sl)

    async def task(self, action: Action | None = None, **how: Any) -> Task:
        """Make a task of Intelligent Exit; by default one that moves the stop."""
        desk = self.lives.on.engine.desk
        snapshot = await desk.broker.snapshot([WINDOW.symbol])
        instrument = await desk.broker.instrument(WINDOW.symbol)
        assert instrument is not None
        what = action or move_stop(self.ticket, self.stop + 0.0003, self.stop)

        def shown(intent: Intent, seen: Snapshot) -> bool:
            return is_visible(intent, seen, instrument, desk.broker.number_in)

        plain = Task(
            asker=Asker.EXITS,
            ticket=self.ticket,
            key=str(self.ticket),
            action=what,
            tick=snapshot.ticks[WINDOW.symbol],
            instrument=instrument,
            is_shown=shown,
            conclude=lambda done: Unit(),
            mode=Mode.AUTO,
        )
        return replace(plain, **how)

    async def intents(self) -> list[Intent]:
        return [i for i in await self.lives.on.store.intents() if i.asker is not Asker.DTMS]


def move_stop(ticket: int, stop: float, was: float | None) -> MoveStop:
    return MoveStop(
        kind=ActionKind.TRAIL,
        position=ticket,
        symbol=WINDOW.symbol,
        side=WINDOW.side,
        stop=round(stop, 5),
        target=None,
        expected_stop=was,
    )


def part(ticket: int, lots: str, of: str) -> ClosePosition:
    return ClosePosition(
        kind=ActionKind.TAKE_PARTIAL,
        position=ticket,
        symbol=WINDOW.symbol,
        side=WINDOW.side,
        volume=Decimal(lots),
        expected_volume=Decimal(of),
    )


async def program(lives: Lives, holder: str = HERE) -> Program:
    """Start the main program's carrier on the same store and gateway."""
    on = lives.on
    store, lease = on.store, EngineLease(on.store, on.broker, on.clock, holder, key=MAIN)
    await lease.acquire()
    kept: Any = Fenced(store, lease)
    leases = Leases(store=kept, broker=on.broker, clock=on.clock, holder=holder, draw=lambda: 0.5)
    carrier = Carrier(
        broker=on.broker, store=kept, clock=on.clock, leases=leases, program=lease, settings=IntentSettings()
    )
    return Program(lives, carrier, leases)


def beside(
    folder: Path, scenario: Callable[[Program], Awaitable[None]], *, register: bool = True, **changes: Any
) -> None:
    """Run a scenario with a main program beside an engine that watches the trader's position."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, folder, register=register, **changes)
        if not register:
            await lives.on.play(31)
            (lives.ticket,) = lives.held()
        await scenario(await program(lives))
        await lives.die()

    run_virtual(main())


async def refused(of: Program, task: Task, rule: str) -> Outcome:
    """Carry a task out, and see that nothing came of it but the reason."""
    before, stop, sent = await of.intents(), of.stop, len(of.lives.terminal.sent)
    outcome = await of.carrier.carry(task)
    assert (outcome.ending, outcome.rule, outcome.wait) == (Ending.FAILED, rule, True)
    assert (await of.intents(), of.stop, len(of.lives.terminal.sent)) == (before, stop, sent)
    return outcome


def test_a_request_is_kept_sent_and_concluded_under_its_lease(tmp_path: Path) -> None:
    """The intent stands before it is sent; its outcome, what the asker adds and the lease's end are one commit."""

    async def scenario(of: Program) -> None:
        noted: list[IntentState] = []
        units: list[Unit] = []
        send, commit = of.lives.on.broker.send, of.lives.on.store.commit

        async def sending(action: Action, **how: Any) -> Any:
            (stored,) = await of.intents()
            assert (stored.number, stored.state) == (how["number"], IntentState.SENDING)
            assert how["fence"].key == str(of.ticket)
            assert how["fence"].program[0] == MAIN
            return await send(action, **how)

        async def committing(unit: Unit) -> Any:
            units.append(unit)
            return await commit(unit)

        broker, store = of.lives.on.broker, of.lives.on.store
        broker.send, store.commit = sending, committing  # type: ignore[method-assign]
        seen: list[Done] = []

        def conclude(done: Done) -> Unit:
            seen.append(done)
            return Unit(rails={"concluded": True})

        before = of.stop
        outcome = await of.carrier.carry(await of.task(conclude=conclude, note=lambda i: noted.append(i.state)))
        assert (outcome.ending, of.stop) == (Ending.DONE, round(before + 0.0003, 5))
        (intent,) = await of.intents()
        assert (intent.state, intent.asker, intent.number) == (IntentState.CONFIRMED, Asker.EXITS, outcome.intent)
        assert noted == [IntentState.SENDING, IntentState.SENDING, IntentState.CONFIRMED]
        assert units[-1].rails is not None
        assert units[-1].release is not None
        assert seen[0].seen is not None
        assert await of.lives.on.store.lease(str(of.ticket)) is None
        assert of.carrier.made(intent.number)

    beside(tmp_path, scenario)


def test_a_stop_that_changed_meanwhile_stops_the_request(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        task, was = await of.task(), of.stop
        of.lives.act("modify", ticket=of.ticket, sl=round(was + 0.0001, 5))
        outcome = await refused(of, task, STOP_CHANGED)
        assert outcome.again > 0
        assert f"{was + 0.0001:.5f}" in outcome.reason
        assert (await of.carrier.carry(await of.task())).ending is Ending.DONE

    beside(tmp_path, scenario)


def test_lots_that_changed_meanwhile_stop_the_request(tmp_path: Path) -> None:
    """Of the position itself, and of one beside it that the size was worked out on."""

    async def scenario(of: Program) -> None:
        task = await of.task(part(of.ticket, "0.1", "0.4"))
        listed = await of.lives.on.broker.positions([of.ticket])
        of.lives.close_by_hand(of.ticket, 0.1)
        of.lives.terminal.sent.clear()
        await refused(of, task, VOLUME_CHANGED)
        await refused(of, await of.task(beside=tuple(listed.values())), VOLUME_CHANGED)
        assert (await of.carrier.carry(await of.task(part(of.ticket, "0.1", "0.3")))).ending is Ending.DONE

    beside(tmp_path, scenario)


def test_a_position_that_the_broker_does_not_list_is_left_alone(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        task = await of.task(move_stop(999, 1.1, None))
        await refused(of, task, NOT_LISTED)

    beside(tmp_path, scenario)


@pytest.mark.parametrize(
    ("asker", "owner", "state", "rule"),
    [
        (Asker.EXITS, None, State.HEDGED, "dtms_defensive"),
        (Asker.EXITS, "a later manager", State.HEALTHY, "owned_by_other_manager"),
        (Asker.UNIVERSAL, None, State.HEALTHY, "owned_by_other_manager"),
        (Asker.UNIVERSAL, Owner.UNIVERSAL.value, State.WARNING_L2, "dtms_defensive"),
    ],
)
def test_who_has_no_say_is_told_before_the_gateway_is_asked(
    asker: Asker, owner: str | None, state: State, rule: str, tmp_path: Path
) -> None:
    async def scenario(of: Program) -> None:
        await of.lives.on.play(0.1)
        task = await of.task(asker=asker)
        await in_state(of, state)
        if owner is not None:
            await claim(of.lives, of.ticket, owner)
        broker: Any = of.lives.on.broker
        broker.announce = broker.positions = None  # nobody may call them
        await refused(of, task, rule)

    beside(tmp_path, scenario)


async def in_state(of: Program, state: State) -> None:
    """Put the trade's row into a state, as DTMS does."""
    trade = await of.lives.trade()
    await of.lives.on.store.commit(Unit(trades=(replace(trade, machine=Machine(state=state)),)))


@pytest.mark.parametrize("what", ["defence", "claim", "halt", "mode"])
def test_permission_is_judged_again_where_the_intent_is_committed(what: str, tmp_path: Path) -> None:
    """All was well when the lease was granted; what changed before the commit is what counts."""

    async def scenario(of: Program) -> None:
        store, forgotten = of.lives.on.store, list[int]()

        async def meanwhile() -> None:
            match what:
                case "defence":
                    await in_state(of, State.WARNING_L2)
                case "claim":
                    await claim(of.lives, of.ticket, "a later manager")
                case "halt":
                    await store.commit(Unit(controls=Controls(halted=True)))
                case "mode":
                    await store.commit(Unit(controls=Controls(mode=Mode.OBSERVE)))

        task = await of.task(ready=meanwhile, forget=lambda intent: forgotten.append(intent.number))
        await refused(of, task, "permission_gone")
        assert len(forgotten) == 1

    beside(tmp_path, scenario)


def test_a_persons_request_minds_neither_mode_nor_owner_and_reduces_despite_a_halt(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        await claim(of.lives, of.ticket, "a later manager")
        await of.lives.on.store.commit(Unit(controls=Controls(halted=True, mode=Mode.OBSERVE)))
        asked: dict[str, Any] = {"asker": Asker.PERSON, "mode": None}
        await refused(of, await of.task(**asked), "permission_gone")
        assert (await of.carrier.carry(await of.task(despite_halt=True, **asked))).ending is Ending.DONE

    beside(tmp_path, scenario)


def test_what_is_not_ready_is_not_sent(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        async def never() -> None:
            raise Unsent("not yet", "not_yet")

        await refused(of, await of.task(ready=never), "not_yet")

    beside(tmp_path, scenario)


def test_who_waits_too_long_for_the_lease_is_told(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        clock = of.lives.on.clock
        await of.lives.on.store.grant(str(of.ticket), ELSEWHERE, LEASE_S, ticket=of.ticket)
        begun_s = clock.machine_s()
        outcome = await refused(of, await of.task(), LEASE_HELD)
        assert clock.machine_s() - begun_s >= WAIT_S
        assert ELSEWHERE in outcome.reason
        assert await of.carrier._program.renew()
        await clock.sleep_machine(LEASE_S - WAIT_S)
        assert (await of.carrier.carry(await of.task())).ending is Ending.DONE

    beside(tmp_path, scenario)


def asleep(of: Program) -> None:
    """Let the process sleep: nothing of it is renewed."""
    store: Any = of.lives.on.store

    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    store.renew = never


async def taken_by_another(of: Program) -> Lease:
    """Let another process have the ticket's lease, in place of one that ran out."""
    store, key = of.lives.on.store, str(of.ticket)
    ran_out = await store.lease(key)
    token = None if ran_out is None else ran_out.token
    return (await store.grant(key, ELSEWHERE, LEASE_S, ticket=of.ticket, superseding=token)).lease


def test_who_slept_through_the_expiry_before_the_commit_commits_nothing(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        async def sleep() -> None:
            await of.lives.on.clock.sleep_machine(LEASE_S + 1)
            await taken_by_another(of)

        renew = of.lives.on.store.renew
        asleep(of)
        task = await of.task(ready=sleep)
        carrying = asyncio.create_task(of.carrier.carry(task))
        await of.lives.on.clock.sleep_machine(LEASE_S + 0.5)
        of.lives.on.store.renew = renew  # type: ignore[method-assign]
        before = of.stop
        with pytest.raises(PermissionGone, match="lease"):  # the program's own ran out with it
            await carrying
        assert (await of.intents(), of.stop) == ([], before)

    beside(tmp_path, scenario)


def test_who_slept_between_commit_and_send_is_fenced(tmp_path: Path) -> None:
    """Another has the ticket meanwhile and has announced it: the late request is refused by the gateway."""

    async def scenario(of: Program) -> None:
        broker, clock = of.lives.on.broker, of.lives.on.clock
        send, before = broker.send, of.stop

        async def late(action: Action, **how: Any) -> Any:
            asleep(of)
            await clock.sleep_machine(LEASE_S + 1)
            lease = await taken_by_another(of)
            await broker.announce(str(of.ticket), lease.token)
            return await send(action, **how)

        broker.send = late  # type: ignore[method-assign]
        task = await of.task()
        renew = of.lives.on.store.renew
        carrying = asyncio.create_task(of.carrier.carry(task))
        await clock.sleep_machine(LEASE_S + 5)
        of.lives.on.store.renew = renew  # type: ignore[method-assign]
        await asyncio.gather(carrying, return_exceptions=True)
        assert of.stop == before
        (intent,) = await of.intents()
        assert intent.state in (IntentState.REFUSED, IntentState.SENDING)
        assert intent.filled is None

    beside(tmp_path, scenario)


def test_an_unanswered_request_stays_unknown_and_frees_the_ticket(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        of.lives.terminal.spoil = lambda request, send: Lost()
        outcome = await of.carrier.carry(await of.task(part(of.ticket, "0.1", "0.4")))
        assert outcome.ending is Ending.UNKNOWN
        (intent,) = await of.intents()
        assert (intent.state, intent.number) == (IntentState.UNKNOWN, outcome.intent)
        assert await of.lives.on.store.lease(str(of.ticket)) is None

    beside(tmp_path, scenario)


def test_anothers_lease_is_used_and_left_to_it(tmp_path: Path) -> None:
    """A program over HTTP brings the lease that it holds; with an old token nothing is done under it."""

    async def scenario(of: Program) -> None:
        store = of.lives.on.store
        grant = await store.grant(str(of.ticket), ELSEWHERE, LEASE_S, ticket=of.ticket)
        outcome = await of.carrier.carry(await of.task(under=grant.lease))
        assert outcome.ending is Ending.DONE
        held = await store.lease(str(of.ticket))
        assert held is not None
        assert (held.holder, held.token) == (ELSEWHERE, grant.lease.token)
        newer = await store.grant(str(of.ticket), ELSEWHERE, LEASE_S, ticket=of.ticket)
        assert newer.lease.token > grant.lease.token
        await refused(of, await of.task(under=grant.lease), "permission_gone")

    beside(tmp_path, scenario)


def test_an_opening_has_a_lease_of_its_own_by_its_number(tmp_path: Path) -> None:
    async def scenario(of: Program) -> None:
        number = await of.carrier.next_number()
        opening = OpenPosition(
            kind=ActionKind.EXECUTE,
            symbol=WINDOW.symbol,
            side=WINDOW.side,
            volume=Decimal("0.1"),
            stop=None,
            target=None,
        )
        task = await of.task(
            opening,
            asker=Asker.EXECUTION,
            ticket=None,
            key=opening_key(number),
            number=number,
            strategy_type="default_standard",
            mode=None,
        )
        outcome = await of.carrier.carry(task)
        assert (outcome.ending, outcome.intent) == (Ending.DONE, number)
        (intent,) = await of.intents()
        assert (intent.ticket, intent.strategy_type, intent.number) == (0, "default_standard", number)
        assert sum(p.volume for p in of.lives.terminal.positions_get()) == pytest.approx(0.5)

    beside(tmp_path, scenario)


def test_two_that_decide_on_one_tick_make_one_change_and_the_loser_knows_why(tmp_path: Path) -> None:
    """From two processes, again and again: never two changes of one state of the stop, never a loosened one."""

    async def scenario(of: Program) -> None:
        other = replace_holder(of)
        for _ in range(20):
            was = of.stop
            tasks = [
                await of.task(move_stop(of.ticket, was + 0.00002, was)),
                await of.task(move_stop(of.ticket, was + 0.00001, was)),
            ]
            outcomes = await asyncio.gather(of.carrier.carry(tasks[0]), other.carrier.carry(tasks[1]))
            won = [o for o in outcomes if o.ending is Ending.DONE]
            lost = [o for o in outcomes if o.ending is not Ending.DONE]
            assert len(won) == 1
            assert [o.rule for o in lost] == [STOP_CHANGED]
            assert of.stop > was

    beside(tmp_path, scenario)


def replace_holder(of: Program) -> Program:
    """Return another process's way to the broker, under the same program lease."""
    on = of.lives.on
    leases = Leases(store=on.store, broker=on.broker, clock=on.clock, holder=ELSEWHERE, draw=lambda: 0.1)
    carrier = Carrier(
        broker=on.broker,
        store=on.store,
        clock=on.clock,
        leases=leases,
        program=of.carrier._program,
        settings=IntentSettings(),
    )
    return Program(of.lives, carrier, leases)
