"""Intelligent Exit beside a DTMS server's engine on one trade, on one file and one gateway: defence has it alone."""

from pathlib import Path

from tests.managing.site import Market, Site, never_loosened, settings_for_tests

from dtms.adapters.virtual_loop import run_virtual
from dtms.domain.actions import IntentState
from dtms.domain.facts import Fact, FactKind
from dtms.domain.market import Side
from dtms.domain.owners import Asker
from dtms.domain.trade import State
from dtms.execute.service import Registration

GOLD = Market(recording="XAUUSD_M5_20250701_20260318", start="2025-09-26T16:15Z")


def _defensive(transitions: list[Fact], until_ms: int) -> list[tuple[int, int]]:
    """Return the spans in which DTMS was defensive."""
    spans, since = [], None
    for fact in transitions:
        is_defensive = State(str(fact.details["to"])).is_defensive
        if is_defensive and since is None:
            since = fact.market_ms
        elif not is_defensive and since is not None:
            spans.append((since, fact.market_ms))
            since = None
    return [*spans, (since, until_ms)] if since is not None else spans


def test_while_dtms_defends_a_trade_nothing_of_intelligent_exit_reaches_the_terminal(tmp_path: Path) -> None:
    async def main() -> None:
        # Trailing in a loss too, so that it wants to act also while DTMS is defensive.
        trails = dict.fromkeys(("crypto", "gold", "fx", "other"), 2.2)
        eager = settings_for_tests(5_000, exits={"active_r": -10.0, "min_change_r": 0.0, "trailing_atr": trails})
        site = await Site.begin(GOLD, tmp_path, settings=eager)
        engine = await site.with_dtms()
        await site.play(30)
        ticket = site.open(Side.SHORT, 3795.95)
        await engine.register(Registration(ticket=ticket))
        await site.managers.enable_exits(ticket)
        await site.play(180)
        now = site.clock.market_ms()
        transitions = await site.facts(ticket, FactKind.TRANSITION)
        spans = _defensive(transitions, now)
        assert spans, "DTMS defended it"
        intents = await site.store.intents(ticket=ticket)
        exits = [i for i in intents if i.asker is Asker.EXITS]
        assert not [i for i in exits if any(begun <= i.created_ms < ended for begun, ended in spans)]
        assert never_loosened(site.stops(ticket), Side.SHORT)
        assert not [i for i in intents if i.state.is_open or i.state is IntentState.NEEDS_HUMAN]
        refused = await site.facts(ticket, FactKind.REFUSAL)
        assert "dtms_defensive" in {f.details["rule"] for f in refused}, "it wanted to, and was told why not"
        assert any(i.state is IntentState.CONFIRMED for i in exits), "it acts when it may"
        outside = [f for f in await site.facts(ticket, FactKind.CHANGED_OUTSIDE) if f.details.get("by") == "outside"]
        assert not outside, "each knows the other's changes"
        await site.end()

    run_virtual(main())
