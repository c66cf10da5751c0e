"""Domain values to rows and back: which fields have columns of their own, under which names."""

from collections.abc import Mapping
from typing import Any

from dtms.adapters.store_sql.codec import UNSTORABLE, Plain, decode, dump_json, encode, load_json, unstorable
from dtms.domain.actions import Intent
from dtms.domain.facts import Fact, Json
from dtms.domain.trade import Trade
from dtms.ports.store import Controls, Evaluation

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
    except UNSTORABLE as error:
        raise unstorable(f"trade {trade.ticket}", error) from error
    return row


def trade_of(row: Stored) -> Trade:
    plain = load_json(row["memory"])
    plain.update((field, row[column]) for field, column in TRADE_COLUMNS.items())
    return decode(Trade, plain)


def intent_row(intent: Intent) -> Plain:
    try:
        plain = encode(intent)
        row = {name: plain.pop(name) for name in INTENT_COLUMNS}
        row["body"] = dump_json(plain)
    except UNSTORABLE as error:
        raise unstorable(f"intent {intent.number}", error) from error
    return row


def intent_of(row: Stored) -> Intent:
    return decode(Intent, {**load_json(row["body"]), **{name: row[name] for name in INTENT_COLUMNS}})


def fact_row(fact: Fact) -> Plain:
    """Lay a fact out as its row, its ``id`` still to be given."""
    try:
        row = encode(fact)
        row["details"] = dump_json(row["details"])
    except UNSTORABLE as error:
        raise unstorable(f"fact {fact.kind} of {fact.ticket}", error) from error
    return row


def fact_of(row: Stored) -> Fact:
    return decode(Fact, {**row, "details": load_json(row["details"])})


def evaluation_row(evaluation: Evaluation) -> Plain:
    try:
        row = encode(evaluation)
        row["body"] = dump_json(row["body"])
    except UNSTORABLE as error:
        raise unstorable(f"evaluation of {evaluation.symbol} at {evaluation.bar_ms}", error) from error
    return row


def evaluation_of(row: Stored) -> Evaluation:
    return decode(Evaluation, {**row, "body": load_json(row["body"])})


def controls_row(controls: Controls) -> Plain:
    return {"id": 1, **encode(controls)}


def controls_of(row: Stored) -> Controls:
    return decode(Controls, row)


def rails_row(rails: Mapping[str, Json]) -> Plain:
    try:
        return {"id": 1, "body": dump_json(dict(rails))}
    except UNSTORABLE as error:
        raise unstorable("rails", error) from error
