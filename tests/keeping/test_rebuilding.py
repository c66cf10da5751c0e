"""A store that cannot be trusted is set aside and made anew, row for row, from what was kept beside it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as driver
import pytest
from tests.execute.unsteady import set_up
from tests.replay.windows import BTC, SHIPPED, registered
from tests.store.builders import ManualClock, fact, intent, trade
from tests.store.managers import managed, ownership, plan

from dtms.adapters.store_sql.backup import backups, folder_of
from dtms.adapters.store_sql.guarded import GuardedStore
from dtms.adapters.store_sql.keeper import Keeper
from dtms.adapters.store_sql.segments import segments
from dtms.adapters.store_sql.verify import verify_file
from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.errors import StoreFailed
from dtms.domain.trade import State
from dtms.ports.store import Controls, Kept, KeptKind, Unit

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged")
TABLES = ("trades", "intents", "facts", "evaluations", "controls", "rails", "kept", "ownership", "managed", "plans")
Rows = dict[str, list[tuple[Any, ...]]]


def rows(path: Path) -> Rows:
    with contextlib.closing(driver.connect(path)) as connection:
        return {t: list(connection.execute(f"SELECT * FROM {t} ORDER BY 1, 2, 3").fetchall()) for t in TABLES}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dtms_trades.db"


def keeper_of(path: Path, clock: ManualClock) -> Keeper:
    return Keeper(path, clock.wall_ms, verify_file)


def open_store(path: Path, clock: ManualClock) -> tuple[GuardedStore, Keeper]:
    keeper = keeper_of(path, clock)
    store = GuardedStore(f"sqlite:///{path}", clock, keeper)
    asyncio.run(store.open())
    return store, keeper


def fill(path: Path, clock: ManualClock, *, numbers: Sequence[int], backup_after: int | None = None) -> Rows:
    """Write some of everything, one unit per number, with a backup on the way when it is asked for."""

    async def main() -> None:
        keeper = keeper_of(path, clock)
        store = GuardedStore(f"sqlite:///{path}", clock, keeper)
        await store.open()
        for number in numbers:
            await store.commit(
                Unit(
                    trades=(trade(number, stop=1.08 + number / 1e4),),
                    intents=(intent(number, number),),
                    facts=(fact(number), fact(None)),
                    ownership=(ownership(number),),
                    managed=(managed(number),),
                    plans=(plan(str(number)),),
                    keep=(Kept(kind=KeptKind.WORK, key=f"k{number % 3}", body={"n": number}, at_ms=clock.now_ms),),
                )
            )
            if number == backup_after:
                keeper.back_up()
        await store.commit(Unit(forget=((KeptKind.WORK, "k0"),), controls=Controls(halted=True, halt_reason="a test")))
        await store.close()

    asyncio.run(main())
    return rows(path)


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def tamper(path: Path, change: str) -> None:
    """Change content as a flipped bit does: without the triggers that notice an older program."""
    with contextlib.closing(driver.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(change)


DAMAGES = {"removed": remove, "cut": cut, "overwritten": overwrite, "emptied": empty}


@pytest.mark.parametrize("backup_after", [None, 4], ids=["from the log alone", "from backup and log"])
@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_a_damaged_file_is_made_anew_row_for_row(
    path: Path, clock: ManualClock, damage: Callable[[Path], None], backup_after: int | None
) -> None:
    before = fill(path, clock, numbers=range(1, 9), backup_after=backup_after)
    damage(path)
    store, keeper = open_store(path, clock)
    assert keeper.rebuilt is not None
    assert (keeper.rebuilt.backup is not None) == (backup_after is not None)
    asyncio.run(store.close())
    assert rows(path) == before
    if damage is not remove:
        (aside,) = path.parent.glob("*.damaged-*Z")
        assert keeper.rebuilt.aside == aside, "the damaged file is kept"


def test_a_stop_that_is_not_the_one_that_was_written_is_put_right(path: Path, clock: ManualClock) -> None:
    before = fill(path, clock, numbers=range(1, 5))
    tamper(path, "UPDATE trades SET stop_loss = stop_loss + 0.01 WHERE ticket = 2")
    assert rows(path) != before
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before


def test_an_older_file_in_its_place_is_noticed(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 4))
    older = path.read_bytes()
    before = fill(path, clock, numbers=range(4, 8))
    path.write_bytes(older)
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before


def test_numbers_go_on_beyond_all_that_may_have_been_given(path: Path, clock: ManualClock) -> None:
    async def given(store: GuardedStore) -> tuple[int, int]:
        lease = await store.acquire("engine", "here:1:1", 15.0)
        assert lease is not None
        number = (await store.next_intent_numbers(1)).start
        await store.commit(Unit(intents=(intent(number, token=lease.token),)))
        await store.close()
        return number, lease.token

    store, _ = open_store(path, clock)
    number, token = asyncio.run(given(store))
    remove(path)
    store, _ = open_store(path, clock)
    later_number, later_token = asyncio.run(given(store))
    assert later_number > number + 1000
    assert later_token > token + 1000


def test_what_the_log_missed_is_saved_from_the_damaged_file(path: Path, clock: ManualClock) -> None:
    fill(path, clock, numbers=range(1, 4))
    before = fill(path, clock, numbers=range(4, 6))
    newest = segments(folder_of(path))[-1].path
    lines = newest.read_bytes().splitlines(keepends=True)
    newest.write_bytes(b"".join(lines[:-2]))  # killed before the last two were written down
    tamper(path, "UPDATE trades SET risk = risk * 2 WHERE ticket = 1")
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert keeper.rebuilt.saved["trades"] == 1
    after = rows(path)
    assert {name: after[name] for name in ("trades", "intents", "facts", "controls")} == {
        name: before[name] for name in ("trades", "intents", "facts", "controls")
    }


def test_with_nothing_to_make_it_from_the_start_is_refused_and_the_file_stays(path: Path, clock: ManualClock) -> None:
    path.parent.mkdir(parents=True)
    overwrite(path)
    with pytest.raises(StoreFailed, match="dtms restore"):
        open_store(path, clock)
    assert path.read_bytes().startswith(b"this is no database")
    assert {p.name for p in path.parent.iterdir() if p.is_file()} == {path.name, f"{path.name}.keeper"}


def test_the_log_of_a_whole_replay_rebuilds_every_row(path: Path, clock: ManualClock) -> None:
    """A trade that is warned, halved, hedged and given up, with a backup in the middle: state, timers, members."""

    async def main() -> None:
        keeper = keeper_of(path, clock)
        url = f"sqlite:///{path}"
        on, _ = set_up(HEDGED, make_store=lambda time: GuardedStore(url, time, keeper, inline=True))
        await on.engine.start()
        ticket = await registered(on)
        await on.play(30)
        keeper.back_up()
        await on.play(HEDGED.hours * 60 - 30)
        stored = await on.store.trade(ticket)
        assert stored is not None
        assert stored.state is State.CLOSED
        assert {i.state for i in await on.store.intents()} == {IntentState.CONFIRMED}
        await on.engine.stop()

    run_virtual(main())
    before = rows(path)
    assert backups(folder_of(path))
    overwrite(path)
    store, keeper = open_store(path, clock)
    asyncio.run(store.close())
    assert keeper.rebuilt is not None
    assert rows(path) == before
