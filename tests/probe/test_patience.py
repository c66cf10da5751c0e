"""A broker whose lists lag by seconds: with its proven delay known, the engine sees what was done."""

from dataclasses import replace
from functools import cache

import pytest
from tests.replay.windows import BTC, SHORT, Window, config_of, settings_of

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.facts import FactKind
from dtms.execute.service import Registration
from dtms.replay import stage
from dtms.settings import Settings

LAG = {"kind": "lag", "ms_min": 1_500, "ms_max": 2_500}
PROVEN_S = 2.52
MINUTES = 6.0
WINDOW = Window(recording=BTC, at="2017-11-29T11:04:18.201Z", side=SHORT, stop=11265.14, hours=1.0, rules=())


def eager() -> Settings:
    """Settings by which every trade goes down to HEDGED in its first check."""
    settings = settings_of(WINDOW)
    protection = replace(
        settings.protection,
        warn_l1=90.0,
        warn_l1_exit=100.0,
        warn_l2=80.0,
        warn_l2_exit=95.0,
        hedge_at=70.0,
        armed_min=0.0,
        failure_backoff_s=5.0,
    )
    return replace(settings, protection=protection)


@cache
def endings(*, is_known: bool) -> tuple[object, ...]:
    """Run two trades through all that is done to them, and tell how each action ended."""

    async def main() -> tuple[object, ...]:
        settings = eager()
        if is_known:
            settings = replace(settings, intents=settings.intents.with_lag(PROVEN_S))
        on = stage(config_of(WINDOW), settings=settings)
        on.terminal.simulation.control({"do": "add", "fault": LAG})
        await on.engine.start()
        asked = {"do": "act", "act": "open", "symbol": WINDOW.symbol, "side": "SELL", "lots": 0.4, "sl": 12_000.0}
        tickets = [on.terminal.simulation.control(asked)["order"] for _ in range(2)]
        await on.play(1.0)
        for ticket in tickets:
            await on.engine.register(Registration(ticket=ticket))
        await on.play(MINUTES)
        facts = await on.store.facts(kinds=frozenset({FactKind.ACTION.value}), limit=1_000)
        await on.engine.stop()
        return tuple(fact.details.get("ending") for fact in facts)

    return run_virtual(main())


def test_without_its_delay_known_what_was_done_is_not_known_for_a_while() -> None:
    assert "unknown" in endings(is_known=False)


@pytest.mark.parametrize("ending", ["unknown", "failed"])
def test_with_its_delay_known_nothing_is_wondered_about(ending: str) -> None:
    found = endings(is_known=True)
    assert found.count("done") >= 4
    assert ending not in found
