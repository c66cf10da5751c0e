"""What is answered before the first recovery, while unready, and after a failure."""

import asyncio

import pytest
from tests.server.double import FAILED, START_MS, STARTING, UNREADY, trade_of
from tests.server.world import World, check_envelope

from dtms.execute.service import Registration

ALWAYS = ["/", "/docs", "/openapi.json", "/assets/style.css"]
READS = ["/dtms/status", "/dtms/trade/42", "/dtms/trades", "/dtms/trade/42/history", "/dtms/trade/42/explain"]
READS += ["/dtms/actions", "/dtms/engine"]
CHANGES = ["/dtms/trade/42/disable", "/dtms/trade/enable"]
CONTROLS = ["/dtms/resume", "/dtms/initialize"]


def test_before_the_first_recovery_only_pages_health_and_halt_answer(world: World) -> None:
    world.service.state = STARTING

    async def run() -> None:
        for path in ALWAYS:
            assert (await world.ask("GET", path)).status_code == 200, path
        assert (await world.ask("POST", "/dtms/halt")).status_code == 200
        for path in READS:
            check_envelope(await world.ask("GET", path), 503, "not_ready")
        for path in [*CHANGES, *CONTROLS, "/dtms/mode", "/dtms/config/reload"]:
            answer = await world.ask("POST", path, json={"ticket": 42, "mode": "auto"})
            check_envelope(answer, 503, "not_ready")
            assert int(answer.headers["retry-after"]) > 0

    asyncio.run(run())
    assert world.service.halted
    assert world.store.rows == {}
    assert world.store.reads == 0


def test_health_tells_the_step_while_starting(world: World) -> None:
    world.service.state = STARTING
    liveness = check_envelope(asyncio.run(world.ask("GET", "/health")), 503, "not_ready")
    assert (liveness["status"], liveness["dtms_initialized"]) == ("unhealthy", False)
    readiness = check_envelope(asyncio.run(world.ask("GET", "/dtms/health")), 503, "not_ready")
    assert (readiness["step"], readiness["ready"], readiness["broker_connected"]) == ("broker", False, False)
    assert "broker" in readiness["message"]


def test_health_is_500_when_initialisation_failed(world: World) -> None:
    world.service.state = FAILED
    body = check_envelope(asyncio.run(world.ask("GET", "/dtms/health")), 500, "initialization_failed")
    assert body["failure"] == "the broker did not answer within 300 s"
    assert body["dtms_initialized"] is False
    check_envelope(asyncio.run(world.ask("GET", "/health")), 503, "not_ready")


def test_health_when_ready_has_all_its_keys(world: World) -> None:
    liveness = asyncio.run(world.get("/health"))
    assert {"status": "healthy", "dtms_initialized": True, "dtms_available": True}.items() <= liveness.items()
    assert liveness["timestamp"] == "2025-09-26T16:45:00.000Z"
    readiness = asyncio.run(world.get("/dtms/health"))
    assert readiness.keys() >= {
        "dtms_initialized",
        "monitoring_active",
        "active_trades",
        "ready",
        "broker_connected",
        "store_ok",
        "reasons",
        "timestamp",
    }


def test_while_unready_reads_come_from_the_store_and_say_so(world: World) -> None:
    async def run() -> None:
        await world.enable(42)
        world.store.rows[42] = trade_of(Registration(ticket=42, stop=1.08), START_MS)
        assert (await world.get("/dtms/trade/42"))["trade_info"]["sl"] == 1.09
        world.service.state = UNREADY
        for path in READS:
            assert (await world.get(path))["stale"] is True, path
        stored = await world.get("/dtms/trade/42")
        assert stored["trade_info"]["sl"] == 1.08
        assert stored["trade_info"]["current_price"] is None
        assert any("not ready" in warning for warning in stored["trade_info"]["warnings"])

    asyncio.run(run())


def test_while_unready_registrations_and_actions_wait_and_controls_work(world: World) -> None:
    world.service.state = UNREADY

    async def run() -> None:
        for path in CHANGES:
            check_envelope(await world.ask("POST", path, json={"ticket": 42}), 503, "not_ready")
        for path in [*CONTROLS, "/dtms/mode"]:
            assert (await world.ask("POST", path, json={"mode": "auto"})).status_code == 200, path

    asyncio.run(run())
    assert world.store.rows == {}


@pytest.mark.parametrize(("age_s", "status"), [(0.1, 200), (90.0, 200), (90.1, 503)])
def test_a_loop_later_than_three_intervals_is_unhealthy(world: World, age_s: float, status: int) -> None:
    world.service.loop_age_s = age_s
    answer = asyncio.run(world.ask("GET", "/dtms/monitoring/health"))
    assert answer.status_code == status
    assert answer.json()["status"] == ("healthy" if status == 200 else "unhealthy")
    assert answer.json()["loop_age_s"] == age_s


def test_initialising_again_shows_the_status_or_why_it_failed(world: World) -> None:
    answer = asyncio.run(world.ask("POST", "/dtms/initialize"))
    assert answer.json()["dtms_status"]["system_active"] is True
    world.service.state = FAILED.__class__(**{f: getattr(FAILED, f) for f in FAILED.__slots__} | {"recovered": True})
    check_envelope(asyncio.run(world.ask("POST", "/dtms/initialize")), 500, "initialization_failed")
