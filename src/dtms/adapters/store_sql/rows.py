"""Domain values to rows and back: which fields have columns of their own, under which names.

A row that is laid out gets its hash at once, a fact's when its place in the chain is known. A row that is read is
compared with its hash before a value is made of it.
"""

from collections.abc import Mapping
from typing import Any

from dtms.adapters.store_sql.codec import UNSTORABLE, Plain, decode, dump_json, encode, load_json, unstorable
from dtms.adapters.store_sql.hashes import LAYOUTS, PREVIOUS, sealed
from dtms.domain.actions import Intent, IntentState
from dtms.domain.errors import StoreDamaged
from dtms.domain.facts import Fact, Json
from dtms.domain.managed import Managed
from dtms.domain.owners import Ownership
from dtms.domain.plans import Plan, PlanStatus
from dtms.domain.trade import State, Trade
from dtms.ports.store import Controls, Evaluation, Kept, KeptKind

Stored = Mapping[Any, Any]
"""A row as it is read, by column name."""

TRADE_COLUMNS = {
    "ticket": "ticket",
    "identifier": "identifier",
    "login": "login",
    "server": "server",
    "symbol": "symbol",
    "side": "direction",
    "entry": "entry_price",
    "volume": "volume",
    "stop": "stop_loss",
    "target": "take_profit",
    "initial_volume": "initial_volume",
    "initial_stop": "initial_stop",
    "risk": "risk",
    "owner": "owner",
    "mode": "mode",
    "disabled": "disabled",
    "registered_ms": "registered_at",
    "version": "version",
}
"""Field of a trade → its column. ``state`` and ``last_updated`` are columns beside them."""

INTENT_COLUMNS = ("number", "ticket", "state", "token", "created_ms")
OWNERSHIP_COLUMNS = ("ticket", "symbol", "owner", "mode", "closed_ms", "version")
MANAGED_COLUMNS = ("manager", "ticket", "symbol", "closed_ms", "version")
PLAN_COLUMNS = ("id", "status", "symbol", "created_ms", "status_ms", "version")

ACTED_ON = ("trades", "intents", "controls", "rails", "leases", "ownership", "managed", "plans")
"""Tables whose rows decide on what is done."""
ENDED = {
    "trades": ("state", frozenset({State.CLOSED.value})),
    "intents": ("state", frozenset(state.value for state in IntentState if not state.is_open)),
    "plans": ("status", frozenset(status.value for status in PlanStatus if not status.is_open)),
}
"""The column that tells how far a row of them is, and where it decides on nothing any more."""
CLOSABLE = ("ownership", "managed")
"""Tables whose rows decide on nothing any more once they have a time of closing."""


def has_ended(table: str, row: Stored) -> bool:
    """Answer whether a row decides on nothing any more; one that cannot tell has not."""
    if table in CLOSABLE:
        return row.get("closed_ms") is not None
    column, ended = ENDED.get(table, ("", frozenset[str]()))
    return row.get(column) in ended


def is_sound(table: str, row: Stored) -> bool:
    """Answer whether a stored row is what was written."""
    return LAYOUTS[table].is_sound(row)


def checked(table: str, row: Stored) -> Stored:
    """Return a row that is what was written.

    Raises:
        StoreDamaged: naming table and key, when it is not.
    """
    layout = LAYOUTS[table]
    if not layout.is_sound(row):
        is_vital = table in ACTED_ON and not has_ended(table, row)
        raise StoreDamaged(((table, layout.key_of(row)),), is_vital=is_vital)
    return row


def trade_row(trade: Trade, now_ms: int) -> Plain:
    """Lay a trade out as its row; ``now_ms`` is market time.

    Raises:
        InvariantBroken: when a part of it cannot be stored (a NaN, a foreign type). So do the other rows.
    """
    try:
        plain = encode(trade)
        row = {column: plain.pop(field) for field, column in TRADE_COLUMNS.items()}
        row["state"] = plain["machine"]["state"]
        row["last_updated"] = now_ms
        row["memory"] = dump_json(plain)
        return sealed("trades", row)
    except UNSTORABLE as error:
        raise unstorable(f"trade {trade.ticket}", error) from error


def trade_of(row: Stored) -> Trade:
    plain = load_json(checked("trades", row)["memory"])
    plain.update((field, row[column]) for field, column in TRADE_COLUMNS.items())
    return decode(Trade, plain)


def intent_row(intent: Intent) -> Plain:
    try:
        plain = encode(intent)
        row = {name: plain.pop(name) for name in INTENT_COLUMNS}
        row["body"] = dump_json(plain)
        return sealed("intents", row)
    except UNSTORABLE as error:
        raise unstorable(f"intent {intent.number}", error) from error


def intent_of(row: Stored) -> Intent:
    checked("intents", row)
    return decode(Intent, {**load_json(row["body"]), **{name: row[name] for name in INTENT_COLUMNS}})


def fact_row(fact: Fact) -> Plain:
    """Lay a fact out as its row, its ``id`` and its place in the chain still to be given."""
    try:
        row = encode(fact)
        row["details"] = dump_json(row["details"])
    except UNSTORABLE as error:
        raise unstorable(f"fact {fact.kind} of {fact.ticket}", error) from error
    return row


def chained(row: Plain, number: int, previous: str | None) -> Plain:
    """Give a fact's row its id and its place after the fact with the hash ``previous``.

    Raises:
        InvariantBroken: when a part of it cannot be stored.
    """
    try:
        return sealed("facts", {**row, "id": number, PREVIOUS: previous})
    except UNSTORABLE as error:
        raise unstorable(f"fact {row['kind']} of {row['ticket']}", error) from error


def fact_of(row: Stored) -> Fact:
    return decode(Fact, {**checked("facts", row), "details": load_json(row["details"])})


def evaluation_row(evaluation: Evaluation) -> Plain:
    try:
        row = encode(evaluation)
        row["score"] += 0.0  # a column of doubles does not keep the sign of a zero
        row["body"] = dump_json(row["body"])
        return sealed("evaluations", row)
    except UNSTORABLE as error:
        raise unstorable(f"evaluation of {evaluation.symbol} at {evaluation.bar_ms}", error) from error


def evaluation_of(row: Stored) -> Evaluation:
    return decode(Evaluation, {**checked("evaluations", row), "body": load_json(row["body"])})


def controls_row(controls: Controls) -> Plain:
    try:
        return sealed("controls", {"id": 1, **encode(controls)})
    except UNSTORABLE as error:
        raise unstorable("controls", error) from error


def controls_of(row: Stored) -> Controls:
    return decode(Controls, checked("controls", row))


def rails_row(rails: Mapping[str, Json]) -> Plain:
    try:
        return sealed("rails", {"id": 1, "body": dump_json(dict(rails))})
    except UNSTORABLE as error:
        raise unstorable("rails", error) from error


def rails_of(row: Stored) -> Plain:
    read: Plain = load_json(checked("rails", row)["body"])
    return read


def kept_row(kept: Kept) -> Plain:
    try:
        row = encode(kept)
        row["body"] = dump_json(row["body"])
        return sealed("kept", row)
    except UNSTORABLE as error:
        raise unstorable(f"{kept.kind} {kept.key}", error) from error


def kept_of(row: Stored) -> Kept:
    return decode(Kept, {**checked("kept", row), "body": load_json(row["body"])})


def kept_key(kind: KeptKind, key: str) -> Plain:
    """Lay out which value is to be forgotten."""
    return {"kind": kind.value, "key": key}


def ownership_row(ownership: Ownership) -> Plain:
    return _laid_out("ownership", ownership, OWNERSHIP_COLUMNS)


def ownership_of(row: Stored) -> Ownership:
    return decode(Ownership, _read("ownership", row, OWNERSHIP_COLUMNS))


def managed_row(managed: Managed) -> Plain:
    return _laid_out("managed", managed, MANAGED_COLUMNS)


def managed_of(row: Stored) -> Managed:
    return decode(Managed, _read("managed", row, MANAGED_COLUMNS))


def plan_row(plan: Plan) -> Plain:
    return _laid_out("plans", plan, PLAN_COLUMNS)


def plan_of(row: Stored) -> Plan:
    return decode(Plan, _read("plans", row, PLAN_COLUMNS))


def _laid_out(table: str, value: Ownership | Managed | Plan, columns: tuple[str, ...]) -> Plain:
    """Lay a value out as a row of columns of the fields' names, and the rest as JSON."""
    try:
        plain = encode(value)
        row = {name: plain.pop(name) for name in columns}
        row["body"] = dump_json(plain)
        return sealed(table, row)
    except UNSTORABLE as error:
        raise unstorable(f"{table} {value}", error) from error


def _read(table: str, row: Stored, columns: tuple[str, ...]) -> Plain:
    plain: Plain = load_json(checked(table, row)["body"])
    plain.update((name, row[name]) for name in columns)
    return plain
