"""The baseline: the DTMS server's own application on a service that knows one answer, without broker and store.

Edge, routes, checks of the body and the building of answers are the server's; what is missing is what makes a
registration true: the look at the broker, and the durable commit.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Never

from dtms.adapters.clocks import SystemClock
from dtms.adapters.store_sql.store import SqlStore
from dtms.config import Config
from dtms.domain.market import Side
from dtms.domain.trade import Trade
from dtms.execute.service import Health, Registered, Registration, Step
from dtms.server.app import create_app
from dtms.server.listen import bind
from dtms.server.run import http_server
from dtms.settings import Settings

HEALTH = Health(
    step=Step.READY,
    recovered=True,
    ready=True,
    monitoring_active=True,
    active_trades=1,
    broker_connected=True,
    store_ok=True,
    reasons=(),
    failure=None,
)
LOTS = Decimal("0.10")
TRADE = Trade(
    ticket=1,
    identifier=1,
    login=1,
    server="bench",
    symbol="EURUSD.000",
    side=Side.LONG,
    entry=1.1765,
    initial_volume=LOTS,
    initial_stop=1.153,
    risk=0.0235,
    nominal_risk=False,
    registered_ms=0,
    opened_ms=0,
    volume=LOTS,
    stop=1.153,
    target=1.2,
)


class OneAnswer:
    """Registers everything at once and keeps nothing; the routes that are not measured have nothing behind them."""

    settings = Settings()

    def health(self) -> Health:
        return HEALTH

    async def register_all(self, requests: Sequence[Registration], receipt: object = None) -> Sequence[Registered]:
        assert receipt is None, "no request of the baseline has a key"
        return [
            Registered(trade=replace(TRADE, ticket=r.ticket), already_registered=False, adjusted={}) for r in requests
        ]

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> Never:
            raise NotImplementedError(f"the baseline has no {name}")

        return refuse


async def serve(port: int) -> None:
    """Answer on a port until the process is ended."""
    clock = SystemClock()
    app = create_app(OneAnswer(), SqlStore("sqlite://", clock), clock, Config())
    await http_server(app).serve(sockets=[bind("127.0.0.1", port)])


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
