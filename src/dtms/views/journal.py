"""A trade's past, read from the journal: score, state, stop and price over time, what was done, and what was not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dtms.domain.actions import ActionKind
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import State, Trade
from dtms.ports.store import Evaluation
from dtms.views.moments import epoch_s, rfc3339
from dtms.views.system import action_view
from dtms.views.trade import transition_view

TRANSITIONS: Final = frozenset({FactKind.TRANSITION, FactKind.SHADOW_TRANSITION})
NOT_DONE: Final = frozenset({FactKind.REFUSAL, FactKind.HELD})
_STOP_ACTIONS: Final = frozenset(kind.value for kind in ActionKind if kind.moves_stop)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trade stood at a moment."""

    state: str
    stop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The part of a past that is shown; ``truncated`` says that older entries exist."""

    facts: Sequence[Fact]
    evaluations: Sequence[Evaluation]
    truncated: bool


def history_view(trade: Trade, page: Page, *, stale: bool) -> dict[str, Json]:
    """Show ``/dtms/trade/{ticket}/history``."""
    transitions = [transition_view(f) for f in page.facts if f.kind in TRANSITIONS]
    actions = [action_view(f) for f in page.facts if f.kind is FactKind.ACTION]
    not_done = [_fact_view(f) for f in page.facts if f.kind in NOT_DONE]
    return {
        "success": True,
        "summary": (
            f"Ticket {trade.ticket}: {len(page.evaluations)} scores, {len(transitions)} transitions, "
            f"{len(actions)} actions, {len(not_done)} decisions not to act."
        ),
        "ticket": trade.ticket,
        "symbol": trade.symbol,
        "direction": trade.side.direction,
        "state": trade.state.value,
        "registered_at": rfc3339(trade.registered_ms),
        "closed_at": rfc3339(trade.closed_ms) if trade.closed_ms else None,
        "points": list(_points(trade, page)),
        "transitions": list(transitions),
        "actions": list(actions),
        "not_done": list(not_done),
        "events": [_fact_view(f) for f in page.facts],
        "truncated": page.truncated,
        "stale": stale,
        "error": None,
    }


def _fact_view(fact: Fact) -> dict[str, Json]:
    return {
        "id": fact.id,
        "kind": fact.kind.value,
        "timestamp": rfc3339(fact.market_ms),
        "summary": fact.summary,
        "details": dict(fact.details),
        "correlation_id": fact.correlation_id,
    }


def _points(trade: Trade, page: Page) -> Iterator[dict[str, Json]]:
    """Join scores and facts in time: one point per evaluation, transition and stop move."""
    standing = Standing(State.HEALTHY.value, trade.initial_stop)
    score: float | None = None
    moments: list[tuple[int, int, Evaluation | Fact]] = [(e.bar_ms, 0, e) for e in page.evaluations]
    moments += [(f.market_ms, 1, f) for f in page.facts if after(standing, f) is not None]
    for at_ms, _, what in sorted(moments, key=lambda m: m[:2]):
        if isinstance(what, Evaluation):
            score = what.score
            price = _close_of(what.body)
        else:
            standing = after(standing, what) or standing
            score = _number(what.details.get("score"), score)
            price = _number(what.details.get("price"), None)
        yield {
            "timestamp": rfc3339(at_ms),
            "epoch": epoch_s(at_ms),
            "score": score,
            "state": standing.state,
            "stop": standing.stop,
            "price": price,
        }


def standing_at(trade: Trade, facts: Iterable[Fact]) -> Standing:
    """Return where the trade stood after ``facts``, its own from registration on, oldest first."""
    standing = Standing(State.HEALTHY.value, trade.initial_stop)
    for fact in facts:
        standing = after(standing, fact) or standing
    return standing


def after(standing: Standing, fact: Fact) -> Standing | None:
    """Return the standing that a fact leads to; None when the fact does not touch it."""
    details = fact.details
    match fact.kind:
        case FactKind.TRANSITION:
            return Standing(str(details.get("to") or standing.state), standing.stop)
        case FactKind.CLOSED:
            return Standing(State.CLOSED.value, standing.stop)
        case FactKind.ENABLED:
            return Standing(State.HEALTHY.value, standing.stop)
        case FactKind.ACTION if _moved_own_stop(fact):
            return Standing(standing.state, _number(details.get("stop"), standing.stop))
        case FactKind.CHANGED_OUTSIDE if isinstance(change := details.get("stop"), dict):
            # A bare figure there is the stop of a position beside the trade's own.
            return Standing(standing.state, _number(change.get("is"), None))
        case _:
            return None


def _moved_own_stop(fact: Fact) -> bool:
    """Whether the stop of the trade's own position was moved, and not that of one beside it."""
    details = fact.details
    own = details.get("position") in (None, fact.ticket)
    return own and bool(details.get("success")) and details.get("action") in _STOP_ACTIONS


def _number(value: Json, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _close_of(body: Mapping[str, Json]) -> float | None:
    figures = body.get("figures")
    return _number(figures.get("close"), None) if isinstance(figures, dict) else None
