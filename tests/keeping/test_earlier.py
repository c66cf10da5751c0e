"""A table of an earlier system is read once, as well as it can be, and kept as it is."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import pytest
from tests.keeping.test_rebuilding import open_store
from tests.store.builders import ManualClock

from dtms.adapters.store_sql.earlier import Imported, read_earlier
from dtms.adapters.store_sql.statements import compile_statements
from dtms.adapters.store_sql.writer import Transaction
from dtms.ports.store import KeptKind, Unit


def read(path: Path, *script: str) -> Imported | None:
    with contextlib.closing(driver.connect(path)) as connection:
        for statement in script:
            connection.execute(statement)
        connection.commit()
        say = compile_statements("sqlite")
        return read_earlier(Transaction(connection.cursor(), say), ManualClock().wall_ms())


def bodies(imported: Imported | None) -> list[dict[str, Any]]:
    assert imported is not None
    return [dict(kept.body) for kept in imported.waiting]


def test_the_columns_that_such_tables_have_at_least(tmp_path: Path) -> None:
    imported = read(
        tmp_path / "a.db",
        "CREATE TABLE dtms_trades (ticket INTEGER PRIMARY KEY, symbol TEXT, direction TEXT, entry_price REAL,"
        " volume REAL, stop_loss REAL, take_profit REAL, registered_at TEXT, last_updated TEXT)",
        "INSERT INTO dtms_trades VALUES (42, 'XAUUSDc', 'buy', 2650.5, 0.1, 2640.0, NULL,"
        " '2026-01-05T10:00:00+00:00', NULL)",
    )
    assert bodies(imported) == [
        {
            "ticket": 42,
            "symbol": "XAUUSDc",
            "direction": "BUY",
            "entry": 2650.5,
            "volume": "0.1",
            "stop_loss": 2640.0,
            "take_profit": None,
            "registered_ms": 1767607200000,
        }
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("('42', 'EURUSD', 'SELL', '1.1', '0.10', '0', '', '1700000000')", {"ticket": 42, "stop_loss": None}),
        ("(42.0, 'EURUSD', 'Short', 1.1, 0.1, 1.2, 0, 1700000000.5)", {"ticket": 42, "direction": "SELL"}),
        ("(42, 'EURUSD', 0, NULL, NULL, NULL, NULL, NULL)", {"direction": "BUY", "entry": None, "volume": None}),
        ("(42, ' EURUSD ', 'LONG', 1.1, 1, 1, 1, 'yesterday')", {"symbol": "EURUSD", "registered_ms": None}),
        ("(42, 'EURUSD', 'LONG', 1.1, 1, 1, 1, 1700000000000)", {"registered_ms": 1700000000000}),
    ],
)
def test_values_in_whatever_spelling(tmp_path: Path, values: str, expected: dict[str, Any]) -> None:
    (body,) = bodies(
        read(
            tmp_path / "a.db",
            "CREATE TABLE dtms_trades (Ticket, Symbol, type, entry, lots, sl, tp, created_at)",
            f"INSERT INTO dtms_trades VALUES {values}",
        )
    )
    assert body | expected == body


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ("('abc', 'EURUSD', 'BUY', 1.1)", "not a number"),
        ("(-5, 'EURUSD', 'BUY', 1.1)", "out of range"),
        ("(5, NULL, 'BUY', 1.1)", "no symbol"),
        ("(5, 'EURUSD', 'sideways', 1.1)", "neither BUY nor SELL"),
        ("(5, 'EURUSD', 'BUY', 'cheap')", "not a number"),
        ("(5, 'EURUSD', 'BUY', 9e999)", "not a price"),
    ],
)
def test_a_row_that_cannot_be_understood_is_reported_and_stops_no_other(tmp_path: Path, values: str, why: str) -> None:
    imported = read(
        tmp_path / "a.db",
        "CREATE TABLE dtms_trades (ticket, symbol, direction, entry_price)",
        f"INSERT INTO dtms_trades VALUES {values}, (7, 'EURUSD', 'BUY', 1.1)",
    )
    assert [body["ticket"] for body in bodies(imported)] == [7]
    assert imported is not None
    assert len(imported.unreadable) == 1
    assert why in imported.unreadable[0]


def test_trades_that_had_ended_are_not_taken_up_again(tmp_path: Path) -> None:
    imported = read(
        tmp_path / "a.db",
        "CREATE TABLE dtms_trades (ticket, symbol, direction, state)",
        "INSERT INTO dtms_trades VALUES (1, 'EURUSD', 'BUY', 'closed'), (2, 'EURUSD', 'BUY', 'WARNING_L1')",
    )
    assert [body["ticket"] for body in bodies(imported)] == [2]
    assert imported is not None
    assert imported.ended == 1


@pytest.mark.parametrize("script", [(), ("CREATE TABLE dtms_trades (id, note)",)], ids=["no table", "another table"])
def test_what_is_no_table_of_trades_is_left_alone(tmp_path: Path, script: tuple[str, ...]) -> None:
    assert read(tmp_path / "a.db", *script) is None


def test_a_store_that_opens_on_such_a_file_reads_it_once_and_keeps_the_table(tmp_path: Path) -> None:
    path, clock = tmp_path / "data" / "dtms_trades.db", ManualClock()
    path.parent.mkdir()
    with contextlib.closing(driver.connect(path)) as connection:
        connection.execute("CREATE TABLE dtms_trades (ticket INTEGER PRIMARY KEY, symbol TEXT, direction TEXT)")
        connection.execute("INSERT INTO dtms_trades VALUES (42, 'EURUSD', 'BUY')")
        connection.commit()
    for _ in range(2):
        store, _ = open_store(path, clock)
        waiting = asyncio.run(store.kept(KeptKind.EARLIER))
        assert [kept.key for kept in waiting] == ["42"]
        asyncio.run(store.close())
    store, _ = open_store(path, clock)
    asyncio.run(store.commit(Unit(forget=((KeptKind.EARLIER, "42"),))))
    asyncio.run(store.close())
    store, _ = open_store(path, clock)
    assert asyncio.run(store.kept(KeptKind.EARLIER)) == []
    asyncio.run(store.close())
    with contextlib.closing(driver.connect(path)) as connection:
        assert connection.execute("SELECT * FROM dtms_trades").fetchall() == [(42, "EURUSD", "BUY")]
