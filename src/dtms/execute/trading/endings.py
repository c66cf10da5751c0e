"""What a request that was not carried out is answered with, by the rule or the code that stopped it."""

from collections.abc import Mapping

from dtms.decide.authority import Denied, refuse
from dtms.domain.actions import Outcome
from dtms.domain.errors import LeaseHeld
from dtms.domain.facts import Json
from dtms.domain.owners import Asker, Standing
from dtms.execute.carrying import LEASE_HELD, NOT_LISTED, STOP_CHANGED, VOLUME_CHANGED
from dtms.execute.trading.service import Code, TradingRefused
from dtms.ports.broker import Advice, Broker, SendResult

PERMISSION_GONE = "permission_gone"
REQUOTED_AGAIN = 2
"""How often an outcome may be decided anew at once, when the price alone stood in its way."""
_CODES: Mapping[str, Code] = {
    LEASE_HELD: Code.LEASE_HELD,
    NOT_LISTED: Code.NOT_FOUND,
    STOP_CHANGED: Code.CONFLICT,
    VOLUME_CHANGED: Code.CONFLICT,
    "owned_by_other_manager": Code.OWNED,
    "dtms_defensive": Code.OWNED,
    PERMISSION_GONE: Code.CONFLICT,
}


def is_requoted(outcome: Outcome) -> bool:
    """Answer whether nothing but the price stood in the way, so that it may be decided anew on the next quote."""
    return outcome.retcode is not None and outcome.again >= REQUOTED_AGAIN


def refused(outcome: Outcome, broker: Broker, standing: Standing, asker: Asker = Asker.EXECUTION) -> TradingRefused:
    """Return the refusal that an outcome comes to; ``standing`` is what is true of its ticket now."""
    details: dict[str, Json] = {"rule": outcome.rule, "intent": outcome.intent}
    if standing.ticket:
        details |= {"ticket": standing.ticket, "managed_by": owner_word(standing), "dtms_state": _state(standing)}
    if outcome.retcode is not None:
        return by_broker(outcome.retcode, outcome.reason, broker.explain(outcome.retcode), details)
    if outcome.rule == PERMISSION_GONE and standing.halted:
        return halted()
    code, denied = _CODES.get(outcome.rule or "", Code.NOT_READY), _denied(standing, asker)
    if outcome.rule == PERMISSION_GONE and denied is not None:
        code, details = Code.OWNED, details | {"rule": denied.rule}
    return TradingRefused(code, f"{outcome.reason[:1].upper()}{outcome.reason[1:]}.", details)


def _denied(standing: Standing, asker: Asker) -> Denied | None:
    """Judge by what is true now whether it was the owner's say that went."""
    if not standing.ticket:
        return None
    return refuse(asker, standing.owner, standing.state, breakeven=standing.breakeven)


def by_broker(retcode: int, told: str, advice: Advice, details: Mapping[str, Json]) -> TradingRefused:
    """Explain a broker's refusal in words."""
    words: dict[str, Json] = {"retcode": retcode, "told": told, "meaning": advice.meaning, "remedy": advice.remedy}
    return TradingRefused(Code.BROKER_REFUSED, f"{advice.meaning} {advice.remedy}", {**details, **words})


def by_check(result: SendResult, broker: Broker) -> TradingRefused:
    """Explain why the broker would not take a request that was not sent."""
    told = f"{result.retcode} {result.name}" + (f": {result.message}" if result.message else "")
    return by_broker(result.retcode, told, broker.explain(result.retcode), {"rule": "check", "name": result.name})


def halted() -> TradingRefused:
    told = "Trading is halted: nothing but a person's reducing act passes."
    return TradingRefused(Code.HALTED, told, {"rule": "halted"})


def lease_held(error: LeaseHeld) -> TradingRefused:
    """Name who has the lease."""
    details: dict[str, Json] = {"key": error.key, "holder": error.holder, "rule": LEASE_HELD}
    return TradingRefused(Code.LEASE_HELD, f"The lease is held by {error.holder}.", details)


def owner_word(standing: Standing) -> str:
    """Return the ``managed_by`` of a ticket; an owner that is unknown to us keeps its own word."""
    if standing.owner is not None:
        return standing.owner.value
    return standing.ownership.owner if standing.ownership is not None else ""


def _state(standing: Standing) -> str | None:
    return standing.state.value if standing.state is not None else None
