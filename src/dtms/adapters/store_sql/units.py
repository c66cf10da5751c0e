"""A unit's way into the tables: laid out as rows before it waits, applied with its permission checked first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.leases import LeaseDesk
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.errors import AlreadyStored, PermissionGone
from dtms.domain.trade import State, Trade
from dtms.ports.store import Authority, Permission, Unit

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
    wall_ms: int
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
        wall_ms=wall_ms,
        authority=unit.authority,
        permission=unit.permission,
    )


def apply(tx: Transaction, unit: Prepared, desk: LeaseDesk) -> Sequence[int]:
    """Write a unit and return the ids of its facts.

    Raises:
        PermissionGone: when what permitted it no longer holds.
        AlreadyStored: when a trade that it creates is under defence already.
        StoreDamaged: when a row that decides on it is not what was written.
    """
    if unit.authority is not None:
        _require_lease(tx, unit.authority, desk)
    if unit.permission is not None:
        _check(tx, unit.permission, desk)
    if unit.create:
        _create(tx, unit.create)
    say = tx.say
    tx.put(say.put_trade, "trades", unit.trades)
    tx.put(say.put_intent, "intents", unit.intents)
    tx.put(say.add_evaluation, "evaluations", unit.evaluations)
    tx.put(say.put_controls, "controls", () if unit.controls is None else (unit.controls,))
    tx.put(say.put_rails, "rails", () if unit.rails is None else (unit.rails,))
    tx.take(say.forget, "kept", unit.forget)
    if unit.keep:
        tx.take(say.forget, "kept", tx.rows(say.expired, {"now_ms": unit.wall_ms}))
        tx.put(say.put_kept, "kept", unit.keep)
    return _add_facts(tx, unit.facts)


def _require_lease(tx: Transaction, under: Authority | Permission, desk: LeaseDesk) -> None:
    if not desk.holds(tx, under.key, under.holder, under.token):
        raise PermissionGone(f"lease {under.key} is not held with token {under.token}")


def _check(tx: Transaction, permission: Permission, desk: LeaseDesk) -> None:
    _require_lease(tx, permission, desk)
    if not permission.despite_halt:
        controls = tx.row(tx.say.controls, {})
        if controls is not None and rows.controls_of(controls).halted:
            raise PermissionGone("trading is halted")
    stored = tx.row(tx.say.trade, {"ticket": permission.ticket})
    if stored is None:
        raise PermissionGone(f"trade {permission.ticket} is not registered")
    _require_permitted(rows.trade_of(stored), permission)


def _require_permitted(trade: Trade, permission: Permission) -> None:
    if trade.disabled:
        raise PermissionGone(f"trade {trade.ticket} is disabled")
    if trade.state not in permission.states:
        raise PermissionGone(f"trade {trade.ticket} is {trade.state}")
    if permission.owners is not None and trade.owner not in permission.owners:
        raise PermissionGone(f"trade {trade.ticket} belongs to {trade.owner.value or 'nobody'}")


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
