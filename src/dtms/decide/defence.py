"""From a move to sized actions: which position, how many lots, at which price, or why it is not possible.

What a move never does stands here: no stop is loosened, crosses the market or lands within stops level + spread of it;
no more is closed than is open; no second live hedge; no re-add without a stop or beyond the initial volume. The
broker's present positions are what sizes are taken from, not what the trade remembers.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import takewhile

from dtms.decide.breakeven import breakeven_price as breakeven_price
from dtms.decide.capabilities import NOTHING_LEARNED, Learned, closes_in_order, hedging_refused
from dtms.decide.recovery import owed
from dtms.decide.trade_state import Move
from dtms.domain.account import Account
from dtms.domain.actions import Action, ActionKind, ClosePosition, MoveStop, OpenPosition
from dtms.domain.market import Instrument, Side, Tick, TradeMode
from dtms.domain.position import Position
from dtms.domain.prices import ZERO, away_from_market, floor_lots, same_price, valid_share
from dtms.domain.trade import Role, Trade
from dtms.settings import ProtectionSettings, RailSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What sizing sees of one trade: the broker's positions of its family, quote, grid, and the rules."""

    trade: Trade
    own: Position | None
    readds: tuple[Position, ...]
    hedges: tuple[Position, ...]
    tick: Tick
    instrument: Instrument
    account: Account
    atr_m15: float
    protection: ProtectionSettings
    rails: RailSettings
    part_left: Decimal | None = None
    """Lots still to be closed of a part whose closing was begun; None when none was."""
    cost_money: float = 0.0
    """Commission, fees and swap so far of the trade's own position, in account currency, negative when paid."""
    learned: Learned = NOTHING_LEARNED
    """What refusals taught of the account and the symbol."""
    symbol_order: tuple[int, ...] = ()
    """Tickets of every position of the symbol on the account, oldest first, this family's or not."""
    strange: frozenset[int] = frozenset()
    """Numbers of the intents whose positions the broker lists on the symbol, and this family does not know."""
    seen_stops: Mapping[int, float] = field(default_factory=dict)
    """Stops that were seen at the broker a moment ago, by ticket: a list that shows a looser one can be an old list."""

    @property
    def side_positions(self) -> tuple[Position, ...]:
        """Every position on the trade's side, its own first."""
        own = () if self.own is None else (self.own,)
        return (*own, *self.readds)

    @property
    def in_closing_order(self) -> tuple[Position, ...]:
        """The trade's side as a part is taken from it: re-added positions first.

        Where the account closes first in, first out: the oldest first, up to where an older position of somebody
        else's stands before the next.
        """
        own = () if self.own is None else (self.own,)
        return self.closable((*self.readds, *own))

    def closable(self, positions: Sequence[Position]) -> tuple[Position, ...]:
        """Return those of the family's positions that the account lets one close, in the order in which it does."""
        if not closes_in_order(self.account, self.learned):
            return tuple(positions)
        by_ticket = {p.ticket: p for p in positions}
        first = takewhile(by_ticket.__contains__, self.symbol_order)
        return tuple(by_ticket[ticket] for ticket in first)

    @property
    def clearance(self) -> float:
        """The least distance of a stop from the price that closes the position."""
        return self.instrument.stops_level + self.tick.spread


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in the order in which they are to be done; ``note`` says why there are fewer than one might expect."""

    actions: tuple[Action, ...] = ()
    note: str = ""
    pending: bool = False
    """The move waits for the price (breakeven)."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """The move is not possible, by which rule and with which figures."""

    rule: str
    reason: str


Planned = Plan | Impossible


def plan(move: Move, sight: Sight) -> Planned:
    """Size a move on what the broker holds now."""
    return _PLANNERS[move](sight)


# --- stops ---------------------------------------------------------------------------------------------------------


def tighten(sight: Sight) -> Planned:
    """Bring stops to max(0.3 R, 1 ATR) behind the price that closes the trade."""
    distance = max(sight.protection.tighten_r * sight.trade.risk, sight.protection.tighten_atr * sight.atr_m15)
    return _move_stops(sight, ActionKind.TIGHTEN, _behind(sight, max(distance, sight.clearance)))


def breakeven(sight: Sight) -> Planned:
    """Move stops to breakeven; while the market is not beyond it, leave them where they are."""
    wanted = breakeven_price(sight.trade, sight.tick, sight.instrument, sight.cost_money)
    beyond = (sight.tick.closing(sight.trade.side) - wanted) * sight.trade.side.sign
    if all(not _improves(wanted, p, sight) for p in sight.side_positions):
        return Plan(note="the stop is at breakeven or beyond it already")
    if beyond < sight.clearance:
        return Plan(note=f"breakeven {wanted:.10g} waits until the price is beyond it", pending=True)
    return _move_stops(sight, ActionKind.BREAKEVEN, wanted)


def _behind(sight: Sight, distance: float) -> float:
    side = sight.trade.side
    return away_from_market(sight.tick.closing(side) - side.sign * distance, side, sight.instrument)


def _improves(stop: float, position: Position, sight: Sight) -> bool:
    """Answer whether a stop is tighter than the one that is listed, and than the one that was seen a moment ago."""
    if position.stop is None:
        return True
    standing = (position.stop, sight.seen_stops.get(position.ticket, position.stop))
    return all((stop - live) * sight.trade.side.sign > sight.instrument.tick_size / 2 for live in standing)


def _move_stops(sight: Sight, kind: ActionKind, stop: float) -> Planned:
    if not 0.0 < stop < float("inf"):
        return Impossible("no_valid_stop", f"{stop:.10g} is no price")
    actions = tuple(_set_stop(p, kind, stop) for p in sight.side_positions if _improves(stop, p, sight))
    return Plan(actions) if actions else Plan(note=f"no valid tightening: {stop:.10g} would not improve the stop")


# --- closing -------------------------------------------------------------------------------------------------------


def close_part(sight: Sight) -> Planned:
    """Close a share of what remains, re-added positions first."""
    positions = sight.in_closing_order
    if not positions and sight.side_positions:
        return _out_of_order(sight)
    total = sum((p.volume for p in sight.side_positions), ZERO)
    if sight.part_left is not None:
        return Plan(
            tuple(_taken(positions, sight.part_left, sight.instrument)), note="the rest of it is closed already"
        )
    part = valid_share(total, Decimal(str(sight.protection.close_share)), sight.instrument)
    if part is not None:
        actions = tuple(_taken(positions, part, sight.instrument))
        if actions:
            return Plan(actions)
    if sight.protection.partial_below_minimum == "close_all" and total > ZERO:
        return Plan(tuple(_close(p, ActionKind.CLOSE_PART, p.volume) for p in positions))
    share = f"{sight.protection.close_share:.0%} of {total} lots"
    return Impossible(
        "minimum_lot", f"{share} is not a part that {sight.trade.symbol} can close and leave the rest valid"
    )


def _out_of_order(sight: Sight) -> Impossible:
    first = next(iter(sight.symbol_order), None)
    told = f"the account closes first in, first out, and position {first} of {sight.trade.symbol} is older"
    return Impossible("fifo", told)


def _taken(positions: Sequence[Position], part: Decimal, instrument: Instrument) -> list[ClosePosition]:
    actions: list[ClosePosition] = []
    for position in positions:
        volume = _takeable(min(part, position.volume), position.volume, instrument)
        if volume > ZERO:
            actions.append(_close(position, ActionKind.CLOSE_PART, volume))
            part -= volume
    return actions


def _takeable(volume: Decimal, of: Decimal, instrument: Instrument) -> Decimal:
    """Take less rather than leave a rest below the minimum."""
    if ZERO < of - volume < instrument.volume_min:
        volume = floor_lots(of - instrument.volume_min, instrument)
    return volume if volume >= instrument.volume_min else ZERO


def _close(position: Position, kind: ActionKind, volume: Decimal) -> ClosePosition:
    return ClosePosition(
        kind=kind,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        volume=volume,
        expected_volume=position.volume,
    )


def close_hedge(sight: Sight) -> Planned:
    """Close every position of the hedge."""
    closable = sight.closable(sight.hedges)
    if sight.hedges and not closable:
        return _out_of_order(sight)
    actions = tuple(_close(p, ActionKind.CLOSE_HEDGE, p.volume) for p in closable)
    return Plan(actions, note="" if actions else "the hedge is gone already")


def close_all(sight: Sight) -> Planned:
    """Close the family, the trade's own position first."""
    family = (*sight.side_positions, *sight.hedges)
    closable = sight.closable(family)
    if family and not closable:
        return _out_of_order(sight)
    actions = tuple(_close(p, _closing_kind(sight, p), p.volume) for p in closable)
    return Plan(actions, note="" if actions else "nothing is open any more")


def _closing_kind(sight: Sight, position: Position) -> ActionKind:
    return ActionKind.CLOSE_HEDGE if position in sight.hedges else ActionKind.CLOSE


def closed_members(sight: Sight, tickets: Collection[int]) -> Planned:
    """Close those of the hedges and re-added positions that are named."""
    kinds = ((sight.hedges, ActionKind.CLOSE_HEDGE), (sight.readds, ActionKind.CLOSE))
    return Plan(tuple(_close(p, kind, p.volume) for held, kind in kinds for p in held if p.ticket in tickets))


# --- opening -------------------------------------------------------------------------------------------------------


def open_hedge(sight: Sight) -> Planned:
    """Open the opposite side of a share of what remains, with its own stop."""
    if refused := _cannot_hedge(sight):
        return refused
    volume = _hedge_volume(sight)
    if volume < sight.instrument.volume_min:
        return Impossible("minimum_lot", f"a hedge of {volume} lots is below {sight.instrument.volume_min}")
    side = sight.trade.side.opposite
    distance = max(sight.protection.hedge_stop_atr * sight.atr_m15, sight.clearance)
    stop = away_from_market(sight.tick.opening(side) - side.sign * distance, side, sight.instrument)
    return Plan((_open(sight, ActionKind.OPEN_HEDGE, side, volume, stop, None),))


def _hedge_volume(sight: Sight) -> Decimal:
    remaining = sum((p.volume for p in sight.side_positions), ZERO)
    share = floor_lots(remaining * Decimal(str(sight.protection.hedge_share)), sight.instrument)
    return min(share, sight.instrument.volume_max)


def _cannot_hedge(sight: Sight) -> Impossible | None:
    """Why no hedge can stand beside this trade, asked in this order."""
    trade, machine = sight.trade, sight.trade.machine
    checks: tuple[tuple[bool, str, str], ...] = (
        (sight.protection.hedge == "close", "protection.hedge", "configured to close instead of hedging"),
        (bool(sight.hedges), "one_hedge", "a hedge is open already"),
        (machine.hedges >= sight.protection.hedges_max, "hedges_max", f"{machine.hedges} hedges in this trade's life"),
        ((prohibited := hedging_refused(sight.account, sight.learned)) is not None, "account", prohibited or ""),
        (trade.reduce_only, "unresolved_intent", "an earlier request is still unresolved"),
        *_closed_to(sight, trade.side.opposite),
    )
    return next((Impossible(rule, reason) for holds, rule, reason in checks if holds), None)


def _closed_to(sight: Sight, side: Side) -> tuple[tuple[bool, str, str], ...]:
    """Whether no position of a side may be opened: by the symbol's description, and by what refusals taught."""
    shut = {TradeMode.DISABLED, TradeMode.CLOSE_ONLY}
    shut.add(TradeMode.LONG_ONLY if side is Side.SHORT else TradeMode.SHORT_ONLY)
    mode, told = sight.instrument.trade_mode, sight.learned.closed_to(sight.instrument.symbol, side)
    return (
        (mode in shut, "trade_mode", f"{sight.instrument.symbol} is {mode.value.replace('_', ' ')}"),
        (told is not None, "trade_mode", told or ""),
    )


def readd(sight: Sight) -> Planned:
    """Re-add a share of what DTMS closed, with the trade's stop and target."""
    trade, own = sight.trade, sight.own
    if trade.reduce_only:
        return Impossible("unresolved_intent", "an earlier request is still unresolved")
    if trade.machine.readds >= sight.rails.readds_max:
        return Impossible("readds_max", f"{trade.machine.readds} re-adds already")
    if own is None or own.stop is None:
        return Impossible("no_stop", "the trade has no stop to re-add with")
    if (sight.tick.closing(trade.side) - own.stop) * trade.side.sign < sight.clearance:
        return Impossible("stop_too_near", f"the stop {own.stop:.10g} is too near to the market")
    for holds, rule, reason in _closed_to(sight, trade.side):
        if holds:
            return Impossible(rule, reason)
    return _sized_readd(sight, own)


def _sized_readd(sight: Sight, own: Position) -> Planned:
    trade = sight.trade
    remaining = sum((p.volume for p in sight.side_positions), ZERO)
    share = floor_lots(trade.closed_by_dtms * Decimal(str(sight.protection.readd_share)), sight.instrument)
    volume = min(share, floor_lots(trade.initial_volume - remaining, sight.instrument), sight.instrument.volume_max)
    if volume < sight.instrument.volume_min:
        return Impossible("minimum_lot", f"{volume} lots to re-add is below {sight.instrument.volume_min}")
    assert own.stop is not None
    return Plan((_open(sight, ActionKind.READD, trade.side, volume, own.stop, _valid_target(sight, own)),))


def _valid_target(sight: Sight, own: Position) -> float | None:
    """The trade's target, when the market has not passed it."""
    if own.target is None:
        return None
    ahead = (own.target - sight.tick.closing(own.side)) * own.side.sign
    return own.target if ahead >= sight.clearance else None


def _open(
    sight: Sight, kind: ActionKind, side: Side, volume: Decimal, stop: float, target: float | None
) -> OpenPosition:
    return OpenPosition(kind=kind, symbol=sight.trade.symbol, side=side, volume=volume, stop=stop, target=target)


_PLANNERS: dict[Move, Callable[[Sight], Planned]] = {
    Move.TIGHTEN: tighten,
    Move.BREAKEVEN: breakeven,
    Move.CLOSE_PART: close_part,
    Move.OPEN_HEDGE: open_hedge,
    Move.CLOSE_HEDGE: close_hedge,
    Move.READD: readd,
    Move.CLOSE_ALL: close_all,
    Move.CLOSE_REST: close_all,
}


def by_age(positions: Iterable[Position], symbol: str) -> tuple[int, ...]:
    """Return the tickets of a symbol's positions, oldest first."""
    of_symbol = sorted((p.opened_ms, p.ticket) for p in positions if p.symbol == symbol)
    return tuple(ticket for _, ticket in of_symbol)


def family_sight_positions(
    trade: Trade, positions: dict[int, Position] | None
) -> tuple[Position | None, tuple[Position, ...], tuple[Position, ...]]:
    """Split the broker's positions into the trade's own, its re-added ones and its hedges."""
    held = positions or {}
    by_role = {
        role: tuple(held[m.ticket] for m in trade.members if m.role is role and m.ticket in held) for role in Role
    }
    return held.get(trade.position), by_role[Role.READD], by_role[Role.HEDGE]


def restored_stops(sight: Sight) -> Planned:
    """Put recorded stops back where the broker lost them: on the own position, re-added ones and hedges."""
    stops = owed(sight.trade)
    bare = [p for p in (*sight.side_positions, *sight.hedges) if p.ticket in stops and p.stop is None]
    lost = [f"{stops[p.ticket]:.10g}" for p in bare if not _is_valid_stop(sight, p, stops[p.ticket])]
    actions = tuple(
        _set_stop(p, ActionKind.RESTORE_STOP, stops[p.ticket])
        for p in bare
        if _is_valid_stop(sight, p, stops[p.ticket])
    )
    if lost and not actions:
        return Impossible("stop_too_near", f"the recorded stop {', '.join(lost)} is no longer valid at the market")
    return Plan(actions)


def unrestorable(sight: Sight) -> tuple[int, ...]:
    """Return the tickets of positions whose owed stop the market has passed, or that have one again."""
    stops = owed(sight.trade)
    held = {p.ticket: p for p in (*sight.side_positions, *sight.hedges)}
    return tuple(
        ticket
        for ticket, stop in stops.items()
        if ticket in held and held[ticket].stop is None and not _is_valid_stop(sight, held[ticket], stop)
    )


def _is_valid_stop(sight: Sight, position: Position, stop: float) -> bool:
    return (sight.tick.closing(position.side) - stop) * position.side.sign >= sight.clearance


def attached_stop(sight: Sight) -> Planned:
    """Place a stop at 1 nominal R for a trade that came without one."""
    trade = sight.trade
    if sight.own is not None and sight.own.stop is not None:  # somebody set one since
        return Plan(note="the position has a stop already")
    stop = away_from_market(trade.entry - trade.side.sign * trade.risk, trade.side, sight.instrument)
    if (sight.tick.closing(trade.side) - stop) * trade.side.sign < sight.clearance:
        return Impossible("stop_too_near", f"a stop at 1 nominal R ({stop:.10g}) is not valid at the market")
    return _move_own(sight, ActionKind.ATTACH_STOP, stop)


def _move_own(sight: Sight, kind: ActionKind, stop: float) -> Planned:
    own = sight.own
    if own is None or same_price(own.stop, stop, sight.instrument):
        return Plan(note="nothing to do")
    return Plan((_set_stop(own, kind, stop),))


def _set_stop(position: Position, kind: ActionKind, stop: float) -> MoveStop:
    return MoveStop(
        kind=kind,
        position=position.ticket,
        symbol=position.symbol,
        side=position.side,
        stop=stop,
        target=position.target,
        expected_stop=position.stop,
    )
