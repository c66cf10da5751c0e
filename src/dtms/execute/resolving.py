"""Open intents: looked for until it is known what became of them, by looks at the broker that `decide.proof` judges.

```
UNKNOWN ─look─▶ executed: adopted, with its transition or as surplus │ not executed: ended, decided anew
        └─────▶ not yet: looked for again, from ``escalate_s`` on with a person's help; and looked for still
```

Every verdict goes to the journal with what it rests on. A broker that does not answer proves nothing, and hinders
nobody: the intent grows older.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from dtms.decide import proof, settle
from dtms.decide.proof import Executed, NotExecuted, NotYet, Question, Verdict
from dtms.domain.actions import Action, ActionKind, Ending, Intent, IntentState, OpenPosition, Outcome
from dtms.domain.errors import BrokerUnavailable, LeaseHeld, PermissionGone
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.owners import Asker
from dtms.domain.prices import ZERO
from dtms.domain.snapshot import Evidence
from dtms.domain.trade import Retry, State, Trade
from dtms.execute.book import Book, Watch
from dtms.execute.closing import Closing
from dtms.execute.desk import Desk
from dtms.execute.journal import describe
from dtms.execute.leases import Held
from dtms.execute.retries import next_try_ms
from dtms.execute.shown import identifier_of, position_of
from dtms.ports.store import Free, Unit

log = structlog.get_logger(__name__)

LINGER_MS = 300_000
"""How long a trade that ended is watched on for what could still come of an opening that was found not executed."""
LOOKS_KEPT = 8
LOOK_AGAIN_MS = 2_000
YOUNG_MS = 30_000
"""Beyond its settle window an intent is looked for at this age no more often than its trade is looked at."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was seen so far, and the market time at which this process took the intent up."""

    known_ms: int
    looks: tuple[Evidence, ...] = ()


class Resolving:
    """Finds out what became of open intents; the caller holds the trade's lock."""

    def __init__(self, desk: Desk, book: Book) -> None:
        self._desk = desk
        self._book = book
        self._closing = Closing(broker=desk.broker, store=desk.store, clock=desk.clock)
        self._inquiries: dict[int, Inquiry] = {}

    async def resolve(self, watch: Watch) -> None:
        """Look for what unanswered requests did: adopt it, end them, or let them wait.

        Under the ticket's lease, announced first, so that a process that slept sends none of them any more; while
        another live process has it, its requests are left alone.
        """
        try:
            async with self._desk.leases.held(self._desk.key_of(watch.trade), watch.ticket) as held:
                away = await self._announced(held)
                for intent in list(watch.open_intents.values()):
                    await self._resolve(watch, intent, away)
        except LeaseHeld as error:
            log.info("intents_left_alone", ticket=watch.ticket, holder=error.holder)
            self._desk.hurry()

    async def _announced(self, held: Held) -> NotYet | None:
        """Announce the lease's token; why nothing can be known yet, when the gateway does not take it.

        One that knows a higher token of this ticket is this ticket's trouble, and no lost authority of the engine.
        """
        try:
            await self._desk.leases.announce(held)
        except BrokerUnavailable as error:
            return _unanswered(error)
        except PermissionGone as error:
            return NotYet(f"the gateway does not take the lease: {error}")
        return None

    async def _resolve(self, watch: Watch, intent: Intent, away: NotYet | None) -> None:
        verdict: Verdict
        try:
            verdict = away or await self._verdict(watch, intent)
            if isinstance(verdict, Executed):
                await self._adopt(watch, intent, verdict)
                return
        except BrokerUnavailable as error:
            verdict = _unanswered(error)
        if isinstance(verdict, NotExecuted):
            await self._end(watch, intent, verdict)
        else:
            await self._wait(watch, intent, verdict)

    async def late_parts(self, watch: Watch) -> None:
        """Look whether a part that counts as not executed was closed after all, when lots went that nobody took."""
        for intent in await self._desk.store.intents(ticket=watch.ticket):
            is_lost = intent.state is IntentState.NOT_EXECUTED and intent.asker is Asker.DTMS
            if is_lost and intent.action.kind is ActionKind.CLOSE_PART:
                await self.arrived(watch, intent)

    async def arrived(self, watch: Watch, intent: Intent) -> bool:
        """Adopt what an intent did after all, long after it was found not executed; False when it did not.

        Raises:
            LeaseHeld: while another has the ticket's lease.
        """
        async with self._desk.leases.held(self._desk.key_of(watch.trade), watch.ticket):
            verdict = await self._verdict(watch, intent)
            if isinstance(verdict, Executed):
                await self._adopt(watch, intent, verdict)
            else:
                self._inquiries.pop(intent.number, None)
        return isinstance(verdict, Executed)

    # --- judging -------------------------------------------------------------------------------------------------

    async def _verdict(self, watch: Watch, intent: Intent) -> Verdict:
        now = self._desk.clock.market_ms()
        inquiry = self._inquiries.setdefault(intent.number, Inquiry(known_ms=now))
        since_ms = min(intent.created_ms, now)
        look = await self._desk.broker.evidence(intent.number, intent.action.symbol, since_ms)
        inquiry = replace(inquiry, looks=(*inquiry.looks, look)[-LOOKS_KEPT:])
        self._inquiries[intent.number] = inquiry
        return proof.judge(await self._question(watch, intent, inquiry), inquiry.looks)

    async def _question(self, watch: Watch, intent: Intent, inquiry: Inquiry) -> Question:
        trade, action = watch.trade, intent.action
        target = _target(trade, action)
        of_ticket = await self._desk.store.intents(ticket=watch.ticket)
        return Question(
            intent=intent,
            numbers=self._desk.broker.number_in,
            instrument=self._book.symbols[trade.symbol].instrument,
            since_ms=self._since_ms(intent, inquiry),
            settle_ms=int(self._desk.settings.intents.settle_s * 1000),
            anchor=trade.identifier if trade.volume > ZERO else None,
            target=target,
            opener=next((m.intent for m in trade.members if m.identifier == target), None),
            claimed=self._claimed() if target is None else frozenset(),
            claimed_deals=frozenset(i.deal for i in of_ticket if i.deal is not None and i.number != intent.number),
        )

    def _since_ms(self, intent: Intent, inquiry: Inquiry) -> int:
        """When the settle window began: with the lost answer, or when this process took the intent up.

        One that another process sent may still be under way, and its times come from another reading of the clock.
        """
        if self._desk.executor.is_ours(intent):
            return intent.sent_ms or inquiry.known_ms
        return inquiry.known_ms

    def _claimed(self) -> frozenset[int]:
        """Return the identifiers of every position that is known to be somebody's."""
        trades = [watch.trade for watch in self._book.watches.values()]
        return frozenset({t.identifier for t in trades} | {m.identifier for t in trades for m in t.members})

    # --- executed ------------------------------------------------------------------------------------------------

    async def _adopt(self, watch: Watch, intent: Intent, verdict: Executed) -> None:
        """Record a late confirmation, and make the transition that it serves; what is no longer wanted is closed."""
        before = watch.trade
        unwanted = settle.is_surplus(before, intent)
        trade = settle.adopted(before, intent, verdict)
        # A broker's clock may run ahead: a state entered in the future would make its own next request unwanted.
        entered_ms = min(verdict.at_ms, self._desk.clock.market_ms())
        trade = settle.surplus(trade, verdict) if unwanted else settle.late(trade, intent, entered_ms)
        if trade.machine.state is State.CLOSED and before.machine.state is not State.CLOSED:
            trade = await self._closed(trade, intent)
        trade = self._relieved(watch, trade, intent)
        done = _ended(intent, IntentState.CONFIRMED, verdict.told, self._desk.clock.market_ms())
        done = replace(done, deal=done.deal or next(iter(verdict.deals), None), filled=verdict.volume or done.filled)
        await self._commit(watch, trade, done, self._adopted_facts(before, trade, done, verdict, surplus=unwanted))
        self._desk.actions += 1
        watch.last_deep_ms = None  # the check that it was a part of was broken off: what else is due follows at once
        if unwanted:
            log.warning("surplus_opened", ticket=trade.ticket, intent=intent.number)

    def _adopted_facts(
        self, before: Trade, trade: Trade, intent: Intent, verdict: Executed, *, surplus: bool
    ) -> list[Fact]:
        outcome = Outcome(
            ending=Ending.DONE, reason="confirmed late", time_ms=verdict.at_ms, volume=verdict.volume or None
        )
        facts = [self._desk.journal.action(trade, intent, outcome)]
        words = f"{intent.action.kind.value} was executed: {verdict.told}"
        facts.append(self._verdict_fact(trade, intent, "executed", words, deals=list(verdict.deals)))
        if surplus:
            facts.append(self._surplus_fact(trade, intent, verdict))
        if trade.machine.state is not before.machine.state:
            facts.append(self._late_transition(trade, before.machine.state, intent))
            if trade.machine.state is State.CLOSED:
                facts.append(self._desk.journal.closed(trade))
        return facts

    def _surplus_fact(self, trade: Trade, intent: Intent, verdict: Executed) -> Fact:
        tickets: list[Json] = [p.ticket for p in verdict.positions]
        told = f"{intent.action.kind.value} was executed when it was not wanted any more: it will be closed"
        details: dict[str, Json] = {"intent": intent.number, "positions": tickets, "alert": "ERROR"}
        return self._desk.journal.fact(FactKind.ADOPTED, told, trade=trade, details=details)

    async def _closed(self, trade: Trade, intent: Intent) -> Trade:
        """Give a trade that a late confirmation ended its figures."""
        assert intent.serves is not None
        reason = trade.close_reason or f"{intent.serves.rule.replace('_', ' ')}, confirmed late"
        return replace(await self._closing.figures(trade, self._desk.settings.intents), close_reason=reason)

    def _late_transition(self, trade: Trade, before: State, intent: Intent) -> Fact:
        serves = intent.serves
        assert serves is not None
        self._desk.transitions += 1
        details: dict[str, Json] = {
            "from": before.value,
            "to": trade.machine.state.value,
            "rule": serves.rule,
            "reason": "confirmed late",
            "score": None,
        }
        summary = f"{before} → {trade.machine.state}: its request was confirmed late"
        return self._desk.journal.fact(FactKind.TRANSITION, summary, trade=trade, details=details)

    # --- not executed --------------------------------------------------------------------------------------------

    async def _end(self, watch: Watch, intent: Intent, verdict: NotExecuted) -> None:
        """End an intent that was certainly not executed; its row is decided anew, after a while."""
        trade = self._relieved(watch, watch.trade, intent)
        trade, told = self._counted(trade, intent, verdict)
        ended = _ended(intent, IntentState.NOT_EXECUTED, verdict.told, self._desk.clock.market_ms())
        words = f"{intent.action.kind.value} was not executed: {verdict.told}"
        await self._commit(watch, trade, ended, [self._verdict_fact(trade, ended, "not executed", words), *told])
        watch.next_fast_ms = 0
        if isinstance(intent.action, OpenPosition):
            watch.linger_ms = self._desk.clock.market_ms() + LINGER_MS

    def _counted(self, trade: Trade, intent: Intent, verdict: NotExecuted) -> tuple[Trade, list[Fact]]:
        """Count it among its row's failures."""
        serves, protection = intent.serves, self._desk.settings.protection
        if serves is None or trade.machine.state is not serves.from_state:
            return trade, []
        before = trade.retry.failures if trade.retry is not None and trade.retry.move == serves.rule else 0
        wait_until = next_try_ms(trade, before + 1, self._desk.clock.market_ms(), protection)
        trade = replace(trade, retry=Retry(move=serves.rule, failures=before + 1, not_before_ms=wait_until))
        if before + 1 < protection.failures_max or trade.needs_attention is not None:
            return trade, []
        trade = replace(trade, needs_attention=f"{serves.rule} failed {before + 1} times: {verdict.told}")
        return trade, [self._desk.journal.fact(FactKind.NEEDS_ATTENTION, trade.needs_attention or "", trade=trade)]

    def _relieved(self, watch: Watch, trade: Trade, intent: Intent) -> Trade:
        """Lift what the intent held back: exposure while none other is open, and the call for a person."""
        others = [i for n, i in watch.open_intents.items() if n != intent.number]
        holds = any(i.action.kind.changes_exposure or i.state is IntentState.NEEDS_HUMAN for i in others)
        asked = trade.needs_attention == _call_for(intent)
        return replace(trade, reduce_only=holds, needs_attention=None if asked else trade.needs_attention)

    # --- not yet -------------------------------------------------------------------------------------------------

    async def _wait(self, watch: Watch, intent: Intent, verdict: NotYet) -> None:
        """Look again soon; tell once why it waits; and call a person when it has waited too long."""
        now, settings = self._desk.clock.market_ms(), self._desk.settings.intents
        inquiry = self._inquiries.get(intent.number) or Inquiry(known_ms=now)
        since_ms = self._since_ms(intent, inquiry)
        if now - since_ms < settings.settle_s * 1000 + YOUNG_MS:
            watch.next_fast_ms = min(watch.next_fast_ms, now + LOOK_AGAIN_MS)
        age_ms = max(now - intent.created_ms, now - inquiry.known_ms)
        if intent.state is not IntentState.NEEDS_HUMAN and age_ms > settings.escalate_s * 1000:
            await self._escalate(watch, intent, verdict)
            return
        about = f"intent {intent.number}"
        if watch.noted.get(about) != verdict.reason:
            watch.noted[about] = verdict.reason
            words = f"{intent.action.kind.value}: nobody can say yet whether it was executed: {verdict.reason}"
            fact = self._verdict_fact(watch.trade, intent, "not yet", words)
            await self._desk.store.commit(Unit(facts=(fact,)))
            self._desk.journal.tell((fact,))

    async def _escalate(self, watch: Watch, intent: Intent, verdict: NotYet) -> None:
        waiting = replace(intent, state=IntentState.NEEDS_HUMAN, message=verdict.reason)
        why = _call_for(intent)
        trade = replace(watch.trade, needs_attention=why, reduce_only=True)
        details: dict[str, Json] = {"intent": intent.number, "reason": verdict.reason, "alert": "CRITICAL"}
        fact = self._desk.journal.fact(
            FactKind.NEEDS_ATTENTION, f"{why} ({verdict.reason})", trade=trade, details=details
        )
        await self._desk.store.commit(Unit(trades=(trade,), intents=(waiting,), facts=(fact,)))
        self._desk.believe(watch, trade, (fact,))
        watch.open_intents[intent.number] = waiting

    # --- what all share ------------------------------------------------------------------------------------------

    async def _commit(self, watch: Watch, trade: Trade, intent: Intent, facts: Sequence[Fact]) -> None:
        """Commit what is known now; not when a look outlasted the lease, and another has it.

        Raises:
            LeaseHeld: the request is looked for again.
        """
        free = Free(holder=self._desk.leases.holder, keys=(self._desk.key_of(trade),))
        await self._desk.store.commit(Unit(trades=(trade,), intents=(intent,), facts=facts, free=free))
        watch.open_intents.pop(intent.number, None)
        watch.noted.pop(f"intent {intent.number}", None)
        self._inquiries.pop(intent.number, None)
        self._book.index(trade)
        self._desk.believe(watch, trade, facts)

    def _verdict_fact(self, trade: Trade, intent: Intent, verdict: str, words: str, **more: Json) -> Fact:
        inquiry = self._inquiries.get(intent.number)
        details: dict[str, Json] = {
            "intent": intent.number,
            "action": intent.action.kind.value,
            "verdict": verdict,
            "looks": len(inquiry.looks) if inquiry is not None else 0,
            "request": describe(intent.action),
            **more,
        }
        return self._desk.journal.fact(
            FactKind.INTENT, words, trade=trade, details=details, correlation_id=intent.correlation_id
        )


def _unanswered(error: BrokerUnavailable) -> NotYet:
    return NotYet(f"the broker does not answer: {error}")


def _ended(intent: Intent, state: IntentState, told: str, now_ms: int) -> Intent:
    return replace(intent, state=state, message=told, resolved_ms=now_ms)


def _target(trade: Trade, action: Action) -> int | None:
    position = position_of(action)
    return None if position is None else identifier_of(trade, position)


def _call_for(intent: Intent) -> str:
    what = f"{intent.action.kind.value} (intent {intent.number})"
    return f"nobody can say whether {what} was executed: look at the terminal"
