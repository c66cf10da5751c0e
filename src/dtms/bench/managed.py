"""Positions in the hands of the managers for the passes: half before breakeven, half behind a stop that follows.

Universal's are spread over its strategies and both halves; Intelligent Exit's stand beside DTMS, which is at rest. A
stop that follows lies so near to the price that no method can better it by the minimum change: each look works its aim
out, and proposes nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from dtms.decide import exits_rules
from dtms.decide.adoption import adopt
from dtms.decide.strategies import resolve
from dtms.domain.managed import Managed
from dtms.domain.market import Side, Tick
from dtms.domain.owners import Ownership
from dtms.domain.position import Position
from dtms.domain.strategies import Strategy
from dtms.domain.trade import Owner
from dtms.market.regime import session_at
from dtms.settings import Settings

FIRST_TICKET = 300_001
LOTS = Decimal("0.40")
RISK_SHARE = 0.004
FOLLOWED_R = 1.5
"""Profit of a position whose stop follows, in R."""
BEHIND_R = 0.05
"""How far its stop is behind the price: less than the minimum change, in R."""
ACCOUNT = (1, "bench")
STRATEGIES = tuple(Strategy)


def positions(count: int, symbols: dict[str, Tick], now_ms: int) -> Iterator[Position]:
    """Yield positions spread over the symbols, with entry and stop as their number wants them."""
    names = list(symbols)
    for number in range(count):
        name = names[number % len(names)]
        yield _position(number, len(names), name, symbols[name], now_ms)


def _position(number: int, symbols: int, name: str, tick: Tick, now_ms: int) -> Position:
    turn = number // symbols
    side = Side.LONG if turn // 2 % 2 else Side.SHORT
    price, risk = tick.closing(side), tick.closing(side) * RISK_SHARE
    r = FOLLOWED_R if is_followed(number, symbols) else (number % 11 - 5) / 50
    entry = price - side.sign * r * risk
    stop = price - side.sign * BEHIND_R * risk if is_followed(number, symbols) else entry - side.sign * risk
    return Position(
        ticket=FIRST_TICKET + number,
        identifier=FIRST_TICKET + number,
        symbol=name,
        side=side,
        volume=LOTS,
        entry=entry,
        stop=stop,
        target=entry + side.sign * 4 * risk,
        price_now=price,
        profit=0.0,
        swap=0.0,
        magic=0,
        comment="",
        opened_ms=now_ms,
    )


def is_followed(number: int, symbols: int) -> bool:
    """Answer whether the stop of a number's position follows the price already; each symbol has both kinds."""
    return number // symbols % 2 == 1


def universal(number: int, position: Position, symbols: int, now_ms: int, settings: Settings) -> Managed:
    """Return what the Universal manager remembers of a position; its strategy follows from the number."""
    strategy = STRATEGIES[number // (2 * symbols) % len(STRATEGIES)]
    rules = resolve(strategy.value, position.symbol, session_at(now_ms), None, settings.universal)
    login, server = ACCOUNT
    made = adopt(position, rules, login=login, server=server, now_ms=now_ms, atr_m15=None, settings=settings)
    return _with_past(made, is_followed(number, symbols))


def exits(number: int, position: Position, symbols: int, now_ms: int, settings: Settings) -> Managed:
    """Return what Intelligent Exit remembers of a position."""
    rules = exits_rules.rules_of(position.symbol, session_at(now_ms), False, settings.exits)
    login, server = ACCOUNT
    made = adopt(position, rules, login=login, server=server, now_ms=now_ms, atr_m15=None, settings=settings)
    return _with_past(made, is_followed(number, symbols))


def _with_past(managed: Managed, followed: bool) -> Managed:
    return replace(
        managed,
        risk=managed.entry * RISK_SHARE,
        nominal_risk=False,
        breakeven_done=followed,
        partial_done=followed,
        trailing_active=followed,
    )


def owned(managed: Managed) -> Ownership:
    """Return the registry's entry of a position of the Universal manager."""
    return Ownership(
        ticket=managed.ticket,
        identifier=managed.identifier,
        login=managed.login,
        server=managed.server,
        symbol=managed.symbol,
        side=managed.side,
        owner=Owner.UNIVERSAL.value,
        breakeven=managed.breakeven_done,
        since_ms=managed.registered_ms,
    )
