"""A unit's way into the tables: laid out as rows before it waits, applied with its permission checked first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.hashes import LAYOUTS
from dtms.adapters.store_sql.leases import LeaseDesk, LeaseEvent
from dtms.adapters.store_sql.permitted import require_permitted
from dtms.adapters.store_sql.statements import Statement
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.errors import AlreadyStored, ChangedMeanwhile
from dtms.domain.trade import State
from dtms.ports.store import Authority, Free, Lease, Permission, Unit

Row = dict[str, Any]

FACTS = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A unit as rows."""

    create: Sequence[Row]
    trades: Sequence[Row]
    intents: Sequence[Row]
    facts: Sequence[Row]
    evaluations: Sequence[Row]
    controls: Row | None
    rails: Row | None
    keep: Sequence[Row]
    forget: Sequence[Row]
    ownership: Sequence[Row]
    unowned: Sequence[int]
    managed: Sequence[Row]
    plans: Sequence[Row]
    wall_ms: int
    free: Free | None
    release: Lease | None
    authority: Authority | None
    permission: Permission | None


def prepare(unit: Unit, now_ms: int, wall_ms: int = 0) -> Prepared:
    """Lay a unit out as rows; ``now_ms`` is market time, ``wall_ms`` the machine's, by which kept values expire.

    Raises:
        InvariantBroken: when a value in it cannot be stored.
    """
    return Prepared(
        create=[rows.trade_row(trade, now_ms) for trade in unit.create],
        trades=[rows.trade_row(trade, now_ms) for trade in unit.trades],
        intents=[rows.intent_row(intent) for intent in unit.intents],
        facts=[rows.fact_row(fact) for fact in unit.facts],
        evaluations=[rows.evaluation_row(evaluation) for evaluation in unit.evaluations],
        controls=None if unit.controls is None else rows.controls_row(unit.controls),
        rails=None if unit.rails is None else rows.rails_row(unit.rails),
        keep=[rows.kept_row(kept) for kept in unit.keep],
        forget=[rows.kept_key(kind, key) for kind, key in unit.forget],
        ownership=[rows.ownership_row(ownership) for ownership in unit.ownership],
        unowned=unit.unowned,
        managed=[rows.managed_row(managed) for managed in unit.managed],
        plans=[rows.plan_row(plan) for plan in unit.plans],
        wall_ms=wall_ms,
        free=unit.free,
        release=unit.release,
        authority=unit.authority,
        permission=unit.permission,
    )


@dataclass(frozen=True, slots=True)
class Applied:
    """The ids of a unit's facts, and what happened to the lease that it gave back."""

    ids: Sequence[int]
    events: tuple[LeaseEvent, ...] = ()


def apply(tx: Transaction, unit: Prepared, desk: LeaseDesk) -> Applied:
    """Write a unit.

    Raises:
        PermissionGone: when what permitted it no longer holds; ``LeaseHeld`` when a lease that it needs to be free is
            not, ``ChangedMeanwhile`` when what it changes is not what it follows on.
        AlreadyStored: when a trade that it creates is under defence already.
        StoreDamaged: when a row that decides on it is not what was written.
    """
    if unit.authority is not None:
        desk.require(tx, unit.authority)
    if unit.free is not None:
        desk.require_free(tx, unit.free)
    if unit.permission is not None:
        require_permitted(tx, unit.permission, desk)
    _require_unowned(tx, unit.unowned)
    if unit.create:
        _create(tx, unit.create)
    say = tx.say
    tx.put(say.put_trade, "trades", unit.trades)
    tx.put(say.put_intent, "intents", unit.intents)
    tx.put(say.add_evaluation, "evaluations", unit.evaluations)
    tx.put(say.put_controls, "controls", () if unit.controls is None else (unit.controls,))
    tx.put(say.put_rails, "rails", () if unit.rails is None else (unit.rails,))
    _follow(tx, say.ownership, "ownership", unit.ownership)
    tx.put(say.put_ownership, "ownership", unit.ownership)
    tx.put(say.put_managed, "managed", unit.managed)
    _follow(tx, say.plan, "plans", unit.plans)
    tx.put(say.put_plan, "plans", unit.plans)
    tx.take(say.forget, "kept", unit.forget)
    if unit.keep:
        tx.take(say.forget, "kept", tx.rows(say.expired, {"now_ms": unit.wall_ms}))
        tx.put(say.put_kept, "kept", unit.keep)
    events = () if unit.release is None else desk.release(tx, unit.release).events
    return Applied(_add_facts(tx, unit.facts), events)


def _require_unowned(tx: Transaction, tickets: Sequence[int]) -> None:
    """See that no other manager owns one of these positions.

    Raises:
        ChangedMeanwhile: naming the owner.
    """
    for ticket in tickets:
        stored = tx.row(tx.say.ownership, {"ticket": ticket})
        entry = None if stored is None else rows.ownership_of(stored)
        if entry is not None and entry.is_anothers:
            raise ChangedMeanwhile(f"position {ticket} belongs to {entry.owner}")


def _follow(tx: Transaction, stored_row: Statement, table: str, changed: Sequence[Row]) -> None:
    """See that each row follows on the one that is stored, or is the first where its version is 0.

    Raises:
        ChangedMeanwhile: when another was written since the one that it follows on was read.
    """
    for row in changed:
        stored = tx.row(stored_row, row)
        found = None if stored is None else rows.checked(table, stored)["version"]
        if found != (row["version"] - 1 if row["version"] else None):
            key = LAYOUTS[table].key_of(row)
            raise ChangedMeanwhile(f"{table} {key} is at version {found}, and {row['version']} does not follow on it")


def _create(tx: Transaction, create: Sequence[Row]) -> None:
    """Write new trades; a row of the same ticket or position that is closed or disabled does not stand in the way."""
    known = {
        stored["ticket"] for row in create for stored in tx.rows(tx.say.same_trades, row) if _stands_in_the_way(stored)
    }
    if known:
        raise AlreadyStored(tuple(sorted(known)))
    tx.put(tx.say.put_trade, "trades", create)


def _stands_in_the_way(stored: Row) -> bool:
    """Answer whether a stored trade is under defence; a closed one is not even read."""
    return stored["state"] != State.CLOSED and not rows.checked("trades", stored)["disabled"]


def _add_facts(tx: Transaction, facts: Sequence[Row]) -> Sequence[int]:
    """Write facts, each chained to the one before it of the same ticket.

    That one is read under the write lock each time: another process may have added to the chain.
    """
    if not facts:
        return ()
    first = facts[0]["ticket"]
    highest, previous = tx.answer(tx.say.count_facts, {"name": FACTS, "value": len(facts), "ticket": first})
    ids = range(highest - len(facts) + 1, highest + 1)
    last: dict[int | None, str | None] = {first: previous}
    placed = []
    for fact, number in zip(facts, ids, strict=True):
        ticket = fact["ticket"]
        if ticket not in last:
            (last[ticket],) = tx.answer(tx.say.last_fact, {"ticket": ticket})
        row = rows.chained(fact, number, last[ticket])
        last[ticket] = row["hash"]
        placed.append(row)
    tx.put(tx.say.add_fact, FACTS, placed)
    return tuple(ids)
