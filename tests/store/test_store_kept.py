"""Small values are kept until they expire; a unit is written under an authority that still holds."""

import asyncio
from dataclasses import replace

import pytest

from dtms.adapters.store_sql.statements import EXPIRED_MAX
from dtms.domain.errors import InvariantBroken, PermissionGone
from dtms.ports.store import Authority, Kept, KeptKind, Unit

from .builders import ManualClock, fact, trade
from .conftest import MakeStore


def kept(key: str = "a", kind: KeptKind = KeptKind.ANSWER, **changes: object) -> Kept:
    return replace(Kept(kind=kind, key=key, body={"status": 200, "n": [1.5, None]}, at_ms=1), **changes)  # type: ignore[arg-type]


def test_a_kept_value_comes_back_by_kind_and_key_also_after_a_restart(make_store: MakeStore) -> None:
    answers = (kept("b", at_ms=3), kept("a", at_ms=9, body={"later": True}), kept("c", at_ms=1))

    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(keep=(kept("a"), kept("a", KeptKind.PENDING))))
        await store.commit(Unit(keep=answers))
        await store.close()
        store = make_store()
        await store.open()
        assert await store.kept(KeptKind.ANSWER) == [answers[2], answers[0], answers[1]], "oldest first"
        assert await store.kept(KeptKind.ANSWER, "a") == [answers[1]], "in place of what was there"
        assert await store.kept(KeptKind.PENDING) == [kept("a", KeptKind.PENDING)]
        assert await store.kept(KeptKind.PROBE) == []
        await store.commit(Unit(forget=((KeptKind.ANSWER, "a"), (KeptKind.WORK, "never was"))))
        assert [k.key for k in await store.kept(KeptKind.ANSWER)] == ["c", "b"]
        assert await store.kept(KeptKind.ANSWER, "a") == []
        await store.close()

    asyncio.run(scenario())


def test_forgetting_and_keeping_in_one_unit_leaves_what_it_keeps(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.commit(Unit(keep=(kept("a"),)))
        await store.commit(Unit(forget=((KeptKind.ANSWER, "a"),), keep=(kept("a", at_ms=7),)))
        assert await store.kept(KeptKind.ANSWER) == [kept("a", at_ms=7)]
        await store.close()

    asyncio.run(scenario())


def test_an_expired_value_is_not_answered_and_is_removed_in_time(make_store: MakeStore, clock: ManualClock) -> None:
    """By the wall clock, some with each unit that keeps something."""

    async def scenario() -> None:
        store = make_store()
        await store.open()
        until = clock.now_ms + 1000
        await store.commit(Unit(keep=[kept(f"{n}", expires_ms=until) for n in range(EXPIRED_MAX + 3)]))
        await store.commit(Unit(keep=(kept("stays"),)))
        assert len(await store.kept(KeptKind.ANSWER)) == EXPIRED_MAX + 4
        clock.now_ms = until
        assert [k.key for k in await store.kept(KeptKind.ANSWER)] == ["stays"]
        clock.now_ms -= 1
        assert len(await store.kept(KeptKind.ANSWER)) == EXPIRED_MAX + 4
        clock.now_ms += 1
        for left in (3, 0):
            await store.commit(Unit(keep=(kept("stays"),)))
            clock.now_ms -= 1
            assert len(await store.kept(KeptKind.ANSWER)) == left + 1
            clock.now_ms += 1
        await store.close()

    asyncio.run(scenario())


def test_a_value_that_cannot_be_stored_takes_its_unit_with_it(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        with pytest.raises(InvariantBroken, match="cannot be stored: answer a"):
            await store.commit(Unit(facts=(fact(),), keep=(kept(body={"r": float("nan")}),)))
        assert await store.facts() == []
        await store.close()

    asyncio.run(scenario())


# --- authority and owners --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["release", "expiry", "another's grant", "own new grant", "another name"])
def test_a_unit_whose_authority_is_gone_writes_nothing(make_store: MakeStore, clock: ManualClock, ending: str) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        lease = await store.acquire("engine", "here:1:1", 15.0)
        assert lease is not None
        under = Authority(key="engine", holder=lease.holder, token=lease.token)
        unit = Unit(trades=(trade(1),), facts=(fact(1),), authority=under)
        await store.commit(unit)
        match ending:
            case "release":
                await store.release(lease)
            case "another name":
                unit = replace(unit, authority=replace(under, holder="here:2:2"))
            case _:
                clock.now_s += 15.0
        if ending == "another's grant":
            assert await store.acquire("engine", "here:2:2", 15.0) is not None
        if ending == "own new grant":
            assert await store.acquire("engine", "here:1:1", 15.0) is not None
        with pytest.raises(PermissionGone, match="lease engine is not held with token 1"):
            await store.commit(replace(unit, trades=(trade(1, version=2),)))
        assert await store.trade(1) == trade(1)
        assert len(await store.facts()) == 1
        await store.close()

    asyncio.run(scenario())
