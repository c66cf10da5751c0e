"""The simulated world at one moment: the symbols' markets, the books, and the money that positions are worth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dtms.terminal.simulated import conditions
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Feed, Quote
from dtms.terminal.simulated.grid import LOT_UNITS, SUB_POINTS, divide, to_cents, to_units
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.manners import Manners, MarginCheck
from dtms.terminal.simulated.records import BUY, SELL, Position, Setting
from dtms.terminal.simulated.series import Series
from dtms.terminal.simulated.server_time import ServerClock
from dtms.terminal.simulated.spec import AccountSpec, Switches, SymbolSpec

FOREX = MT5.SYMBOL_CALC_MODE_FOREX
ORDINARY = Manners()
NOTHING = (0, 0)


@dataclass(frozen=True, slots=True)
class Held:
    """What one symbol's positions come to: floating profit and swap, worth, and units and margin (cents) per side."""

    floating_cents: int
    worth_cents: int
    longs: tuple[int, int]
    shorts: tuple[int, int]


class World:
    """Hold the market and the books; `now_ms` is the moment up to which the market has been played."""

    def __init__(
        self,
        account: AccountSpec,
        feeds: Mapping[str, Feed],
        clock: ServerClock,
        now_ms: int,
        manners: Manners = ORDINARY,
    ) -> None:
        self.account = account
        self.clock = clock
        self.feeds = dict(feeds)
        self.specs: dict[str, SymbolSpec] = {name: feed.spec for name, feed in feeds.items()}
        self.series = {name: Series(feed, clock) for name, feed in feeds.items()}
        self.ledger = Ledger(lambda setting: conditions.put(self, setting))
        self.switches = Switches()
        self.manners = replace(manners)
        self.now_ms = now_ms
        self._quotes: dict[str, tuple[Quote | None, int, int]] = {}
        self._held: dict[str, tuple[object, Held]] = {}
        self._priced_by: dict[str, tuple[str, ...]] = {}

    def quote(self, symbol: str) -> Quote | None:
        """Give the symbol's last quote up to now, None before its first."""
        known = self._quotes.get(symbol)
        if known is None or not known[1] <= self.now_ms <= known[2]:
            quote, until_ms = self.feeds[symbol].quote_until(self.now_ms)
            known = self._quotes[symbol] = (quote, self.now_ms, until_ms)
        return known[0]

    def set(self, name: str, value: object) -> None:
        """Change a condition by its dotted name, from now on; ValueError when there is no such name or value."""
        self.ledger.apply(Setting(name=name, value=conditions.judged(self.specs, name, value), ms=self.now_ms))

    def trade_mode(self, spec: SymbolSpec) -> int:
        """Give the symbol's trade mode, which may have been changed while running."""
        return self.switches.trade_modes.get(spec.name, spec.trade_mode)

    @property
    def is_netting(self) -> bool:
        """Whether the account holds one position a symbol, into which every deal merges."""
        return self.account.margin_mode != MT5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING

    def netted(self, symbol: str) -> Position | None:
        """Give the one position of a symbol on a netting account, None where there is none or can be several."""
        return next(iter(self.ledger.positions_of(symbol)), None) if self.is_netting else None

    def is_open(self, symbol: str) -> bool:
        """Tell whether the symbol's market trades now."""
        return self.feeds[symbol].is_open(self.now_ms)

    # Money. Exact: whole points times whole units, divided and rounded to cents once.

    def profit_cents(
        self, spec: SymbolSpec, side: int, units: int, open_points: int, close_points: int, open_sub: int = 0
    ) -> int:
        """Give the profit of a closed or closing volume in the account's currency."""
        points = (close_points - open_points) * (1 if side == BUY else -1)
        top, bottom = self.rate(spec.currency_profit, spec, close_points)
        if open_sub:
            points = points * SUB_POINTS - (open_sub if side == BUY else -open_sub)
            bottom *= SUB_POINTS
        return divide(points * units * spec.contract_size * 100 * top, spec.scale * LOT_UNITS * bottom)

    def worth_cents(self, spec: SymbolSpec, units: int, price_points: int) -> int:
        """Give what a volume is worth at a price, in the account's currency."""
        top, bottom = self.rate(spec.currency_profit, spec, price_points)
        return divide(price_points * units * spec.contract_size * 100 * top, spec.scale * LOT_UNITS * bottom)

    def margin_cents(self, spec: SymbolSpec, units: int, price_points: int) -> int:
        """Give the margin of a volume in the account's currency."""
        if spec.calc_mode == FOREX:
            top, bottom = self.rate(spec.currency_base, spec, price_points)
        else:
            top, bottom = self.rate(spec.currency_profit, spec, price_points)
            top, bottom = top * price_points, bottom * spec.scale
        whole = units * spec.contract_size * 100 * spec.margin_factor
        return divide(whole * top, LOT_UNITS * self.account.leverage * bottom)

    def commission_cents(self, spec: SymbolSpec, units: int) -> int:
        """Give the commission of one side of a deal, as a charge (not above 0)."""
        return -divide(to_cents(spec.commission_per_lot) * units, LOT_UNITS)

    def rate(self, currency: str, own: SymbolSpec, own_points: int) -> tuple[int, int]:
        """Give what one unit of a currency is worth in the account's, as a fraction.

        A symbol that is itself a pair with the account's currency converts at its own price.
        """
        if currency == self.account.currency:
            return 1, 1
        pair = converter(self.specs, currency, self.account.currency, own)
        points = own_points if pair is own else self._mid_points(pair.name)
        return (points, pair.scale) if pair.currency_base == currency else (pair.scale, points)

    def _mid_points(self, symbol: str) -> int:
        quote = self.quote(symbol)
        return (quote.bid + quote.ask) // 2 if quote else int(self.feeds[symbol].base.open[0])

    def floating_cents(self, position: Position) -> int:
        """Give the position's profit at the price that would close it now, without swap."""
        spec = self.specs[position.symbol]
        close = self.close_points(position)
        return self.profit_cents(spec, position.type, position.units, position.open_points, close, position.open_sub)

    def close_points(self, position: Position) -> int:
        """Give the price that would close a position now: bid for a BUY, ask for a SELL."""
        quote = self.quote(position.symbol)
        if quote is None:
            return position.open_points
        return quote.bid if position.type == BUY else quote.ask

    def equity_cents(self) -> int:
        """Give balance plus floating profit and swap."""
        held = [self._held_of(symbol) for symbol in self.ledger.busy_symbols()]
        return self.ledger.balance_cents + sum(one.floating_cents for one in held)

    def margin_used_cents(self) -> int:
        """Give the margin of all positions, the covered part of opposite ones charged as the symbol says."""
        return sum(self._charged(symbol, self._held_of(symbol)) for symbol in self.ledger.busy_symbols())

    def margin_added_cents(self, spec: SymbolSpec, side: int, units: int, price_points: int) -> int:
        """Give the free margin that an entry takes; below 0 when it frees some."""
        leg = units, self.margin_cents(spec, units, price_points)
        held = self._held_of(spec.name)
        if not self.is_netting and self.manners.margin_check is MarginCheck.ENTRY:
            return leg[1]
        longs, shorts = held.longs, held.shorts
        if self.is_netting:  # an entry on the other side is what a reversal leaves
            longs, shorts = (longs, NOTHING) if side == BUY else (NOTHING, shorts)
        longs, shorts = (_sum(longs, leg), shorts) if side == BUY else (longs, _sum(shorts, leg))
        after = replace(held, longs=longs, shorts=shorts)
        return self._charged(spec.name, after) - self._charged(spec.name, held)

    def can_pay(self, spec: SymbolSpec, side: int, units: int, price_points: int) -> bool:
        """Tell whether the free margin covers an entry; what frees margin always passes."""
        added = self.margin_added_cents(spec, side, units, price_points)
        return added <= 0 or added <= self.equity_cents() - self.margin_used_cents()

    def available_units(self, spec: SymbolSpec) -> int | None:
        """Give how much of an order can be filled at once, on the symbol's grid; None for all of it."""
        if not self.manners.fill_lots_max:
            return None
        step = to_units(spec.volume_step_lots)
        return to_units(self.manners.fill_lots_max) // step * step

    def worth_of(self, symbol: str) -> int:
        """Give what all positions of a symbol are worth together, in cents: both sides add up."""
        return self._held_of(symbol).worth_cents

    def _charged(self, symbol: str, held: Held) -> int:
        return hedged_margin(held.longs, held.shorts, self.specs[symbol])

    def _held_of(self, symbol: str) -> Held:
        """Sum up a symbol's positions, anew only when the books or a quote that prices them changed."""
        key = self.ledger.versions[symbol], [self.quote(name) for name in self.pricing(symbol)]
        known = self._held.get(symbol)
        if known is None or known[0] != key:
            known = self._held[symbol] = key, self._summed(symbol)
        return known[1]

    def pricing(self, symbol: str) -> tuple[str, ...]:
        """Name the symbols whose quotes price this one's positions: itself, and those that convert its money."""
        known = self._priced_by.get(symbol)
        if known is None:
            spec, account = self.specs[symbol], self.account.currency
            money = [spec.currency_profit, *([spec.currency_base] if spec.calc_mode == FOREX else [])]
            pairs = [converter(self.specs, currency, account, spec).name for currency in money if currency != account]
            known = self._priced_by[symbol] = tuple(dict.fromkeys([symbol, *pairs]))
        return known

    def _summed(self, symbol: str) -> Held:
        spec, positions = self.specs[symbol], self.ledger.positions_of(symbol)
        sides = [[0, 0], [0, 0]]
        for position in positions:
            side = sides[position.type]
            side[0] += position.units
            side[1] += self.margin_cents(spec, position.units, position.open_points)
        floating = sum(self.floating_cents(p) + p.swap_cents for p in positions)
        longs, shorts = (sides[BUY][0], sides[BUY][1]), (sides[SELL][0], sides[SELL][1])
        worth = self.worth_cents(spec, longs[0] + shorts[0], self.close_points(positions[0])) if positions else 0
        return Held(floating, worth, longs, shorts)


def hedged_margin(longs: tuple[int, int], shorts: tuple[int, int], spec: SymbolSpec) -> int:
    """Charge the larger side's surplus in full, and a covered lot with the mean of both sides for its hedged units.

    The symbol may charge the larger leg alone instead. Source: the vendor's help on hedged margin.
    """
    large, small = (longs, shorts) if longs[0] >= shorts[0] else (shorts, longs)
    covered, total = small[0], longs[0] + shorts[0]
    if not covered:
        return large[1]
    if spec.margin_hedged_use_leg:
        return max(longs[1], shorts[1])
    surplus = divide(large[1] * (large[0] - covered), large[0])
    hedged, whole = hedged_units(spec)
    return surplus + divide((longs[1] + shorts[1]) * covered * hedged, whole * total)


def hedged_units(spec: SymbolSpec) -> tuple[int, int]:
    """Give which share of a contract's margin a covered lot is charged, as a fraction; a half if nothing is said."""
    return (1, 2) if spec.margin_hedged_units is None else (spec.margin_hedged_units, spec.contract_size)


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def converter(specs: Mapping[str, SymbolSpec], currency: str, account: str, own: SymbolSpec) -> SymbolSpec:
    """Find the symbol that converts a currency into the account's; the symbol itself first. LookupError if none."""
    for spec in (own, *specs.values()):
        if {spec.currency_base, spec.currency_profit} == {currency, account}:
            return spec
    raise LookupError(f"{own.name}: no symbol converts {currency} to {account}")
