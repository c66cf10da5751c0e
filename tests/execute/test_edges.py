"""What breaks at an edge of the loop is recorded there: the rest goes on, and a person hears of it."""

from typing import Any

import pytest
from tests.execute.unsteady import Scene, play
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.domain.facts import Fact, FactKind

RECOVERED = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def facts(scene: Scene, kind: FactKind) -> list[Fact]:
    return list(await scene.on.store.facts(kinds=frozenset({kind.value})))


def test_a_loop_that_dies_again_and_again_is_given_up_and_calls_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    async def during(scene: Scene) -> None:
        async def dies() -> None:
            raise ZeroDivisionError("made to die")

        monkeypatch.setattr(scene.on.engine.monitor, "run_cycle", dies)
        await scene.on.play(10)
        assert [f.details["alert"] for f in await facts(scene, FactKind.LOOP_RESTARTED)] == ["ERROR"] * 3
        (given_up,) = await facts(scene, FactKind.NEEDS_ATTENTION)
        assert given_up.details["alert"] == "CRITICAL"
        health = scene.on.engine.health()
        assert not health.ready
        assert "made to die" in " ".join(health.reasons)

    play(RECOVERED, hours=0.1, during=during)


def test_a_renewal_that_breaks_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def during(scene: Scene) -> None:
        lease: Any = scene.on.engine._life._lease
        renew, broken = lease.renew, [2]

        async def breaks() -> bool:
            if broken[0]:
                broken[0] -= 1
                raise ZeroDivisionError("made to break")
            return bool(await renew())

        monkeypatch.setattr(lease, "renew", breaks)
        await scene.on.play(2)
        assert broken == [0]
        assert scene.on.engine.health().ready, "the lease is kept again"

    play(RECOVERED, hours=0.1, during=during)


def test_a_position_that_can_be_given_to_nobody_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def during(scene: Scene) -> None:
        strays: Any = scene.on.engine.monitor._strays

        async def breaks(position: Any) -> None:
            raise ZeroDivisionError("made to break")

        monkeypatch.setattr(strays, "_is_unknown", lambda position: True)
        monkeypatch.setattr(strays, "_give", breaks)
        before = scene.on.engine.monitoring().cycles
        await scene.on.play(10)
        assert scene.on.engine.monitoring().cycles > before + 10
        assert scene.on.engine.health().ready
        (told,) = await facts(scene, FactKind.CYCLE_FAILED)
        assert "made to break" in told.summary

    play(RECOVERED, hours=0.1, during=during)
