"""The sources as the engine uses them: a calendar that changes while it runs, the broker's VIX, flow of an exchange."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.execute.unsteady import letter_of
from tests.replay.windows import BTC, SHIPPED, SHORT, Window, config_of, registered, settings_of

from dtms.adapters.calendar import parse_calendar
from dtms.adapters.flow_exchange import ExchangePoller, FlowRules, MarketFlow
from dtms.adapters.flow_sums import ExchangeTrade
from dtms.adapters.sources import OutsideSources
from dtms.adapters.sources_documents import Document, Fetched
from dtms.adapters.virtual_loop import run_virtual
from dtms.adapters.vix import VixQuote
from dtms.domain.facts import Fact
from dtms.domain.market import Side
from dtms.domain.trade import Mode
from dtms.execute.engine import Engine, EngineOptions
from dtms.market.reading import Layer
from dtms.ports.sources import Sources
from dtms.replay import Stage, stage
from dtms.terminal.simulated.config import SimConfig

HEDGED = next(w for w in SHIPPED if w.recording == BTC and w.rules[-1] == "given_up_hedged" and w.side is SHORT)


def with_sources(on: Stage, window: Window, sources: Sources) -> Stage:
    """Build the same stage around other sources."""
    options = EngineOptions(holder="replay:1:0", mode=Mode.AUTO, sources=sources)
    engine = Engine(broker=on.broker, store=on.store, clock=on.clock, settings=settings_of(window), options=options)
    return replace(on, engine=engine)


def release_at(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
    return json.dumps([{"time_utc": moment, "currency": "USD", "impact": "high", "event": "Rate Decision"}])


def part_of(on: Stage, name: str) -> dict[str, Any]:
    told: Any = on.engine.status().parts["sources"]
    return next(dict(source) for source in told if source["name"] == name)


# --- the calendar ---


def test_a_release_written_into_the_calendar_while_it_runs_refuses_the_hedge(tmp_path: Path) -> None:
    """The file holds an old release at the start, one in 30 minutes later on: its row is in force within seconds."""
    path = tmp_path / "news.json"

    async def main() -> tuple[list[Fact], str]:
        on = stage(config_of(HEDGED))
        path.write_text(release_at(on.clock.market_ms() - 8 * 86_400_000))
        fetched = Fetched(folder=tmp_path / "kept", refresh_s=86_400, timeout_s=5)
        calendar = Document(what="calendar", location=str(path), parse=parse_calendar, fetched=fetched, clock=on.clock)
        on = with_sources(on, HEDGED, OutsideSources(clock=on.clock, calendar=calendar))
        await on.engine.start()
        await on.play(0.2)
        assert any("calendar is too old, the news rail is inactive" in w for w in on.engine.status().warnings)
        assert part_of(on, "economic calendar")["state"] == "stale"
        path.write_text(release_at(on.clock.market_ms() + 65 * 60_000))
        await registered(on)
        assert part_of(on, "economic calendar")["state"] == "ok"
        await on.play(60)
        facts = await on.store.facts(limit=10_000)
        sent = "".join(letter_of(dict(n.request)) for n in on.terminal.simulation.ledger.requests)
        await on.engine.stop()
        return list(facts), sent

    facts, sent = run_virtual(main())
    refused = [f for f in facts if f.details.get("rail") == "news"]
    assert refused
    assert "Rate Decision (USD)" in str(refused[0].details["reason"])
    assert "H" not in sent


# --- VIX ---


def with_vix(window: Window) -> SimConfig:
    """Let the broker quote a symbol VIX as well, whose market is that of another recording."""
    config = config_of(window)
    (only,) = config.symbols
    return replace(config, symbols=(only, replace(only, spec=replace(only.spec, name="VIX.f"), selected=False)))


def test_the_brokers_own_symbol_is_read_with_its_age_and_without_a_trade() -> None:
    async def main() -> None:
        on = stage(with_vix(HEDGED))
        sources = OutsideSources(clock=on.clock, vix_quote=VixQuote("VIX.f"))
        on = with_sources(on, HEDGED, sources)
        assert sources.vix(on.clock.market_ms()) is None
        await on.engine.start()
        await on.play(2)
        vix, tick = sources.vix(on.clock.market_ms()), on.terminal.symbol_info_tick("VIX.f")
        assert vix is not None
        assert tick is not None
        assert vix.value == pytest.approx((tick.bid + tick.ask) / 2, rel=0.01)
        assert 0 <= vix.age_days(on.clock.market_ms()) < 0.001
        assert part_of(on, "VIX")["state"] == "ok"
        assert not any("VIX" in warning for warning in on.engine.status().warnings)
        await on.engine.stop()

    run_virtual(main())


def test_a_symbol_that_the_broker_has_not_is_said() -> None:
    async def main() -> None:
        on = stage(config_of(HEDGED))
        on = with_sources(on, HEDGED, OutsideSources(clock=on.clock, vix_quote=VixQuote("VIX.f")))
        await on.engine.start()
        await on.play(0.5)
        warnings = on.engine.status().warnings
        assert any("no VIX: no VIX adjustment (the broker has no quote of VIX.f)" in w for w in warnings)
        await on.engine.stop()

    run_virtual(main())


# --- order flow ---


def exchange_of(on: Stage, signed: float) -> tuple[MarketFlow, OutsideSources]:
    """Make an exchange whose trades of three hours are known: two a minute, of which ``signed`` lean one way."""
    rules = FlowRules(stale_ms=400_000, span_ms=7_200_000, backfill_ms=10_800_000)
    flow = MarketFlow(symbol="BTCUSD", exchange="binance", market="BTC/USDT", rules=rules)
    now_ms = on.clock.market_ms()
    asked_ms = flow.next_question(now_ms)
    lean = [signed if (n // 10) % 3 else -signed for n in range(360)]
    trades = [ExchangeTrade(time_ms=asked_ms + n * 30_000, ident=str(n), signed=s) for n, s in enumerate(lean)]
    flow.take(trades, asked_ms=asked_ms, begun_ms=now_ms)
    flow.take([], asked_ms=asked_ms, begun_ms=now_ms)
    poller = ExchangePoller(
        exchange="binance", client=_Silent(), flows=(flow,), poll_s=1.0, now_ms=on.clock.market_ms, failures=(OSError,)
    )
    return flow, OutsideSources(clock=on.clock, pollers=(poller,))


class _Silent:
    """An exchange that is away."""

    last_http_response: str | None = None

    def fetch_trades(self, *_: Any) -> list[dict[str, Any]]:
        raise OSError("nobody there")


def readings(on: Stage) -> dict[Layer, str]:
    (symbol,) = on.engine.book.active_symbols()
    assert symbol.view is not None
    return {r.layer: r.reason for r in symbol.view.score(Side.LONG).readings}


def test_flow_of_an_exchange_goes_before_the_terminals_ticks_until_it_is_stale() -> None:
    """Configured as BTCUSD, it serves the broker's BTCUSD.m; without news for some minutes the ticks are used again."""

    async def main() -> None:
        on = stage(config_of(HEDGED))
        flow, sources = exchange_of(on, 2.0)
        on = with_sources(on, HEDGED, sources)
        now_ms = on.clock.market_ms()
        assert sources.flow("BTCUSD.m", now_ms) is not None
        assert sources.flow("EURUSD.m", now_ms) is None
        await on.engine.start()
        await registered(on)
        at_ms, newest = on.clock.market_ms(), ExchangeTrade(time_ms=0, ident="x", signed=50.0)
        page = [replace(newest, time_ms=at_ms - 1)]
        flow.take([], asked_ms=flow.next_question(at_ms), begun_ms=at_ms - 2)
        flow.take(page, asked_ms=at_ms - 2, begun_ms=at_ms)
        await on.play(6)
        told = readings(on)
        assert "net signed flow of binance BTC/USDT" in told[Layer.FLOW]
        assert "order flow of binance BTC/USDT" in told[Layer.VWAP]
        assert part_of(on, "order flow of BTCUSD")["state"] == "ok"
        await on.play(6)
        told = readings(on)
        assert "binance" not in told[Layer.FLOW]
        assert "binance" not in told[Layer.VWAP]
        warnings = on.engine.status().warnings
        assert any("the terminal's ticks are used (binance BTC/USDT: nothing newer for" in w for w in warnings)
        await on.engine.stop()

    run_virtual(main())
