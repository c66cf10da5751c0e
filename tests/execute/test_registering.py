"""Registrations that wait together share a look and a commit, and each keeps its own answer."""

import asyncio
from typing import Any

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact, FactKind
from dtms.execute.service import RefusalCode, Refused, Registered, Registration
from dtms.replay import Stage, stage
from dtms.terminal.simulated.config import load_config

EURUSD = {"name": "EURUSD.m", "like": "EURUSD", "recording": "shipped:EURUSD_H1_2017"}
OPENINGS = [
    {
        "at": "2017-09-05T10:05Z",
        "kind": "open",
        "name": str(n),
        "symbol": "EURUSD.m",
        "side": side,
        "lots": 0.1,
        "sl": {"atr": 3},
    }
    for n, side in enumerate(("BUY", "SELL", "BUY"))
]


async def _staged() -> tuple[Stage, list[int]]:
    played = stage(load_config({"start": "2017-09-05T10:00Z", "symbols": [EURUSD], "actors": OPENINGS}))
    await played.engine.start()
    await played.play(6)
    return played, [p.ticket for p in played.terminal.positions_get() or ()]


async def _registered(played: Stage) -> list[Fact]:
    return list(await played.store.facts(kinds=frozenset({FactKind.REGISTERED.value}), limit=100))


def test_each_fact_carries_its_own_correlation_id() -> None:
    """Whoever asked for which trade can be told from the journal, though one commit kept them all."""

    async def main() -> None:
        played, tickets = await _staged()
        await asyncio.gather(
            *(played.engine.register(Registration(ticket=t, correlation_id=f"request-{t}")) for t in tickets)
        )
        facts = await _registered(played)
        assert [f.id for f in facts] == list(range(facts[0].id, facts[0].id + len(tickets)))
        found = {f.ticket: f.correlation_id for f in facts}
        assert found == {t: f"request-{t}" for t in tickets}
        await played.engine.stop()

    run_virtual(main())


def test_a_hundred_at_once_make_one_trade() -> None:
    """One is new, ninety-nine are told that it is registered already, and there is one row."""

    async def main() -> None:
        played, (ticket, *_) = await _staged()
        answers = await asyncio.gather(*(played.engine.register(Registration(ticket=ticket)) for _ in range(100)))
        assert sorted(a.already_registered for a in answers) == [False] + [True] * 99
        assert len(await _registered(played)) == 1
        await played.engine.stop()

    run_virtual(main())


def test_a_refused_neighbour_changes_nothing_for_the_others() -> None:
    """A ticket that the broker does not know is refused; those that wait with it are registered."""

    async def main() -> None:
        played, tickets = await _staged()
        asked = [Registration(ticket=t) for t in (tickets[0], 999_999, tickets[1])]
        answers: list[Any] = await asyncio.gather(*map(played.engine.register, asked), return_exceptions=True)
        assert isinstance(answers[0], Registered)
        assert isinstance(answers[2], Registered)
        assert isinstance(answers[1], Refused)
        assert answers[1].code is RefusalCode.POSITION_NOT_FOUND
        await played.engine.stop()

    run_virtual(main())
