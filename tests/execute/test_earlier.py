"""Trades of an earlier system's table are matched with the broker once, at the next recovery."""

from pathlib import Path
from typing import Any

import pytest
from tests.execute.restarting import Lives
from tests.replay.windows import EUR, LONG, SHIPPED

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import Fact, FactKind
from dtms.domain.trade import Trade
from dtms.ports.store import Kept, KeptKind, Unit

WINDOW = next(w for w in SHIPPED if w.recording == EUR and w.side is LONG)


async def imported(lives: Lives, ticket: int, **body: Any) -> None:
    """Stop, keep what the table says of a ticket, and start again."""
    table: dict[str, Any] = {
        "ticket": ticket,
        "symbol": WINDOW.symbol,
        "direction": "SELL",
        "stop_loss": None,
        "registered_ms": None,
    }
    kept = Kept(kind=KeptKind.EARLIER, key=str(ticket), body=table | body, at_ms=1)
    await lives.on.engine.stop()
    await lives.on.store.open()
    await lives.on.store.commit(Unit(keep=(kept,)))
    await lives.on.store.close()
    await lives.go_on()


async def waiting(lives: Lives) -> list[str]:
    return [kept.key for kept in await lives.on.store.kept(KeptKind.EARLIER)]


async def told(lives: Lives, kind: FactKind, ticket: int) -> list[Fact]:
    return [f for f in await lives.news() if f.kind is kind and f.ticket == ticket]


async def begun(tmp_path: Path) -> Lives:
    lives = await Lives.begin(WINDOW, tmp_path)
    await lives.on.play(1)
    return lives


async def found(lives: Lives, ticket: int) -> Trade | None:
    return await lives.on.store.trade(ticket)


def test_a_position_at_the_broker_becomes_the_trade_that_it_was(tmp_path: Path) -> None:
    """Its R is from the stop that the table tells, its time is the table's, and it happens once."""

    async def main() -> None:
        lives = await begun(tmp_path)
        ticket = lives.open_as("SELL", 0.1, stop=1.2100)
        (position,) = lives.terminal.positions_get(ticket=ticket)
        await lives.on.play(5)
        stop, since_ms = position.price_open + 0.005, lives.on.clock.market_ms() - 60_000
        await imported(lives, ticket, stop_loss=stop, registered_ms=since_ms)
        trade = await lives.trade(ticket)
        assert (trade.initial_stop, trade.registered_ms, trade.by_watcher) == (stop, since_ms, False)
        assert trade.risk == pytest.approx(0.005)
        assert trade.stop == 1.2100, "where the stop is now, the broker says"
        assert await waiting(lives) == []
        await lives.restart(crash=True)
        assert len(await told(lives, FactKind.ADOPTED, ticket)) == 1
        assert len(await told(lives, FactKind.REGISTERED, ticket)) == 1
        await lives.on.engine.stop()

    run_virtual(main())


@pytest.mark.parametrize(
    "body",
    [{"stop_loss": 0.9}, {"stop_loss": None}, {"registered_ms": 1}, {"registered_ms": 4_000_000_000_000}],
    ids=["a stop beyond the entry", "no stop", "before it was opened", "in the future"],
)
def test_what_cannot_have_been_is_not_believed(tmp_path: Path, body: dict[str, Any]) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        ticket = lives.open_as("SELL", 0.1, stop=1.2100)
        await imported(lives, ticket, **body)
        trade = await lives.trade(ticket)
        assert trade.initial_stop == 1.2100
        assert trade.opened_ms <= trade.registered_ms <= lives.on.clock.market_ms()
        assert await waiting(lives) == []
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_that_is_gone_is_told_and_forgotten(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        await imported(lives, 424_242)
        assert await found(lives, 424_242) is None
        (fact,) = await told(lives, FactKind.PENDING, 424_242)
        assert "was not found at the broker" in fact.summary
        assert fact.details["alert"] == "WARNING"
        assert await waiting(lives) == []
        await lives.restart(crash=True)
        assert len(await told(lives, FactKind.PENDING, 424_242)) == 1
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_that_is_a_trade_already_stays_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        before = await lives.trade()
        await imported(lives, lives.ticket, direction="BUY", stop_loss=before.entry - 0.1)
        after = await lives.trade()
        assert (after.initial_stop, after.registered_ms) == (before.initial_stop, before.registered_ms)
        assert await told(lives, FactKind.ADOPTED, lives.ticket) == []
        assert await waiting(lives) == []
        await lives.on.engine.stop()

    run_virtual(main())


def test_a_position_that_is_another_is_told_and_adopted_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        lives = await begun(tmp_path)
        ticket = lives.open_as("SELL", 0.1, stop=1.2100)
        await imported(lives, ticket, direction="BUY", stop_loss=1.0)
        (fact,) = await told(lives, FactKind.PENDING, ticket)
        assert fact.details["outcome"] == "refused"
        trade = await lives.trade(ticket)
        assert trade.by_watcher
        assert trade.initial_stop == 1.2100
        assert await waiting(lives) == []
        await lives.on.engine.stop()

    run_virtual(main())
