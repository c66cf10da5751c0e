"""A store with one of everything, and ways to spoil it."""

import asyncio
from pathlib import Path

import pysqlite3.dbapi2 as driver

from dtms.adapters.store_sql import SqlStore
from dtms.domain.actions import IntentState
from dtms.domain.trade import Machine, Mode, State
from dtms.ports.store import Controls, Kept, KeptKind, Unit

from .builders import evaluation, fact, intent, trade
from .conftest import MakeStore

CLOSED = Machine(state=State.CLOSED)
WHOLE = Unit(
    create=(trade(1, target=1.1, initial_stop=1.07, mode=Mode.AUTO), trade(2), trade(3, machine=CLOSED)),
    intents=(intent(1), intent(2, 2), intent(3, 3, state=IntentState.CONFIRMED)),
    facts=tuple(fact(ticket, details={"n": n}) for n, ticket in enumerate((1, 1, 2, None, 3, 1, None))),
    evaluations=(evaluation(),),
    controls=Controls(halted=True, halt_reason="by hand", halted_ms=5, mode=Mode.AUTO),
    rails={"day": 1},
    keep=(Kept(kind=KeptKind.ANSWER, key="a", body={"status": 200}, at_ms=1, expires_ms=None),),
)


async def fill(store: SqlStore) -> None:
    await store.commit(WHOLE)
    assert await store.acquire("engine", "here:1:1", 15.0) is not None


def filled(make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        await fill(store)
        await store.close()

    asyncio.run(scenario())


def change(path: Path, *statements: str) -> None:
    """Write as a damaged disk does: no trigger, no check."""
    connection = driver.connect(str(path), isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()
