"""Leases: within a process one waits in line, between processes the store decides, and nobody waits for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from dtms.adapters.clocks import LoopClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import BrokerUnavailable, LeaseHeld, StoreFailed
from dtms.execute.leases import LEASE_S, PATIENCE_ALL_S, PATIENCE_S, RENEW_S, ROUND_S, WAIT_S, Leases
from dtms.ports.broker import Broker, Fence
from dtms.ports.store import Free, Store, Unit

NO_BROKER = cast("Broker", None)
KEY, TICKET = "7", 7
HERE, ELSEWHERE = "replay:1:0", "replay:2:0"


class Two:
    """Two processes' leases on one store."""

    def __init__(self, store: Store, clock: LoopClock, draw: Callable[[], float]) -> None:
        self.store, self.clock = store, clock
        self.one = Leases(store=store, broker=NO_BROKER, clock=clock, holder=HERE, draw=draw)
        self.other = Leases(store=store, broker=NO_BROKER, clock=clock, holder=ELSEWHERE, draw=draw)


def on_a_store(folder: Path, scenario: Callable[[Two], Awaitable[None]], draw: float = 0.5) -> None:
    """Run a scenario on a real file and virtual time."""

    async def main() -> None:
        clock = LoopClock(0)
        store = SqlStore(f"sqlite:///{(folder / 'store.db').as_posix()}", clock, inline=True)
        await store.open()
        await scenario(Two(store, clock, lambda: draw))
        await store.close()

    run_virtual(main())


def test_one_waits_for_another_process_until_it_is_done(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        order: list[str] = []

        async def work(leases: Leases, name: str, seconds: float) -> None:
            async with leases.held(KEY, TICKET):
                order.append(f"{name} begins")
                await two.clock.sleep_machine(seconds)
                order.append(f"{name} ends")

        await asyncio.gather(work(two.one, "one", 2.0), work(two.other, "other", 0.1))
        assert order == ["one begins", "one ends", "other begins", "other ends"]

    on_a_store(tmp_path, scenario)


def test_who_waits_too_long_is_told_who_has_it(tmp_path: Path) -> None:
    """A live holder that renews its lease keeps it; whoever wants it fails after five seconds, and not sooner."""

    async def scenario(two: Two) -> None:
        async def hold() -> None:
            async with two.one.held(KEY, TICKET):
                await two.clock.sleep_machine(40.0)

        holding = asyncio.create_task(hold())
        await two.clock.sleep_machine(LEASE_S + 3.0)  # beyond one lease: it was renewed
        begun_s = two.clock.machine_s()
        with pytest.raises(LeaseHeld) as refused:
            async with two.other.held(KEY, TICKET):
                raise AssertionError("granted twice")
        assert (refused.value.key, refused.value.holder) == (KEY, HERE)
        assert WAIT_S <= two.clock.machine_s() - begun_s < WAIT_S + 0.1
        await holding

    on_a_store(tmp_path, scenario)


def test_a_lease_of_one_that_slept_runs_out_and_its_token_is_old(tmp_path: Path) -> None:
    """Nobody renews it: after fifteen seconds another has it, and the sleeper's token is worth nothing."""

    async def scenario(two: Two) -> None:
        asleep = await two.store.grant(KEY, HERE, LEASE_S, ticket=TICKET)
        await two.clock.sleep_machine(LEASE_S + 0.1)
        async with beside(two, Announced()).held(KEY, TICKET) as held:
            assert held.lease.token > asleep.lease.token
            assert await two.store.renew(asleep.lease, LEASE_S) is None

    on_a_store(tmp_path, scenario)


def test_within_a_process_one_goes_after_the_other_with_rising_tokens(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        tokens: list[int] = []
        inside = 0

        async def work() -> None:
            nonlocal inside
            async with two.one.held(KEY, TICKET) as held:
                assert inside == 0
                inside += 1
                tokens.append(held.lease.token)
                await two.clock.sleep_machine(0.05)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(20)))
        assert tokens == sorted(set(tokens))

    on_a_store(tmp_path, scenario)


def test_what_changes_the_store_alone_waits_for_another_and_not_for_itself(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        async def change(leases: Leases) -> float:
            begun_s = two.clock.machine_s()
            free = Free(holder=leases.holder, keys=[KEY])
            await leases.when_free(lambda: two.store.commit(Unit(free=free)))
            return two.clock.machine_s() - begun_s

        async with two.one.held(KEY, TICKET):
            assert await change(two.one) == 0
            waiting = asyncio.create_task(change(two.other))
            await two.clock.sleep_machine(1.0)
        assert 1.0 <= await waiting < 1.1

    on_a_store(tmp_path, scenario)


@pytest.mark.parametrize("draw", [0.0, 0.999])
def test_the_pause_between_two_tries_is_drawn(draw: float, tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        store: Any = two.store
        grant, at_s = store.grant, list[float]()

        async def noting(*about: Any, **more: Any) -> Any:
            at_s.append(two.clock.machine_s())
            return await grant(*about, **more)

        async with two.one.held(KEY, TICKET):
            store.grant = noting
            with pytest.raises(LeaseHeld):
                async with two.other.held(KEY, TICKET):
                    pass
        pauses = {round(b - a, 6) for a, b in pairwise(at_s)}
        assert pauses == {round(0.01 + 0.04 * draw, 6)}

    on_a_store(tmp_path, scenario, draw)


def test_it_is_given_back_whatever_goes_wrong(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        with pytest.raises(StoreFailed):
            async with two.one.held(KEY, TICKET):
                raise StoreFailed("made to fail")
        begun_s = two.clock.machine_s()
        async with two.other.held(KEY, TICKET):
            assert two.clock.machine_s() == begun_s

    on_a_store(tmp_path, scenario)


def test_a_commit_gives_it_back_in_the_same_transaction(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        async with two.one.held(KEY, TICKET) as held:
            await two.store.commit(Unit(release=held.lease))
            held.is_given_back = True
            async with two.other.held(KEY, TICKET) as theirs:
                assert theirs.lease.token > held.lease.token
                assert await two.store.lease(KEY) is not None
        await two.clock.sleep_machine(RENEW_S + 1.0)
        assert two.one._lines == {}

    on_a_store(tmp_path, scenario)


class Announced:
    """A gateway that remembers what was announced to it; it can be away."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, int]] = []
        self.is_away = False

    async def announce(self, key: str, token: int) -> Fence:
        if self.is_away:
            raise BrokerUnavailable("no gateway")
        self.tokens.append((key, token))
        return Fence(key=key, token=token, instance=1)


def beside(two: Two, gateway: Announced) -> Leases:
    """The other process's leases, with a gateway."""
    return Leases(store=two.store, broker=cast("Broker", gateway), clock=two.clock, holder=ELSEWHERE, draw=lambda: 0.5)


def test_a_lease_is_not_had_over_a_sleeper_s_before_the_gateway_knows_it(tmp_path: Path) -> None:
    """Given back without having been announced it would be free for all to see, and the sleeper's send still taken."""

    async def scenario(two: Two) -> None:
        gateway = Announced()
        mine = beside(two, gateway)
        asleep = await two.store.grant(KEY, HERE, LEASE_S, ticket=TICKET)
        await two.clock.sleep_machine(LEASE_S + 0.1)
        gateway.is_away = True
        with pytest.raises(LeaseHeld):
            async with mine.held(KEY, TICKET) as held:
                await mine.announce(held)
        with pytest.raises(LeaseHeld) as taken:
            await two.store.commit(Unit(free=Free(holder=ELSEWHERE, keys=(KEY,))))
        assert (taken.value.holder, taken.value.token, taken.value.is_lapsed) == (HERE, asleep.lease.token, True)

        gateway.is_away = False
        async with mine.held(KEY, TICKET) as held:
            assert gateway.tokens == [(KEY, held.lease.token)], "announced before it was granted"

    on_a_store(tmp_path, scenario)


def test_of_several_that_fence_a_sleeper_off_one_after_the_other_has_the_lease(tmp_path: Path) -> None:
    """The token that was superseded is named, so that what another was granted meanwhile is not taken from it."""

    async def scenario(two: Two) -> None:
        inside, tokens = 0, list[int]()

        async def work(holder: str) -> None:
            nonlocal inside
            leases = Leases(
                store=two.store,
                broker=cast("Broker", Announced()),
                clock=two.clock,
                holder=holder,
                draw=lambda: 0.5,
            )
            async with leases.held(KEY, TICKET) as held:
                assert inside == 0
                inside += 1
                tokens.append(held.lease.token)
                await two.clock.sleep_machine(0.2)
                inside -= 1

        await two.store.grant(KEY, HERE, LEASE_S, ticket=TICKET)
        await two.clock.sleep_machine(LEASE_S + 0.1)
        await asyncio.gather(*(work(f"replay:{n}:0") for n in range(2, 8)))
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 6

    on_a_store(tmp_path, scenario)


def test_what_changes_the_store_alone_fences_a_holder_that_slept_through_its_expiry(tmp_path: Path) -> None:
    """It could wake and send what it had committed: the gateway has to know a newer token first."""

    async def scenario(two: Two) -> None:
        gateway = Announced()
        mine = beside(two, gateway)

        async def change() -> None:
            await two.store.commit(Unit(free=Free(holder=ELSEWHERE, keys=(KEY,))))

        asleep = await two.store.grant(KEY, HERE, LEASE_S, ticket=TICKET)
        await two.clock.sleep_machine(LEASE_S + 0.1)
        with pytest.raises(LeaseHeld) as held:
            await change()
        assert held.value.is_lapsed

        gateway.is_away = True
        with pytest.raises(LeaseHeld):
            await mine.when_free(change)
        gateway.is_away = False
        await mine.when_free(change)
        ((key, token),) = set(gateway.tokens)
        assert key == KEY
        assert token > asleep.lease.token
        await change()  # nobody is left who could send

    on_a_store(tmp_path, scenario)


def test_a_loop_does_not_stand_still_for_many_leases_that_others_hold(tmp_path: Path) -> None:
    """A thousand held tickets cost it a second, not five minutes; what is free it gets at once, and later it waits."""

    async def scenario(two: Two) -> None:
        loop = Leases(
            store=two.store,
            broker=NO_BROKER,
            clock=two.clock,
            holder=ELSEWHERE,
            draw=lambda: 0.5,
            wait_s=PATIENCE_S,
            all_s=PATIENCE_ALL_S,
        )
        for ticket in range(1_000):
            await two.store.grant(str(ticket), HERE, 60.0, ticket=ticket)
        begun_s = two.clock.machine_s()
        for ticket in range(1_000):
            with pytest.raises(LeaseHeld):
                async with loop.held(str(ticket), ticket):
                    raise AssertionError("granted twice")
        assert two.clock.machine_s() - begun_s < PATIENCE_ALL_S + PATIENCE_S
        async with loop.held("free", None):
            pass
        await two.clock.sleep_machine(ROUND_S)
        begun_s = two.clock.machine_s()
        with pytest.raises(LeaseHeld):
            async with loop.held("1", 1):
                raise AssertionError("granted twice")
        assert two.clock.machine_s() - begun_s >= PATIENCE_S

    on_a_store(tmp_path, scenario)


def test_a_lapsed_lease_is_ended_by_one_who_has_no_time_left_to_wait(tmp_path: Path) -> None:
    async def scenario(two: Two) -> None:
        await two.store.grant(KEY, HERE, LEASE_S, ticket=TICKET)
        await two.clock.sleep_machine(LEASE_S + 0.1)
        gateway: Any = Announced()
        hasty = Leases(store=two.store, broker=gateway, clock=two.clock, holder=ELSEWHERE, draw=lambda: 0.5, wait_s=0.0)
        async with hasty.held(KEY, TICKET) as held:
            assert held.lease.holder == ELSEWHERE

    on_a_store(tmp_path, scenario)
