"""Carrying a request out so that its caller is never told that nothing happened, after it was sent."""

from dataclasses import replace

import structlog

from dtms.domain.actions import Ending, Intent, Outcome
from dtms.domain.errors import PermissionGone, StoreFailed
from dtms.execute.carrying import Carrier, Task

log = structlog.get_logger(__name__)


async def carried(carrier: Carrier, task: Task) -> Outcome:
    """Carry a task out; one that was sent and whose outcome could not be kept is unknown.

    Its intent stays open in the store, and is looked for as soon as the store answers again.

    Raises:
        PermissionGone: when this program may write nothing any more, and nothing was sent.
        StoreFailed: when the intent could not be kept, and nothing was sent.
    """
    sent: list[Intent] = []

    def note(intent: Intent) -> None:
        task.note(intent)
        if intent.sent_ms is not None:
            sent.append(intent)

    try:
        return await carrier.carry(replace(task, note=note))
    except (StoreFailed, PermissionGone) as error:
        if not sent:
            raise
        intent = sent[-1]
        log.error("outcome_not_kept", intent=intent.number, retcode=intent.retcode, told=str(error))
        told = f"it was sent, and what it came to could not be kept: {error}"
        return Outcome(ending=Ending.UNKNOWN, reason=told, retcode=intent.retcode, intent=intent.number)
