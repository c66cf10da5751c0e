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


ACTED_ON = ("trades", "intents", "controls", "rails", "leases")
"""Tables whose rows decide on what is done."""
ENDED = {
    "trades": frozenset({State.CLOSED.value}),
    "intents": frozenset(state.value for state in IntentState if not state.is_open),
}
"""States in which a row of them decides on nothing any more."""


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
        is_vital = table in ACTED_ON and row.get("state") not in ENDED.get(table, ())
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
