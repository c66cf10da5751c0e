"""The answer to many requests at once: in order, with one status where all ended alike."""

from collections.abc import Mapping, Sequence
from typing import Final

from dtms.domain.facts import Json
from dtms.server.answers import ErrorCode, JsonAnswer, Problem

DIFFER: Final = 207


def batch_answer(items: Sequence[Mapping[str, Json]], view: Mapping[str, Json], refused: str) -> JsonAnswer:
    """Answer a batch of ``items``, each with its ``status``; ``refused`` says in words that all of them were.

    Raises:
        Problem: when every item was refused with the same status, which is then that of the whole.
    """
    statuses = {int(str(item["status"])) for item in items}
    status = statuses.pop() if len(statuses) == 1 else DIFFER
    if status < 400:
        return JsonAnswer(view, status_code=status)
    first = items[0]
    message = f"{refused}; the first: {first['message']}"
    raise Problem(ErrorCode(str(first["error"])), message, {"index": 0}, status=status, extra=view)
