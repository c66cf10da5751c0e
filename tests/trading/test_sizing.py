"""A share of the equity becomes lots: never more than was to be risked, whatever the symbol is quoted in."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.replay.windows import BALANCE
from tests.trading.house import BTCUSD, EURUSD, FX, MARKET, House, in_house, refusal

from dtms.domain.actions import OrderWay
from dtms.domain.market import Side
from dtms.domain.prices import ZERO
from dtms.execute.trading.requests import Execution

RISKING = Execution(symbol=BTCUSD, side=Side.LONG, risk_pct=0.1)


@pytest.mark.parametrize(("window", "symbol", "distance"), [(MARKET, BTCUSD, 120.0), (FX, EURUSD, 0.0041)])
@pytest.mark.parametrize("side", list(Side))
def test_the_stop_of_a_sized_position_costs_at_most_the_share_and_one_step_more_would_cost_more(
    tmp_path: Path, window: object, symbol: str, distance: float, side: Side
) -> None:
    async def scene(house: House) -> None:
        tick = house.tick()
        stop = (tick.bid if side is Side.LONG else tick.ask) - side.sign * distance
        done = await house.trading.execute(replace(RISKING, symbol=symbol, side=side, stop=stop))
        assert done.ok
        assert done.price is not None
        assert done.stop is not None
        lost = -await house.broker.profit(symbol, side, done.volume, done.price, done.stop)
        instrument = await house.broker.instrument(symbol)
        assert instrument is not None
        step = lost / float(done.volume) * float(instrument.volume_step)
        risked = BALANCE * 0.001
        assert lost <= risked * 1.001  # the equity of the look, and the price of the fill
        assert lost + step > risked * 0.999
        assert done.volume % instrument.volume_step == ZERO
        assert done.sizing["risk_money"] == pytest.approx(risked, rel=1e-3)

    in_house(tmp_path, scene, window=window)


def test_what_is_too_small_is_refused_with_the_share_that_the_smallest_volume_risks(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        error = await refusal(house.trading.execute(replace(RISKING, risk_pct=1e-5, stop=house.tick().bid - 500)))
        assert error.details["rule"] == "risk_sizing"
        assert error.details["min"] == 0.01
        assert 0 < float(str(error.details["exact_volume"])) < 0.01
        assert "below the minimum" in error.message

    in_house(tmp_path, scene)


def test_a_pending_order_is_sized_from_its_own_price(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        bid = house.tick().bid
        request = replace(RISKING, way=OrderWay.LIMIT, entry=bid - 200, stop=bid - 300)
        done = await house.trading.execute(request)
        assert done.stop is not None
        lost = -await house.broker.profit(BTCUSD, Side.LONG, done.volume, round(bid - 200, 2), done.stop)
        assert BALANCE * 0.00099 < lost <= BALANCE * 0.001 + 1e-6
        assert done.volume > Decimal(1)

    in_house(tmp_path, scene)
