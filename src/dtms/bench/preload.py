"""Thousands of positions in a simulated terminal: written into its journal, from which it goes on.

Opening them one by one would judge the margin of all others each time. What stands in the journal is what openings
leave there: per position an order, a deal and the position, at the market of the start.
"""

from collections.abc import Iterator
from pathlib import Path

from dtms.bench import market
from dtms.terminal.simulated.api import build_world
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.grid import LOT_UNITS, to_cents
from dtms.terminal.simulated.journal import FileJournal
from dtms.terminal.simulated.ledger import FIRST_DEAL, FIRST_TICKET
from dtms.terminal.simulated.records import BUY, SELL, Change, Deal, Order, Position, Reason, Selection
from dtms.terminal.simulated.world import World

UNITS = LOT_UNITS // 10
"""0.1 lots."""
STOP_SHARE = 50
"""Stops lie a fiftieth of the price away: out of reach for as long as a benchmark runs."""


def write_positions(path: Path, *, symbols: int, positions: int, magic: int = 0, stop_share: int = STOP_SHARE) -> None:
    """Write a journal with ``positions`` open positions; ``magic`` 0 makes the engine adopt them at its start.

    Stops and targets lie a ``stop_share``-th of the price away.
    """
    config = market.config(symbols)
    world = build_world(config)
    journal = FileJournal(path, 1_000, lambda: 0.0)
    journal.write(config.start_ms, [*_opening(world), *_positions(world, positions, magic, stop_share)])
    journal.close(config.start_ms)


def _opening(world: World) -> Iterator[Change]:
    yield Deal(
        ticket=FIRST_DEAL,
        order=0,
        symbol="",
        type=MT5.DEAL_TYPE_BALANCE,
        entry=MT5.DEAL_ENTRY_IN,
        units=0,
        price_points=0,
        magic=0,
        position_id=0,
        reason=int(Reason.CLIENT),
        comment="Deposit",
        ms=world.now_ms,
        profit_cents=to_cents(world.account.balance),
    )
    for name in world.specs:
        yield Selection(name, True)


def _positions(world: World, count: int, magic: int, stop_share: int) -> Iterator[Change]:
    symbols = list(world.specs)
    for number in range(count):
        symbol = symbols[number % len(symbols)]
        yield from _one(world, symbol, number, magic, stop_share)


def _one(world: World, symbol: str, number: int, magic: int, stop_share: int) -> Iterator[Change]:
    ticket, deal = FIRST_TICKET + number, FIRST_DEAL + 1 + number
    quote = world.quote(symbol)
    assert quote is not None, "the market trades at the start"
    side = BUY if ticket % 2 else SELL
    price = quote.ask if side == BUY else quote.bid
    away = price // stop_share
    stop, target = (price - away, price + away) if side == BUY else (price + away, price - away)
    yield Position(
        ticket=ticket,
        identifier=ticket,
        symbol=symbol,
        type=side,
        units=UNITS,
        open_points=price,
        sl_points=stop,
        tp_points=target,
        magic=magic,
        reason=int(Reason.CLIENT),
        comment="",
        opened_ms=world.now_ms,
        updated_ms=world.now_ms,
    )
    yield Order(
        ticket=ticket,
        symbol=symbol,
        type=side,
        state=MT5.ORDER_STATE_FILLED,
        type_filling=MT5.ORDER_FILLING_IOC,
        type_time=MT5.ORDER_TIME_GTC,
        units_initial=UNITS,
        units=0,
        price_points=price,
        setup_ms=world.now_ms,
        done_ms=world.now_ms,
        position_id=ticket,
    )
    yield Deal(
        ticket=deal,
        order=ticket,
        symbol=symbol,
        type=side,
        entry=MT5.DEAL_ENTRY_IN,
        units=UNITS,
        price_points=price,
        magic=magic,
        position_id=ticket,
        reason=int(Reason.CLIENT),
        comment="",
        ms=world.now_ms,
    )
