"""A bit flipped anywhere in a store's file is found or does no harm; no value is ever read that was not written."""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from dtms.adapters.store_sql import SqlStore
from dtms.domain.errors import Misconfigured, StoreFailed
from dtms.domain.trade import Machine, State
from dtms.ports.store import Controls, Kept, KeptKind, Unit

from .builders import ManualClock, evaluation, fact, intent, trade

T = TypeVar("T")

PAGE = 4096
FLIPS_PER_PAGE = 2


def _store(path: Path) -> SqlStore:
    return SqlStore(f"sqlite:///{path}", ManualClock(), inline=True)


async def _make(path: Path) -> None:
    store = _store(path)
    await store.open()
    for number in range(1, 25):
        closed = {"machine": Machine(state=State.CLOSED)} if number % 3 == 0 else {}
        await store.commit(
            Unit(
                create=(trade(number, **closed),),
                intents=(intent(number, number),),
                facts=(fact(number, details={"n": number}), fact(None)),
                evaluations=(evaluation(bar_ms=number),),
                keep=(Kept(kind=KeptKind.WORK, key=str(number), body={"n": number}, at_ms=number),),
            )
        )
    await store.commit(Unit(controls=Controls(halted=True, halted_ms=7), rails={"day": {"r": -1.5}}))
    assert await store.acquire("engine", "here:1:1", 15.0) is not None
    await store.close()


Read = dict[str, object]


async def _read(path: Path) -> Read:
    """Read everything by key; what cannot be read for damage is left out, what is wrong in it is wrong here."""
    store = _store(path)
    await store.open()
    found: Read = {}
    try:
        loaded = await store.load()
        found |= {f"active {t.ticket}": t for t in loaded.trades}
        found |= {f"open {i.number}": i for i in loaded.intents}
        found |= {"controls": loaded.controls, "rails": loaded.rails, "engine": await store.lease("engine")}
        for ticket in range(1, 25):
            await _read_ticket(store, ticket, found)
        for kept in await _or_none(store.kept(KeptKind.WORK)):
            found[f"kept {kept.key}"] = kept
        scored = store.evaluations("EURUSDc", "BUY", from_ms=0, to_ms=10**9)
        found |= {f"scored {e.bar_ms}": e for e in await _or_none(scored)}
        numbers = await _or_none(store.next_intent_numbers(1))
        if numbers:
            found["number is new"] = numbers[0] > 24
    finally:
        await store.close()
    return found


async def _read_ticket(store: SqlStore, ticket: int, found: Read) -> None:
    try:
        if (one := await store.trade(ticket)) is not None:
            found[f"trade {ticket}"] = one
    except StoreFailed:
        pass
    found |= {f"fact {f.id}": f for f in await _or_none(store.facts(ticket=ticket))}


async def _or_none(reading: Awaitable[Sequence[T]]) -> Sequence[T]:
    try:
        return await reading
    except StoreFailed:
        return ()


VITAL = ("active", "open", "controls", "rails")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bits") / "store.db"
    asyncio.run(_make(path))
    return path


def test_a_flipped_bit_is_found_or_harmless(original: Path, tmp_path: Path) -> None:
    """Some bits of every page: the start refuses, or all that decides is there, and only what was written is read.

    What may be missing after a start is only what is over or merely shown, and its reading says so.
    """
    content = original.read_bytes()
    copy = tmp_path / "copy.db"
    copy.write_bytes(content)
    before = asyncio.run(_read(copy))
    rng = random.Random(20)
    refused, served = 0, 0
    for page in range(len(content) // PAGE):
        for _ in range(FLIPS_PER_PAGE):
            at, bit = page * PAGE + rng.randrange(PAGE), rng.randrange(8)
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            path = tmp_path / f"{at}-{bit}.db"
            path.write_bytes(changed)
            try:
                found = asyncio.run(_read(path))
            except (StoreFailed, Misconfigured):
                refused += 1
            else:
                served += 1
                wrong = {key: value for key, value in found.items() if value != before.get(key)}
                assert not wrong, f"bit {bit} of byte {at} (page {page + 1}) shows what was never written"
                lost = [key for key in before if key.startswith(VITAL) and key not in found]
                assert not lost, f"bit {bit} of byte {at} (page {page + 1}) hides {lost}"
            for left in tmp_path.glob(f"{path.name}*"):
                left.unlink()
    assert refused > 8
    assert served > 8
