"""The audit of an account that several managers share: silent over their changes, one alert for each breach."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.invariants.shared import MARKET, begun
from tests.managing.site import Site
from tests.trading.test_with_the_managers import trading_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.audit.watch import Auditor
from dtms.domain.actions import ActionKind, Intent, IntentState, MoveStop
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.trade import Mode, Owner
from dtms.execute.trading.requests import Closing, Modification
from dtms.ports.store import Unit


@dataclass(slots=True)
class Scene:
    """What runs, with the audit of it."""

    site: Site
    auditor: Auditor
    led: int
    defended: int
    beside: int

    async def alerts(self) -> list[Fact]:
        return list(await self.site.store.facts(kinds=frozenset({FactKind.AUDIT_VIOLATION.value}), limit=1_000))


def audited(folder: Path, act: Callable[[Scene], Awaitable[None]]) -> None:
    """Run the managers and DTMS over one store, with DTMS's audit, while ``act`` does what it does."""

    async def main() -> None:
        site, led, defended, beside = await begun(folder)
        engine = site.engine
        assert engine is not None
        auditor = Auditor(
            broker=engine.desk.broker,
            store=site.store,
            clock=site.clock,
            settings=lambda: site.settings,
            mode=lambda: Mode.AUTO,
            looks=None,
        )
        auditing = asyncio.create_task(auditor.run())
        await act(Scene(site, auditor, led, defended, beside))
        auditing.cancel()
        await asyncio.gather(auditing, return_exceptions=True)
        await site.end()

    run_virtual(main())


def test_what_other_managers_and_a_person_change_alarms_nobody(tmp_path: Path) -> None:
    """Breakeven, trailing and a part by managers; levels loosened and removed, and lots closed, by a person."""

    async def act(scene: Scene) -> None:
        site, trading = scene.site, trading_of(scene.site)
        await site.play(12)
        assert (await trading.modify(Modification(ticket=scene.defended, stop=1.18, override=True))).ok
        assert (await trading.modify(Modification(ticket=scene.beside, stop=None, override=True))).ok
        assert (await trading.close(Closing(ticket=scene.beside, volume=PART, override=True))).ok
        await site.play(33)
        intents = await site.store.intents(ticket=scene.led)
        assert {i.asker for i in intents} == {Asker.PERSON, Asker.EXITS, Asker.UNIVERSAL}
        assert not await scene.alerts()
        assert scene.auditor.last is not None
        assert scene.auditor.last.failed is None

    audited(tmp_path, act)


PART = Decimal("0.1")


async def _committed(scene: Scene, ticket: int, asker: Asker, **known: object) -> None:
    """Commit an intent that its permission would have refused, as a program that skips the judgement does."""
    (number,) = await scene.site.store.next_intent_numbers(1)
    (position,) = (p for p in scene.site.terminal.simulation.ledger.positions.values() if p.ticket == ticket)
    stop = position.sl_points / 100_000
    now_ms = scene.site.clock.market_ms()
    side = next(t.side for t in (await scene.site.store.load()).trades if t.ticket == scene.defended)
    action = MoveStop(
        kind=ActionKind.TRAIL,
        position=ticket,
        symbol=MARKET.symbol,
        side=side,
        stop=stop,
        target=None,
        expected_stop=stop,
    )
    intent = Intent(
        number=number,
        ticket=ticket,
        action=action,
        serves=None,
        state=IntentState.CONFIRMED,
        token=900,
        created_ms=now_ms,
        resolved_ms=now_ms,
        asker=asker,
    )
    fact = Fact(kind=FactKind.ACTION, ticket=ticket, market_ms=now_ms, summary="made")
    await scene.site.store.commit(Unit(intents=(replace(intent, **known),), facts=(fact,)))  # type: ignore[arg-type]


async def _universal_on_dtmss(scene: Scene) -> None:
    await _committed(scene, scene.defended, Asker.UNIVERSAL)


async def _older_token(scene: Scene) -> None:
    await _committed(scene, scene.defended, Asker.EXITS)
    await scene.site.play(0.1)
    await _committed(scene, scene.defended, Asker.EXITS, token=1)


async def _owner_lost(scene: Scene) -> None:
    """DTMS's row says that it owns what the registry gives to Universal."""
    trade = await scene.site.store.trade(scene.beside)
    assert trade is not None
    engine = scene.site.engine
    assert engine is not None
    await engine.stop()
    scene.site.engine = None
    await scene.site.store.commit(Unit(trades=(replace(trade, owner=Owner.DTMS, alongside=False),)))


async def _fired_twice(scene: Scene) -> None:
    """Two orders of one plan, of which nobody takes the second up."""
    intent = next(i for i in await scene.site.store.intents() if i.action.kind is ActionKind.EXECUTE)
    (number,) = await scene.site.store.next_intent_numbers(1)
    engine = scene.site.engine
    assert engine is not None
    scene.site.open_away(Side.SHORT, 0.01, magic=engine.desk.broker.magic_of(number))
    await scene.site.store.commit(Unit(intents=(replace(intent, plan="p"), replace(intent, number=number, plan="p"))))


BREACHES: dict[str, tuple[set[int], Callable[[Scene], Awaitable[None]]]] = {
    "Universal acts on a trade of DTMS": ({16}, _universal_on_dtmss),
    "a request under an older token": ({15}, _older_token),
    "two owners": ({30}, _owner_lost),
    "a plan fired twice": ({32, 33}, _fired_twice),
}


@pytest.mark.parametrize(("numbers", "breach"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_raises_one_alert(
    numbers: set[int], breach: Callable[[Scene], Awaitable[None]], tmp_path: Path
) -> None:
    async def act(scene: Scene) -> None:
        await scene.site.play(6)
        assert not await scene.alerts()
        await breach(scene)
        await scene.site.play(11)
        told = Counter(fact.details["invariant"] for fact in await scene.alerts())
        assert told == dict.fromkeys(numbers, 1), scene.auditor.last

    audited(tmp_path, act)
