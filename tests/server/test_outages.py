"""The server on the engine itself while broker or store are away: what still answers, what waits, and what comes back.

And the store failing under a request: nothing of it is believed, and the engine is unready at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.server.living import FIRST, SETTINGS, BrokenStore, Living, opening
from tests.server.world import check_envelope

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.errors import StoreFailed
from dtms.domain.trade import Mode
from dtms.execute.service import Refused
from dtms.ports.store import Unit

ONE = f"/dtms/trade/{FIRST}"
FROM_STORE = [ONE, "/dtms/trades", f"{ONE}/history", f"{ONE}/explain", "/dtms/actions"]
FROM_MEMORY = ["/dtms/status", "/dtms/engine"]
CHANGES = ["/dtms/trade/enable", "/dtms/trades/enable", f"{ONE}/disable"]


async def begun(folder: Path) -> Living:
    """Start a server that protects one trade."""
    lives = await Living.begin(folder, [opening("10:00:10"), opening("10:00:20", "SELL")])
    await lives.on.play(0.6)
    assert (await lives.enable()).status_code == 200
    return lives


def test_while_the_broker_is_away_reads_are_stale_and_changes_wait(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        lives.offline()
        await lives.on.play(1)
        health = check_envelope(await lives.ask("GET", "/dtms/health"), 503, "not_ready")
        assert (health["broker_connected"], health["store_ok"]) == (False, True)
        for path in [*FROM_STORE, *FROM_MEMORY]:
            assert (await lives.get(path))["stale"] is True, path
        for path in CHANGES:
            answer = await lives.post(path, {"ticket": FIRST, "trades": [{"ticket": FIRST}]})
            check_envelope(answer, 503, "not_ready")
            assert int(answer.headers["retry-after"]) > 0
        assert (await lives.post("/dtms/halt")).status_code == 200
        assert (await lives.post("/dtms/mode", {"mode": "observe"})).status_code == 200
        lives.online()
        await lives.on.play(1)
        assert (await lives.ask("GET", "/dtms/health")).status_code == 200
        for path in [*FROM_STORE, *FROM_MEMORY]:
            assert (await lives.get(path))["stale"] is False, path
        assert (await lives.enable()).json()["already_registered"] is True
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_broker_that_goes_away_under_a_registration_answers_503_and_loses_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        lives.offline()
        check_envelope(await lives.enable(FIRST + 1), 503, "not_ready")
        lives.online()
        await lives.on.play(1)
        assert lives.on.engine.live(FIRST) is not None
        assert (await lives.enable(FIRST + 1)).status_code == 200
        await lives.on.engine.stop()

    run_virtual(main())


def test_while_the_store_has_failed_only_memory_answers_and_nothing_is_acknowledged(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        with BrokenStore(lives.on.store):
            check_envelope(await lives.enable(FIRST + 1), 503, "not_ready")
            await lives.on.play(1)
            health = check_envelope(await lives.ask("GET", "/dtms/health"), 503, "not_ready")
            assert health["store_ok"] is False
            for path in FROM_STORE:
                answer = await lives.ask("GET", path)
                check_envelope(answer, 503, "not_ready")
                assert "/var" not in answer.text
            for path in FROM_MEMORY:
                assert (await lives.get(path))["stale"] is True, path
            assert (await lives.get("/dtms/status"))["dtms_status"]["store"]["ok"] is False
            for path in CHANGES:
                check_envelope(
                    await lives.post(path, {"ticket": FIRST, "trades": [{"ticket": FIRST}]}), 503, "not_ready"
                )
            body = check_envelope(await lives.post("/dtms/halt"), 503, "not_ready")
            assert "stopped" in body["message"]
            assert lives.on.engine.status().halted
        await lives.on.play(1)
        assert (await lives.ask("GET", "/dtms/health")).status_code == 200
        taken = lives.on.engine.live(FIRST + 1)
        assert taken is not None
        assert taken.trade.by_watcher  # by the recovery, as nobody owned it: what was asked for is not believed
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_read_that_fails_makes_the_engine_unready_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        with BrokenStore(lives.on.store, "facts"):
            check_envelope(await lives.ask("GET", "/dtms/actions"), 503, "not_ready")
        assert not lives.on.engine.health().store_ok
        check_envelope(await lives.enable(), 503, "not_ready")
        await lives.on.play(1)
        assert (await lives.enable()).status_code == 200
        await lives.on.engine.stop()

    run_virtual(main())


Asked = Callable[[Living], Awaitable[Any]]
REQUESTS: dict[str, Asked] = {
    "register": lambda lives: lives.post("/dtms/trade/enable", {"ticket": FIRST + 1}),
    "register many": lambda lives: lives.post("/dtms/trades/enable", [{"ticket": FIRST + 1}]),
    "wait": lambda lives: lives.post("/dtms/trade/enable", {"ticket": 999, "allow_pending": True}),
    "disable": lambda lives: lives.post(f"{ONE}/disable"),
    "one trade's mode": lambda lives: lives.post("/dtms/mode", {"mode": "observe", "ticket": FIRST}),
    "the account's mode": lambda lives: lives.post("/dtms/mode", {"mode": "observe"}),
    "resume": lambda lives: lives.post("/dtms/resume"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_store_that_fails_under_a_request_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    """It is answered with 503, nothing of it is believed, and nobody else is served before the store was verified."""

    async def main() -> None:
        lives = await begun(tmp_path)
        await lives.post("/dtms/halt")
        before = lives.on.engine.live(FIRST)
        assert before is not None
        with BrokenStore(lives.on.store, "commit"):
            check_envelope(await REQUESTS[name](lives), 503, "not_ready")
            assert not lives.on.engine.health().store_ok
            check_envelope(await lives.enable(), 503, "not_ready")
        after, status = lives.on.engine.live(FIRST), lives.on.engine.status()
        assert after is not None
        assert after.trade == before.trade
        assert (status.halted, status.mode, status.active_trades) == (True, Mode.AUTO, 1)
        assert lives.on.engine.pending(999) is None
        await lives.on.play(1)
        assert lives.on.engine.health().ready
        assert (await REQUESTS[name](lives)).status_code in (200, 202)
        await lives.on.engine.stop()

    run_virtual(main())


def test_settings_that_could_not_be_journalled_are_not_used(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        engine = lives.on.engine
        changed = replace(SETTINGS, rails=replace(SETTINGS.rails, readds_max=0))
        with BrokenStore(lives.on.store, "commit"):
            with pytest.raises(Refused):
                await engine.apply_settings(changed, {"rails.readds_max": {"old": 2, "new": 0}}, None)
            assert not engine.health().store_ok
        await lives.on.play(1)
        assert engine.settings.rails.readds_max == SETTINGS.rails.readds_max
        await engine.stop()

    run_virtual(main())


def test_a_halt_that_could_not_be_kept_stops_actions_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        with BrokenStore(lives.on.store, "commit"):
            check_envelope(await lives.post("/dtms/halt"), 503, "not_ready")
        await lives.on.play(1)
        assert lives.on.engine.health().ready
        assert lives.on.engine.status().halted
        assert (await lives.post("/dtms/halt")).status_code == 200
        await lives.crash()
        assert lives.on.engine.status().halted
        await lives.on.engine.stop()

    run_virtual(main())


def slow_commits(lives: Living, seconds: float = 2.0) -> None:
    """Let every commit take its time before it is done."""
    store: Any = lives.on.store
    commit = store.commit

    async def slow(unit: Unit) -> Any:
        await asyncio.sleep(seconds)
        return await commit(unit)

    store.commit = slow


def test_two_who_disable_one_trade_at_once_are_both_answered(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        slow_commits(lives)
        answers = await asyncio.gather(*(lives.post(f"{ONE}/disable") for _ in range(5)))
        assert [a.status_code for a in answers] == [200] * 5
        assert all(a.json()["trade_info"]["disabled"] for a in answers)
        facts = await lives.on.store.facts(kinds=frozenset({"disabled"}))
        assert len(facts) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_who_registers_while_another_disables_is_told_what_was_so(tmp_path: Path) -> None:
    """Whichever comes first, nobody is told that the broker has no such position."""

    async def main() -> None:
        lives = await begun(tmp_path)
        slow_commits(lives)
        disabling = asyncio.create_task(lives.post(f"{ONE}/disable"))
        answers = []
        for _ in range(8):
            answers.append(asyncio.create_task(lives.enable()))
            await asyncio.sleep(0.5)
        done = [await answer for answer in answers]
        assert (await disabling).status_code == 200
        assert {a.status_code for a in done} == {200}
        assert [a.json()["already_registered"] for a in done].count(False) == 1
        stored = await lives.on.store.trade(FIRST)
        assert stored is not None
        assert not stored.disabled
        assert lives.on.engine.live(FIRST) is not None
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_mode_set_while_another_disables_does_not_bring_the_trade_back(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        slow_commits(lives)
        disabling = asyncio.create_task(lives.post(f"{ONE}/disable"))
        await asyncio.sleep(0.5)
        check_envelope(await lives.post("/dtms/mode", {"mode": "observe", "ticket": FIRST}), 404, "trade_not_found")
        await disabling
        stored = await lives.on.store.trade(FIRST)
        assert stored is not None
        assert (stored.disabled, stored.mode) == (True, None)
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_crash_between_effect_and_answer_is_answered_as_it_was_done(tmp_path: Path) -> None:
    """The answer is in the commit of the registration, so the same request again is told that it was new."""

    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening("10:00:10")])
        await lives.on.play(0.5)
        store: Any = lives.on.store
        commit, stored = store.commit, asyncio.Event()

        async def last(unit: Unit) -> Any:
            ids = await commit(unit)
            if unit.create:
                stored.set()
                await asyncio.Event().wait()  # the process ends before anything can be answered
            return ids

        store.commit = last
        asking = asyncio.create_task(lives.enable(key="k"))
        await stored.wait()
        await lives.crash()
        assert asking.cancelled()
        again = await lives.enable(key="k")
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        assert again.json()["already_registered"] is False
        assert (await lives.enable()).json()["already_registered"] is True
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_batch_is_one_look_and_one_commit_also_on_the_engine(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await Living.begin(tmp_path, [opening(f"10:00:{second}") for second in range(10, 20)])
        await lives.on.play(0.6)
        units: list[Unit] = []
        looks: list[int] = []
        store, broker = lives.on.store, lives.on.broker
        commit, positions = store.commit, broker.positions

        async def counted(unit: Unit) -> Any:
            units.append(unit)
            return await commit(unit)

        async def looked(tickets: Any) -> Any:
            looks.append(len(tickets))
            return await positions(tickets)

        store.commit, broker.positions = counted, looked  # type: ignore[method-assign]
        sent = [{"ticket": FIRST + n} for n in range(10)] + [{"ticket": 5}, {"ticket": FIRST}]
        answer = await lives.post("/dtms/trades/enable", sent, key="k")
        assert answer.status_code == 207
        assert [r["status"] for r in answer.json()["results"]] == [200] * 10 + [404, 200]
        assert looks == [11]
        (unit,) = [u for u in units if u.create]
        assert (len(unit.create), len(unit.keep)) == (10, 1)
        assert (await lives.post("/dtms/trades/enable", sent, key="k")).content == answer.content
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_store_failure_is_told_without_its_inside(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        with BrokenStore(lives.on.store, "commit"):
            for path in (f"{ONE}/disable", "/dtms/halt", "/dtms/resume"):
                answer = await lives.post(path)
                assert "/var" not in str(answer.json()["message"])
                await lives.on.play(0.1)
        await lives.on.engine.stop()

    run_virtual(main())


def test_the_store_failure_seam_is_the_engines(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        lives.on.engine.note_store_failure(StoreFailed("a reader failed"))
        check_envelope(await lives.enable(), 503, "not_ready")
        await lives.on.play(0.5)
        assert (await lives.enable()).status_code == 200
        await lives.on.engine.stop()

    run_virtual(main())
