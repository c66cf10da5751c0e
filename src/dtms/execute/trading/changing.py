"""Changes of a position that a person or a program asks for: who may, under which lease, and what is told of them.

Nobody but a person changes a family position; and under the halt nothing but a person's reducing act passes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from dtms.decide.recovery import is_fully_told
from dtms.domain.actions import ClosePosition, Ending, Intent, Outcome, SetLevels
from dtms.domain.facts import Fact, Json
from dtms.domain.market import Instrument, Tick
from dtms.domain.prices import same_price
from dtms.domain.snapshot import Snapshot
from dtms.execute.carrying import STOP_CHANGED, Done, Task, Unsent
from dtms.execute.shown import is_visible
from dtms.execute.trading import endings
from dtms.execute.trading.asking import Asking, asking
from dtms.execute.trading.carried import carried
from dtms.execute.trading.desk import TradingDesk
from dtms.execute.trading.whose import Known, known
from dtms.ports.store import Kept, Unit

NOT_KNOWN = Outcome(ending=Ending.UNKNOWN, reason="it was sent; what it came to is not known")
"""What is told of a request from the moment at which its intent is kept, until more is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that may be made, and what it was judged on."""

    at: Known
    by: Asking
    action: SetLevels | ClosePosition
    tick: Tick
    instrument: Instrument
    reduces: bool
    correlation_id: str | None
    figures: dict[str, Json]
    number: int
    """The intent's, reserved before it is sent, so that an answer can name it."""
    kept: Callable[[Outcome, Intent | None], Kept | None]
    """What is kept of the answer to an outcome."""
    ended: list[Intent] = field(default_factory=list)
    """The intents as their outcomes were committed."""
    told: list[Fact] = field(default_factory=list)

    @property
    def intent(self) -> Intent | None:
        """The last intent whose outcome was committed."""
        return self.ended[-1] if self.ended else None


class Changing:
    """Judges who asks for a change, and carries it out."""

    def __init__(self, desk: TradingDesk) -> None:
        self.desk = desk

    async def judged(self, ticket: int, lease_token: int | None, *, override: bool) -> tuple[Known, Asking]:
        """Find the position, and who asks for it."""
        at = await known(self.desk, await self.desk.position(ticket))
        if not override:
            at.require_own()
        return at, await asking(self.desk, at.key, lease_token=lease_token, override=override)

    async def carry(self, change: Change, *, is_last: bool = True) -> Outcome:
        """Carry a change out; an outcome that the price alone stood in the way of is returned unless it is the last.

        Raises:
            TradingRefused: when it was not carried out.
        """
        passes_halt = change.by.is_person and change.reduces
        if change.at.standing.halted and not passes_halt:
            raise endings.halted()
        task = self._task(change, despite_halt=passes_halt)
        if change.by.under is None:
            outcome = await carried(self.desk.carrier, task)
        else:
            async with self.desk.turns.of(change.at.key):
                outcome = await carried(self.desk.carrier, task)
        self.desk.journal.tell(change.told)
        if outcome.ending in (Ending.DONE, Ending.UNKNOWN) or (endings.is_requoted(outcome) and not is_last):
            return outcome
        raise endings.refused(
            outcome, self.desk.broker, await self.desk.store.standing(change.at.ticket), change.by.asker
        )

    def _task(self, change: Change, *, despite_halt: bool) -> Task:
        async def is_told(intent: Intent) -> bool:
            return await self._is_told(change, intent)

        async def ready() -> None:
            await self._require_target(change)

        return Task(
            asker=change.by.asker,
            ticket=change.at.ticket,
            key=change.at.key,
            action=change.action,
            tick=change.tick,
            instrument=change.instrument,
            is_shown=lambda intent, look: self._is_shown(change, intent, look),
            is_told=is_told,
            ready=ready,
            conclude=lambda done: self._conclude(change, done),
            begin=Unit(keep=_given(change.kept(NOT_KNOWN, None))),
            number=change.number,
            under=change.by.under,
            despite_halt=despite_halt,
            correlation_id=change.correlation_id,
        )

    async def _require_target(self, change: Change) -> None:
        """See that the target is the one that the change was decided on: it goes along, and would undo another's."""
        action = change.action
        if not isinstance(action, SetLevels):
            return
        position = (await self.desk.broker.positions([action.position])).get(action.position)
        if position is not None and not same_price(position.target, action.expected_target, change.instrument):
            told = f"the target of position {position.ticket} is {position.target}, not {action.expected_target}, now"
            raise Unsent(told, STOP_CHANGED)

    def _is_shown(self, change: Change, intent: Intent, look: Snapshot) -> bool:
        identifier = change.at.position.identifier
        return is_visible(intent, look, change.instrument, self.desk.broker.number_in, identifier)

    async def _is_told(self, change: Change, intent: Intent) -> bool:
        """A position that is closed whole must have the deals that closed it: a list can leave one out."""
        action = change.action
        if not isinstance(action, ClosePosition) or (intent.filled or action.volume) < action.expected_volume:
            return True
        return is_fully_told(await self.desk.broker.deals(position=change.at.position.identifier))

    def _conclude(self, change: Change, done: Done) -> Unit:
        """Say what is committed with the outcome; of what was not done no answer is kept."""
        change.ended.append(done.intent)
        change.told.append(self.desk.action(done.intent, done.outcome, change.at.ticket, change.figures))
        kept = _given(change.kept(done.outcome, done.intent))
        is_answer = done.outcome.ending in (Ending.DONE, Ending.UNKNOWN)
        return Unit(
            facts=(change.told[-1],),
            keep=kept if is_answer else (),
            forget=() if is_answer else tuple((one.kind, one.key) for one in kept),
        )


def _given(kept: Kept | None) -> tuple[Kept, ...]:
    return () if kept is None else (kept,)
