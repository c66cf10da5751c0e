"""Who manages which trade, on real programs: the gateway, the DTMS server and the main API over one store."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.arbitration.conftest import MakeSite
from tests.program.past import PLAYED, demo_day, play_past
from tests.program.running import BTCUSD, EURUSD, Site, market, wait_until

UNIVERSAL, DTMS = "universal_sl_tp_manager", "dtms_manager"


@pytest.fixture(scope="module")
def all_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("three"), market("2017-10-02T07:00Z"))
    try:
        site.start_all()
        yield site
    finally:
        site.close()


def executed(site: Site, **body: Any) -> dict[str, Any]:
    sent = {"symbol": EURUSD, "direction": "buy", "volume": 0.4, "stop_loss": 1.15, **body}
    answer = site.main.post("/mt5/execute", json=sent)
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    assert done["ok"]
    return done


def manager(site: Site, ticket: int) -> str:
    answer = site.main.get(f"/trade-registry/{ticket}", params={"fresh": "true"})
    assert answer.status_code == 200
    return str(answer.json()["managed_by"])


def test_a_trade_with_a_strategy_is_the_universal_managers_and_dtms_refuses_it_with_the_owners_name(
    all_three: Site,
) -> None:
    done = executed(all_three, strategy_type="breakout_bos")
    ticket = done["order_id"]
    assert done["protection"] == {"manager": UNIVERSAL, "registered": True, "queued": False}
    assert manager(all_three, ticket) == UNIVERSAL
    refused = all_three.post("/dtms/trade/enable", {"ticket": ticket})
    assert refused.status_code == 409
    assert refused.json()["error"] == "owned_by_other_manager"
    assert UNIVERSAL in str(refused.json()["details"])
    time.sleep(3)  # the watcher has looked at it several times
    assert all_three.status_of(f"/dtms/trade/{ticket}") == 404

    beside = all_three.done("/dtms/trade/enable", {"ticket": ticket, "alongside": True})
    assert beside["success"]
    assert manager(all_three, ticket) == UNIVERSAL, "the owner stays"

    other = executed(all_three, strategy_type="default_standard")["order_id"]
    all_three.done("/dtms/trade/enable", {"ticket": other, "takeover": True})
    assert manager(all_three, other) == DTMS


def test_a_pending_order_that_fills_goes_where_its_strategy_says(make_site: MakeSite) -> None:
    """Nobody waits for its answer any more when it fills: the watcher finds what it became."""
    site = make_site(market("2017-10-02T07:00Z", rate=120))
    site.start_all()
    with site.trader() as trader:
        quote = trader.quote(BTCUSD)
    above, below = round(quote["ask"] + 8, 2), round(quote["bid"] - 8, 2)
    ways = {"buy": ("buy_stop", above, round(above * 0.9, 2)), "sell": ("sell_stop", below, round(below * 1.1, 2))}

    def place(direction: str, **more: str) -> int:
        order_type, price, stop = ways[direction]
        sent = {"symbol": BTCUSD, "order_type": order_type, "entry_price": price, "stop_loss": stop, "volume": 0.1}
        return int(executed(site, direction=direction, **sent, **more)["order_id"])

    theirs = {place(direction, strategy_type="default_standard") for direction in ways}
    ours = {place(direction) for direction in ways}

    def positions() -> dict[int, str]:
        shown = site.main.get("/api/v1/positions").json()["positions"]
        return {p["ticket"]: p["managed_by"] for p in shown}

    wait_until(lambda: bool(theirs & positions().keys()) and bool(ours & positions().keys()), "some fill", within_s=90)
    universal, dtms = min(theirs & positions().keys()), min(ours & positions().keys())
    wait_until(lambda: positions().get(universal) == UNIVERSAL, "Universal has it", within_s=20)
    wait_until(lambda: positions().get(dtms) == DTMS, "DTMS has it", within_s=20)
    assert site.main.get(f"/universal/trades/{universal}").status_code == 200
    assert site.status_of(f"/dtms/trade/{universal}") == 404


def test_an_unknown_strategy_is_refused_with_the_names_that_there_are(all_three: Site) -> None:
    sent = {"symbol": EURUSD, "direction": "buy", "volume": 0.4, "stop_loss": 1.15, "strategy_type": "breakout_boss"}
    before = len(all_three.main.get("/api/v1/positions").json()["positions"])
    answer = all_three.main.post("/mt5/execute", json=sent)
    assert answer.status_code == 422, answer.text
    assert "breakout_bos" in answer.text
    assert len(all_three.main.get("/api/v1/positions").json()["positions"]) == before


def test_a_trade_without_a_strategy_is_dtms_s(all_three: Site) -> None:
    begun = time.monotonic()
    done = executed(all_three)
    assert time.monotonic() - begun < 2, "its registration is nothing that it waits for"
    ticket = done["order_id"]
    assert done["protection"]["manager"] == DTMS
    wait_until(lambda: all_three.status_of(f"/dtms/trade/{ticket}") == 200, "registered", within_s=5)
    assert manager(all_three, ticket) == DTMS


def test_a_position_of_a_hand_is_found_within_two_seconds_and_another_programs_is_left_alone(all_three: Site) -> None:
    with all_three.trader() as trader:
        ticket = trader.open(BTCUSD, "BUY", 0.1)
        begun = time.monotonic()
        wait_until(lambda: all_three.status_of(f"/dtms/trade/{ticket}") == 200, "found", within_s=10)
        taken_s = time.monotonic() - begun
        quote = trader.quote(EURUSD)
        result = trader.send(action=1, symbol=EURUSD, volume=0.2, type=0, price=quote["ask"], sl=1.1, magic=4711)
    assert taken_s < 4, "two seconds to find it, and what a loaded machine takes to register it"
    assert all_three.trade(ticket)["trade_info"]["owner"] == DTMS
    robot = int(result["order"])
    time.sleep(3)
    assert all_three.status_of(f"/dtms/trade/{robot}") == 404
    assert manager(all_three, robot) == ""


def test_hedges_are_nobodys_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("hedged"), demo_day(), **PLAYED)
    try:
        play_past(site)
        site.start_all()
        shown = site.main.get("/api/v1/positions").json()["positions"]
        family = {p["ticket"]: p["of_trade"] for p in shown if p["of_trade"] is not None}
        assert family, "a hedge is open"
        watched = {t["ticket"] for t in site.get("/dtms/trades", limit=500)["trades"]}
        assert not watched & family.keys()
        assert set(family.values()) <= watched
        for ticket, trade in family.items():
            for refused in (
                site.post("/dtms/trade/enable", {"ticket": ticket}),
                site.main.post(f"/trade-registry/{ticket}/lease", json={"holder": "my-bot"}),
                site.main.post("/mt5/modify_position", json={"ticket": ticket, "stop_loss": 1.0}),
                site.main.put(
                    f"/trade-registry/{ticket}", json={"managed_by": UNIVERSAL, "strategy_type": "breakout_bos"}
                ),
            ):
                assert refused.status_code == 409, refused.text
                assert refused.json()["error"] == "conflict"
                assert str(trade) in refused.text
        time.sleep(3)
        assert {t["ticket"] for t in site.get("/dtms/trades", limit=500)["trades"]} == watched
    finally:
        site.close()
