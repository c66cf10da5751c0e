"""Executions, changes, the registry and the books over HTTP: what is answered, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from tests.main_api.desk import Desk, served
from tests.planning.plot import BTCUSD
from tests.server.world import check_envelope

UNIVERSAL = "universal_sl_tp_manager"


def order(desk: Desk, **changes: Any) -> dict[str, Any]:
    body = {"symbol": BTCUSD, "direction": "buy", "volume": 0.4, "stop_loss": round(desk.plot.tick().bid - 150, 2)}
    return {name: value for name, value in (body | changes).items() if value is not ...}


WRONG: dict[str, dict[str, Any]] = {
    "neither volume nor risk": {"volume": ...},
    "both": {"risk_pct": 1.0},
    "risk without a stop": {"volume": ..., "risk_pct": 1.0, "stop_loss": None},
    "no side": {"direction": "up"},
    "an order that contradicts its side": {"order_type": "sell_limit", "entry_price": 4000.0},
    "a pending order without a price": {"order_type": "buy_limit"},
    "an unknown kind of order": {"order_type": "iceberg"},
    "a stop beyond the market": {"stop_loss": 999_999.0},
    "a target below the market": {"take_profit": 1.0},
    "no such symbol": {"symbol": "NOSUCH"},
    "no symbol at all": {"symbol": "a b"},
    "no lots": {"volume": 0},
    "more lots than the symbol has": {"volume": 1e8},
    "lots in words": {"volume": "much"},
    "an unknown strategy": {"strategy_type": "breakout_boss"},
    "a confidence beyond all": {"confidence": 1e9},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(tmp_path: Path, wrong: str) -> None:
    async def scene(desk: Desk) -> None:
        answer = await desk.ask("POST", "/mt5/execute", json=order(desk, **WRONG[wrong]))
        check_envelope(answer, 422, "invalid_request")
        assert not desk.plot.positions()
        assert await desk.plot.store.intents() == []

    served(tmp_path, scene)


def test_a_position_is_executed_changed_and_closed(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        done = (await desk.ask("POST", "/mt5/execute", json=order(desk, reasoning="a test", action="ignored"))).json()
        assert done["success"]
        assert done["ok"]
        ticket, stop = done["order_id"], done["stop_loss"]
        assert done["protection"] == {"manager": "dtms_manager", "registered": False, "queued": True}

        (shown,) = (await desk.get("/api/v1/positions"))["positions"]
        assert (shown["ticket"], shown["type"], shown["sl"], shown["tp"]) == (ticket, 0, stop, None)
        moved = await desk.ask("POST", "/mt5/modify_position", json={"ticket": ticket, "stop_loss": stop + 20})
        assert moved.status_code == 200, moved.text
        assert moved.json()["old"] == {"stop_loss": stop, "take_profit": None}
        assert moved.json()["new"] == {"stop_loss": stop + 20, "take_profit": None}
        looser = await desk.ask("POST", "/mt5/modify_position", json={"ticket": ticket, "stop_loss": stop})
        assert looser.status_code in (409, 422), looser.text
        by_hand = {"ticket": ticket, "stop_loss": stop, "override": True}
        assert (await desk.ask("POST", "/mt5/modify_position", json=by_hand)).status_code == 200

        part = await desk.ask("POST", "/mt5/close_position", json={"ticket": ticket, "volume": 0.1})
        assert (part.json()["volume"], part.json()["left"]) == (0.1, 0.3)
        rest = await desk.ask("POST", "/mt5/close_position", json={"ticket": ticket, "reason": "enough"})
        assert rest.json()["left"] == 0.0
        gone = await desk.ask("POST", "/mt5/close_position", json={"ticket": ticket})
        check_envelope(gone, 404, "not_found")

    served(tmp_path, scene)


def test_a_program_takes_part_with_a_lease_of_its_own(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        ticket = (await desk.ask("POST", "/mt5/execute", json=order(desk))).json()["order_id"]
        path = f"/trade-registry/{ticket}/lease"
        leased = (await desk.ask("POST", path, json={"holder": "my-bot"})).json()
        assert leased["success"]
        token, stop = leased["token"], leased["current_stop"]
        check_envelope(await desk.ask("POST", path, json={"holder": "another"}), 409, "lease_held")
        assert (await desk.get(f"/trade-registry/{ticket}?fresh=true"))["lease"]["left_s"] > 0

        change = {"ticket": ticket, "stop_loss": stop + 10}
        check_envelope(await desk.ask("POST", "/mt5/modify_position", json=change), 409, "lease_held")
        wrong = await desk.ask("POST", "/mt5/modify_position", json=change | {"lease_token": token + 5})
        assert wrong.status_code == 409, wrong.text
        assert (await desk.ask("POST", "/mt5/modify_position", json=change | {"lease_token": token})).status_code == 200
        renewed = await desk.ask("POST", path, json={"holder": "my-bot", "token": token})
        assert renewed.json()["token"] == token
        back = await desk.ask("DELETE", f"{path}?holder=my-bot&token={token}", headers={"Content-Type": ""})
        assert back.status_code == 200, "it has no body, so it needs no type of one"
        assert (await desk.ask("POST", path, json={"holder": "another"})).status_code == 200

    served(tmp_path, scene)


def test_the_registry_changes_hands_only_from_the_owner_that_is_expected(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        unknown = await desk.get("/trade-registry/4711")
        assert (unknown["managed_by"], unknown["breakeven_triggered"]) == ("", False)
        body = order(desk, strategy_type="default_standard")
        ticket = (await desk.ask("POST", "/mt5/execute", json=body)).json()["order_id"]
        path = f"/trade-registry/{ticket}"
        assert (await desk.get(path))["managed_by"] == UNIVERSAL
        free = {"managed_by": "", "expected": "dtms_manager"}
        check_envelope(await desk.ask("PUT", path, json=free), 409, "conflict")
        known = free | {"expected": UNIVERSAL}
        check_envelope(await desk.ask("PUT", path, json=known), 409, "owned_by_other_manager")
        done = await desk.ask("PUT", path, json=known | {"override": True})
        assert done.status_code == 200, done.text
        assert (await desk.get(path))["managed_by"] == ""
        odd = await desk.ask("PUT", path, json={"managed_by": "somebody"})
        check_envelope(odd, 422, "invalid_request")

    served(tmp_path, scene)


def test_books_prices_and_bars_are_shown_and_dtms_is_said_to_be_away(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        assert (await desk.get("/api/v1/account"))["equity"] > 0
        assert (await desk.get("/api/v1/orders"))["orders"] == []
        quote = await desk.get(f"/api/v1/price/{BTCUSD}")
        assert quote["ask"] > quote["bid"] > 0
        bars = (await desk.get(f"/api/v1/candles/{BTCUSD}/m15?limit=5"))["candles"]
        assert len(bars) == 5
        assert [b["epoch"] for b in bars] == sorted(b["epoch"] for b in bars)
        check_envelope(await desk.ask("GET", f"/api/v1/candles/{BTCUSD}/M7"), 422, "invalid_request")
        check_envelope(await desk.ask("GET", f"/api/v1/candles/{BTCUSD}/M5?limit=0"), 422, "invalid_request")
        for path in ("status", "trade/7", "actions"):
            away = await desk.ask("GET", f"/api/dtms/{path}")
            check_envelope(away, 503, "dtms_unavailable")
            assert away.headers["retry-after"]

    served(tmp_path, scene)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/mt5/execute"), ("DELETE", "/auto-execution/plans/x"), ("DELETE", "/mt5/intelligent_exits/7")],
)
@pytest.mark.parametrize("header", [{"Origin": "https://example.com"}, {"Host": "example.com"}])
def test_no_web_page_can_trade(tmp_path: Path, method: str, path: str, header: dict[str, str]) -> None:
    async def scene(desk: Desk) -> None:
        check_envelope(await desk.ask(method, path, headers=header), 403, "forbidden")
        if method == "POST":
            plain = await desk.ask(method, path, headers={"Content-Type": "text/plain"})
            check_envelope(plain, 415, "unsupported_media_type")

    served(tmp_path, scene)
