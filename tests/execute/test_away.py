"""A broker that is away, comes back half, or answers nonsense: no trade is dropped, and nothing is decided on it."""

from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.replay.judge import check_invariants
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import FactKind
from dtms.domain.trade import State
from dtms.execute.service import RefusalCode, Refused, Registration

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)
MINUTE = 60_000

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("none", {"calls": "asking", "code": -10004}),
    ("none", {"calls": "positions_get", "code": -10005}),
    ("stale_list", {"calls": "books", "age_s": 90.0}),
    ("partial_list", {"calls": "books", "missing": 1}),
    ("partial_list", {"missing": 1}),
    ("empty_list", {"calls": "books"}),
    ("empty_list", {}),
    ("offline", {}),
    ("empty_offline", {}),
    ("restart", {"none_s": 40.0, "empty_s": 40.0, "partial_s": 40.0}),
    ("lag", {"ms_min": 300, "ms_max": 40_000}),
    ("wrong_account", {}),
]


def of(fault: tuple[str, dict[str, Any]]) -> str:
    kind, known = fault
    return "-".join([kind, *(str(v) for k, v in known.items() if k in ("calls", "code"))])


async def fail_for(lives: Lives, fault: tuple[str, dict[str, Any]], minutes: float) -> None:
    kind, known = fault
    lives.fault(kind, **({"times": 1} if kind == "restart" else {"times": 0}), **known)
    await lives.on.play(minutes)
    assert lives.do("faults")["fired"][kind] >= 1
    lives.do("clear")


@pytest.mark.parametrize("fault", FAULTS, ids=of)
def test_no_trade_is_dropped_whatever_the_broker_shows(fault: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """Four minutes of it in HEDGED: trade, hedge and state are as before, and a minute later all is ready."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(lambda t: t.machine.state is State.HEDGED)
        held = set(lives.held())
        await fail_for(lives, fault, 4)
        during = await lives.trade()
        assert during.is_active
        assert during.members
        await lives.on.play(1)
        after = await lives.trade()
        assert lives.on.engine.health().ready
        assert set(lives.held()) == held
        assert (after.machine.state, after.members) == (State.HEDGED, before.members)
        assert not after.unconfirmed
        news = [f.kind for f in await lives.news()]
        assert FactKind.CLOSED not in news
        assert FactKind.HEDGE_GONE not in news
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("minutes", [2, 45])
@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[7], FAULTS[8]], ids=of)
def test_a_registration_while_the_broker_is_away_is_refused_and_loses_nothing(
    fault: tuple[str, dict[str, Any]], minutes: float, tmp_path: Path
) -> None:
    """Not ready, in words; when the broker is back the same request protects the position."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path, register=False)
        await lives.on.play(31)
        (ticket,) = lives.held()
        kind, known = fault
        lives.fault(kind, times=0, **known)
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=ticket))
        assert refused.value.code is RefusalCode.NOT_READY
        await lives.on.play(minutes)
        assert not lives.on.engine.health().ready
        with pytest.raises(Refused) as refused:
            await lives.on.engine.register(Registration(ticket=ticket))
        assert refused.value.code is RefusalCode.NOT_READY
        assert await lives.on.store.trade(ticket) is None or minutes > 2
        lives.do("clear")
        await lives.on.play(1)
        await lives.on.engine.register(Registration(ticket=ticket))
        assert (await lives.trade(ticket)).is_active
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[8], FAULTS[9]], ids=of)
def test_a_start_waits_for_its_broker_and_forgets_nothing(fault: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    """Dropped in HEDGED and started while the terminal itself restarts: ready when it is, with everything as it was."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(lambda t: t.machine.state is State.HEDGED)
        await lives.die()
        kind, known = fault
        for_ever: dict[str, Any] = {} if kind == "restart" else {"times": 0, "for_s": 100.0}
        lives.fault(kind, **known, **for_ever)
        if kind != "restart":
            lives.on.clock._loop.call_later(100, lambda: lives.do("clear"))
        await lives.go_on()
        await lives.on.play(2.5)
        assert lives.on.engine.health().ready
        after = await lives.trade()
        assert (after.machine, after.members, after.unconfirmed) == (before.machine, before.members, False)
        await lives.on.engine.stop()

    run_virtual(main())


def test_what_happened_while_the_broker_was_away_for_hours_is_found(tmp_path: Path) -> None:
    """Away from WARNING_L1 on for two hours, and closed by hand meanwhile: CLOSED with the deals' time and price."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        await lives.until(lambda t: t.machine.state is State.WARNING_L1)
        lives.fault("none", calls="asking", code=-10004, times=0)
        await lives.on.play(60)
        at = lives.on.clock.market_ms()
        lives.act("close", ticket=lives.ticket)
        await lives.on.play(60)
        assert (await lives.trade()).is_active
        lives.do("clear")
        await lives.on.play(1)
        played = await lives.end()
        assert played.trade.machine.state is State.CLOSED
        assert abs((played.trade.closed_ms or 0) - at) < 1_000
        check_invariants(played.books, WINDOW.spec)

    run_virtual(main())


def test_a_broker_that_goes_away_in_the_middle_of_a_recovery_is_waited_for(tmp_path: Path) -> None:
    """The look of the start fails twice: it is connected anew and looked again, and the start does not fail."""

    async def main() -> None:
        lives = await Lives.begin(WINDOW, tmp_path)
        before = await lives.until(lambda t: t.machine.state is State.HEDGED)
        await lives.die()
        lives.renew()
        broker: Any = lives.on.broker
        snapshot, failures = broker.snapshot, list[int]()

        async def fails(symbols: Any) -> Any:
            if len(failures) < 2:
                failures.append(lives.on.clock.market_ms())
                raise BrokerUnavailable("made to fail")
            return await snapshot(symbols)

        broker.snapshot = fails
        await lives.on.engine.start()
        assert len(failures) == 2
        assert lives.on.engine.health().ready
        after = await lives.trade()
        assert (after.machine, after.members) == (before.machine, before.members)
        await lives.on.engine.stop()

    run_virtual(main())
