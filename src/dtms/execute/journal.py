"""How facts are made: one place that stamps both times and words the common kinds."""

from collections.abc import Iterable, Mapping

import structlog

from dtms.domain.actions import (
    Action,
    CancelOrder,
    ClosePosition,
    Intent,
    MoveStop,
    OpenPosition,
    Outcome,
    PlaceOrder,
    SetLevels,
)
from dtms.domain.errors import BrokerUnavailable
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.trade import Trade
from dtms.ports.clock import Clock

log = structlog.get_logger(__name__)


class Journal:
    """Makes facts; storing them is the caller's business, because facts are committed with what they tell of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def fact(
        self,
        kind: FactKind,
        summary: str,
        *,
        trade: Trade | None = None,
        details: Mapping[str, Json] | None = None,
        correlation_id: str | None = None,
    ) -> Fact:
        """Make a fact of now; what needs a person is an alert, whoever tells it."""
        told = dict(details or {})
        if kind is FactKind.NEEDS_ATTENTION:
            told.setdefault("alert", "ERROR")
        return Fact(
            kind=kind,
            ticket=trade.ticket if trade else None,
            symbol=trade.symbol if trade else None,
            market_ms=self._market_ms(),
            machine_ms=self._clock.wall_ms(),
            summary=summary,
            details=told,
            correlation_id=correlation_id or structlog.contextvars.get_contextvars().get("correlation_id"),
        )

    def tell(self, facts: Iterable[Fact]) -> None:
        """Put committed facts of trades into the log, for the operator; an alert at its own level."""
        for fact in facts:
            if fact.ticket is not None:
                tell = {"WARNING": log.warning, "ERROR": log.error, "CRITICAL": log.critical}.get(
                    str(fact.details.get("alert")), log.info
                )
                tell(
                    fact.kind.value, ticket=fact.ticket, symbol=fact.symbol, told=fact.summary, market_ms=fact.market_ms
                )

    def _market_ms(self) -> int:
        """Market time; the machine's before the terminal was asked for it, as for a halt while no broker is there."""
        try:
            return self._clock.market_ms()
        except BrokerUnavailable:
            return self._clock.wall_ms()

    def action(self, trade: Trade, intent: Intent, outcome: Outcome) -> Fact:
        """Make the fact that tells how an action ended."""
        return self.fact(
            FactKind.ACTION,
            f"{describe(intent.action)}: {outcome.ending.value.replace('_', ' ')}"
            + (f" ({outcome.reason})" if outcome.reason else ""),
            trade=trade,
            details=action_details(intent, outcome),
            correlation_id=intent.correlation_id,
        )

    def closed(self, trade: Trade) -> Fact:
        """Make the fact that tells how a trade ended."""
        details: dict[str, Json] = {
            "reason": trade.close_reason,
            "price": trade.close_price,
            "profit": trade.realised,
        }
        return self.fact(FactKind.CLOSED, f"closed: {trade.close_reason}", trade=trade, details=details)


def describe(action: Action) -> str:
    """Tell an action in words."""
    match action:
        case MoveStop():
            was = _level(action.expected_stop)
            return f"stop of {action.symbol} #{action.position} from {was} to {action.stop:.10g}"
        case SetLevels():
            stop = f"stop from {_level(action.expected_stop)} to {_level(action.stop)}"
            target = f"target from {_level(action.expected_target)} to {_level(action.target)}"
            return f"levels of {action.symbol} #{action.position}: {stop}, {target}"
        case ClosePosition():
            return f"close {action.volume} of {action.expected_volume} lots of {action.symbol} #{action.position}"
        case OpenPosition():
            what, stop = action.kind.value.replace("_", " "), _level(action.stop)
            return f"{what}: {action.side.direction} {action.volume} lots of {action.symbol}, stop {stop}"
        case PlaceOrder():
            order = f"{action.side.direction} {action.way.value} order for {action.volume} lots of {action.symbol}"
            return f"{order} at {action.price:.10g}, stop {_level(action.stop)}"
        case CancelOrder():
            return f"remove order {action.order} of {action.symbol}"


def _level(price: float | None) -> str:
    return "none" if price is None else f"{price:.10g}"


def action_details(intent: Intent, outcome: Outcome) -> dict[str, Json]:
    """Collect an action's figures under the journal's keys."""
    action = intent.action
    details: dict[str, Json] = {
        "action": action.kind.value,
        "success": outcome.ending.value == "done",
        "ending": outcome.ending.value,
        "reason": outcome.reason,
        "intent": intent.number,
        "retcode": outcome.retcode,
        "price": outcome.price,
        "volume": None if outcome.volume is None else float(outcome.volume),
        "rule": intent.serves.rule if intent.serves else None,
        "position": _concerned(action, outcome),
    }
    return details | _asked(action)


def _concerned(action: Action, outcome: Outcome) -> int | None:
    """Return the ticket of the position that an action changes or opens, or will open when its order is filled."""
    match action:
        case MoveStop() | ClosePosition() | SetLevels():
            return action.position
        case OpenPosition() | PlaceOrder():
            return outcome.position
        case CancelOrder():
            return action.order


def _asked(action: Action) -> dict[str, Json]:
    match action:
        case MoveStop():
            return {"stop": action.stop, "old_stop": action.expected_stop}
        case SetLevels():
            old: dict[str, Json] = {"old_stop": action.expected_stop, "old_target": action.expected_target}
            return {"stop": action.stop, "target": action.target, **old}
        case OpenPosition():
            return {"stop": action.stop, "side": action.side.direction}
        case PlaceOrder():
            order: dict[str, Json] = {"way": action.way.value, "order_price": action.price}
            return {"stop": action.stop, "target": action.target, "side": action.side.direction, **order}
        case ClosePosition() | CancelOrder():
            return {}
