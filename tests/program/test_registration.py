"""Registration over real HTTP: durable, one trade per position, the broker's word against the request's."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.program.conftest import MakeSite
from tests.program.running import BTCUSD, EURUSD, Site, Trader

ENABLE = "/dtms/trade/enable"
ENVELOPE = {"success", "error", "message", "summary", "details", "correlation_id"}


@pytest.fixture
def trader(calm: Site) -> Iterator[Trader]:
    with calm.trader() as trader:
        yield trader


def test_a_position_is_registered_with_what_the_broker_holds(calm: Site, trader: Trader) -> None:
    ticket = trader.open(EURUSD, "SELL", 0.3)
    (held,) = [p for p in trader.positions() if p["ticket"] == ticket]
    answer = calm.done(ENABLE, {"ticket": ticket, "strategy_type": "breakout"})
    assert answer["already_registered"] is False
    assert answer["adjusted"] == {}
    info = answer["trade_info"]
    assert (info["ticket"], info["symbol"], info["direction"], info["state"]) == (ticket, EURUSD, "SELL", "HEALTHY")
    assert (info["entry_price"], info["volume"], info["stop_loss"]) == (held["price_open"], 0.3, held["sl"])
    assert info["risk"] == pytest.approx(held["sl"] - held["price_open"])
    (memory,) = calm.rows("SELECT memory FROM trades WHERE ticket = ?", ticket)[0]
    assert json.loads(memory)["strategy_type"] == "breakout"


def test_a_registration_answered_200_survives_a_kill_in_the_same_moment(make_site: MakeSite) -> None:
    site = make_site()
    _, server = site.start()
    with site.trader() as trader:
        ticket = trader.open(BTCUSD)
    answer = site.done(ENABLE, {"ticket": ticket})
    server.kill()
    assert site.rows("SELECT state FROM trades WHERE ticket = ?", ticket) == [("HEALTHY",)]
    again = site.start_server()
    site.wait_ready(again)
    info = site.trade(ticket)["trade_info"]
    assert {name: info[name] for name in answer["trade_info"]} == answer["trade_info"]
    # In order that nothing of the killed server's lock, lease or log is left behind:
    assert site.done(ENABLE, {"ticket": ticket})["already_registered"] is True
    assert again.interrupt() == 0


def test_a_hundred_simultaneous_registrations_make_one_trade(calm: Site, trader: Trader) -> None:
    ticket = trader.open(BTCUSD)
    bodies = [{"ticket": ticket}, {"ticket": str(ticket), "action": "enable"}]

    def register(number: int) -> bool:
        with httpx.Client(base_url=calm.http.base_url, trust_env=False, timeout=30) as client:
            answer = client.post(ENABLE, json=bodies[number % 2])
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["already_registered"])

    with ThreadPoolExecutor(100) as threads:
        already = list(threads.map(register, range(100)))
    assert already.count(False) == 1
    assert calm.rows("SELECT count(*) FROM trades WHERE ticket = ?", ticket) == [(1,)]
    facts = calm.rows("SELECT count(*) FROM facts WHERE ticket = ? AND kind = 'registered'", ticket)
    assert facts == [(1,)]


def test_the_broker_wins_over_what_was_sent_and_the_answer_says_so(calm: Site, trader: Trader) -> None:
    ticket = trader.open(EURUSD, "BUY", 0.2)
    (held,) = [p for p in trader.positions() if p["ticket"] == ticket]
    body = {"ticket": str(ticket), "symbol": EURUSD, "direction": "buy", "entry_price": 1.2345, "volume": 0.5}
    answer = calm.done(ENABLE, body | {"stop_loss": 0, "take_profit": 1.3, "action": "enable", "note": [1, {}]})
    assert answer["adjusted"] == {
        "entry": {"sent": 1.2345, "used": held["price_open"]},
        "volume": {"sent": 0.5, "used": 0.2},
        "take_profit": {"sent": 1.3, "used": None},
    }
    assert answer["trade_info"]["stop_loss"] == held["sl"]
    repeated = calm.done(ENABLE, {"ticket": ticket, "volume": 0.9})
    assert repeated["already_registered"] is True
    assert repeated["adjusted"] == {"volume": {"sent": 0.9, "used": 0.2}}


def test_a_position_without_a_stop_gets_a_nominal_r_and_a_warning(calm: Site, trader: Trader) -> None:
    ticket = trader.open(EURUSD, "BUY", 0.1, away=None)
    info = calm.done(ENABLE, {"ticket": ticket})["trade_info"]
    assert info["nominal_risk"] is True
    assert info["stop_loss"] is None
    assert 0 < info["risk"] < 0.01
    assert any("without a stop" in warning for warning in calm.trade(ticket)["trade_info"]["warnings"])


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown ticket": ({"ticket": 999_999_999}, 404, "position_not_found"),
    "another symbol": ({"symbol": "GBPUSD.m"}, 409, "conflict"),
    "another direction": ({"direction": "SELL"}, 409, "conflict"),
    "a suffix in another case": ({"symbol": "EURUSD.M"}, 409, "conflict"),
    "entry far away": ({"entry": 2.4}, 422, "invalid_request"),
    "stop far away": ({"stop_loss": 0.4}, 422, "invalid_request"),
    "volume above the maximum": ({"volume": 5_000.0}, 422, "invalid_request"),
    "no ticket": ({"ticket": None}, 422, "invalid_request"),
    "ticket 0": ({"ticket": 0}, 422, "invalid_request"),
    "ticket too large": ({"ticket": 2**63}, 422, "invalid_request"),
    "ticket in words": ({"ticket": "forty-two"}, 422, "invalid_request"),
    "ticket with a fraction": ({"ticket": 1.5}, 422, "invalid_request"),
    "negative volume": ({"volume": -0.1}, 422, "invalid_request"),
    "zero entry": ({"entry": 0}, 422, "invalid_request"),
    "negative stop": ({"stop_loss": -1.1}, 422, "invalid_request"),
    "a price in quotes": ({"entry": "1.17"}, 422, "invalid_request"),
    "no such direction": ({"direction": "UP"}, 422, "invalid_request"),
    "a symbol that is none": ({"symbol": "EUR/USD; DROP TABLE trades"}, 422, "invalid_request"),
    "no such mode": ({"mode": "reckless"}, 422, "invalid_request"),
    "a mode without approvals": ({"mode": "advise"}, 422, "invalid_request"),
}
RAW: dict[str, tuple[bytes, str, int]] = {
    "not JSON": (b"{ticket: 1", "application/json", 400),
    "a NaN": (b'{"ticket": 1, "entry": NaN}', "application/json", 422),
    "a list": (b"[1]", "application/json", 422),
    "a form of a web page": (b"ticket=1", "text/plain", 415),
    "too long": (b'{"ticket": 1, "note": "' + b"x" * 70_000 + b'"}', "application/json", 413),
}


def test_what_is_refused_is_told_in_the_envelope_and_changes_no_row(calm: Site, trader: Trader) -> None:
    ticket = trader.open(EURUSD, "BUY", 0.1)
    before = calm.dump()
    for name, (body, status, error) in REFUSED.items():
        answer = calm.post(ENABLE, {"ticket": ticket, **body})
        assert (answer.status_code, answer.json()["error"]) == (status, error), f"{name}: {answer.text}"
        assert answer.json().keys() == ENVELOPE, name
        assert answer.json()["correlation_id"] == answer.headers["X-Correlation-ID"]
    for name, (content, kind, status) in RAW.items():
        answer = calm.http.post(ENABLE, content=content, headers={"Content-Type": kind})
        assert answer.status_code == status, f"{name}: {answer.text}"
        assert answer.json().keys() == ENVELOPE, name
    assert calm.dump() == before
    assert calm.post(ENABLE, {"ticket": ticket}).status_code == 200, "the same position itself is registered"
