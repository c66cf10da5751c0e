"""Trades of every state for the passes, and the positions that a broker would show for them."""

from collections.abc import Iterator
from decimal import Decimal

from dtms.domain.market import Side, Tick
from dtms.domain.position import Position
from dtms.domain.trade import Machine, Member, Role, State, Trade, Visit
from dtms.settings import ProtectionSettings, Settings

MIX = (
    *[State.HEALTHY] * 80,
    *[State.WARNING_L1] * 10,
    *[State.WARNING_L2] * 5,
    *[State.HEDGED] * 3,
    *[State.RECOVERING] * 2,
)
"""The states of a hundred trades."""
STRIDE = 37
"""Prime to a hundred, so that neighbours differ and each symbol has every state."""
FIRST_TICKET = 200_001
FIRST_HEDGE = 900_000_001
LOTS = Decimal("0.10")
RISK_SHARE = 0.004

QUIET = Settings(
    protection=ProtectionSettings(
        hedge_at=-90.0, warn_l2=-80.0, warn_l1=-70.0, warn_l2_exit=50.0, warn_l1_exit=50.0, recovered_at=50.0
    )
)
"""Thresholds between which every score lies: nothing is near."""
BRINK = Settings(
    protection=ProtectionSettings(
        hedge_at=-90.0, warn_l2=-80.0, warn_l1=-70.0, warn_l2_exit=-60.0, warn_l1_exit=-50.0, recovered_at=-50.0
    )
)
"""Thresholds past which the score of every WARNING and RECOVERING trade lies: only the dwell, which the table judges,
keeps it where it is, so that one trade in six walks the whole table."""


def make(number: int, symbol: str, tick: Tick, now_ms: int) -> Trade:
    """Make the trade of a number: its state, side and entry follow from it."""
    state = MIX[number * STRIDE % len(MIX)]
    side = Side.LONG if number // 20 % 2 else Side.SHORT
    entry = tick.opening(side) * (1 + (number % 11 - 5) / 10_000)
    risk = entry * RISK_SHARE
    ticket = FIRST_TICKET + number
    return Trade(
        ticket=ticket,
        identifier=ticket,
        login=1,
        server="bench",
        symbol=symbol,
        side=side,
        entry=entry,
        initial_volume=LOTS,
        initial_stop=entry - side.sign * risk,
        risk=risk,
        nominal_risk=False,
        registered_ms=now_ms,
        opened_ms=now_ms,
        volume=LOTS,
        stop=entry - side.sign * risk,
        target=None,
        machine=_machine(state, now_ms),
        members=(_hedge(number, side, entry, risk, now_ms),) if state is State.HEDGED else (),
    )


def _machine(state: State, now_ms: int) -> Machine:
    return Machine(
        state=state,
        entered_ms=now_ms,
        stepped_down_ms=now_ms,
        armed=True,
        done=frozenset({Visit.SUBSTITUTED}) if state is State.WARNING_L2 else frozenset(),
        flat_since_ms=now_ms if state in (State.HEDGED, State.WARNING_L2) else None,
        recovery_since_ms=now_ms if state is State.RECOVERING else None,
        hedges=1 if state is State.HEDGED else 0,
    )


def _hedge(number: int, side: Side, entry: float, risk: float, now_ms: int) -> Member:
    ticket = FIRST_HEDGE + number
    return Member(
        ticket=ticket,
        identifier=ticket,
        role=Role.HEDGE,
        side=side.opposite,
        volume=LOTS / 2,
        entry=entry,
        stop=entry + side.sign * 2 * risk,
        target=None,
        intent=number + 1,
        opened_ms=now_ms,
    )


def positions_of(trade: Trade) -> Iterator[Position]:
    """Yield the family's positions exactly as the trade remembers them."""
    yield _position(trade, trade.side, trade.ticket)
    for member in trade.members:
        yield _position(member, member.side, member.ticket, trade.symbol)


def _position(held: Trade | Member, side: Side, ticket: int, symbol: str = "") -> Position:
    return Position(
        ticket=ticket,
        identifier=held.identifier,
        symbol=held.symbol if isinstance(held, Trade) else symbol,
        side=side,
        volume=held.volume,
        entry=held.entry,
        stop=held.stop,
        target=held.target,
        price_now=held.entry,
        profit=0.0,
        swap=0.0,
        magic=0,
        comment="",
        opened_ms=held.opened_ms,
    )
