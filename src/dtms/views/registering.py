"""What a registration, or a batch of them, is answered."""

from collections.abc import Mapping, Sequence

from dtms.domain.facts import Json
from dtms.domain.trade import Trade
from dtms.execute.service import Pending, Registered
from dtms.views.moments import rfc3339
from dtms.views.trade import position_words, registration_info


def registered_view(answer: Registered) -> dict[str, Json]:
    """Answer a registration."""
    trade = answer.trade
    word = "was already registered" if answer.already_registered else "is now protected"
    stop = f"stop {trade.stop:.10g}" if trade.stop is not None else "no stop at the broker: nominal R"
    return {
        "success": True,
        "summary": f"Ticket {trade.ticket} {word}: {position_words(trade)}, {stop}, {trade.state}.",
        "already_registered": answer.already_registered,
        "trade_info": registration_info(trade),
        "adjusted": dict(answer.adjusted),
        "error": None,
    }


def pending_view(pending: Pending) -> dict[str, Json]:
    """Answer a registration whose position the broker does not list yet."""
    return {
        "success": True,
        "summary": f"Ticket {pending.ticket} is waited for until {rfc3339(pending.until_ms)}; it is not yet a trade.",
        "pending": True,
        "already_registered": False,
        **pending_words(pending),
        "error": None,
    }


def pending_words(pending: Pending) -> dict[str, Json]:
    return {
        "ticket": pending.ticket,
        "since": rfc3339(pending.since_ms),
        "until": rfc3339(pending.until_ms),
    }


def accepted_view(result: Registered | Pending) -> dict[str, Json]:
    """Show what one registration of a batch came to, as it would have been answered alone."""
    if isinstance(result, Pending):
        return pending_view(result)
    return {"ticket": result.trade.ticket, **registered_view(result)}


def refused_view(error: str, message: str, details: Mapping[str, Json]) -> dict[str, Json]:
    return {"success": False, "error": error, "message": message, "summary": message, "details": dict(details)}


def batch_view(items: Sequence[Mapping[str, Json]]) -> dict[str, Json]:
    """Answer a batch; ``items`` are in the order of its registrations."""
    counts = {
        "registered": sum(_is_new(item) for item in items),
        "already_registered": sum(item.get("already_registered") is True for item in items),
        "pending": sum(item.get("pending") is True for item in items),
        "refused": sum(not item["success"] for item in items),
    }
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    return {
        "success": counts["refused"] == 0,
        "summary": f"{len(items)} registrations: {told}.",
        **counts,
        "results": [dict(item) for item in items],
        "error": None,
    }


def _is_new(item: Mapping[str, Json]) -> bool:
    return item["success"] is True and item.get("already_registered") is False and item.get("pending") is not True


def disabled_view(trade: Trade) -> dict[str, Json]:
    """Answer that monitoring has ended."""
    return {
        "success": True,
        "summary": f"Ticket {trade.ticket} is no longer monitored until it is enabled again.",
        "trade_info": {**registration_info(trade), "disabled": trade.disabled},
        "error": None,
    }
