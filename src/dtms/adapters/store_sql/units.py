"""A unit's way into the tables: laid out as rows before it waits, applied with its permission checked first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dtms.adapters.store_sql import rows
from dtms.adapters.store_sql.leases import LeaseDesk
from dtms.adapters.store_sql.writer import Transaction
from dtms.domain.errors import AlreadyStored, PermissionGone
from dtms.domain.trade import State
from dtms.ports.store import Permission, Unit

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
    permission: Permission | None


def prepare(unit: Unit, now_ms: int) -> Prepared:
    """Lay a unit out as rows; ``now_ms`` is market time.

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
        permission=unit.permission,
    )


def apply(tx: Transaction, unit: Prepared, desk: LeaseDesk) -> Sequence[int]:
    """Write a unit and return the ids of its facts.

    Raises:
        PermissionGone: when what permitted it no longer holds.
        AlreadyStored: when a trade that it creates is under defence already.
    """
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
    return _add_facts(tx, unit.facts)


def _check(tx: Transaction, permission: Permission, desk: LeaseDesk) -> None:
    if not desk.holds(tx, permission.key, permission.holder, permission.token):
        raise PermissionGone(f"lease {permission.key} is not held with token {permission.token}")
    if not permission.despite_halt:
        halted = tx.first(tx.say.halted, {})
        if halted is not None and halted[0]:
            raise PermissionGone("trading is halted")
    stored = tx.first(tx.say.trade_state, {"ticket": permission.ticket})
    if stored is None:
        raise PermissionGone(f"trade {permission.ticket} is not registered")
    if stored[0] not in permission.states:
        raise PermissionGone(f"trade {permission.ticket} is {stored[0]}")


def _create(tx: Transaction, create: Sequence[Row]) -> None:
    """Write new trades; a row of the same ticket or position that is closed or disabled does not stand in the way."""
    known = {
        ticket
        for row in create
        for ticket, state, disabled in tx.all(tx.say.same_trades, row)
        if state != State.CLOSED and not disabled
    }
    if known:
        raise AlreadyStored(tuple(sorted(known)))
    tx.put(tx.say.put_trade, "trades", create)


def _add_facts(tx: Transaction, facts: Sequence[Row]) -> Sequence[int]:
    if not facts:
        return ()
    ids = tx.count_up(FACTS, len(facts))
    tx.put(tx.say.add_fact, FACTS, [{**fact, "id": given} for fact, given in zip(facts, ids, strict=True)])
    return tuple(ids)
