"""The registry, managed positions and plans: what is written comes back, follows on what is there, and is verified."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dtms.adapters.store_sql import rows
from dtms.domain.errors import ChangedMeanwhile, InvariantBroken, LeaseHeld, StoreDamaged
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership, Standing
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import Machine, Mode, Owner, State
from dtms.ports.store import Controls, Free, Unit

from .builders import ManualClock, any_of, intent, trade
from .conftest import MakeStore
from .managers import managed, ownership, plan
from .spoiling import change

ME, YOU = "here:1:100", "here:2:200"
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(any_of(Ownership))
def test_an_entry_of_the_registry_comes_back_as_it_was(value: Ownership) -> None:
    assert rows.ownership_of(rows.ownership_row(value)) == value


@QUICK
@given(any_of(Managed))
def test_a_managed_position_comes_back_as_it_was(value: Managed) -> None:
    assert rows.managed_of(rows.managed_row(value)) == value


@QUICK
@given(any_of(Plan))
def test_a_plan_comes_back_as_it_was(value: Plan) -> None:
    assert rows.plan_of(rows.plan_row(value)) == value


def test_they_are_read_by_what_is_asked_for_also_after_a_restart(make_store: MakeStore) -> None:
    old = managed(2, closed_ms=7)
    late, early, done = plan("b", created_ms=5), plan("c", created_ms=2), plan("a", status=PlanStatus.EXPIRED)

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(
            Unit(
                ownership=(ownership(1), ownership(2, closed_ms=7)),
                managed=(managed(1), managed(1, manager=Owner.UNIVERSAL), old),
                plans=(late, early, done),
            )
        )
        await store.close()
        store = make_store()
        await store.open()
        assert await store.ownerships() == [ownership(1)]
        assert await store.ownerships([2, 3]) == [ownership(2, closed_ms=7)]
        assert await store.managed() == [managed(1), managed(1, manager=Owner.UNIVERSAL)]
        assert await store.managed(manager=Owner.EXITS) == [managed(1)]
        assert await store.managed(ticket=2) == [old]
        assert await store.plans() == [done, early, late]
        assert await store.plans(statuses=frozenset({PlanStatus.PENDING}), limit=1) == [early]
        assert (await store.plan("b"), await store.plan("z")) == (late, None)
        await store.close()

    asyncio.run(scenario())


def test_an_intent_is_found_by_its_number(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(intents=(intent(3, ticket=0, plan="a", strategy_type="swing"),)))
        assert await store.intent(3) == intent(3, ticket=0, plan="a", strategy_type="swing")
        assert await store.intent(4) is None
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", ["ownership", "plans"])
def test_a_change_must_follow_on_the_version_that_is_stored(make_store: MakeStore, kind: str) -> None:
    def unit(version: int) -> Unit:
        made = ownership(1, version=version) if kind == "ownership" else plan("a", version=version)
        return Unit(**{kind: (made,)})  # type: ignore[arg-type]

    async def stored(store: object) -> Sequence[int]:
        found = await (store.ownerships() if kind == "ownership" else store.plans())  # type: ignore[attr-defined]
        return [each.version for each in found]

    async def scenario() -> None:
        store = make_store()
        await store.open()
        with pytest.raises(ChangedMeanwhile):
            await store.commit(unit(1))
        assert await stored(store) == []
        await store.commit(unit(0))
        for wrong in (0, 2):
            with pytest.raises(ChangedMeanwhile, match="at version 0"):
                await store.commit(unit(wrong))
        await store.commit(unit(1))
        assert await stored(store) == [1]
        await store.close()

    asyncio.run(scenario())


def test_of_many_claims_at_once_from_two_processes_one_is_made(make_store: MakeStore) -> None:
    async def scenario() -> None:
        one, two = make_store(), make_store()
        await one.open()
        await two.open()
        claims = [store.commit(Unit(ownership=(ownership(1, since_ms=n),))) for n in range(10) for store in (one, two)]
        answers = await asyncio.gather(*claims, return_exceptions=True)
        assert sum(not isinstance(answer, ChangedMeanwhile) for answer in answers) == 1
        await one.close()
        await two.close()

    asyncio.run(scenario())


def test_a_number_that_is_none_is_not_stored(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        for unit in (Unit(managed=(managed(stop=float("nan")),)), Unit(plans=(plan(entry=float("inf")),))):
            with pytest.raises(InvariantBroken, match="cannot be stored"):
                await store.commit(unit)
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("table", "spoil"),
    [
        ("ownership", "UPDATE ownership SET owner = 'dtms_manager'"),
        ("managed", "UPDATE managed SET body = replace(body, '1.08025', '1.09025')"),
        ("plans", "UPDATE plans SET body = replace(body, '1.09', '1.19')"),
    ],
)
def test_a_row_that_is_not_what_was_written_ends_the_start_unless_it_has_ended(
    make_store: MakeStore, path: Path, table: str, spoil: str
) -> None:
    async def filled(unit: Unit) -> None:
        store = make_store()
        await store.open()
        await store.commit(unit)
        await store.close()

    ended = Unit(
        ownership=(ownership(2, closed_ms=1),),
        managed=(managed(2, closed_ms=1),),
        plans=(plan("b", status=PlanStatus.FAILED),),
    )
    asyncio.run(filled(ended))
    change(path, spoil)
    asyncio.run(filled(Unit(ownership=(ownership(1),), managed=(managed(1),), plans=(plan("a"),))))
    change(path, spoil)
    with pytest.raises(StoreDamaged, match=table):
        asyncio.run(make_store().open())


# --- leases ------------------------------------------------------------------------------------------------------


def test_a_grant_shows_what_is_true_of_its_ticket(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        empty = await store.grant("1", ME, 15.0, ticket=1)
        assert (empty.lease.token, empty.standing) == (1, Standing(ticket=1))
        hedged = trade(1, machine=Machine(state=State.HEDGED))
        controls = Controls(halted=True, mode=Mode.ADVISE)
        await store.commit(Unit(trades=(hedged,), ownership=(ownership(1),), controls=controls))
        full = await store.grant("1", ME, 15.0, ticket=1)
        expected = Standing(ticket=1, ownership=ownership(1), trade=hedged, halted=True, account_mode=Mode.ADVISE)
        assert (full.lease.token, full.standing) == (2, expected)
        assert await store.standing(1) == expected
        assert (await store.grant("intent:5", ME, 15.0, ticket=None)).standing.halted
        await store.close()

    asyncio.run(scenario())


def test_a_grant_that_is_refused_names_who_has_it(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        held = await store.grant("1", ME, 15.0, ticket=1)
        with pytest.raises(LeaseHeld) as caught:
            await store.grant("1", YOU, 15.0, ticket=1)
        assert (caught.value.key, caught.value.holder, caught.value.token) == ("1", ME, held.lease.token)
        await store.release(held.lease)
        assert (await store.grant("1", YOU, 15.0, ticket=1)).lease.token == 2
        await store.close()

    asyncio.run(scenario())


def test_a_change_of_the_store_alone_is_refused_while_another_has_a_lease(
    make_store: MakeStore, gone: set[str]
) -> None:
    unit = Unit(ownership=(ownership(1),), free=Free(holder=YOU, keys=("1", "2")))

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.grant("2", ME, 15.0, ticket=2)
        with pytest.raises(LeaseHeld, match=f"lease 2 is held by {ME}"):
            await store.commit(unit)
        assert await store.ownerships() == []
        await store.commit(Unit(managed=(managed(1),), free=Free(holder=ME, keys=("1", "2"))))
        gone.add(ME)
        await store.commit(unit)
        assert await store.ownerships() == [ownership(1)]
        assert store.lease_counts["refused"] == 1
        await store.close()

    asyncio.run(scenario())


def test_a_lease_that_ran_out_under_a_process_that_may_wake_is_granted_over_its_token_alone(
    make_store: MakeStore, clock: ManualClock, gone: set[str]
) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        slept = (await store.grant("1", ME, 15.0, ticket=1)).lease
        clock.now_s += 15.0
        for wrong in (None, slept.token + 1):
            with pytest.raises(LeaseHeld) as held:
                await store.grant("1", YOU, 15.0, ticket=1, superseding=wrong)
            assert (held.value.token, held.value.is_lapsed) == (slept.token, True)
        yours = (await store.grant("1", YOU, 15.0, ticket=1, superseding=slept.token)).lease
        assert yours.token == slept.token + 1
        with pytest.raises(LeaseHeld) as live:
            await store.grant("1", ME, 15.0, ticket=1, superseding=yours.token)
        assert not live.value.is_lapsed
        gone.add(YOU)
        assert (await store.grant("1", ME, 15.0, ticket=1)).lease.token == yours.token + 1, "the dead do not wake"
        assert store.lease_counts["refused"] == 3
        await store.close()

    asyncio.run(scenario())


def test_a_lease_is_given_back_with_the_commit_or_with_none(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        held = (await store.grant("1", ME, 15.0, ticket=1)).lease
        with pytest.raises(ChangedMeanwhile):
            await store.commit(Unit(ownership=(ownership(1, version=4),), release=held))
        assert await store.lease("1") == held
        await store.commit(Unit(ownership=(ownership(1),), release=held))
        assert await store.lease("1") is None
        yours = (await store.grant("1", YOU, 15.0, ticket=1)).lease
        await store.commit(Unit(managed=(managed(1),), release=held))
        assert await store.lease("1") == yours, "one that was lost is not given back a second time"
        assert {k: n for k, n in store.lease_counts.items() if n} == {"granted": 2, "released": 1, "lost": 1}
        await store.close()

    asyncio.run(scenario())


def test_states_are_those_of_trades_that_dtms_watches(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        hedged = trade(2, machine=Machine(state=State.HEDGED))
        await store.commit(Unit(trades=(trade(1), hedged, trade(3, disabled=True))))
        assert await store.states() == {1: State.HEALTHY, 2: State.HEDGED}
        assert await store.states([2, 3, 4]) == {2: State.HEDGED}
        await store.close()

    asyncio.run(scenario())


def test_a_lease_granted_to_somebody_who_waits_no_more_is_given_back(threaded: MakeStore) -> None:
    async def scenario() -> None:
        store = threaded()
        await store.open()
        for _ in range(20):
            asking = asyncio.create_task(store.grant("1", ME, 15.0, ticket=1))
            await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        counts = store.lease_counts
        for _ in range(5_000):
            counts = store.lease_counts
            if counts["released"] + counts["lost"] == 20:
                break
            await asyncio.sleep(0.001)
        assert (counts["granted"], counts["released"] + counts["lost"]) == (20, 20)
        assert await store.lease("1") is None
        await store.close()

    asyncio.run(scenario())
