"""What was proven of a broker, put to use where requests are made and symbols are read."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from dtms.adapters.mt5_requests import COMMENT_LENGTH, mark_of
from dtms.domain.broker_ways import BrokerWays, Proven
from dtms.domain.market import Instrument

Recall = Callable[[str, int], Awaitable[Proven | None]]
"""Reads what was proven of a server and login; None when nothing was, or it cannot be read now."""


def fitted(instrument: Instrument, ways: BrokerWays) -> Instrument:
    """Return a symbol's specification with the distance that stops really need, proven fillings first."""
    proven = ways.of(instrument.symbol)
    declared = [filling for filling in instrument.fillings if filling not in proven.fillings]
    return replace(
        instrument,
        stops_level_points=max(instrument.stops_level_points, proven.stops_points_min),
        fillings=(*proven.fillings, *declared),
    )


def worded(requests: Sequence[dict[str, Any]], ways: BrokerWays, *, is_close: bool) -> list[dict[str, Any]]:
    """Return requests without their comments where the broker is known to refuse them."""
    if ways.comment_on_close if is_close else ways.comment_on_open:
        return list(requests)
    return [{name: value for name, value in request.items() if name != "comment"} for request in requests]


def searched_mark(magic: int, ways: BrokerWays) -> str:
    """Return the mark to look for inside comments; none where they come back too short to tell one number from another.

    The digits that a cut comment loses are those in which numbers differ first.
    """
    return mark_of(magic) if ways.comment_chars >= COMMENT_LENGTH else ""
