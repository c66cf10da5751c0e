"""An account that several managers share, played once: executions, a person, Universal, Intelligent Exit and DTMS.

In a falling market the Universal manager leads a short position that an execution opened, DTMS defends a long one of
its own and stands beside Universal on another, and Intelligent Exit works beside them. A person sets levels.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.invariants.worlds import world_of
from tests.managing.site import Market, Site, settings_for_tests
from tests.trading.test_with_the_managers import trading_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.audit.world import World
from dtms.domain.market import Side
from dtms.execute.service import Registration
from dtms.execute.trading.requests import Execution, Modification

MARKET = Market(recording="EURUSD_H1_2017", start="2017-09-08T11:00Z")
HOURS = 3.1
FAR = 1.19025
"""A stop that the fall does not reach."""


@dataclass(slots=True)
class Shared:
    """What is on the account, by ticket."""

    led: int
    """The Universal manager's, opened by an execution, with Intelligent Exit beside it."""
    defended: int
    """DTMS's own, with Intelligent Exit beside it."""
    beside: int
    """The Universal manager's, with DTMS beside it."""
    world: World


async def begun(folder: Path) -> tuple[Site, int, int, int]:
    """Open and register what is played."""
    site = await Site.begin(MARKET, folder, settings=settings_for_tests(5_000))
    engine = await site.with_dtms()
    await site.play(1)
    trading, bid = trading_of(site), site.terminal.symbol_info_tick(MARKET.symbol).bid
    asked: dict[str, Any] = {"symbol": MARKET.symbol, "side": Side.SHORT, "volume": Decimal("0.4")}
    made = await trading.execute(
        Execution(**asked, stop=round(bid + 0.0008, 5), strategy_type="breakout_ib_volatility_trap")
    )
    assert made.ticket is not None
    defended = site.open(Side.LONG, FAR, target=round(bid + 0.01, 5))
    beside = site.open(Side.LONG, FAR)
    await engine.register(Registration(ticket=defended))
    await site.managers.register_universal(beside, "default_standard")
    await engine.register(Registration(ticket=beside, alongside=True))
    await site.managers.enable_exits(made.ticket)
    await site.managers.enable_exits(defended)
    await site.play(2)
    looser = Modification(ticket=made.ticket, stop=round(bid + 0.0009, 5), override=True)
    assert (await trading.modify(looser)).ok
    return site, made.ticket, defended, beside


async def look(site: Site, **known: Any) -> World:
    """Make a world of what is so now, with full knowledge of the terminal."""
    return await world_of(site, site.config, site.settings, **known)


@cache
def shared() -> Shared:
    """Play the account once for all tests."""

    async def main(folder: Path) -> Shared:
        site, led, defended, beside = await begun(folder)
        await site.play(HOURS * 60)
        found = Shared(led=led, defended=defended, beside=beside, world=await look(site))
        await site.end()
        return found

    with TemporaryDirectory() as folder:
        return run_virtual(main(Path(folder)))
