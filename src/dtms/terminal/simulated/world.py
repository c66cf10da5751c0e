"""The simulated world at one moment: the symbols' markets, the books, and the money that positions are worth."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dtms.terminal.simulated import conditions
from dtms.terminal.simulated.constants import MT5
from dtms.terminal.simulated.feed import Feed, Quote
from dtms.terminal.simulated.grid import LOT_UNITS, divide, to_cents
from dtms.terminal.simulated.ledger import Ledger
from dtms.terminal.simulated.records import BUY, SELL, Position, Setting
from dtms.terminal.simulated.series import Series
from dtms.terminal.simulated.server_time import ServerClock
from dtms.terminal.simulated.spec import AccountSpec, Manners, Switches, SymbolSpec

FOREX = MT5.SYMBOL_CALC_MODE_FOREX
ORDINARY = Manners()


@dataclass(frozen=True, slots=True)
class Held:
    """What one symbol's positions come to: floating profit and swap; units and margin (cents) per side."""

    floating_cents: int
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

    def is_open(self, symbol: str) -> bool:
        """Tell whether the symbol's market trades now."""
        return self.feeds[symbol].is_open(self.now_ms)

    # Money. Exact: whole points times whole units, divided and rounded to cents once.

    def profit_cents(self, spec: SymbolSpec, side: int, units: int, open_points: int, close_points: int) -> int:
        """Give the profit of a closed or closing volume in the account's currency."""
        points = (close_points - open_points) * (1 if side == BUY else -1)
        top, bottom = self.rate(spec.currency_profit, spec, close_points)
        return divide(points * units * spec.contract_size * 100 * top, spec.scale * LOT_UNITS * bottom)

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
        return self.profit_cents(spec, position.type, position.units, position.open_points, close)

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
        """Give the margin of all positions, the covered part of opposite ones charged half."""
        held = [self._held_of(symbol) for symbol in self.ledger.busy_symbols()]
        return sum(_hedged_margin(one.longs, one.shorts) for one in held if one.longs[0] or one.shorts[0])

    def _held_of(self, symbol: str) -> Held:
        """Sum up a symbol's positions, anew only when the books or a quote that prices them changed."""
        key = self.ledger.versions[symbol], [self.quote(name) for name in self._pricing(symbol)]
        known = self._held.get(symbol)
        if known is None or known[0] != key:
            known = self._held[symbol] = key, self._summed(symbol)
        return known[1]

    def _pricing(self, symbol: str) -> tuple[str, ...]:
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
        return Held(floating, (sides[BUY][0], sides[BUY][1]), (sides[SELL][0], sides[SELL][1]))


def _hedged_margin(longs: tuple[int, int], shorts: tuple[int, int]) -> int:
    """Charge the larger side's surplus in full, and the covered volume of both sides at half of their mean."""
    large, small = (longs, shorts) if longs[0] >= shorts[0] else (shorts, longs)
    covered, total = small[0], longs[0] + shorts[0]
    surplus = divide(large[1] * (large[0] - covered), large[0])
    return surplus + divide((longs[1] + shorts[1]) * covered, 2 * total)


def converter(specs: Mapping[str, SymbolSpec], currency: str, account: str, own: SymbolSpec) -> SymbolSpec:
    """Find the symbol that converts a currency into the account's; the symbol itself first. LookupError if none."""
    for spec in (own, *specs.values()):
        if {spec.currency_base, spec.currency_profit} == {currency, account}:
            return spec
    raise LookupError(f"{own.name}: no symbol converts {currency} to {account}")
