"""What is refused before anything is sent: each with its code, its rule and its figures."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.trading.house import BTCUSD, EURUSD, FX, House, in_house, refusal

from dtms.domain.actions import OrderWay
from dtms.domain.calendar import Release
from dtms.domain.market import Side
from dtms.execute.trading.requests import Execution
from dtms.execute.trading.service import Code

BUY = Execution(symbol=BTCUSD, side=Side.LONG, volume=Decimal("0.1"))
SELL = replace(BUY, side=Side.SHORT)


def impossible(tick: Any) -> dict[str, Execution]:
    """Requests that make no sense on a market, with a stops level of 100 points (1.00), by what refuses them."""
    bid, ask = tick.bid, tick.ask
    return {
        "wrong_side: a BUY's stop above the bid": replace(BUY, stop=ask + 5),
        "wrong_side: a SELL's stop below the ask": replace(SELL, stop=bid - 5),
        "wrong_side: a BUY's target below the bid": replace(BUY, target=bid - 5),
        "wrong_side: a SELL's target above the ask": replace(SELL, target=ask + 5),
        "stops_level: a stop too near": replace(BUY, stop=bid - 0.5),
        "stops_level: a target too near": replace(SELL, target=ask - 0.5),
        "far_price: a stop that means something else": replace(BUY, stop=bid / 3),
        "no_price: not a number": replace(BUY, stop=float("nan")),
        "no_price: a negative stop": replace(BUY, stop=-1.0),
        "wrong_side: a buy limit above the market": replace(BUY, way=OrderWay.LIMIT, entry=ask + 5),
        "wrong_side: a sell limit below the market": replace(SELL, way=OrderWay.LIMIT, entry=bid - 5),
        "wrong_side: a buy stop below the market": replace(BUY, way=OrderWay.STOP, entry=ask - 5),
        "wrong_side: a sell stop above the market": replace(SELL, way=OrderWay.STOP, entry=bid + 5),
        "stops_level: an entry too near": replace(BUY, way=OrderWay.LIMIT, entry=ask - 0.5),
        "wrong_side: a stop beyond its own entry": replace(BUY, way=OrderWay.LIMIT, entry=ask - 50, stop=ask - 40),
        "None: a pending order without a price": replace(BUY, way=OrderWay.LIMIT),
        "volume: below the minimum": replace(BUY, volume=Decimal("0.001")),
        "volume: above the maximum": replace(BUY, volume=Decimal(1000)),
        "volume: off the step": replace(BUY, volume=Decimal("0.105")),
        "volume_or_risk: neither": replace(BUY, volume=None),
        "volume_or_risk: both": replace(BUY, risk_pct=1.0),
        "risk_pct: more than everything": replace(BUY, volume=None, risk_pct=101.0, stop=bid - 50),
        "risk_sizing: without a stop": replace(BUY, volume=None, risk_pct=1.0),
        "risk_sizing: below the minimum": replace(BUY, volume=None, risk_pct=0.00001, stop=bid - 50),
        "unknown_symbol: another market": replace(BUY, symbol="NOSUCH"),
        "unknown_strategy: a word that is none": replace(BUY, strategy_type="breakout_boss"),
        "margin: more than is free": replace(BUY, volume=Decimal(10)),
    }


def test_what_is_impossible_is_refused_with_its_rule_and_nothing_is_sent(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        found = {}
        for name, request in impossible(house.tick()).items():
            error = await refusal(house.trading.execute(request))
            assert error.code is Code.INVALID, name
            found[name] = error.details.get("rule")
        assert {name: str(rule) for name, rule in found.items()} == {name: name.partition(":")[0] for name in found}
        assert house.terminal.sent == []
        assert await house.store.intents() == []

    in_house(tmp_path, scene, stops_level_points=100, account={"balance": 50.0})


@pytest.mark.parametrize(
    ("trade_mode", "refused"), [(0, ("BUY", "SELL")), (1, ("SELL",)), (2, ("BUY",)), (3, ("BUY", "SELL")), (4, ())]
)
def test_a_symbol_is_opened_only_on_the_sides_that_its_trade_mode_lets(
    tmp_path: Path, trade_mode: int, refused: tuple[str, ...]
) -> None:
    async def scene(house: House) -> None:
        for request in (BUY, SELL):
            if request.side.direction in refused:
                error = await refusal(house.trading.execute(request))
                assert error.code is Code.INVALID
                assert error.details["trade_mode"] == error.details["rule"]
            else:
                assert (await house.trading.execute(request)).ok
        assert len(house.terminal.sent) == 2 - len(refused)

    in_house(tmp_path, scene, trade_mode=trade_mode)


def test_a_halt_stops_every_opening(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.halt()
        for request in (BUY, replace(BUY, way=OrderWay.LIMIT, entry=house.tick().bid - 50)):
            assert (await refusal(house.trading.execute(request))).code is Code.HALTED
        assert house.terminal.sent == []

    in_house(tmp_path, scene)


def test_a_closed_market_is_explained_in_words_with_its_code(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        assert (await house.trading.execute(replace(BUY, symbol=EURUSD))).ok
        await house.play(24 * 60)  # from Friday into Saturday
        error = await refusal(house.trading.execute(replace(BUY, symbol=EURUSD)))
        assert error.code is Code.BROKER_REFUSED
        assert error.details["retcode"] == 10018
        assert "market is closed" in error.message

    in_house(tmp_path, scene, window=FX)


def test_a_spread_spike_stops_a_market_order_of_anybody(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        assert (await house.trading.execute(BUY)).ok
        house.fault("wide_spread", factor=20.0)
        error = await refusal(house.trading.execute(BUY))
        assert error.details["rule"] == "spread_spike"
        assert len(house.terminal.sent) == 1

    in_house(tmp_path, scene)


def test_only_plans_stop_for_the_news(tmp_path: Path) -> None:
    release = Release(time_ms=1_510_305_000_000, currency="USD", impact="high", event="Payrolls")

    async def scene(house: House) -> None:
        assert (await house.trading.execute(BUY)).ok
        error = await refusal(house.trading.execute(BUY, guarded=True))
        assert error.details["rule"] == "news"
        assert "Payrolls" in error.message
        assert len(house.terminal.sent) == 1

    in_house(tmp_path, scene, releases=(release,))
