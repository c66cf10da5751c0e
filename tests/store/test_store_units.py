"""A unit is written whole or not at all, under the permission that is true in its own transaction."""

import asyncio
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.migrate import migrate
from dtms.adapters.store_sql.sqlite import SqliteDatabase
from dtms.adapters.store_sql.writer import Committer, Transaction
from dtms.adapters.store_sql.writers import ThreadWriter
from dtms.domain.actions import IntentState
from dtms.domain.errors import AlreadyStored, ChangedMeanwhile, InvariantBroken, PermissionGone, StoreFailed
from dtms.domain.trade import Machine, Owner, State
from dtms.ports.store import Controls, Lease, Permission, Unit

from .builders import ManualClock, evaluation, fact, intent, trade
from .conftest import MakeStore
from .managers import ownership

CLOSED = Machine(state=State.CLOSED)
HEALTHY = frozenset({State.HEALTHY})


def permission(lease: Lease, **changes: object) -> Permission:
    plain = Permission(key=lease.key, holder=lease.holder, token=lease.token, ticket=1, states=HEALTHY)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_fact_ids_rise_in_the_order_of_commits(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        assert list(await store.commit(Unit(facts=(fact(), fact(2))))) == [1, 2]
        with pytest.raises(InvariantBroken):
            await store.commit(Unit(trades=(trade(1, stop=-1.0),), facts=(fact(),)))
        assert list(await store.commit(Unit(facts=(fact(),)))) == [3]
        assert list(await store.commit(Unit(trades=(trade(),)))) == []
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "among others"])
def test_a_unit_that_fails_at_its_end_leaves_nothing_of_its_beginning(make_store: MakeStore, others: int) -> None:
    bad = Unit(create=(trade(1),), intents=(intent(2**40),))

    async def scenario() -> None:
        store = make_store()
        await store.open()
        units = [bad, *(Unit(create=(trade(2 + n),)) for n in range(others))]
        answers = await asyncio.gather(*map(store.commit, units), return_exceptions=True)
        assert isinstance(answers[0], InvariantBroken)
        assert [t.ticket for t in (await store.load()).trades] == [2 + n for n in range(others)]
        await store.commit(Unit(create=(trade(1),)))
        await store.close()

    asyncio.run(scenario())


def test_an_evaluation_is_stored_once(make_store: MakeStore) -> None:
    """The first one of a symbol, side and bar stays."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(evaluations=(evaluation(), evaluation(bar_ms=1))))
        await store.commit(Unit(evaluations=(evaluation(score=9.0), evaluation(bar_ms=2))))
        found = await store.evaluations("EURUSDc", "BUY", from_ms=0, to_ms=10**9)
        assert [(e.bar_ms, e.score) for e in found] == [(1, -3.25), (2, -3.25), (900_000, -3.25)]
        await store.close()

    asyncio.run(scenario())


def test_of_many_registrations_at_once_one_makes_the_trade(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        units = [Unit(create=(trade(version=n),), facts=(fact(summary=f"by {n}"),)) for n in range(20)]
        answers = await asyncio.gather(*map(store.commit, units), return_exceptions=True)
        won = [n for n, answer in enumerate(answers) if not isinstance(answer, BaseException)]
        assert len(won) == 1
        assert all(isinstance(a, AlreadyStored) and a.tickets == (1,) for n, a in enumerate(answers) if n not in won)
        assert (await store.trade(1)) == trade(version=won[0])
        assert [f.summary for f in await store.facts()] == [f"by {won[0]}"]
        await store.close()

    asyncio.run(scenario())


def test_a_position_under_a_new_ticket_is_still_the_same_trade(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),)))
        with pytest.raises(AlreadyStored) as refused:
            await store.commit(Unit(create=(trade(2, identifier=1), trade(3))))
        assert refused.value.tickets == (1,)
        await store.commit(Unit(create=(trade(2, identifier=1, login=8),)))
        assert [t.ticket for t in (await store.load()).trades] == [1, 2]
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [trade(1, machine=CLOSED), trade(1, disabled=True)])
def test_a_trade_that_is_closed_or_disabled_can_be_registered_anew(make_store: MakeStore, left: object) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(1),)))
        await store.commit(Unit(trades=(left,)))  # type: ignore[arg-type]
        await store.commit(Unit(create=(trade(1, version=7),)))
        assert await store.trade(1) == trade(1, version=7)
        await store.close()

    asyncio.run(scenario())


def test_a_unit_is_committed_under_a_held_lease(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(),)))
        lease = await store.acquire("1", "here:1:1", 15.0)
        assert lease is not None
        await store.commit(Unit(intents=(intent(1),), permission=permission(lease)))
        assert await store.intents(ticket=1) == [intent(1)]
        await store.commit(Unit(intents=(intent(1, state=IntentState.CONFIRMED),)))
        assert await store.intents(ticket=1, open_only=True) == []
        await store.close()

    asyncio.run(scenario())


async def _expire(store: SqlStore, lease: Lease, clock: ManualClock) -> None:
    clock.now_s += 15.0


async def _release(store: SqlStore, lease: Lease, clock: ManualClock) -> None:
    await store.release(lease)


async def _take_again(store: SqlStore, lease: Lease, clock: ManualClock) -> None:
    assert await store.acquire(lease.key, lease.holder, 15.0) is not None


async def _halt(store: SqlStore, lease: Lease, clock: ManualClock) -> None:
    await store.commit(Unit(controls=Controls(halted=True)))


async def _close(store: SqlStore, lease: Lease, clock: ManualClock) -> None:
    await store.commit(Unit(trades=(trade(1, machine=CLOSED),)))


GONE = {
    _expire: "lease 1 is not held",
    _release: "lease 1 is not held",
    _take_again: "not held with token 1",
    _halt: "trading is halted",
    _close: "trade 1 is CLOSED",
}


@pytest.mark.parametrize("meanwhile", GONE, ids=lambda step: step.__name__.strip("_"))
def test_a_unit_whose_permission_is_gone_writes_nothing(
    make_store: MakeStore, clock: ManualClock, meanwhile: object
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(),)))
        lease = await store.acquire("1", "here:1:1", 15.0)
        assert lease is not None
        await meanwhile(store, lease, clock)  # type: ignore[operator]
        unit = Unit(intents=(intent(),), facts=(fact(),), permission=permission(lease))
        with pytest.raises(PermissionGone, match=GONE[meanwhile]):  # type: ignore[index]
            await store.commit(unit)
        assert (await store.intents(), await store.facts()) == ([], [])
        await store.close()

    asyncio.run(scenario())


def test_a_permission_for_an_unknown_trade_is_none_and_one_despite_the_halt_holds(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(),), controls=Controls(halted=True)))
        lease = await store.acquire("1", "here:1:1", 15.0)
        assert lease is not None
        with pytest.raises(PermissionGone, match="trade 2 is not registered"):
            await store.commit(Unit(permission=permission(lease, ticket=2, despite_halt=True)))
        await store.commit(Unit(intents=(intent(),), permission=permission(lease, despite_halt=True)))
        assert await store.intents() == [intent()]
        await store.close()

    asyncio.run(scenario())


def test_permission_is_judged_on_what_units_before_it_in_the_same_commit_wrote(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(create=(trade(),)))
        lease = await store.acquire("1", "here:1:1", 15.0)
        assert lease is not None
        answers = await asyncio.gather(
            store.commit(Unit(controls=Controls(halted=True))),
            store.commit(Unit(intents=(intent(),), permission=permission(lease))),
            store.commit(Unit(facts=(fact(),))),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [tuple, PermissionGone, tuple]
        assert (await store.intents(), len(await store.facts())) == ([], 1)
        await store.close()

    asyncio.run(scenario())


def test_what_waits_during_a_commit_shares_the_next(path: Path) -> None:
    """Fifty works that wait make one commit; one of them that fails takes nothing of the others with it."""
    database = SqliteDatabase(path)
    database.make_file()
    migrate(database.engine)
    committer = Committer(database)
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        assert go_on.wait(10)

    def count(tx: Transaction, *, fail: bool) -> int:
        number = tx.count_up("test", 1)[0]
        if fail:
            raise PermissionGone("not this one")
        return number

    async def scenario() -> None:
        writer = ThreadWriter(committer)
        first = asyncio.create_task(writer.submit(slow))
        await asyncio.to_thread(begun.wait)
        waiting = [asyncio.create_task(writer.submit(partial(count, fail=n == 25))) for n in range(50)]
        await asyncio.sleep(0)
        assert committer.commits == 0
        go_on.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        await first
        assert committer.commits == 2
        assert isinstance(answers[25], PermissionGone)
        assert [*answers[:25], *answers[26:]] == list(range(1, 50))
        await writer.stop()

    asyncio.run(scenario())


def test_many_units_in_flight_need_few_commits(threaded: MakeStore) -> None:
    async def scenario() -> None:
        store = threaded()
        await store.open()
        await asyncio.gather(*(store.commit(Unit(create=(trade(n),))) for n in range(640)))
        assert store.commits < 64
        assert len((await store.load()).trades) == 640
        await store.close()

    asyncio.run(scenario())


def test_several_loops_can_use_one_store(threaded: MakeStore) -> None:
    store = threaded()
    asyncio.run(store.open())

    def register(first: int) -> None:
        async def work() -> None:
            await asyncio.gather(*(store.commit(Unit(create=(trade(n),))) for n in range(first, first + 50)))

        asyncio.run(work())

    threads = [threading.Thread(target=register, args=(first,)) for first in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(store.load()).trades) == 150
    asyncio.run(store.close())


def test_a_caller_that_gave_up_disturbs_nobody(threaded: MakeStore) -> None:
    async def scenario() -> None:
        store = threaded()
        await store.open()
        given_up = asyncio.create_task(store.commit(Unit(create=(trade(1),))))
        await asyncio.sleep(0)
        given_up.cancel()
        await store.commit(Unit(create=(trade(2),)))
        assert 2 in [t.ticket for t in (await store.load()).trades]
        await store.close()

    asyncio.run(scenario())


def test_a_closed_store_refuses(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        with pytest.raises(StoreFailed, match="not open"):
            await store.load()
        await store.open()
        last = asyncio.create_task(store.commit(Unit(create=(trade(),))))
        await asyncio.sleep(0)
        await store.close()
        await last
        with pytest.raises(StoreFailed, match="not open"):
            await store.commit(Unit(create=(trade(2),)))
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("owner", [Owner.UNIVERSAL.value, "a later manager", Owner.DTMS.value, Owner.NOBODY.value])
@pytest.mark.parametrize("is_closed", [False, True])
def test_what_another_manager_owns_is_not_taken_for_unowned(owner: str, is_closed: bool, make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        entry = replace(ownership(1, owner=owner), closed_ms=5 if is_closed else None)
        await store.commit(Unit(ownership=(entry,)))
        unit = Unit(create=(trade(1),), unowned=(1, 7))
        if is_closed or owner in (Owner.DTMS, Owner.NOBODY):
            await store.commit(unit)
        else:
            with pytest.raises(ChangedMeanwhile, match=owner):
                await store.commit(unit)
        assert (await store.trade(1) is None) is (not is_closed and owner not in (Owner.DTMS, Owner.NOBODY))
        await store.close()

    asyncio.run(scenario())
