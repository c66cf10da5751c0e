"""What the main API shows of the Universal SL/TP manager and of Intelligent Exit."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from enum import Enum

from dtms.decide.strategies import ROWS, Row
from dtms.domain.facts import Fact, Json
from dtms.domain.managed import ExitRules, Managed, UniversalRules
from dtms.domain.market import Timeframe
from dtms.domain.trade import Owner
from dtms.execute.managing.managers import Live, Statistics
from dtms.views.moments import epoch_s, rfc3339, rfc3339_or_none

NAMES = {Owner.UNIVERSAL: "the Universal SL/TP manager", Owner.EXITS: "Intelligent Exit"}


def _plain(value: object) -> Json:
    match value:
        case Timeframe():
            return value.name
        case Enum():
            return str(value.value)
        case Decimal():
            return float(value)
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"{type(value).__name__} cannot be shown")


def _columns(row: UniversalRules | ExitRules | Row) -> dict[str, Json]:
    return {column.name: _plain(getattr(row, column.name)) for column in fields(row)}


def managed_json(managed: Managed) -> dict[str, Json]:
    """Show one position in a manager's hands: frozen rules, and what was done."""
    return {
        "ticket": managed.ticket,
        "manager": managed.manager.value,
        "symbol": managed.symbol,
        "direction": managed.side.direction,
        "entry_price": managed.entry,
        "volume": float(managed.volume),
        "initial_volume": float(managed.initial_volume),
        "stop_loss": managed.stop,
        "take_profit": managed.target,
        "initial_stop": managed.initial_stop,
        "risk": managed.risk,
        "nominal_risk": managed.nominal_risk,
        "rules": _columns(managed.rules),
        "breakeven_done": managed.breakeven_done,
        "partial_done": managed.partial_done,
        "trailing_active": managed.trailing_active,
        "stop_moved_at": rfc3339_or_none(managed.moved_ms),
        "registered_at": rfc3339(managed.registered_ms),
        "unconfirmed": managed.unconfirmed,
        "needs_attention": managed.needs_attention,
        "proposed": managed.proposed,
        "closed_at": rfc3339_or_none(managed.closed_ms),
        "close_reason": managed.close_reason,
    }


def live_json(live: Live) -> dict[str, Json]:
    """Show one position as it is now, and why its manager did nothing more at its last look."""
    managed, price = live.managed, live.price
    return {
        **managed_json(managed),
        "managed_by": live.owner,
        "current_price": price,
        "r_multiple": None if price is None else round(managed.r_multiple(price), 3),
        "waits": dict(live.notes),
        "looked_at": rfc3339_or_none(live.looked_ms),
    }


def taken_view(managed: Managed, *, ended: bool = False) -> dict[str, Json]:
    """Show that a manager took a position up, or let it go."""
    verb = "lets go of" if ended else "manages"
    name = NAMES.get(managed.manager, managed.manager.value)
    summary = f"{name[:1].upper()}{name[1:]} {verb} position {managed.ticket}."
    return {"success": True, "summary": summary, "trade": managed_json(managed), "error": None}


def list_view(owner: Owner, live: Sequence[Live]) -> dict[str, Json]:
    """Show all that a manager has in hand."""
    name = NAMES.get(owner, owner.value)
    return {
        "success": True,
        "summary": f"{len(live)} positions are with {name}.",
        "trades": [live_json(one) for one in live],
        "error": None,
    }


def live_view(live: Live) -> dict[str, Json]:
    """Show one position of a manager."""
    return {**taken_view(live.managed), "trade": live_json(live)}


def explain_view(live: Live) -> dict[str, Json]:
    """Show how a manager sees one position now, in words."""
    words: list[Json] = list(live.explained)
    return {
        "success": True,
        "summary": live.explained[0] if live.explained else "Nothing can be told of it now.",
        "ticket": live.managed.ticket,
        "explained": words,
        "waits": dict(live.notes),
        "rules": _columns(live.managed.rules),
        "error": None,
    }


def strategies_view() -> dict[str, Json]:
    """Show every strategy with its row."""
    rows: list[Json] = [{"strategy_type": strategy.value, **_columns(row)} for strategy, row in ROWS.items()]
    return {"success": True, "summary": f"{len(rows)} strategies.", "strategies": rows, "error": None}


def history_view(ticket: int, facts: Sequence[Fact]) -> dict[str, Json]:
    """Show what a manager recorded of a position, newest last."""
    return {
        "success": True,
        "summary": f"{len(facts)} entries of position {ticket}.",
        "ticket": ticket,
        "history": [_entry(fact) for fact in facts],
        "error": None,
    }


def _entry(fact: Fact) -> Json:
    return {
        "timestamp": rfc3339(fact.market_ms),
        "epoch": epoch_s(fact.market_ms),
        "kind": fact.kind.value,
        "summary": fact.summary,
        "details": dict(fact.details),
    }


def statistics_view(owner: Owner, of: Statistics) -> dict[str, Json]:
    """Show what a manager has in hand and has done."""
    figures: dict[str, Json] = {
        "active": of.active,
        "breakeven_done": of.breakeven_done,
        "partial_done": of.partial_done,
        "trailing": of.trailing,
        "actions": _counts(of.actions),
        "since_start": _counts(of.since_start),
        "lost": _counts(of.lost),
    }
    name = NAMES.get(owner, owner.value)
    summary = f"{of.active} positions are with {name}; {sum(of.since_start.values())} actions since its start."
    return {"success": True, "summary": summary, "statistics": figures, "error": None}


def _counts(counted: Mapping[str, int]) -> dict[str, Json]:
    return {**counted}
