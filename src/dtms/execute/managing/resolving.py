"""Open requests of the main program: looked for until it is known what became of them, each under its lease.

``decide.proof`` judges looks at the broker. What was executed is taken over: by the manager whose position it changed,
and what an execution opened by the manager that its intent names. The announced token fences off a process that sent
it and sleeps; the lease leaves alone what another live process has in hand.
"""

from dataclasses import dataclass, replace

import structlog

from dtms.decide import proof
from dtms.decide.proof import Executed, NotExecuted, NotYet, Question, Verdict
from dtms.domain.account import MarginMode
from dtms.domain.actions import ActionKind, Ending, Intent, IntentState, Outcome
from dtms.domain.errors import BrokerUnavailable, LeaseHeld
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Asker, opening_key
from dtms.domain.snapshot import Evidence
from dtms.execute.journal import describe
from dtms.execute.leases import Held
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.openings import Openings
from dtms.execute.managing.patience import failed, succeeded
from dtms.execute.shown import position_of
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

EVERY_MS = 2_000
LOOKS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was seen so far, and the market time at which this process took the intent up."""

    known_ms: int
    looks: tuple[Evidence, ...] = ()
    told: str = ""
    """Why nobody could say yet, when that was last recorded."""


class Resolving:
    """Finds out what became of requests whose outcome is not known."""

    def __init__(self, bench: Bench, floor: Floor, openings: Openings) -> None:
        self._bench = bench
        self._floor = floor
        self._openings = openings
        self._inquiries: dict[int, Inquiry] = {}

    async def resolve(self) -> int:
        """Look for every open request that nobody has in hand; answers how many are still open.

        One that is being sent by another process, which must have lost its authority, is guarded by its lease.
        """
        found = [i for i in await self._bench.store.intents(open_only=True) if i.asker is not Asker.DTMS]
        for intent in found:
            if not any(carrier.has_in_hand(intent.number) for carrier in self._bench.carriers):
                await self._one(intent)
        return len(found)

    async def _one(self, intent: Intent) -> None:
        try:
            async with self._bench.leases.held(self._key(intent), intent.ticket or None) as held:
                now = await self._bench.store.intent(intent.number)
                if now is not None and now.state.is_open:
                    await self._under(now, held)
        except LeaseHeld:
            log.info("intent_left_alone", intent=intent.number, told="somebody has its lease")

    def _key(self, intent: Intent) -> str:
        return self._bench.key(intent.ticket, intent.action.symbol) if intent.ticket else opening_key(intent.number)

    async def _under(self, intent: Intent, held: Held) -> None:
        """Look for one request under its lease."""
        try:
            await self._bench.leases.announce(held)  # before the look: what sleeps with it is not sent any more
            verdict = await self._verdict(intent)
        except BrokerUnavailable as error:
            verdict = NotYet(f"the broker does not answer: {error}")
        match verdict:
            case Executed():
                await self._executed(intent, verdict, held)
            case NotExecuted():
                await self._not_executed(intent, verdict, held)
            case NotYet():
                await self._not_yet(intent, verdict)

    # --- judging -------------------------------------------------------------------------------------------------

    async def _verdict(self, intent: Intent) -> Verdict:
        now = self._bench.clock.market_ms()
        inquiry = self._inquiries.setdefault(intent.number, Inquiry(known_ms=now))
        look = await self._bench.broker.evidence(intent.number, intent.action.symbol, min(intent.created_ms, now))
        inquiry = replace(inquiry, looks=(*inquiry.looks, look)[-LOOKS_KEPT:])
        self._inquiries[intent.number] = inquiry
        return proof.judge(await self._question(intent, inquiry), inquiry.looks)

    async def _question(self, intent: Intent, inquiry: Inquiry) -> Question:
        bench = self._bench
        instrument = await bench.broker.instrument(intent.action.symbol)
        if instrument is None:
            raise BrokerUnavailable(f"the broker does not know {intent.action.symbol} now")
        others = [i for i in await bench.store.intents(ticket=intent.ticket) if i.number != intent.number]
        target = await self._target(intent)
        return Question(
            intent=intent,
            numbers=bench.broker.number_in,
            instrument=instrument,
            since_ms=self._since_ms(intent, inquiry),
            settle_ms=int(bench.settings.intents.settle_s * 1000),
            anchor=self._anchor(intent, target, inquiry.looks[-1]),
            target=target,
            claimed=frozenset() if intent.ticket else await self._openings.claimed(intent.action.symbol),
            claimed_deals=frozenset(i.deal for i in others if i.deal is not None),
            claimed_orders=frozenset(i.order for i in others if i.order is not None),
        )

    def _since_ms(self, intent: Intent, inquiry: Inquiry) -> int:
        """When the settle window began: with the lost answer, or when this process took the intent up."""
        if any(carrier.made(intent.number) for carrier in self._bench.carriers):
            return intent.sent_ms or inquiry.known_ms
        return inquiry.known_ms

    async def _target(self, intent: Intent) -> int | None:
        """Return the identifier of the position that an action names."""
        ticket = position_of(intent.action)
        if ticket is None:
            return None
        for managed in await self._bench.store.managed(ticket=intent.ticket):
            return managed.identifier
        standing = await self._bench.store.standing(intent.ticket)
        known = standing.ownership or standing.trade
        return ticket if known is None else known.identifier

    def _anchor(self, intent: Intent, target: int | None, look: Evidence) -> int | None:
        """Return whose absence from the list says that it tells nothing: the position itself, or the symbol's one."""
        if intent.ticket:
            return target
        if self._bench.margin_mode is MarginMode.HEDGING:
            return None
        return next((p.identifier for p in look.positions), None)

    # --- verdicts ------------------------------------------------------------------------------------------------

    async def _executed(self, intent: Intent, verdict: Executed, held: Held) -> None:
        """Take over what was done, with the intent's end."""
        done = replace(
            _ended(intent, IntentState.CONFIRMED, verdict.told, self._bench.clock.market_ms()),
            deal=intent.deal or next(iter(verdict.deals), None),
            order=intent.order or (verdict.order.ticket if verdict.order is not None else None),
            filled=verdict.volume or intent.filled,
        )
        words = f"{intent.action.kind.value} was executed: {verdict.told}"
        if intent.action.kind.opens_trade:
            unit = await self._openings.taken(done, verdict)
        else:
            unit = self._changed(done, verdict)
        await self._end(done, held, unit, self._fact(done, "executed", words, deals=list(verdict.deals)))
        self._openings.tell(unit)

    def _changed(self, intent: Intent, verdict: Executed) -> Unit:
        """Return the manager's memory after what turned out to be done."""
        charge = self._charge(intent)
        if charge is None:
            return Unit()
        memory = succeeded(charge.managed, intent.action.kind)
        return Unit(managed=(_after(memory, intent.action.kind, verdict.at_ms),))

    async def _not_executed(self, intent: Intent, verdict: NotExecuted, held: Held) -> None:
        now = self._bench.clock.market_ms()
        done = _ended(intent, IntentState.NOT_EXECUTED, verdict.told, now)
        words = f"{intent.action.kind.value} was not executed: {verdict.told}"
        charge = self._charge(intent)
        memory: tuple[Managed, ...] = ()
        if charge is not None:
            outcome = Outcome(ending=Ending.FAILED, reason=verdict.told)
            memory = (failed(charge.managed, intent.action.kind, outcome, now, self._bench.settings.protection),)
        unit = Unit(managed=memory)
        if intent.action.kind.opens_trade:
            unit = await self._openings.not_opened(done)
        await self._end(done, held, unit, self._fact(done, "not executed", words))

    async def _end(self, intent: Intent, held: Held, unit: Unit, fact: Fact) -> None:
        """Commit an intent's end with all that follows, and give the lease back with it."""
        facts = (*unit.facts, fact)
        await self._bench.store.commit(replace(unit, intents=(*unit.intents, intent), facts=facts, release=held.lease))
        held.is_given_back = True
        self._inquiries.pop(intent.number, None)
        charge = self._charge(intent)
        if charge is not None:
            charge.open_intents.pop(intent.number, None)
            charge.next_ms = 0
        for managed in unit.managed:
            if (known := self._floor.charges.get((managed.manager, managed.ticket))) is not None:
                known.managed = managed
        for row in unit.ownership:
            self._floor.ownerships[row.ticket] = row
        self._bench.journal.tell(facts)

    async def _not_yet(self, intent: Intent, verdict: NotYet) -> None:
        """Tell once why it waits, and call a person when it has waited too long."""
        now = self._bench.clock.market_ms()
        inquiry = self._inquiries.setdefault(intent.number, Inquiry(known_ms=now))
        what = f"{intent.action.kind.value} (intent {intent.number})"
        age_ms = max(now - intent.created_ms, now - inquiry.known_ms)
        late = age_ms > self._bench.settings.intents.escalate_s * 1000
        if late and intent.state is not IntentState.NEEDS_HUMAN:
            told = f"nobody can say whether {what} was executed: look at the terminal ({verdict.reason})"
            fact = self._fact(intent, "not yet", told, kind=FactKind.NEEDS_ATTENTION, alert="CRITICAL")
            waiting = replace(intent, state=IntentState.NEEDS_HUMAN, message=verdict.reason)
            await self._bench.store.commit(Unit(intents=(waiting,), facts=(fact,)))
            self._bench.journal.tell((fact,))
        elif inquiry.told != verdict.reason:
            self._inquiries[intent.number] = replace(inquiry, told=verdict.reason)
            told = f"{what}: nobody can say yet whether it was executed: {verdict.reason}"
            await self._bench.store.commit(Unit(facts=(self._fact(intent, "not yet", told),)))

    # --- what all share ------------------------------------------------------------------------------------------

    def _charge(self, intent: Intent) -> Charge | None:
        owner = intent.asker.manager
        return None if owner is None else self._floor.charges.get((owner, intent.ticket))

    def _fact(self, intent: Intent, verdict: str, words: str, kind: FactKind = FactKind.INTENT, **more: Json) -> Fact:
        inquiry = self._inquiries.get(intent.number)
        details: dict[str, Json] = {
            "intent": intent.number,
            "manager": intent.asker.value,
            "action": intent.action.kind.value,
            "verdict": verdict,
            "looks": len(inquiry.looks) if inquiry is not None else 0,
            "request": describe(intent.action),
            **more,
        }
        fact = self._bench.journal.fact(kind, words, details=details, correlation_id=intent.correlation_id)
        return replace(fact, ticket=intent.ticket or None, symbol=intent.action.symbol)


def _after(managed: Managed, kind: ActionKind, at_ms: int) -> Managed:
    """Return the memory after an action that was confirmed late; volume and stop are seen at the broker."""
    if kind is ActionKind.TAKE_PARTIAL:
        return replace(managed, partial_done=True)
    if kind in (ActionKind.BREAKEVEN, ActionKind.TRAIL):
        trailing = managed.trailing_active or kind is ActionKind.TRAIL
        reached = managed.breakeven_done or kind is ActionKind.BREAKEVEN
        return replace(managed, moved_ms=at_ms, breakeven_done=reached, trailing_active=trailing)
    return managed


def _ended(intent: Intent, state: IntentState, told: str, now_ms: int) -> Intent:
    return replace(intent, state=state, message=told, resolved_ms=now_ms)
