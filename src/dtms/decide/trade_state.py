"""The state machine of a trade: everything that moves it lives in this file.

A trade steps through ``TABLE``: rows of *any* state first, then those of its own state from top to bottom; the first
whose trigger holds is taken. Its moves are carried out, and only when they ended is the row entered (``enter``): a
trade is HEDGED because the hedge exists. Beside the table stand three rules that a row cannot hold: a step up waits
for an M15 bar that closed after the last step down; moves that reduce run once per visit to a depth (``Visit``); and
a trade that is not armed stays HEALTHY. Beside another owner (``alongside``) the same table is stepped, but only rows
that leave or enter a defensive state make their moves, and HEDGED is left for HEALTHY.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from dtms.domain.errors import InvariantBroken
from dtms.domain.market import Side, Timeframe
from dtms.domain.trade import Machine, State, Visit
from dtms.market.score import Score
from dtms.market.structure import Break, BreakKind
from dtms.market.view import MarketView
from dtms.settings import ProtectionSettings


class Move(StrEnum):
    """A step of the playbook; ``decide.defence`` sizes it."""

    TIGHTEN = "tighten_stop"
    CLOSE_PART = "close_part"
    BREAKEVEN = "stop_to_breakeven"
    OPEN_HEDGE = "open_hedge"
    CLOSE_HEDGE = "close_hedge"
    READD = "re_add"
    CLOSE_ALL = "close_all"
    CLOSE_REST = "close_rest"

    @property
    def adds_risk(self) -> bool:
        return self in (Move.OPEN_HEDGE, Move.READD)


ONCE_PER_VISIT = {Move.TIGHTEN: Visit.TIGHTENED, Move.CLOSE_PART: Visit.HALVED}
"""Moves that reduce, and the mark that they leave until HEALTHY is reached again."""


class Way(StrEnum):
    """Which way a row leads; a step up has to wait out the dwell."""

    DOWN = "down"
    UP = "up"
    LEVEL = "level"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the triggers see of one trade at one moment; minutes are minutes in which the symbol traded."""

    side: Side
    view: MarketView
    score: Score
    settings: ProtectionSettings
    flat_min: float = 0.0
    recovery_min: float = 0.0
    position_gone: bool = False
    hedge_gone: bool = False
    alongside: bool = False
    """Whether another manager owns the trade, and DTMS only defends it."""


Test = Callable[[Machine, Situation], str | None]


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a row applies: its label in the diagram, and the test, which answers with the reason or None."""

    label: str
    test: Test


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table; ``source`` None stands for any state."""

    rule: str
    source: State | None
    when: Trigger
    to: State
    moves: tuple[Move, ...] = ()
    way: Way
    substitute: tuple[Move, ...] = ()
    """What runs instead when the first move is not possible; the state then stays, and the flat timer runs."""

    @property
    def adds_risk(self) -> bool:
        return any(move.adds_risk for move in self.moves)

    @property
    def is_defence(self) -> bool:
        """Whether it leaves or enters a defensive state, or cleans up: what DTMS does beside another owner, too."""
        return self.source is None or self.source.is_defensive or self.to.is_defensive


# --- triggers ------------------------------------------------------------------------------------------------------


def _at_most(name: str) -> Test:
    def test(_: Machine, at: Situation) -> str | None:
        limit = getattr(at.settings, name) * at.score.scale
        return f"score {at.score.total:+.2f} ≤ {limit:+.2f}" if at.score.total <= limit else None

    return test


def _at_least(name: str) -> Test:
    def test(_: Machine, at: Situation) -> str | None:
        limit = getattr(at.settings, name) * at.score.scale
        return f"score {at.score.total:+.2f} ≥ {limit:+.2f}" if at.score.total >= limit else None

    return test


def _armed_warning(machine: Machine, at: Situation) -> str | None:
    return _WARN_L1(machine, at) if machine.armed else None


_WARN_L1 = _at_most("warn_l1")
_HEDGE = _at_most("hedge_at")


def _hedge_called_for(machine: Machine, at: Situation) -> str | None:
    """Score, or a VWAP flip against with confluence against; not again in a visit in which the substitute ran."""
    if at.settings.hedge == "off" or Visit.SUBSTITUTED in machine.done:
        return None
    if reason := _HEDGE(machine, at):
        return reason
    if at.view.flip_against(at.side) and at.score.confluence_against:
        return f"VWAP flip against the trade with confluence against it (score {at.score.total:+.2f})"
    return None


def _flat_expired(machine: Machine, at: Situation) -> str | None:
    if machine.flat_since_ms is None or at.flat_min < at.settings.flat_min:
        return None
    return f"flat timer expired: {at.flat_min:.0f} of {at.settings.flat_min:.0f} trading minutes"


def _recovery_expired(machine: Machine, at: Situation) -> str | None:
    if machine.recovery_since_ms is None or at.recovery_min < at.settings.recovery_min:
        return None
    return f"recovery timer expired: {at.recovery_min:.0f} of {at.settings.recovery_min:.0f} trading minutes"


def _breaks(at: Situation, side: Side, after_ms: int, timeframes: tuple[Timeframe, ...]) -> Iterator[Break]:
    return (b for b in at.view.breaks if b.side is side and b.close_ms > after_ms and b.timeframe in timeframes)


def _told(what: Break | None) -> str | None:
    if what is None:
        return None
    return f"{what.kind.value} {what.side.direction} on {what.timeframe.name} through {what.level:.10g}"


def _flat_or_break(since: Callable[[Machine], int | None]) -> Test:
    def test(machine: Machine, at: Situation) -> str | None:
        if reason := _flat_expired(machine, at):
            return reason
        after = since(machine)
        if after is None:
            return None
        return _told(next(_breaks(at, at.side.opposite, after, (Timeframe.M15,)), None))

    return test


def _break_with(machine: Machine, at: Situation) -> str | None:
    return _told(next(_breaks(at, at.side, machine.entered_ms, (Timeframe.M5, Timeframe.M15)), None))


def _break_with_alone(machine: Machine, at: Situation) -> str | None:
    return None if at.alongside else _break_with(machine, at)


def _break_with_beside(machine: Machine, at: Situation) -> str | None:
    return _break_with(machine, at) if at.alongside else None


def _recovery_failed(machine: Machine, at: Situation) -> str | None:
    if reason := _recovery_expired(machine, at):
        return reason
    against = _breaks(at, at.side.opposite, machine.entered_ms, (Timeframe.M15,))
    return _told(next((b for b in against if b.kind is BreakKind.CHOCH), None))


def _position_gone(_: Machine, at: Situation) -> str | None:
    return "the position was closed at the broker" if at.position_gone else None


def _hedge_gone(_: Machine, at: Situation) -> str | None:
    return "the hedge was closed at the broker" if at.hedge_gone else None


# --- the table -----------------------------------------------------------------------------------------------------

TABLE: tuple[Row, ...] = (
    Row(
        rule="position_gone",
        source=None,
        when=Trigger("position gone, closing deals found", _position_gone),
        to=State.CLOSED,
        moves=(Move.CLOSE_REST,),
        way=Way.END,
    ),
    Row(
        rule="warned",
        source=State.HEALTHY,
        when=Trigger("armed, score ≤ −3.5", _armed_warning),
        to=State.WARNING_L1,
        moves=(Move.TIGHTEN,),
        way=Way.DOWN,
    ),
    Row(
        rule="calmed",
        source=State.WARNING_L1,
        when=Trigger("score ≥ 0", _at_least("warn_l1_exit")),
        to=State.HEALTHY,
        way=Way.UP,
    ),
    Row(
        rule="worsened",
        source=State.WARNING_L1,
        when=Trigger("score ≤ −5.5", _at_most("warn_l2")),
        to=State.WARNING_L2,
        moves=(Move.CLOSE_PART, Move.BREAKEVEN),
        way=Way.DOWN,
    ),
    Row(
        rule="eased",
        source=State.WARNING_L2,
        when=Trigger("score ≥ −3.5", _at_least("warn_l2_exit")),
        to=State.WARNING_L1,
        way=Way.UP,
    ),
    Row(
        rule="hedged",
        source=State.WARNING_L2,
        when=Trigger("score ≤ −7, or VWAP flip and confluence against", _hedge_called_for),
        to=State.HEDGED,
        moves=(Move.OPEN_HEDGE,),
        way=Way.DOWN,
        substitute=(Move.CLOSE_PART,),
    ),
    Row(
        rule="given_up_unhedged",
        source=State.WARNING_L2,
        when=Trigger(
            "flat timer, or new break against on M15 since it started", _flat_or_break(lambda m: m.flat_since_ms)
        ),
        to=State.CLOSED,
        moves=(Move.CLOSE_ALL,),
        way=Way.END,
    ),
    Row(
        rule="turned",
        source=State.HEDGED,
        when=Trigger("break with the trade on M5 or M15", _break_with_alone),
        to=State.RECOVERING,
        moves=(Move.CLOSE_HEDGE,),
        way=Way.UP,
    ),
    Row(
        rule="turned_alongside",
        source=State.HEDGED,
        when=Trigger("the same, beside another owner", _break_with_beside),
        to=State.HEALTHY,
        moves=(Move.CLOSE_HEDGE,),
        way=Way.UP,
    ),
    Row(
        rule="given_up_hedged",
        source=State.HEDGED,
        when=Trigger("flat timer, or new break against on M15", _flat_or_break(lambda m: m.entered_ms)),
        to=State.CLOSED,
        moves=(Move.CLOSE_ALL,),
        way=Way.END,
    ),
    Row(
        rule="hedge_gone",
        source=State.HEDGED,
        when=Trigger("the hedge is gone", _hedge_gone),
        to=State.WARNING_L2,
        way=Way.LEVEL,
    ),
    Row(
        rule="recovered",
        source=State.RECOVERING,
        when=Trigger("score ≥ +1", _at_least("recovered_at")),
        to=State.HEALTHY,
        moves=(Move.READD,),
        way=Way.UP,
    ),
    Row(
        rule="recovery_failed",
        source=State.RECOVERING,
        when=Trigger("recovery timer, or CHoCH against", _recovery_failed),
        to=State.CLOSED,
        moves=(Move.CLOSE_ALL,),
        way=Way.END,
    ),
)

ROWS_OF: dict[State, tuple[Row, ...]] = {
    state: tuple(row for row in TABLE if row.source in (None, state)) if state is not State.CLOSED else ()
    for state in State
}


@dataclass(frozen=True, slots=True)
class Due:
    """A row whose trigger holds, and the reason in words."""

    row: Row
    reason: str
    score: float | None = None
    """The score at which it was found, where there was one."""


def next_due(machine: Machine, at: Situation, blocked: Container[str] = ()) -> Due | None:
    """Return the first row that applies and whose rule is not blocked, or None."""
    for row in ROWS_OF[machine.state]:
        if row.rule in blocked or (row.way is Way.UP and not _dwelt(machine, at)):
            continue
        if reason := row.when.test(machine, at):
            return Due(row, reason, at.score.total)
    return None


def _dwelt(machine: Machine, at: Situation) -> bool:
    return at.view.m15_close_ms > machine.stepped_down_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one view holds for every trade of a side, worked out once: which rows could apply at all."""

    by_score: frozenset[State]
    """States in which the score, or a flip, is past a threshold."""
    against_m15_ms: int
    """Close of the newest M15 break against the side; 0 for none. The others likewise."""
    choch_against_m15_ms: int
    with_ms: int
    m15_close_ms: int


def outlook(side: Side, view: MarketView, settings: ProtectionSettings) -> Outlook:
    """Work out what a view holds for the trades of a side."""
    score, against = view.score(side), [b for b in view.breaks if b.side is not side and b.timeframe is Timeframe.M15]
    total, scale = score.total, score.scale
    flipped = view.flip_against(side) and score.confluence_against
    past = {
        State.HEALTHY: total <= settings.warn_l1 * scale,
        State.WARNING_L1: total >= settings.warn_l1_exit * scale or total <= settings.warn_l2 * scale,
        State.WARNING_L2: total >= settings.warn_l2_exit * scale or total <= settings.hedge_at * scale or flipped,
        State.RECOVERING: total >= settings.recovered_at * scale,
    }
    return Outlook(
        by_score=frozenset(state for state, is_past in past.items() if is_past),
        against_m15_ms=max((b.close_ms for b in against), default=0),
        choch_against_m15_ms=max((b.close_ms for b in against if b.kind is BreakKind.CHOCH), default=0),
        with_ms=max((b.close_ms for b in view.breaks if b.side is side), default=0),
        m15_close_ms=view.m15_close_ms,
    )


def may_be_due(machine: Machine, at: Outlook, now_ms: int, settings: ProtectionSettings) -> bool:
    """Answer cheaply whether a row of the market's or a timer's could apply; False is certain.

    Trading minutes never outrun the clock, so a timer whose clock has not run out cannot have expired.
    """
    state = machine.state
    if state in at.by_score:
        return True
    if state is State.HEALTHY or state is State.WARNING_L1:
        return False
    since = machine.flat_since_ms
    if since is not None and (now_ms - since >= settings.flat_min * 60_000 or at.against_m15_ms > since):
        return True
    if state is State.HEDGED:
        return max(at.with_ms, at.against_m15_ms) > machine.entered_ms
    if state is State.RECOVERING and at.choch_against_m15_ms > machine.entered_ms:
        return True
    since = machine.recovery_since_ms
    return since is not None and now_ms - since >= settings.recovery_min * 60_000


def timer_ends_ms(machine: Machine, settings: ProtectionSettings) -> int | None:
    """Return when the running timer ends at the earliest, by the clock; None while none runs."""
    ends = (
        (machine.flat_since_ms, settings.flat_min),
        (machine.recovery_since_ms, settings.recovery_min),
    )
    return min((since + int(minutes * 60_000) for since, minutes in ends if since is not None), default=None)


def enter(machine: Machine, row: Row, at_ms: int) -> Machine:
    """Return the machine after the row's moves ended.

    Raises:
        InvariantBroken: when the row does not start from the machine's state.
    """
    if machine.state is State.CLOSED or (row.source is not None and row.source is not machine.state):
        raise InvariantBroken(f"rule {row.rule} does not start from {machine.state}")
    return replace(
        machine,
        state=row.to,
        entered_ms=at_ms,
        stepped_down_ms=at_ms if row.way is Way.DOWN else machine.stepped_down_ms,
        done=frozenset() if row.to is State.HEALTHY else machine.done,
        flat_since_ms=_flat_timer(machine, row.to, at_ms),
        recovery_since_ms=at_ms if row.to is State.RECOVERING else None,
        breakeven_pending=machine.breakeven_pending and row.to is State.WARNING_L2,
    )


def _flat_timer(machine: Machine, to: State, at_ms: int) -> int | None:
    """The flat timer starts with the hedge, outlives it in WARNING_L2, and stops everywhere else."""
    if to is State.HEDGED:
        return at_ms
    return machine.flat_since_ms if to is State.WARNING_L2 else None


def substituted(machine: Machine, at_ms: int) -> Machine:
    """Return the machine after a hedge was not possible: it stays where it is, and the flat timer runs."""
    running = machine.flat_since_ms
    return replace(
        machine, done=machine.done | {Visit.SUBSTITUTED}, flat_since_ms=at_ms if running is None else running
    )


def mark(machine: Machine, move: Move) -> Machine:
    """Remember that a move of this visit is done."""
    visit = ONCE_PER_VISIT.get(move)
    return replace(machine, done=machine.done | {visit}) if visit else machine


def moves_of(row: Row, *, alongside: bool) -> tuple[Move, ...]:
    """Return what a row does: nothing beside another owner, where it is no defence."""
    return row.moves if row.is_defence or not alongside else ()


def is_spent(machine: Machine, move: Move) -> bool:
    """Answer whether a move already ran in this visit."""
    return ONCE_PER_VISIT.get(move) in machine.done


def armed(machine: Machine, *, age_min: float, r_multiple: float, settings: ProtectionSettings) -> str | None:
    """Return why a watched trade may be acted on from now on, or None while it may not."""
    if machine.armed:
        return None
    if r_multiple >= settings.armed_r:
        return f"{r_multiple:+.2f} R"
    if r_multiple <= settings.armed_emergency_r:
        return f"{r_multiple:+.2f} R (emergency)"
    return f"{age_min:.0f} min old" if age_min >= settings.armed_min else None
