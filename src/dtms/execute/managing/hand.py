"""The managers' hand: carries one proposal out through the carrier, and keeps memory and registry true to what came.

```
proposal → mode and authority as they are stored → carried (lease, compare-and-set, intent, send, read back)
  → outcome, memory, breakeven flag and facts in one commit
```

Whoever loses a race is told once why: the owner, DTMS's state, a stop that changed meanwhile, a lease that is held.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from dtms.decide.authority import refuse
from dtms.decide.first_look import DtmsLook, Rule, may_try
from dtms.decide.proposals import Proposal, Sighting
from dtms.domain.actions import Action, ActionKind, ClosePosition, Ending, Intent, IntentState, MoveStop, Outcome
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Asker, Ownership
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode, Owner
from dtms.execute.carrying import Done, Task, Unsent
from dtms.execute.journal import action_details, describe
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.patience import SOON_MS, failed, succeeded
from dtms.execute.shown import is_visible
from dtms.ports.store import Unit

log = structlog.get_logger(__name__)

SAID_WITH_AGES = frozenset({Rule.DEFENSIVE.value, Rule.BLIND.value})
"""Reasons that tell how old something is: another age is no other reason."""


class FirstLook(Protocol):
    """What DTMS last said of its positions (``execute.handing.asking``)."""

    def look(self, ticket: int) -> DtmsLook: ...


@dataclass(slots=True)
class _Act:
    """One proposal on its way, and what is true of its ticket under the lease."""

    charge: Charge
    proposal: Proposal
    sighting: Sighting
    ownership: Ownership | None = None
    after: Managed | None = None
    """The memory that was committed with the outcome."""
    facts: tuple[Fact, ...] = ()


class Hand:
    """Carries proposals out; the caller holds the charge's lock."""

    def __init__(self, bench: Bench, floor: Floor, first: FirstLook | None = None) -> None:
        self._bench = bench
        self._floor = floor
        self._first = first

    async def carry(self, charge: Charge, proposal: Proposal, sighting: Sighting) -> Outcome | None:
        """Carry a proposal out, or record why not; None when the mode or a halt holds it back.

        Raises:
            PermissionGone, StoreFailed: when this program may write nothing any more.
        """
        lost = self._in_vain(charge, proposal)
        if lost is not None:
            await self._lost(charge, proposal, lost)
            return lost
        standing = await self._bench.store.standing(charge.managed.ticket)
        if standing.halted:
            return None
        mode = standing.mode(self._bench.configured)
        if mode is not Mode.AUTO:
            await self._propose(charge, proposal, mode)
            return None
        return await self._carry(_Act(charge, proposal, sighting), asker_of(charge.managed))

    def _in_vain(self, charge: Charge, proposal: Proposal) -> Outcome | None:
        """Return why nothing is even tried, by what was last read of owner and state; the lease has the last word."""
        ticket, floor = charge.managed.ticket, self._floor
        owner, state = floor.owner(ticket), floor.states.get(ticket)
        denied = refuse(asker_of(charge.managed), owner, state, breakeven=floor.breakeven(ticket))
        if denied is not None:
            return Outcome(ending=Ending.FAILED, reason=denied.reason, rule=denied.rule, wait=True)
        if charge.managed.manager is not Owner.EXITS or self._first is None:
            return None
        trying = may_try(proposal.action.kind, owner, self._first.look(ticket))
        if trying.is_blind and trying.is_allowed:  # what is not tried is told once, as every loss
            log.warning("decided_blind", ticket=ticket, action=proposal.action.kind.value, told=trying.reason)
        if trying.is_allowed:
            return None
        return Outcome(ending=Ending.FAILED, reason=trying.reason, rule=trying.rule.value, wait=True)

    async def _carry(self, act: _Act, asker: Asker) -> Outcome:
        charge = act.charge
        outcome = await self._bench.carrier.carry(self._task(act, asker))
        self._bench.done[f"{charge.managed.manager.value}:{act.proposal.rule}:{outcome.ending.value}"] += 1
        if act.after is None:
            charge.next_ms = self._bench.clock.market_ms() + SOON_MS
            await self._lost(charge, act.proposal, outcome)
            return outcome
        charge.managed = act.after
        self._bench.journal.tell(act.facts)
        if outcome.ending is Ending.DONE:
            charge.noted.clear()
            self._flagged(act)
        return outcome

    def _flagged(self, act: _Act) -> None:
        """Know at once what was committed of the registry."""
        if (row := act.ownership) is not None and act.after is not None and _reaches_breakeven(act.after, row):
            self._floor.ownerships[row.ticket] = flagged(row)

    # --- the task ------------------------------------------------------------------------------------------------

    def _task(self, act: _Act, asker: Asker) -> Task:
        managed, bench, charge = act.charge.managed, self._bench, act.charge
        instrument, numbers = act.sighting.instrument, bench.broker.number_in

        def is_shown(intent: Intent, seen: Snapshot) -> bool:
            return is_visible(intent, seen, instrument, numbers, managed.identifier)

        def note(intent: Intent) -> None:
            if intent.state.is_open:
                charge.open_intents[intent.number] = intent
            else:
                charge.open_intents.pop(intent.number, None)

        async def ready() -> None:
            await self._require_sole(managed, act.proposal.action.kind)
            # Read under the lease, without which nobody else changes it: what is written of it follows on this.
            act.ownership = (await bench.store.standing(managed.ticket)).ownership

        return Task(
            asker=asker,
            ticket=managed.ticket,
            key=bench.key(managed.ticket, managed.symbol),
            action=act.proposal.action,
            tick=act.sighting.tick,
            instrument=instrument,
            is_shown=is_shown,
            conclude=lambda done: self._conclude(act, done),
            ready=ready,
            note=note,
            forget=lambda intent: _forget(charge, intent),
            mode=bench.configured,
        )

    async def _require_sole(self, managed: Managed, kind: ActionKind) -> None:
        """See to it that no other request that changes exposure is open for the position, or was just given up.

        Raises:
            Unsent: with what stands in the way.
        """
        if not kind.changes_exposure:
            return
        quarantine_ms = self._bench.settings.intents.quarantine_s * 1000
        for intent in await self._bench.store.intents(ticket=managed.ticket):
            what = f"{intent.action.kind.value} (intent {intent.number})"
            if intent.state.is_open and intent.action.kind.changes_exposure:
                raise Unsent(f"nobody can say yet whether {what} was executed", "request_open")
            age_ms = self._bench.clock.market_ms() - (intent.sent_ms or intent.created_ms)
            was_given_up = intent.state is IntentState.NOT_EXECUTED and intent.action.kind is kind
            if was_given_up and 0 <= age_ms < quarantine_ms:
                raise Unsent(f"{what} was not executed, and could still be for a while", "quarantine")

    def _conclude(self, act: _Act, done: Done) -> Unit:
        """Return what is committed with the outcome: the memory, what is told, and breakeven in the registry."""
        bench, kind, now = self._bench, act.proposal.action.kind, self._bench.clock.market_ms()
        if done.outcome.ending is Ending.DONE:
            after = shown(succeeded(act.proposal.after, kind), done.intent, done.seen)
        elif done.outcome.ending is Ending.UNKNOWN:
            after = act.charge.managed
        else:
            after = failed(act.charge.managed, kind, done.outcome, now, bench.settings.protection)
        act.after, act.facts = after, tuple(self._facts(act, done, after))
        row = act.ownership
        flag = (flagged(row),) if row is not None and _reaches_breakeven(after, row) else ()
        return Unit(managed=(after,), facts=act.facts, ownership=flag)

    def _facts(self, act: _Act, done: Done, after: Managed) -> list[Fact]:
        before, outcome, proposal = act.charge.managed, done.outcome, act.proposal
        told = f"{describe(proposal.action)}: {outcome.ending.value.replace('_', ' ')}"
        why = outcome.reason or proposal.reason
        details = action_details(done.intent, outcome) | {"rule": proposal.rule, "reason": why}
        facts = [self._bench.fact(FactKind.ACTION, f"{told} ({why})", before, details)]
        if after.needs_attention is not None and before.needs_attention is None:
            facts.append(self._bench.fact(FactKind.NEEDS_ATTENTION, after.needs_attention, before))
        return facts

    # --- what is not carried out ---------------------------------------------------------------------------------

    async def _propose(self, charge: Charge, proposal: Proposal, mode: Mode) -> None:
        """Record a proposal that the mode holds back, once, when it changes."""
        told = f"{proposal.rule}: {describe(proposal.action)}"
        if charge.managed.proposed == told:
            return
        managed = replace(charge.managed, proposed=told)
        details: dict[str, Json] = {
            "rule": proposal.rule,
            "reason": proposal.reason,
            "mode": mode.value,
            **figures(proposal.action),
        }
        fact = self._bench.fact(FactKind.PROPOSAL, f"in {mode}: {told} ({proposal.reason})", managed, details)
        await self._bench.store.commit(Unit(managed=(managed,), facts=(fact,)))
        charge.managed = managed
        self._bench.journal.tell((fact,))

    async def _lost(self, charge: Charge, proposal: Proposal, outcome: Outcome) -> None:
        """Count a proposal that was not sent, and tell once per reason why."""
        managed, rule = charge.managed, outcome.rule or "not_sent"
        self._bench.lost[f"{managed.manager.value}:{rule}"] += 1
        told_before = charge.noted.get(rule)
        if told_before == outcome.reason or (told_before and rule in SAID_WITH_AGES):
            return
        charge.noted[rule] = outcome.reason
        owner, state = self._floor.owner(managed.ticket), self._floor.states.get(managed.ticket)
        details: dict[str, Json] = {
            "rule": rule,
            "reason": outcome.reason,
            "wanted": proposal.rule,
            "owner": None if owner is None else owner.value,
            "state": None if state is None else state.value,
            "breakeven": self._floor.breakeven(managed.ticket),
            **figures(proposal.action),
        }
        told = f"{proposal.rule} not sent: {outcome.reason}"
        fact = self._bench.fact(FactKind.REFUSAL, told, managed, details)
        await self._bench.store.commit(Unit(facts=(fact,)))
        self._bench.journal.tell((fact,))


def asker_of(managed: Managed) -> Asker:
    """Return the word by which a position's manager asks."""
    return Asker(managed.manager.value)


def figures(action: Action) -> dict[str, Json]:
    """Return what an action wanted, and what it was decided on."""
    match action:
        case MoveStop():
            return {"action": action.kind.value, "stop": action.stop, "expected_stop": action.expected_stop}
        case ClosePosition():
            lots, expected = float(action.volume), float(action.expected_volume)
            return {"action": action.kind.value, "volume": lots, "expected_volume": expected}
        case _:
            return {"action": action.kind.value}


def shown(after: Managed, intent: Intent, seen: Snapshot | None) -> Managed:
    """Return the memory with volume and levels as a look at the broker shows them."""
    if seen is None:
        return after
    position = next((p for p in seen.positions.values() if p.identifier == after.identifier), None)
    if position is None:  # closed since, by its stop, say: what it came to is told by its deals
        action = intent.action
        return replace(after, stop=action.stop) if isinstance(action, MoveStop) else after
    return replace(after, volume=position.volume, stop=position.stop, target=position.target)


def _reaches_breakeven(after: Managed, row: Ownership) -> bool:
    return after.breakeven_done and not row.breakeven and row.closed_ms is None


def flagged(row: Ownership) -> Ownership:
    """Return the registry's entry of a position whose stop reached breakeven."""
    return replace(row, breakeven=True, version=row.version + 1)


def _forget(charge: Charge, intent: Intent) -> None:
    charge.open_intents.pop(intent.number, None)
