"""A lease has one holder, ends by release, expiry or its holder's death, and its token only rises."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dtms.adapters.store_sql import LeaseEvent, LeaseWorld, SqlStore, this_holder
from dtms.adapters.store_sql.leases import boot_id, process_alive, process_start, this_world
from dtms.ports.store import Lease

from .builders import ManualClock
from .conftest import MakeStore

ME, YOU = "here:1:100", "here:2:200"


def _token(lease: Lease | None) -> int | None:
    return None if lease is None else lease.token


def test_one_holder_at_a_time(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        answers = await asyncio.gather(*(store.acquire("5", f"here:{n}:1", 15.0) for n in range(10)))
        assert [_token(a) for a in answers] == [1] + [None] * 9
        assert _token(await store.acquire("6", YOU, 15.0)) == 1, "another key is another lease"
        await store.close()

    asyncio.run(scenario())


def test_a_lease_is_for_all_processes_on_the_store(make_store: MakeStore) -> None:
    async def scenario() -> None:
        one, two = make_store(), make_store()
        await one.open()
        await two.open()
        held = await one.acquire("5", ME, 15.0)
        assert held is not None
        assert await two.acquire("5", YOU, 15.0) is None
        await one.release(held)
        assert _token(await two.acquire("5", YOU, 15.0)) == 2
        await one.close()
        await two.close()

    asyncio.run(scenario())


def test_tokens_rise_through_release_expiry_takeover_and_restart(make_store: MakeStore, clock: ManualClock) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        first = await store.acquire("5", ME, 15.0)
        assert first is not None
        await store.release(first)
        tokens = [first.token, _token(await store.acquire("5", ME, 15.0)), _token(await store.acquire("5", ME, 15.0))]
        clock.now_s += 15.0
        tokens.append(_token(await store.acquire("5", YOU, 15.0)))
        await store.close()
        again = make_store()
        await again.open()
        assert await again.acquire("5", ME, 15.0) is None
        tokens.append(_token(await again.acquire("5", YOU, 15.0)))
        assert tokens == [1, 2, 3, 4, 5]
        await again.close()

    asyncio.run(scenario())


def test_a_renewed_lease_lasts_and_one_slept_through_is_lost(make_store: MakeStore, clock: ManualClock) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        lease = await store.acquire("5", ME, 15.0)
        assert lease is not None
        clock.now_s += 14.0
        renewed = await store.renew(lease, 15.0)
        assert renewed == replace(lease, expires_s=clock.now_s + 15.0)
        clock.now_s += 14.0
        assert await store.acquire("5", YOU, 15.0) is None
        clock.now_s += 1.0
        assert await store.renew(renewed, 15.0) is None, "run out, though nobody took it"
        assert _token(await store.acquire("5", YOU, 15.0)) == 2
        await store.close()

    asyncio.run(scenario())


def test_who_lost_a_lease_can_neither_renew_nor_release_it(make_store: MakeStore, clock: ManualClock) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        mine = await store.acquire("5", ME, 15.0)
        assert mine is not None
        clock.now_s += 16.0
        yours = await store.acquire("5", YOU, 15.0)
        assert yours is not None
        await store.release(mine)
        assert await store.renew(mine, 15.0) is None
        assert await store.acquire("5", ME, 15.0) is None
        assert await store.renew(yours, 15.0) == yours
        await store.close()

    asyncio.run(scenario())


def test_a_dead_holders_lease_has_expired_at_once(make_store: MakeStore, gone: set[str]) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await store.acquire("engine", ME, 15.0)
        assert await store.acquire("engine", YOU, 15.0) is None
        gone.add(ME)
        assert _token(await store.acquire("engine", YOU, 15.0)) == 2
        await store.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("holder", "token"), [("there:1:100", 2), (ME, None)], ids=["of another host", "of a process that runs"]
)
def test_after_a_reboot_only_a_process_seen_running_still_holds(
    path: Path, clock: ManualClock, world: LeaseWorld, holder: str, token: int | None
) -> None:
    """Where a boot is told by the wall clock, a correction of it looks like a reboot and must not end a lease."""

    async def scenario() -> None:
        before = SqlStore(f"sqlite:///{path}", clock, world=world)
        await before.open()
        await before.acquire("5", holder, 15.0)
        await before.close()
        after = SqlStore(f"sqlite:///{path}", clock, world=replace(world, boot="boot-2"))
        await after.open()
        assert _token(await after.acquire("5", YOU, 15.0)) == token
        await after.close()

    asyncio.run(scenario())


def test_every_step_of_a_lease_is_told(path: Path, clock: ManualClock, world: LeaseWorld) -> None:
    told: list[LeaseEvent] = []

    async def scenario() -> None:
        store = SqlStore(f"sqlite:///{path}", clock, world=world, on_lease=told.append)
        await store.open()
        mine = await store.acquire("5", ME, 15.0)
        assert mine is not None
        await store.acquire("5", YOU, 15.0)
        await store.renew(mine, 15.0)
        clock.now_s += 15.0
        yours = await store.acquire("5", YOU, 15.0)
        assert yours is not None
        await store.renew(mine, 15.0)
        await store.release(yours)
        await store.close()

    asyncio.run(scenario())
    assert [(e.kind.value, e.holder, e.token) for e in told] == [
        ("granted", ME, 1),
        ("refused", ME, 1),
        ("renewed", ME, 1),
        ("expired", ME, 1),
        ("granted", YOU, 2),
        ("lost", ME, 1),
        ("released", YOU, 2),
    ]


WAIT = "import sys; print(flush=True); sys.stdin.read()"


def test_a_real_process_is_seen_alive_and_gone() -> None:
    """Also one that was killed and that nobody has waited for yet."""
    with subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        host = this_holder().partition(":")[0]
        holder = f"{host}:{process.pid}:{process_start(process.pid)}"
        assert process_alive(holder)
        assert not process_alive(f"{host}:{process.pid}:another start")
        assert process_alive(f"elsewhere:{process.pid}:another start")
        process.kill()
        assert process.stdout.read() == b""
        _until(lambda: not process_alive(holder))
    assert not process_alive(holder)


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if holds():
            return
    raise AssertionError("did not come to hold")


def test_this_process_is_a_holder_that_lives() -> None:
    assert process_alive(this_holder())
    assert this_holder().split(":")[1] == str(os.getpid())
    assert process_alive("a name of another form")
    assert boot_id() == boot_id() != ""
    assert this_world(lambda: 1.0).boot == boot_id()


def test_a_holder_killed_by_the_system_frees_its_lease_for_the_next_at_once(path: Path) -> None:
    """A real process takes the lease and is killed; nobody waits for the expiry."""
    script = (
        "import asyncio, sys, time\n"
        "from builders import ManualClock\n"
        "from dtms.adapters.store_sql import SqlStore, this_holder\n"
        "store = SqlStore(sys.argv[1], ManualClock(machine_s=time.monotonic()))\n"
        "asyncio.run(store.open())\n"
        "print(asyncio.run(store.acquire('engine', this_holder(), 1e6)), flush=True)\n"
        "sys.stdin.read()\n"
    )
    url = f"sqlite:///{path}"
    command = [sys.executable, "-c", script, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent, text=True
    ) as process:
        assert process.stdout is not None
        assert "token=1" in process.stdout.readline()
        store = SqlStore(url, ManualClock(machine_s=0.0))
        asyncio.run(store.open())
        assert asyncio.run(store.acquire("engine", this_holder(), 15.0)) is None
        process.kill()
        process.wait()
        assert _token(asyncio.run(store.acquire("engine", this_holder(), 15.0))) == 2
        asyncio.run(store.close())
