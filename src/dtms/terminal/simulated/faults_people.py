"""Other people at the same account, on the phone or the web: they act through the trade server as everybody does."""

from collections.abc import Mapping
from typing import Any

from dtms.terminal.simulated.bookings import Outcome
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.faults_call import Armed, Call
from dtms.terminal.simulated.faults_kinds import FaultKind
from dtms.terminal.simulated.faults_site import Act, Site
from dtms.terminal.simulated.grid import to_lots, to_price
from dtms.terminal.simulated.records import Position, Reason
from dtms.terminal.simulated.requests import read_request
from dtms.terminal.simulated.spec import FILLING_FOK
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.trade import TradeServer
from dtms.terminal.simulated.world import World

GONE = Outcome(retcode=MT5.TRADE_RETCODE_POSITION_CLOSED)
DEVIATION_POINTS = 1_000


class Person:
    """Somebody who trades on the account by hand."""

    def __init__(self, world: World, server: TradeServer, reason: Reason) -> None:
        self._world = world
        self._server = server
        self._reason = reason

    def set_levels(self, ticket: int, *, sl: float | None = None, tp: float | None = None) -> Outcome:
        """Set stop or target or both of a position, 0 removes; None leaves as it is."""
        position = self._world.ledger.positions.get(ticket)
        if position is None:
            return GONE
        scale = self._world.specs[position.symbol].scale
        return self._send(
            action=MT5.TRADE_ACTION_SLTP,
            symbol=position.symbol,
            position=ticket,
            sl=to_price(position.sl_points, scale) if sl is None else float(sl),
            tp=to_price(position.tp_points, scale) if tp is None else float(tp),
        )

    def close(self, ticket: int, lots: float = 0.0) -> Outcome:
        """Close a position, or so many lots of it."""
        position = self._world.ledger.positions.get(ticket)
        if position is None:
            return GONE
        volume = lots or to_lots(position.units)
        return self._deal(position.symbol, 1 - position.type, volume, position=ticket)

    def open(self, symbol: str, side: str, lots: float, *, sl: float = 0.0, tp: float = 0.0) -> Outcome:
        """Open a position at the market; ValueError for what is no symbol or side."""
        if symbol not in self._world.specs or side not in ("BUY", "SELL"):
            raise ValueError(f"cannot open {side!r} of {symbol!r}: sides are BUY and SELL")
        kind = MT5.ORDER_TYPE_BUY if side == "BUY" else MT5.ORDER_TYPE_SELL
        return self._deal(symbol, kind, lots, sl=float(sl), tp=float(tp))

    def _deal(self, symbol: str, kind: int, lots: float, **more: Any) -> Outcome:
        spec, quote = self._world.specs[symbol], self._world.quote(symbol)
        filling = MT5.ORDER_FILLING_FOK if spec.filling_mask & FILLING_FOK else MT5.ORDER_FILLING_IOC
        points = 0 if quote is None else quote.bid if kind == MT5.ORDER_TYPE_SELL else quote.ask
        market = {"type": kind, "price": to_price(points, spec.scale), "deviation": DEVIATION_POINTS}
        volume = {"action": MT5.TRADE_ACTION_DEAL, "symbol": symbol, "volume": float(lots)}
        return self._send(**volume, **market, type_filling=filling, **more)

    def _send(self, **request: Any) -> Outcome:
        read = read_request(request, self._world.manners)
        if not isinstance(read, TradeRequest):
            raise ValueError(read.text)
        return self._server.send(read, self._reason)


def _person(site: Site, armed: Armed) -> Person:
    site.catch_up()
    return Person(site.world, site.server, Reason[str(armed.fault.arguments["reason"]).upper()])


def _whose(site: Site, call: Call, armed: Armed) -> Position | None:
    """Find the position that is meant: told, else the one that the request names, else the oldest."""
    held = site.world.ledger.positions
    ticket = armed.fault.whole("ticket") or call.request.get("position") or 0
    if ticket:
        return held.get(ticket)
    symbol = armed.fault.when.symbol
    return next((one for one in held.values() if not symbol or one.symbol == symbol), None)


def outside_stop(site: Site, call: Call, armed: Armed) -> None:
    """Set or remove a stop."""
    person, position = _person(site, armed), _whose(site, call, armed)
    if position:
        person.set_levels(position.ticket, sl=armed.fault.number("price"))


def outside_target(site: Site, call: Call, armed: Armed) -> None:
    """Set or remove a target."""
    person, position = _person(site, armed), _whose(site, call, armed)
    if position:
        person.set_levels(position.ticket, tp=armed.fault.number("price"))


def outside_close(site: Site, call: Call, armed: Armed) -> None:
    """Close a position or a part of it."""
    person, position = _person(site, armed), _whose(site, call, armed)
    if position:
        person.close(position.ticket, armed.fault.number("lots"))


def outside_open(site: Site, call: Call, armed: Armed) -> None:
    """Open a position; on the symbol that the call names unless told."""
    person, arguments = _person(site, armed), armed.fault.arguments
    symbol = str(arguments["symbol"]) or call.symbol or next(iter(site.world.specs))
    person.open(symbol, str(arguments["side"]), armed.fault.number("lots"))


K = FaultKind
ACTS: Mapping[FaultKind, Act] = {
    K.OUTSIDE_STOP: outside_stop,
    K.OUTSIDE_TARGET: outside_target,
    K.OUTSIDE_CLOSE: outside_close,
    K.OUTSIDE_OPEN: outside_open,
}
