"""From a request to an order that can be sent: judged and sized on one look, refused in words before anything goes out.

On a netting account what is opened joins the symbol's position. A second entry on its side is one that its owner takes
over with it; one against it would close what somebody manages, and is refused.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from dtms.domain.account import Account, MarginMode
from dtms.domain.actions import ActionKind, OpenPosition, PlaceOrder
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Json
from dtms.domain.market import Instrument, Tick
from dtms.domain.owners import lease_key, opening_key
from dtms.domain.position import Position
from dtms.domain.snapshot import Snapshot
from dtms.domain.strategies import UnknownStrategy, strategy_of
from dtms.domain.trade import Owner
from dtms.execute.trading import endings
from dtms.execute.trading.desk import TradingDesk, sound
from dtms.execute.trading.judging import (
    Against,
    Levels,
    closing_price,
    is_looser,
    levels_on_grid,
    pending_price,
    require_levels,
    require_openable,
    require_volume,
)
from dtms.execute.trading.requests import Execution
from dtms.execute.trading.service import Code, TradingRefused
from dtms.execute.trading.sizing import Sized, by_risk
from dtms.ports.broker import Answer

RISK_PCT_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticketed:
    """A request that may be sent, under its own number, and what it was judged on."""

    request: Execution
    number: int
    action: OpenPosition | PlaceOrder
    tick: Tick
    instrument: Instrument
    account: Account
    joins: Position | None
    """The position of a netting account that it is added to."""
    joined_owner: Owner = Owner.NOBODY
    """Whose that position is, and stays."""
    sizing: dict[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The lease under which it is sent: its own, but where all of a symbol is one position."""
        mode = self.account.margin_mode
        if mode is MarginMode.HEDGING:
            return opening_key(self.number)
        return lease_key(0, self.action.symbol, mode)


class Opening:
    """Plans what executions ask for; commits nothing and sends nothing."""

    def __init__(self, desk: TradingDesk) -> None:
        self._desk = desk

    async def planned(self, request: Execution, *, guarded: bool) -> Ticketed:
        """Judge a request on a fresh look, and size it.

        Raises:
            TradingRefused: with what makes it impossible.
            BrokerUnavailable: when the broker does not answer.
        """
        _require_sense(request)
        if (await self._desk.store.standing(0)).halted:
            raise endings.halted()
        instrument = await self._desk.instrument(request.symbol)
        require_openable(request.side, instrument)
        look = await self._desk.broker.snapshot([request.symbol])
        _require_trading(look.account)
        tick = sound(request.symbol, look.ticks.get(request.symbol))
        joins = _joined(request, look)
        ticketed = await self._ordered(request, instrument, look.account, tick, joins)
        if joins is not None:
            _require_no_looser(ticketed.action.stop, joins, instrument)
            owner = (await self._desk.store.standing(joins.ticket)).owner
            ticketed = replace(ticketed, joined_owner=owner or Owner.NOBODY)
        if request.way is None or guarded:  # a pending order costs nothing before it is filled
            await self._require_margin(ticketed)
        await self._require_acceptable(ticketed)
        if request.way is None or guarded:
            await self._require_rails(ticketed, guarded=guarded)
        return ticketed

    async def _ordered(
        self, request: Execution, instrument: Instrument, account: Account, tick: Tick, joins: Position | None
    ) -> Ticketed:
        """Put a request on the grids of price and volume, and give it its number."""
        at = _price_of(request, tick, instrument)
        levels = levels_on_grid(request.stop, request.target, instrument)
        require_levels(levels, at if request.way is not None else closing_price(request.side, tick, instrument))
        sized = await self._sized(request, at, levels.stop, account)
        return Ticketed(
            request=request,
            number=await self._desk.carrier.next_number(),
            action=_action(request, levels, sized.volume, at.price),
            tick=tick,
            instrument=instrument,
            account=account,
            joins=joins,
            sizing=sized.figures,
        )

    async def _sized(self, request: Execution, at: Against, stop: float | None, account: Account) -> Sized:
        if request.volume is not None:
            require_volume(request.volume, at.instrument)
            return Sized(request.volume, {})
        return await by_risk(
            self._desk.broker,
            risk_pct=request.risk_pct or 0.0,
            side=request.side,
            entry=at.price,
            stop=stop,
            account=account,
            on=at.instrument,
        )

    async def _require_rails(self, at: Ticketed, *, guarded: bool) -> None:
        refusal = await self._desk.rails.refusal(at.request.symbol, at.tick, at.account, guarded=guarded)
        if refusal is not None:
            told = f"The rail {refusal.rail} stops it: {refusal.reason}."
            raise TradingRefused(Code.INVALID, told, {"rule": refusal.rail, "until_ms": refusal.until_ms})

    async def _require_margin(self, at: Ticketed) -> None:
        action, free = at.action, at.account.margin_free
        if at.joins is not None:
            return  # the broker nets it, and says what that needs
        price = at.tick.opening(action.side)
        needed = await self._desk.broker.margin(action.symbol, action.side, action.volume, price)
        if needed > free:
            money = at.account.currency
            told = f"{action.volume} lots need {needed:.2f} {money} of margin, and {free:.2f} are free."
            figures: dict[str, Json] = {"needed": needed, "free": free, "volume": float(action.volume)}
            raise TradingRefused(Code.INVALID, told, figures | {"rule": "margin"})

    async def _require_acceptable(self, at: Ticketed) -> None:
        """Ask the broker whether it would take the order; a price that moved meanwhile is for the sending to meet."""
        result = await self._desk.broker.check(at.action, number=at.number, tick=at.tick)
        if result.answer in (Answer.OK, Answer.NOOP, Answer.PRICE):
            return
        if not result.retcode:
            raise BrokerUnavailable(f"the order could not be checked: {result.name} {result.message}".rstrip())
        raise endings.by_check(result, self._desk.broker)


def _require_sense(request: Execution) -> None:
    """See that a request can mean something at all."""
    if (request.volume is None) == (request.risk_pct is None):
        told = "Exactly one of volume and risk_pct must be given."
        raise TradingRefused(Code.INVALID, told, {"field": "volume", "rule": "volume_or_risk"})
    if request.risk_pct is not None and not 0.0 < request.risk_pct <= RISK_PCT_MAX:
        told = f"risk_pct must lie in (0, {RISK_PCT_MAX:g}], not {request.risk_pct:g}."
        raise TradingRefused(Code.INVALID, told, {"field": "risk_pct", "rule": "risk_pct"})
    if request.strategy_type is not None:
        require_strategy(request.strategy_type)


def require_strategy(name: str) -> None:
    """See that a strategy is known.

    Raises:
        TradingRefused: with near matches and all names.
    """
    try:
        strategy_of(name)
    except UnknownStrategy as error:
        near: list[Json] = list(error.near)
        details: dict[str, Json] = {"field": "strategy_type", "near": near, "known": list(error.valid)}
        raise TradingRefused(Code.INVALID, f"{error}.", details | {"rule": "unknown_strategy"}) from None


def _require_trading(account: Account) -> None:
    if not account.trade_allowed:
        told = "The account or its terminal does not let programs trade now."
        raise TradingRefused(Code.NOT_READY, told, {"rule": "trade_not_allowed"})


def _price_of(request: Execution, tick: Tick, instrument: Instrument) -> Against:
    """Return the price at which it opens."""
    if request.way is not None:
        return pending_price(request.way, request.side, request.entry, tick, instrument)
    return Against(price=tick.opening(request.side), name="market", side=request.side, instrument=instrument)


def _action(request: Execution, levels: Levels, volume: Decimal, price: float) -> OpenPosition | PlaceOrder:
    if request.way is None:
        return OpenPosition(
            kind=ActionKind.EXECUTE,
            symbol=request.symbol,
            side=request.side,
            volume=volume,
            stop=levels.stop,
            target=levels.target,
        )
    return PlaceOrder(
        kind=ActionKind.PLACE_ORDER,
        symbol=request.symbol,
        side=request.side,
        way=request.way,
        volume=volume,
        price=price,
        stop=levels.stop,
        target=levels.target,
    )


def _joined(request: Execution, look: Snapshot) -> Position | None:
    """Return the position that a netting account adds the order to.

    Raises:
        TradingRefused: when the order would close it instead.
    """
    if look.account.margin_mode is MarginMode.HEDGING:
        return None
    held = next((p for p in look.positions.values() if p.symbol == request.symbol), None)
    if held is not None and held.side is not request.side:
        told = (
            f"The account nets, and holds {held.volume} lots {held.side.direction} of {held.symbol} as position "
            f"{held.ticket}: an opposite order would close it. Close it by its ticket instead."
        )
        raise TradingRefused(Code.CONFLICT, told, {"ticket": held.ticket, "rule": "netting"})
    return held


def _require_no_looser(stop: float | None, held: Position, instrument: Instrument) -> None:
    """See that what joins a position does not loosen its stop, which its order's stop replaces.

    Raises:
        TradingRefused: with both stops.
    """
    if stop is None or not is_looser(stop, held.stop, held.side, instrument):
        return
    told = f"The stop of position {held.ticket} would be loosened from {held.stop:.10g} to {stop:.10g}."
    details: dict[str, Json] = {"ticket": held.ticket, "stop": held.stop, "sent": stop, "rule": "stop_loosened"}
    raise TradingRefused(Code.INVALID, told, details)


def filled(volume: Decimal | None, asked: Decimal) -> Decimal:
    """Return how many lots an answer says were filled; all that was asked for where it does not say."""
    return asked if volume is None else min(volume, asked)
