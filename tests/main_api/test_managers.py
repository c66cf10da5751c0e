"""The managers over HTTP: given and taken positions, what they see, and what they did."""

from pathlib import Path

from tests.main_api.desk import Desk, served
from tests.planning.plot import BTCUSD
from tests.server.world import check_envelope


async def opened(desk: Desk) -> int:
    """Execute a position for the Universal manager."""
    tick = desk.plot.tick()
    body = {"symbol": BTCUSD, "direction": "BUY", "volume": 0.4, "stop_loss": tick.bid - 150.0}
    answer = await desk.ask("POST", "/mt5/execute", json=body | {"strategy_type": "breakout_ib_volatility_trap"})
    assert answer.status_code == 200, answer.text
    await desk.plot.play(0.2)
    return int(answer.json()["order_id"])


def test_a_position_of_the_universal_manager_is_shown_explained_and_let_go(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        ticket = await opened(desk)
        (listed,) = (await desk.get("/universal/trades"))["trades"]
        assert (listed["ticket"], listed["managed_by"]) == (ticket, "universal_sl_tp_manager")
        shown = (await desk.get(f"/universal/trades/{ticket}"))["trade"]
        assert shown["rules"]["strategy_type"] == "breakout_ib_volatility_trap"
        assert shown["rules"]["timeframe"] == "M5"
        assert shown["r_multiple"] is not None
        assert (await desk.get(f"/universal/trades/{ticket}/explain"))["explained"]
        again = await desk.ask(
            "POST", "/universal/trades", json={"ticket": ticket, "strategy_type": "breakout_ib_volatility_trap"}
        )
        assert again.status_code == 200, again.text
        gone = await desk.ask("DELETE", f"/universal/trades/{ticket}")
        assert gone.status_code == 200, gone.text
        check_envelope(await desk.ask("GET", f"/universal/trades/{ticket}"), 404, "not_found")
        assert ticket in desk.plot.positions()

    served(tmp_path, scene)


def test_an_unknown_strategy_or_position_is_refused(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        ticket = await opened(desk)
        odd = {"ticket": ticket, "strategy_type": "nonsense"}
        check_envelope(await desk.ask("POST", "/universal/trades", json=odd), 422, "invalid_request")
        check_envelope(await desk.ask("POST", "/universal/trades", json={"ticket": 7}), 404, "not_found")
        check_envelope(await desk.ask("POST", "/mt5/intelligent_exits/7", json={}), 404, "not_found")
        check_envelope(await desk.ask("DELETE", f"/mt5/intelligent_exits/{ticket}"), 404, "not_found")
        names = [s["strategy_type"] for s in (await desk.get("/universal/strategies"))["strategies"]]
        assert len(names) == 18

    served(tmp_path, scene)


def test_profit_protection_is_switched_on_and_off_with_its_history(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        ticket = await opened(desk)
        path = f"/mt5/intelligent_exits/{ticket}"
        for _ in range(2):
            on = await desk.ask("POST", path, json={})
            assert on.status_code == 200, on.text
        (listed,) = (await desk.get("/mt5/intelligent_exits/status"))["trades"]
        assert listed["ticket"] == ticket
        history = await desk.get(f"/mt5/intelligent_exits/history/{ticket}")
        assert [entry["kind"] for entry in history["history"]] == ["managed"]
        assert (await desk.get("/mt5/intelligent_exits/statistics"))["statistics"]["active"] == 1
        off = await desk.ask("DELETE", path)
        assert off.status_code == 200, off.text
        assert (await desk.get("/mt5/intelligent_exits/status"))["trades"] == []

    served(tmp_path, scene)
