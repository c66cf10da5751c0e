"""Windows of recorded markets in which a trade passes through named rows of the table, and playing them once.

The windows were found by random entries over the recordings that come with dtms; each is pinned with its entry, its
stop and the rows that it takes. Windows of the larger data set are skipped where ``DTMS_DATA_DIR`` does not name it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.replay.judge import Books

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Ownership
from dtms.domain.trade import Owner, Trade
from dtms.execute.service import Registration
from dtms.ports.store import Unit
from dtms.replay import Stage, replay_settings, stage
from dtms.settings import Settings
from dtms.terminal.simulated.config import SimConfig, load_config
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.spec import BUILT_IN, SymbolSpec

BALANCE = 1_000_000.0
WARM_UP = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One trade on one recording: when it is opened, its stop, for how long it is watched, and the rows it takes."""

    recording: str
    at: str
    side: Side
    stop: float
    hours: float
    rules: tuple[str, ...]
    hedge: Literal["hedge", "close", "off"] = "hedge"
    lots: float = 0.4
    beside: bool = False
    """Whether the Universal manager owns the trade, and DTMS defends it beside that."""
    extra: tuple[tuple[str, Any], ...] = field(default=())
    """Further keys of the opening act."""

    @property
    def symbol(self) -> str:
        return f"{self.recording[:6]}.m"

    @property
    def spec(self) -> SymbolSpec:
        return replace(BUILT_IN[self.recording[:6]], name=self.symbol)

    @property
    def title(self) -> str:
        return f"{self.recording} {self.at} {self.side.direction} {self.hedge}{' beside' * self.beside}"


BTC, EUR = "BTCUSD_H1_2017", "EURUSD_H1_2017"
GOLD, EUR_2019 = "XAUUSD_M5_20250701_20260318", "EURUSD_M5_20191011_20200614"
LONG, SHORT = Side.LONG, Side.SHORT

SHIPPED: tuple[Window, ...] = (
    Window(
        recording=BTC,
        at="2017-09-01T11:04:18.201Z",
        side=SHORT,
        stop=4842.65,
        hours=1.5,
        rules=("warned", "worsened", "hedged", "hedge_gone", "eased", "calmed", "warned", "position_gone"),
    ),
    Window(
        recording=BTC,
        at="2017-09-14T09:40:04.657Z",
        side=LONG,
        stop=3710.18,
        hours=1.5,
        rules=("warned", "worsened", "hedged", "hedge_gone", "eased", "position_gone"),
    ),
    Window(
        recording=BTC,
        at="2017-11-10T07:42:16.875Z",
        side=LONG,
        stop=6558.85,
        hours=3.2,
        rules=("warned", "worsened", "hedged", "turned", "recovery_failed"),
    ),
    Window(
        recording=EUR,
        at="2017-08-02T08:33:43.945Z",
        side=SHORT,
        stop=1.18835,
        hours=3.5,
        rules=("warned", "worsened", "hedged", "hedge_gone", "hedged", "turned", "recovery_failed"),
    ),
    Window(
        recording=BTC,
        at="2017-11-10T09:40:04.657Z",
        side=LONG,
        stop=6465.77,
        hours=4.0,
        rules=("warned", "calmed", "warned", "worsened", "given_up_unhedged"),
        hedge="close",
    ),
    Window(
        recording=BTC,
        at="2017-11-08T09:05:00.007Z",
        side=SHORT,
        stop=7566.22,
        hours=1.0,
        rules=("warned", "worsened", "given_up_unhedged"),
        hedge="close",
    ),
    Window(
        recording=BTC,
        at="2017-11-10T12:55:19.124Z",
        side=LONG,
        stop=6602.37,
        hours=1.0,
        rules=("warned", "worsened", "hedged", "given_up_hedged"),
    ),
    Window(
        recording=BTC,
        at="2017-11-29T11:04:18.201Z",
        side=SHORT,
        stop=11265.14,
        hours=2.2,
        rules=("warned", "worsened", "hedged", "given_up_hedged"),
    ),
    Window(
        recording=BTC,
        at="2017-11-29T19:57:16.564Z",
        side=SHORT,
        stop=10984.43,
        hours=11.0,
        rules=("warned", "worsened", "hedged", "turned", "recovered"),
    ),
    Window(
        recording=EUR,
        at="2017-09-08T12:05Z",
        side=LONG,
        stop=1.19025,
        hours=3.8,
        rules=("warned", "worsened", "hedged", "turned", "recovered"),
    ),
)

RECORDED: tuple[Window, ...] = (
    Window(
        recording=GOLD,
        at="2025-09-26T16:45Z",
        side=SHORT,
        stop=3795.95,
        hours=3.0,
        rules=("warned", "worsened", "hedged", "turned", "recovered"),
    ),
    Window(
        recording=EUR_2019,
        at="2019-11-12T13:55Z",
        side=LONG,
        stop=1.10046,
        hours=3.0,
        rules=("warned", "worsened", "hedged", "given_up_hedged"),
    ),
)

_TURNED_BESIDE = ("warned", "worsened", "hedged", "turned_alongside")
BESIDE: tuple[Window, ...] = tuple(
    replace(window, beside=True, rules=_TURNED_BESIDE) for window in SHIPPED if window.rules[-1] == "recovered"
)
"""Windows that end in a recovery, where the trade has another owner."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What a replay left: the terminal's ledger, and what the engine stored."""

    window: Window
    ticket: int
    ledger: Ledger
    facts: Sequence[Fact]
    trade: Trade
    intents: dict[int, Intent]
    """By magic number."""

    @property
    def books(self) -> Books:
        return Books(self.ledger, self.ticket, self.intents)

    @property
    def transitions(self) -> list[Fact]:
        return [f for f in self.facts if f.kind is FactKind.TRANSITION and f.ticket == self.ticket]

    def of_rule(self, rule: str) -> list[Fact]:
        return [f for f in self.transitions if f.details["rule"] == rule]


def config_of(window: Window, **changes: Any) -> SimConfig:
    """Make the terminal's configuration; ``changes`` override conditions of the symbol."""
    opening = {
        "at": window.at,
        "kind": "open",
        "name": "a",
        "symbol": window.symbol,
        "side": window.side.direction,
        "lots": window.lots,
        "sl": {"price": window.stop},
        **dict(window.extra),
    }
    acts = changes.pop("acts", ())
    symbol = {"name": window.symbol, "like": window.recording[:6], "recording": str(_path(window)), **changes}
    start = datetime.fromisoformat(window.at) - WARM_UP
    return load_config(
        {
            "start": start.isoformat(),
            "account": {"balance": BALANCE},
            "symbols": [symbol],
            "actors": [opening, *acts],
        }
    )


def _path(window: Window) -> str:
    if window not in RECORDED and window.recording in (BTC, EUR):
        return f"shipped:{window.recording}"
    return str(data_folder() / "bars" / f"{window.recording}.parquet")


def data_folder() -> Path:
    """Return the folder of recorded data, or skip the test without it."""
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "bars").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with recorded bars")
    pytest.importorskip("pyarrow.parquet")
    return Path(folder)


def settings_of(window: Window) -> Settings:
    settings = replay_settings()
    return replace(settings, protection=replace(settings.protection, hedge=window.hedge))


async def registered(played: Stage, *, beside: bool = False) -> int:
    """Let the trader open his position, and register it; returns its ticket.

    With ``beside`` the Universal manager claims it first, and DTMS is to defend it beside that.
    """
    await played.play(WARM_UP / timedelta(minutes=1) + 0.5)
    (position,) = played.terminal.positions_get() or ()
    if beside:
        await claimed(played, int(position.ticket))
    await played.engine.register(Registration(ticket=position.ticket, alongside=beside))
    return int(position.ticket)


async def claimed(played: Stage, ticket: int) -> None:
    """Let the Universal manager claim a position in the registry."""
    position = (await played.broker.positions([ticket]))[ticket]
    login, server = played.engine.desk.account
    entry = Ownership(
        ticket=ticket,
        identifier=position.identifier,
        login=login,
        server=server,
        symbol=position.symbol,
        side=position.side,
        owner=Owner.UNIVERSAL.value,
        strategy_type="default_standard",
    )
    await played.store.commit(Unit(ownership=(entry,)))


async def collected(window: Window, played: Stage, ticket: int) -> Played:
    trade = await played.store.trade(ticket)
    assert trade is not None
    return Played(
        window=window,
        ticket=ticket,
        ledger=played.terminal.simulation.ledger,
        facts=await played.store.facts(limit=100_000),
        trade=trade,
        intents={played.broker.magic_of(i.number): i for i in await played.store.intents()},
    )


@cache
@cache
def played(window: Window) -> Played:
    """Play a window on its recording with the engine in charge, once for all tests."""

    async def play() -> Played:
        on = stage(config_of(window), settings=settings_of(window))
        await on.engine.start()
        ticket = await registered(on, beside=window.beside)
        await on.play(window.hours * 60)
        result = await collected(window, on, ticket)
        await on.engine.stop()
        return result

    return run_virtual(play())
