"""The managers' hand: carries one proposal out through the carrier, and keeps memory and registry true to what came.

```
proposal → mode and authority as they are stored → carried (lease, compare-and-set, intent, send, read back)
  → outcome, memory, breakeven flag and facts in one commit
```

Whoever loses a race is told once why: the owner, DTMS's state, a stop that changed meanwhile, a lease that is held.
"""

from dataclasses import dataclass, replace

from dtms.decide.authority import refuse
from dtms.decide.proposals import Proposal, Sighting
from dtms.domain.actions import Action, ClosePosition, Ending, Intent, MoveStop, Outcome
from dtms.domain.facts import Fact, FactKind, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Asker, Ownership, Standing
from dtms.domain.snapshot import Snapshot
from dtms.domain.trade import Mode
from dtms.execute.carrying import Done, Task
from dtms.execute.journal import action_details, describe
from dtms.execute.managing.bench import Bench
from dtms.execute.managing.floor import Charge, Floor
from dtms.execute.managing.patience import SOON_MS, failed, succeeded
from dtms.execute.shown import is_visible
from dtms.ports.store import Unit


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

    def __init__(self, bench: Bench, floor: Floor) -> None:
        self._bench = bench
        self._floor = floor

    async def carry(self, charge: Charge, proposal: Proposal, sighting: Sighting) -> Outcome | None:
        """Carry a proposal out, or record why not; None when the mode or a halt holds it back.

        Raises:
            PermissionGone, StoreFailed: when this program may write nothing any more.
        """
        standing = await self._bench.store.standing(charge.managed.ticket)
        if standing.halted:
            return None
        mode = standing.mode(self._bench.configured)
        if mode is not Mode.AUTO:
            await self._propose(charge, proposal, mode)
            return None
        asker = asker_of(charge.managed)
        denied = refuse(asker, standing.owner, standing.state, breakeven=standing.breakeven)
        if denied is not None:
            outcome = Outcome(ending=Ending.FAILED, reason=denied.reason, rule=denied.rule, wait=True)
            await self._lost(charge, proposal, outcome, standing)
            return outcome
        return await self._carry(_Act(charge, proposal, sighting), asker)

    async def _carry(self, act: _Act, asker: Asker) -> Outcome:
        charge = act.charge
        outcome = await self._bench.carrier.carry(self._task(act, asker))
        self._bench.done[f"{charge.managed.manager.value}:{act.proposal.rule}:{outcome.ending.value}"] += 1
        if act.after is None:
            await self._lost(charge, act.proposal, outcome, None)
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

    async def _lost(self, charge: Charge, proposal: Proposal, outcome: Outcome, standing: Standing | None) -> None:
        """Tell once per reason why a proposal was not sent."""
        if outcome.ending is not Ending.FAILED:
            return
        rule = outcome.rule or "not_sent"
        self._bench.done[f"{charge.managed.manager.value}:{proposal.rule}:{rule}"] += standing is not None
        charge.next_ms = self._bench.clock.market_ms() + SOON_MS
        if charge.noted.get(rule) == outcome.reason:
            return
        charge.noted[rule] = outcome.reason
        details: dict[str, Json] = {"rule": rule, "reason": outcome.reason, "wanted": proposal.rule}
        if standing is not None:
            details |= _figures_of(standing)
        told = f"{proposal.rule} not sent: {outcome.reason}"
        fact = self._bench.fact(FactKind.REFUSAL, told, charge.managed, details | figures(proposal.action))
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


def _figures_of(standing: Standing) -> dict[str, Json]:
    owner = standing.owner
    return {
        "owner": None if owner is None else owner.value,
        "state": None if standing.state is None else standing.state.value,
        "breakeven": standing.breakeven,
    }
