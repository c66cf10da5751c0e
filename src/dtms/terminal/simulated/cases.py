"""A request together with what it is about: its symbol, its quote, the position or order that it names."""

from dataclasses import dataclass

from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.grid import to_points, to_price, to_units
from dtms.terminal.simulated.manners import OmittedLevel
from dtms.terminal.simulated.records import BUY, SELL, Order, Position, Reason
from dtms.terminal.simulated.requests import OMITTED
from dtms.terminal.simulated.spec import SymbolSpec
from dtms.terminal.simulated.structs import TradeRequest
from dtms.terminal.simulated.world import World

BUY_TYPES = frozenset(
    {MT5.ORDER_TYPE_BUY, MT5.ORDER_TYPE_BUY_LIMIT, MT5.ORDER_TYPE_BUY_STOP, MT5.ORDER_TYPE_BUY_STOP_LIMIT}
)
STOP_LIMITS = frozenset({MT5.ORDER_TYPE_BUY_STOP_LIMIT, MT5.ORDER_TYPE_SELL_STOP_LIMIT})
NEEDS_POSITION = frozenset({MT5.TRADE_ACTION_SLTP, MT5.TRADE_ACTION_CLOSE_BY})
NEEDS_ORDER = frozenset({MT5.TRADE_ACTION_MODIFY, MT5.TRADE_ACTION_REMOVE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the rules look at and the execution acts on."""

    world: World
    request: TradeRequest
    reason: Reason
    spec: SymbolSpec
    quote: Quote
    position: Position | None = None
    by: Position | None = None
    order: Order | None = None
    netted: Position | None = None
    """On a netting account, the position that a deal naming none meets."""

    @property
    def named_position(self) -> Position:
        """The position that the request names; only asked where one is required."""
        assert self.position is not None
        return self.position

    @property
    def named_order(self) -> Order:
        """The pending order that the request names; only asked where one is required."""
        assert self.order is not None
        return self.order

    @property
    def units(self) -> int:
        """The requested volume in 1e-8 lots."""
        return to_units(self.request.volume)

    @property
    def side(self) -> int:
        """The side that the order takes."""
        return BUY if self.is_buy else SELL

    @property
    def reduced(self) -> Position | None:
        """The position that the deal reduces or closes: the one it names, or the opposite one that it meets."""
        if self.position or not self.netted or self.netted.type == self.side:
            return self.position
        return self.netted

    @property
    def entering_units(self) -> int:
        """What of the volume opens or adds to a position: all, nothing, or what a reversal leaves."""
        if self.position is not None:
            return 0
        return max(0, self.units - self.reduced.units) if self.reduced else self.units

    @property
    def levels(self) -> tuple[float, float]:
        """The stop and the target that the request asks for, as the broker reads what it omits."""
        asked = self.request.sl, self.request.tp
        if self.position is None or self.world.manners.omitted_level is OmittedLevel.REMOVES:
            return asked
        held = (to_price(points, self.spec.scale) for points in (self.position.sl_points, self.position.tp_points))
        sl, tp = (old if new is OMITTED else new for new, old in zip(asked, held, strict=True))
        return sl, tp

    @property
    def is_buy(self) -> bool:
        """Whether the order, or the order that the request names, buys."""
        return (self.order.type if self.order else self.request.type) in BUY_TYPES

    @property
    def market_points(self) -> int:
        """The price at which a market order of this type is filled now."""
        return self.quote.ask if self.is_buy else self.quote.bid

    @property
    def closing_points(self) -> int:
        """The price that would close the named position now."""
        return self.quote.bid if self.named_position.type == BUY else self.quote.ask

    def points(self, price: float) -> int:
        """Give a price of the request in points; absent is 0."""
        return to_points(price, self.spec.scale)


def resolve(world: World, request: TradeRequest, reason: Reason) -> Case | int:
    """Find what the request is about, or the retcode that says what is missing."""
    position = world.ledger.positions.get(request.position) if request.position else None
    by = world.ledger.positions.get(request.position_by) if request.position_by else None
    order = world.ledger.orders.get(request.order) if request.order else None
    missing = _missing(request, position, by, order)
    if missing:
        return missing
    owner = position or order
    symbol = request.symbol or (owner.symbol if owner and request.action != MT5.TRADE_ACTION_DEAL else "")
    spec = world.specs.get(symbol)
    if spec is None or (owner is not None and owner.symbol != symbol):
        return MT5.TRADE_RETCODE_INVALID
    # A symbol outside this terminal's Market Watch has no quotes here; other terminals have their own.
    blind = reason == Reason.EXPERT and not world.ledger.selected.get(symbol)
    quote = None if blind else world.quote(symbol)
    if quote is None:
        return MT5.TRADE_RETCODE_PRICE_OFF
    deals = request.action == MT5.TRADE_ACTION_DEAL and position is None
    return Case(
        world=world,
        request=request,
        reason=reason,
        spec=spec,
        quote=quote,
        position=position,
        by=by,
        order=order,
        netted=world.netted(symbol) if deals else None,
    )


def _missing(request: TradeRequest, position: Position | None, by: Position | None, order: Order | None) -> int:
    if request.action in NEEDS_ORDER:
        return 0 if order else MT5.TRADE_RETCODE_INVALID
    if request.action in NEEDS_POSITION and not request.position:
        return MT5.TRADE_RETCODE_INVALID
    if request.position and position is None:
        return MT5.TRADE_RETCODE_POSITION_CLOSED
    if request.action == MT5.TRADE_ACTION_CLOSE_BY and by is None:
        return MT5.TRADE_RETCODE_POSITION_CLOSED if request.position_by else MT5.TRADE_RETCODE_INVALID
    return 0
