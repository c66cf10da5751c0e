"""Playing the market forward: what happens by itself between two calls, in the order in which it happens.

Each symbol with positions or pending orders has a band of prices within which nothing happens; at a tick outside it
every level is judged by the same code. The account's margin is watched likewise. At one moment, orders expire first,
then what waited is filled, levels are reached, the margin is judged, the night is charged, and outsiders act.
"""

from dataclasses import replace

from dtms.terminal.simulated.actors import Script
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Quote
from dtms.terminal.simulated.fills import Closing, Fills, closing_side_points
from dtms.terminal.simulated.grid import LOT_UNITS, divide, to_price
from dtms.terminal.simulated.records import BUY, Order, Position, Reason
from dtms.terminal.simulated.server_time import DAY_MS
from dtms.terminal.simulated.spec import SymbolSpec
from dtms.terminal.simulated.stop_out import StopOut
from dtms.terminal.simulated.watches import NOWHERE_HIGH, NOWHERE_LOW, Band, Watch, searched
from dtms.terminal.simulated.world import World

FOREVER_MS = 1 << 62
REOPENS = (MT5.SYMBOL_SWAP_MODE_REOPEN_CURRENT, MT5.SYMBOL_SWAP_MODE_REOPEN_BID)
# Pending types reached when the price they are filled at falls to theirs; the others when it rises to it.
REACHED_FALLING = (MT5.ORDER_TYPE_BUY_LIMIT, MT5.ORDER_TYPE_SELL_STOP, MT5.ORDER_TYPE_SELL_STOP_LIMIT)
FILLED_AT_OWN_PRICE = (MT5.ORDER_TYPE_BUY_LIMIT, MT5.ORDER_TYPE_SELL_LIMIT)


class Engine:
    """Move the world to a later moment."""

    def __init__(self, world: World, fills: Fills, script: Script) -> None:
        self._world = world
        self._fills = fills
        self._script = script
        self._stop_out = StopOut(world, fills)
        self._watches: dict[str, Watch] = {}
        self._quiet: tuple[int, int] = (-1, 0)
        """At which count of the ledger's changes nothing was to happen, and up to when."""

    def play_to(self, target_ms: int) -> None:
        """Let everything happen that happens up to a moment, and stand there."""
        world = self._world
        if self._quiet[0] == world.ledger.changes and world.now_ms <= target_ms <= self._quiet[1]:
            world.now_ms = target_ms
            return
        while (ms := self._next_ms(target_ms)) is not None:
            ms = max(ms, world.now_ms)  # an act that was due before the start is done at the start
            at_midnight = ms == self._midnight_ms()
            world.now_ms = ms
            self._expire(ms)
            self._fill_due(ms)
            for symbol in self._triggered(ms):
                self._touch(symbol, ms)
            self._stop_out.judge(ms)
            if at_midnight:
                self._roll_over(ms)
            while (act_ms := self._script.next_ms()) is not None and act_ms <= ms:
                self._script.run_next()
        world.now_ms = max(world.now_ms, target_ms)
        self._quiet = (world.ledger.changes, self._quiet_until_ms())

    def _quiet_until_ms(self) -> int:
        """Give the moment up to which nothing can happen by what is known already; the clock may pass it freely."""
        ledger = self._world.ledger
        moments = [moment - 1 for moment in self._order_moments()]
        moments += [act_ms - 1] if (act_ms := self._script.next_ms()) is not None else []
        moments += [self._midnight_ms() - 1] if ledger.positions else []
        moments += [self._watch(symbol).quiet_until_ms for symbol in ledger.busy_symbols()]
        moments += [quiet_ms] if (quiet_ms := self._stop_out.quiet_until_ms()) is not None else []
        return min(moments, default=FOREVER_MS)

    def _order_moments(self) -> list[int]:
        """Give the moments at which something happens to an order by time alone."""
        orders = self._world.ledger.orders.values()
        return [moment for order in orders for moment in (order.expires_ms, order.due_ms) if moment]

    def _next_ms(self, target_ms: int) -> int | None:
        """Give the moment of the next event up to the target, None when there is none."""
        ledger = self._world.ledger
        moments = self._order_moments()
        if ledger.positions:
            moments.append(self._midnight_ms())
        act_ms = self._script.next_ms()
        if act_ms is not None:
            moments.append(act_ms)
        horizon = min([target_ms, *moments])
        for symbol in ledger.busy_symbols():
            trigger_ms = self._trigger_ms(symbol, horizon)
            if trigger_ms is not None:
                moments.append(trigger_ms)
        if ledger.positions and (margin_ms := self._stop_out.next_ms(horizon)) is not None:
            moments.append(margin_ms)
        first = min(moments, default=None)
        return first if first is not None and first <= target_ms else None

    def _midnight_ms(self) -> int:
        return self._world.clock.next_midnight_utc(self._world.now_ms)

    def _expire(self, ms: int) -> None:
        for order in list(self._world.ledger.orders.values()):
            if order.expires_ms and order.expires_ms <= ms:
                self._fills.finish_order(order, MT5.ORDER_STATE_EXPIRED)

    def _fill_due(self, ms: int) -> None:
        for order in list(self._world.ledger.orders.values()):
            if order.due_ms and order.due_ms <= ms:
                self._fills.fill_due(order)

    # Triggers

    def _triggered(self, ms: int) -> list[str]:
        busy = self._world.ledger.busy_symbols()
        return [symbol for symbol in busy if (watch := self._watches.get(symbol)) and watch.trigger_ms == ms]

    def _trigger_ms(self, symbol: str, upto_ms: int) -> int | None:
        """Give the time of the first tick outside the symbol's band, searching at least up to a moment."""
        watch = self._watches[symbol] = searched(self._watch(symbol), self._world.feeds[symbol], upto_ms)
        return watch.trigger_ms

    def _watch(self, symbol: str) -> Watch:
        version = self._world.ledger.versions[symbol]
        watch = self._watches.get(symbol)
        if watch is None or watch.version != version:
            ledger = self._world.ledger
            band = band_of(ledger.positions_of(symbol), ledger.orders_of(symbol))
            watch = Watch(version=version, band=band, clear_ms=self._world.now_ms)
        return watch

    def _touch(self, symbol: str, ms: int) -> None:
        """Judge every tick of this very moment, in order, against every level of the symbol."""
        for block, start, stop in self._world.feeds[symbol].spans(ms - 1, ms):
            for i in range(start, stop):
                quote = Quote(ms=ms, bid=int(block.bid[i]), ask=int(block.ask[i]))
                self._touch_positions(symbol, quote)
                self._touch_orders(symbol, quote)
        ledger = self._world.ledger
        band = band_of(ledger.positions_of(symbol), ledger.orders_of(symbol))
        self._watches[symbol] = Watch(version=ledger.versions[symbol], band=band, clear_ms=ms)

    def _touch_positions(self, symbol: str, quote: Quote) -> None:
        for position in self._world.ledger.positions_of(symbol):
            closing = closing_of(position, quote, self._world.specs[symbol])
            if closing and not self._world.manners.level_comments:
                closing = replace(closing, comment=position.comment)
            if closing:
                self._fills.close_position(position, closing)

    def _touch_orders(self, symbol: str, quote: Quote) -> None:
        for order in self._world.ledger.orders_of(symbol):
            price_points = activation_points(order, quote)
            if price_points is not None:
                self._fills.activate(order, price_points)

    # The night

    def _roll_over(self, ms: int) -> None:
        """Charge the swap of the server day that ends at this midnight."""
        ended = (self._world.clock.to_server(ms) // DAY_MS - 1 + 4) % 7  # 0 = Sunday, as the vendor counts
        for position in list(self._world.ledger.positions.values()):
            spec = self._world.specs[position.symbol]
            nights = spec.swap_day_factors[ended]
            if nights and spec.swap_mode in REOPENS:
                self._reopen(position, spec, nights)
            elif nights and spec.swap_mode != MT5.SYMBOL_SWAP_MODE_DISABLED:
                self._fills.charge_swap(position, self._swap_cents(position, spec, nights))

    def _reopen(self, position: Position, spec: SymbolSpec, nights: int) -> None:
        """Take the swap by closing at the present price, or the bid, and opening again that much worse or better."""
        price = self._world.close_points(position)
        quote = self._world.quote(position.symbol)
        if quote is not None and spec.swap_mode == MT5.SYMBOL_SWAP_MODE_REOPEN_BID:
            price = quote.bid
        gained = spec.swap_long_points if position.type == BUY else -spec.swap_short_points
        self._fills.reopen(position, price, price - divide(round(gained * 100) * nights, 100))

    def _swap_cents(self, position: Position, spec: SymbolSpec, nights: int) -> int:
        points = spec.swap_long_points if position.type == BUY else spec.swap_short_points
        hundredths = round(points * 100) * nights
        top, bottom = self._world.rate(spec.currency_profit, spec, self._world.close_points(position))
        whole = hundredths * position.units * spec.contract_size * top
        return divide(whole, spec.scale * LOT_UNITS * bottom)


def band_of(positions: list[Position], orders: list[Order]) -> Band:
    """Give the nearest prices at which any of these would be filled."""
    bid_low, bid_high, ask_low, ask_high = [NOWHERE_LOW], [NOWHERE_HIGH], [NOWHERE_LOW], [NOWHERE_HIGH]
    for position in positions:
        low, high = (bid_low, bid_high) if position.type == BUY else (ask_low, ask_high)
        below, above = position.sl_points, position.tp_points
        if position.type != BUY:
            below, above = above, below
        low += [below] if below else []
        high += [above] if above else []
    for order in orders:
        buys = order.type % 2 == 0
        low, high = (ask_low, ask_high) if buys else (bid_low, bid_high)
        (low if order.type in REACHED_FALLING else high).append(order.price_points)
    return Band(bid_floor=max(bid_low), bid_ceiling=min(bid_high), ask_floor=max(ask_low), ask_ceiling=min(ask_high))


def closing_of(position: Position, quote: Quote, spec: SymbolSpec) -> Closing | None:
    """Say how a quote closes a position: the stop is judged first; it fills at the quote, the target at its price."""
    price = closing_side_points(position, quote)
    sign = 1 if position.type == BUY else -1
    stop, target = position.sl_points, position.tp_points
    if stop and sign * (price - stop) <= 0:
        return _closing(position, spec, price, stop, Reason.SL)
    if target and sign * (price - target) >= 0:
        return _closing(position, spec, target, target, Reason.TP)
    return None


def _closing(position: Position, spec: SymbolSpec, price_points: int, level_points: int, reason: Reason) -> Closing:
    level = f"{to_price(level_points, spec.scale):.{spec.digits}f}"
    return Closing(
        units=position.units,
        price_points=price_points,
        reason=reason,
        magic=position.magic,
        comment=f"[{reason.name.lower()} {level}]",
    )


def activation_points(order: Order, quote: Quote) -> int | None:
    """Give the price at which a quote fills a pending order, None when it does not reach it.

    A limit is filled at its own price; a stop at the quote, which may have jumped past it.
    """
    price = quote.ask if order.type % 2 == 0 else quote.bid
    sign = 1 if order.type in REACHED_FALLING else -1
    if sign * (price - order.price_points) > 0:
        return None
    return order.price_points if order.type in FILLED_AT_OWN_PRICE else price
