"""One trade as 03 lists it, at the top level and inside ``trade_info``, because clients of both kinds exist."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import Machine, Member, Mode, State, Trade
from dtms.execute.service import Live
from dtms.views.moments import epoch_s, rfc3339, rfc3339_or_none, signed

WARNING_STATES = frozenset({State.WARNING_L1.value, State.WARNING_L2.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the journal knows of a trade: its transitions, and its newest scores as (UTC ms, score), oldest first."""

    transitions: tuple[Fact, ...] = ()
    scores: tuple[tuple[int, float], ...] = ()
    breakdown: Mapping[str, Json] | None = None
    """The newest stored evaluation's body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What holds for all trades of an answer."""

    mode: Mode
    halted: bool
    stale: bool = False
    """Read from the store while the engine is not ready."""


def registration_info(trade: Trade) -> dict[str, Json]:
    """Return the trade as a registration answers it."""
    return {
        "ticket": trade.ticket,
        "symbol": trade.symbol,
        "direction": trade.side.direction,
        "entry_price": trade.entry,
        "volume": float(trade.volume),
        "stop_loss": trade.stop,
        "take_profit": trade.target,
        "state": trade.state.value,
        "owner": trade.owner.value,
        "initial_stop": trade.initial_stop,
        "risk": trade.risk,
        "nominal_risk": trade.nominal_risk,
        "registered_at": rfc3339(trade.registered_ms),
    }


def trade_view(trade: Trade, live: Live | None, record: Record, around: Surroundings) -> dict[str, Json]:
    """Show one trade; ``live`` is None when it is not active or memory cannot be trusted."""
    info = _info(trade, live, record, around)
    return {
        "success": True,
        "summary": summary(trade, live, record),
        "ticket": trade.ticket,
        "symbol": trade.symbol,
        "direction": trade.side.direction,
        "state": trade.state.value,
        "current_score": info["current_score"],
        "state_entry_time": info["state_entry_time"],
        "trade_info": info,
        "stale": around.stale,
        "error": None,
    }


def summary(trade: Trade, live: Live | None, record: Record) -> str:
    """Say in one sentence how a trade stands."""
    who = f"Ticket {trade.ticket}, {position_words(trade)}"
    if trade.state is State.CLOSED:
        price = f" at {trade.close_price:.10g}" if trade.close_price is not None else ""
        return f"{who}: closed{price} ({trade.close_reason or 'reason unknown'}), realised {signed(trade.realised)}."
    if trade.disabled:
        return f"{who}: monitoring was stopped by hand; nothing protects it from here."
    price_r = trade.r_multiple(live.price) if live and live.price is not None else None
    held = f" Held: {live.held}." if live and live.held else ""
    shadow = f" (shadow: {trade.shadow.state})" if trade.shadow else ""
    score = signed(_score(live, record))
    return f"{who}: {trade.state}{shadow}, score {score}, {signed(price_r, ' R')}.{held}"


def position_words(trade: Trade) -> str:
    """Say what is held, in a few words."""
    return f"{trade.symbol} {trade.side.direction} {trade.open_volume:f} lots from {trade.entry:.10g}"


def _score(live: Live | None, record: Record) -> float | None:
    if live is not None and live.score is not None:
        return live.score
    return record.scores[-1][1] if record.scores else None


def _info(trade: Trade, live: Live | None, record: Record, around: Surroundings) -> dict[str, Json]:
    machine = trade.machine
    return {
        **registration_info(trade),
        "type": trade.side.direction,
        "position_ticket": trade.position,
        "moved_to": trade.moved_to,
        "open_price": trade.entry,
        "sl": trade.stop,
        "tp": trade.target,
        **_market(trade, live, record),
        "state_entry_time": rfc3339_or_none(machine.entered_ms or trade.registered_ms),
        "state_entry_epoch": epoch_s(machine.entered_ms or trade.registered_ms),
        "shadow_state": trade.shadow.state.value if trade.shadow else None,
        "protection_active": trade.is_active,
        "armed": machine.armed,
        "disabled": trade.disabled,
        "warnings": list(_warnings(trade, live, around)),
        "actions_taken": [transition_view(fact) for fact in record.transitions],
        "performance": {
            "score_history": [{"timestamp": rfc3339(at), "score": score} for at, score in record.scores],
            "warning_count": sum(f.details.get("to") in WARNING_STATES for f in record.transitions),
        },
        "hedge": member_view(trade.hedge) if trade.hedge else None,
        "family": [member_view(member, surplus=member.ticket in trade.surplus) for member in trade.members],
        "reduce_only": trade.reduce_only,
        "surplus": list[Json](sorted(trade.surplus)),
        "unconfirmed": trade.unconfirmed,
        "timers": _timers(trade.shadow or machine, live),
        "mode": (trade.mode or around.mode).value,
        "needs_attention": trade.needs_attention is not None,
        "attention_reason": trade.needs_attention,
        "closed_at": rfc3339_or_none(trade.closed_ms),
        "close_reason": trade.close_reason,
        "close_price": trade.close_price,
        "error": None,
    }


def _market(trade: Trade, live: Live | None, record: Record) -> dict[str, Json]:
    """Return what moves with the market; a closed trade keeps its closing figures."""
    closed = trade.state is State.CLOSED
    price = trade.close_price if closed else live.price if live else None
    breakdown = live.view.as_json(trade.side) if live and live.view else record.breakdown
    return {
        "current_price": price,
        "profit": trade.realised if closed else live.profit if live else None,
        "r_multiple": trade.r_multiple(price) if price is not None else None,
        "current_score": _score(live, record),
        "score_breakdown": dict(breakdown) if breakdown is not None else None,
        "held": live.held if live else None,
        "last_fast_check": rfc3339_or_none(live.last_fast_ms) if live else None,
        "last_deep_check": rfc3339_or_none(live.last_deep_ms) if live else None,
    }


def _warnings(trade: Trade, live: Live | None, around: Surroundings) -> Iterable[str]:
    mode = trade.mode or around.mode
    rows: tuple[tuple[bool, str], ...] = (
        (around.stale, "The engine is not ready: this is the stored state, not the live one."),
        (around.halted, "The kill switch is on: nothing is done."),
        (mode is Mode.OBSERVE, "Observe mode: the trade is scored, nothing is done."),
        (trade.disabled, "Monitoring was stopped by hand."),
        (trade.nominal_risk, "The trade came without a stop: R is nominal, and nothing at the broker protects it."),
        (trade.unconfirmed, "The position is missing at the broker, without evidence that it was closed."),
        (trade.reduce_only, "An unresolved order: only reducing actions until it is known."),
        (bool(trade.surplus), f"Not wanted any more, and being closed: {_listed(trade.surplus)}."),
        (trade.moved_to is not None, f"The broker's ticket of the position is now {trade.moved_to}."),
        (trade.machine.breakeven_pending, "The stop goes to breakeven once the price allows."),
        (trade.needs_attention is not None, f"Needs a person: {trade.needs_attention}."),
        (live is not None and live.held is not None, f"Held: {live.held if live else ''}."),
    )
    active = trade.state is not State.CLOSED
    return [text for applies, text in rows if applies and active]


def _listed(tickets: Iterable[int]) -> str:
    return ", ".join(f"#{ticket}" for ticket in sorted(tickets))


def _timers(machine: Machine, live: Live | None) -> dict[str, Json]:
    rows = (
        ("flat", machine.flat_since_ms, live.flat_left_min if live else None),
        ("recovery", machine.recovery_since_ms, live.recovery_left_min if live else None),
    )
    return {
        name: None if since is None else {"started_at": rfc3339(since), "minutes_left": left}
        for name, since, left in rows
    }


def member_view(member: Member, *, surplus: bool = False) -> dict[str, Json]:
    """Show a position that was opened for the trade; a surplus one is not wanted and is being closed."""
    return {
        "ticket": member.ticket,
        "role": member.role.value,
        "direction": member.side.direction,
        "volume": float(member.volume),
        "open_price": member.entry,
        "sl": member.stop,
        "tp": member.target,
        "intent": member.intent,
        "opened_at": rfc3339(member.opened_ms),
        "surplus": surplus,
    }


def transition_view(fact: Fact) -> dict[str, Json]:
    """Show one transition."""
    details = fact.details
    return {
        "timestamp": rfc3339(fact.market_ms),
        "from_state": details.get("from"),
        "to_state": details.get("to"),
        "reason": details.get("reason") or fact.summary,
        "score": details.get("score"),
        "rule": details.get("rule"),
        "price": details.get("price"),
        "moves": details.get("moves", []),
        "shadow": fact.kind is FactKind.SHADOW_TRANSITION,
    }
