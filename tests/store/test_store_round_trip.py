"""What is committed comes back exactly, every field of it, also after a restart."""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dtms.adapters.store_sql import SqlStore
from dtms.adapters.store_sql.codec import decode, encode
from dtms.domain.actions import Intent
from dtms.domain.errors import InvariantBroken, StoreFailed
from dtms.domain.facts import Fact
from dtms.domain.market import Side
from dtms.domain.trade import Machine, Member, Mode, Role, State, Trade, Visit
from dtms.ports.store import Controls, Evaluation, Unit

from .builders import JSON, PRICE, TEXT, ManualClock, any_of, fact, intent, trade
from .conftest import MakeStore

TRADES = any_of(
    Trade,
    entry=PRICE,
    stop=st.none() | PRICE,
    target=st.none() | PRICE,
    initial_stop=st.none() | PRICE,
    risk=PRICE,
)
INTENTS = any_of(Intent, number=st.integers(1, 2**40 - 1))


@pytest.fixture(scope="module")
def memory() -> Iterator[SqlStore]:
    """One store in memory for all examples: opening one takes longer than trying an example."""
    store = SqlStore("sqlite://", ManualClock())
    asyncio.run(store.open())
    yield store
    asyncio.run(store.close())


UNUSED = count()
QUICK = settings(max_examples=80, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))


@QUICK
@given(value=TRADES)
def test_every_field_of_a_trade_comes_back(memory: SqlStore, value: Trade) -> None:
    asyncio.run(memory.commit(Unit(trades=(value,))))
    read = asyncio.run(memory.trade(value.ticket))
    assert read == value
    assert _spelt(read) == _spelt(value), "digits of volumes and bits of prices included"


def _spelt(value: Trade) -> str:
    """Spell a trade out; a set has no order of its own."""
    machines = [m and replace(m, done=frozenset()) for m in (value.machine, value.shadow)]
    plain = replace(value, machine=Machine(), shadow=None, surplus=frozenset())
    return repr((plain, sorted(value.surplus), machines))


@QUICK
@given(value=INTENTS)
def test_every_field_of_an_intent_comes_back(memory: SqlStore, value: Intent) -> None:
    asyncio.run(memory.commit(Unit(intents=(value,))))
    assert value in asyncio.run(memory.intents(ticket=value.ticket))
    assert (value in asyncio.run(memory.intents(open_only=True))) == value.state.is_open


@QUICK
@given(value=any_of(Fact), drawn=any_of(Evaluation, score=st.floats(-1e300, 1e300)))
def test_every_field_of_a_fact_and_an_evaluation_comes_back(memory: SqlStore, value: Fact, drawn: Evaluation) -> None:
    scored = replace(drawn, symbol=f"S{next(UNUSED)}")
    ids = asyncio.run(memory.commit(Unit(facts=(value,), evaluations=(scored,))))
    assert asyncio.run(memory.facts(newest=True, limit=1)) == [replace(value, id=ids[0])]
    at = scored.bar_ms
    assert asyncio.run(memory.evaluations(scored.symbol, scored.direction, from_ms=at, to_ms=at)) == [scored]


@QUICK
@given(controls=any_of(Controls), rails=st.dictionaries(TEXT, JSON, max_size=4))
def test_controls_and_rails_come_back_whole(memory: SqlStore, controls: Controls, rails: dict[str, Any]) -> None:
    before = Unit(controls=Controls(halted=True, halt_reason="before"), rails={"before": 1})
    asyncio.run(memory.commit(before))
    asyncio.run(memory.commit(Unit(controls=controls, rails=rails)))
    loaded = asyncio.run(memory.load())
    assert (loaded.controls, loaded.rails) == (controls, rails)


def test_a_restart_finds_everything_as_it_was(make_store: MakeStore) -> None:
    hedge = Member(
        ticket=9,
        identifier=9,
        role=Role.HEDGE,
        side=Side.SHORT,
        volume=Decimal("0.05"),
        entry=0.1 + 0.2,
        stop=None,
        target=None,
        intent=3,
        opened_ms=4,
    )
    hedged = trade(
        1,
        machine=Machine(state=State.HEDGED, entered_ms=5, done=frozenset(Visit), flat_since_ms=6, hedges=1),
        members=(hedge,),
        mode=Mode.AUTO,
    )
    disabled, closed = trade(2, disabled=True), trade(3, machine=Machine(state=State.CLOSED))
    controls = Controls(halted=True, halt_reason="by hand", halted_ms=8, mode=Mode.OBSERVE)

    async def scenario() -> None:
        first = make_store()
        await first.open()
        unit = Unit(
            create=(hedged, disabled, closed), intents=(intent(3),), controls=controls, rails={"day": {"r": -1.5}}
        )
        await first.commit(unit)
        before = await first.load()
        await first.close()
        second = make_store()
        await second.open()
        assert await second.load() == before
        assert before.trades == [hedged, disabled]
        assert before.intents == [intent(3)]
        assert (before.controls, before.rails) == (controls, {"day": {"r": -1.5}})
        assert await second.trade(3) == closed
        await second.close()

    asyncio.run(scenario())


NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    "unit",
    [
        Unit(trades=(trade(1, stop=NAN),)),
        Unit(trades=(trade(1, entry=INFINITY),)),
        Unit(trades=(trade(1, realised=NAN),)),
        Unit(trades=(trade(1, volume=Decimal("NaN")),)),
        Unit(trades=(trade(1, closed_by_dtms=Decimal("Infinity")),)),
        Unit(trades=(trade(1, stop=0.0),)),
        Unit(trades=(trade(2**64),)),
        Unit(intents=(intent(1, price=NAN),)),
        Unit(intents=(intent(2**40),)),
        Unit(facts=(fact(details={"spread": INFINITY}),)),
        Unit(facts=(fact(summary="\ud800"),)),
        Unit(rails={"loss_r": NAN}),
    ],
)
def test_a_unit_with_a_value_that_cannot_be_stored_is_refused_whole(unit: Unit, make_store: MakeStore) -> None:
    async def scenario() -> None:
        store = make_store()
        await store.open()
        with pytest.raises(InvariantBroken, match="cannot be stored"):
            await store.commit(replace(unit, facts=(fact(), *unit.facts)))
        assert await store.facts() == []
        assert (await store.load()).trades == []
        await store.commit(Unit(trades=(trade(1),)))
        await store.close()

    asyncio.run(scenario())


def test_a_value_written_by_another_version_still_reads() -> None:
    """Unknown keys are passed over, missing ones take their default, a missing identity is an error."""
    plain = encode(Machine(state=State.WARNING_L1, hedges=2))
    assert decode(Machine, {**plain, "invented_later": 1}) == Machine(state=State.WARNING_L1, hedges=2)
    del plain["hedges"]
    assert decode(Machine, plain) == Machine(state=State.WARNING_L1)
    with pytest.raises(StoreFailed, match="no ticket"):
        decode(Member, {"identifier": 1})
    with pytest.raises(StoreFailed, match="state of a Machine is not sound"):
        decode(Machine, {"state": "HALTED"})


def test_two_inline_runs_make_the_same_file(tmp_path: Path) -> None:
    async def run(path: Path) -> None:
        store = SqlStore(f"sqlite:///{path}", ManualClock(), inline=True)
        await store.open()
        for number in await store.next_intent_numbers(50):
            await store.commit(Unit(trades=(trade(number),), intents=(intent(number),), facts=(fact(number),)))
        await store.close()

    one, two = tmp_path / "a.db", tmp_path / "b.db"
    asyncio.run(run(one))
    asyncio.run(run(two))
    assert one.read_bytes() == two.read_bytes()
