"""What was proven of a broker is used: in requests, symbols, searches and waiting; and it is proven anew in time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.bench import EURUSD, Desk, LocalBench, changed, closed, described
from tests.probe.bench import Site, at_site, probed

from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.store_sql.store import SqlStore
from dtms.domain.broker_ways import DUE_AFTER_MS, UNPROVEN, BrokerWays, Proven, SymbolWays, is_due, why_due
from dtms.domain.market import Filling
from dtms.ports.broker import Answer
from dtms.probe.findings import Report, recall, ways_of
from dtms.settings import IntentSettings

DAY_MS = 86_400_000
REFUSING = described(manners={"comment_mode": "refuse"})


def knowing(ways: BrokerWays) -> Mapping[str, Any]:
    """Make the options of a broker of which these ways are known."""

    async def known(server: str, login: int) -> Proven:
        assert (server, login) == ("Simulated-Demo", 5_000_001)
        return Proven(ways=ways, build=5370, at_ms=0)

    return {"recall": known}


def requests_seen(bench: LocalBench) -> list[Any]:
    assert bench.terminal is not None
    return bench.terminal.simulation.ledger.requests


async def opened_and_closed(desk: Desk) -> None:
    position = await desk.open()
    assert (await desk.send(closed(position))).answer is Answer.OK


def test_comments_that_are_known_to_be_refused_are_not_sent() -> None:
    ways = BrokerWays(comment_on_open=False, comment_on_close=False, comment_chars=0)
    bench = LocalBench(description=described(), broker_options=knowing(ways))
    bench(opened_and_closed)
    assert [note.request["comment"] for note in requests_seen(bench)] == ["", ""]


def test_comments_are_left_out_on_closes_alone_where_only_those_refuse_them() -> None:
    bench = LocalBench(description=described(), broker_options=knowing(BrokerWays(comment_on_close=False)))
    bench(opened_and_closed)
    on_open, on_close = (note.request["comment"] for note in requests_seen(bench))
    assert on_open.startswith("DH")
    assert on_close == ""


def test_without_proof_comments_are_sent() -> None:
    bench = LocalBench(description=described())
    bench(opened_and_closed)
    assert all(note.request["comment"] for note in requests_seen(bench))


@pytest.mark.parametrize(("chars", "is_found"), [(31, True), (16, True), (13, True), (12, False), (0, False)])
def test_a_mark_is_searched_for_only_where_comments_come_back_long_enough(chars: int, *, is_found: bool) -> None:
    """The number is lost with this broker, so that only the mark can tell."""
    ways = BrokerWays(comment_chars=chars)
    bench = LocalBench(description=described(manners={"magic_kept": False}), broker_options=knowing(ways))

    async def story(desk: Desk) -> bool:
        await desk.send(await desk.opening())
        positions, _, _ = await desk.broker.find_by_magic(desk.broker.magic_of(desk.number), desk.clock.market_ms())
        return bool(positions)

    assert bench(story) is is_found


def test_stops_keep_the_distance_that_was_proven_where_none_is_declared() -> None:
    ways = BrokerWays(symbols={EURUSD: SymbolWays(stops_points_min=37)})

    async def story(desk: Desk) -> int:
        return (await desk.instrument()).stops_level_points

    silent = changed(described(), stops_level_points=0)
    assert LocalBench(description=silent, broker_options=knowing(ways))(story) == 37
    declared = changed(described(), stops_level_points=50)
    assert LocalBench(description=declared, broker_options=knowing(ways))(story) == 50
    assert LocalBench(description=silent)(story) == 0


def test_a_filling_that_was_proven_is_asked_for_first() -> None:
    ways = BrokerWays(symbols={EURUSD: SymbolWays(fillings=(Filling.IOC,))})
    bench = LocalBench(description=described(), broker_options=knowing(ways))
    bench(opened_and_closed)
    assert [note.request["type_filling"] for note in requests_seen(bench)] == [1, 1]
    plain = LocalBench(description=described())
    plain(opened_and_closed)
    assert requests_seen(plain)[0].request["type_filling"] == 0


def test_a_filling_that_is_refused_after_it_was_proven_is_followed_by_the_declared_ones() -> None:
    ways = BrokerWays(symbols={EURUSD: SymbolWays(fillings=(Filling.FOK,))})
    bench = LocalBench(description=changed(described(), filling_mask=2), broker_options=knowing(ways))
    bench(opened_and_closed)
    assert [note.retcode for note in requests_seen(bench)] == [10030, 10009] * 2, (
        "learned once for openings, once for closes"
    )


def test_what_a_probe_found_is_what_a_broker_then_goes_by(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        report = await site.probe()
        store = SqlStore(site.url, site.clock, inline=True)
        await store.open()
        assert site.link is not None
        broker = Mt5Broker(site.link, site.clock, magic_prefix=77, recall=lambda s, n: recall(store, s, n))
        assert broker.ways == UNPROVEN
        await broker.connect()
        assert broker.ways == ways_of(report)
        assert not broker.ways.comment_on_open
        assert broker.proven is not None
        assert broker.proven.build == broker.build == report.build
        assert not is_due(broker.proven, site.clock.wall_ms(), broker.build)
        await store.close()
        other = Mt5Broker(site.link, site.clock, magic_prefix=77, recall=lambda s, n: recall(store, s, n))
        await other.connect()
        assert other.ways == UNPROVEN, "a store that cannot be read proves nothing, and stops nothing"

    at_site(story, tmp_path, REFUSING)


def test_another_symbol_adds_to_what_is_known_and_takes_nothing_away(tmp_path: Path) -> None:
    async def story(site: Site) -> BrokerWays:
        await site.probe()
        await site.probe(symbol="BTCUSDc", only=("fillings",))
        store = SqlStore(site.url, site.clock, inline=True)
        await store.open()
        proven = await recall(store, "Simulated-Demo", 5_000_001)
        await store.close()
        assert proven is not None
        return proven.ways

    ways = at_site(story, tmp_path, REFUSING)
    assert set(ways.symbols) == {EURUSD, "BTCUSDc"}
    assert not ways.comment_on_open


def test_ways_survive_being_kept() -> None:
    ways = BrokerWays(
        comment_on_open=False,
        comment_on_close=False,
        comment_chars=16,
        magic_kept=False,
        lag_ms=790,
        symbols={EURUSD: SymbolWays(stops_points_min=37, fillings=(Filling.IOC, Filling.RETURN))},
    )
    assert BrokerWays.from_json(ways.as_json()) == ways
    assert BrokerWays.from_json({}) == UNPROVEN
    assert BrokerWays.from_json({"comment_chars": -1, "lag_ms": True, "symbols": [1]}) == UNPROVEN


@pytest.mark.parametrize(
    ("proven_build", "age_ms", "build", "told"),
    [
        (5370, 0, 5370, None),
        (5370, DUE_AFTER_MS - 1, 5370, None),
        (5370, DUE_AFTER_MS, 5370, "7 days ago"),
        (5370, 0, 5400, "build 5370, the terminal has 5400"),
        (5370, 0, 0, None),
    ],
)
def test_a_probe_is_due_weekly_and_on_a_new_build(proven_build: int, age_ms: int, build: int, told: str | None) -> None:
    proven = Proven(ways=UNPROVEN, build=proven_build, at_ms=100 * DAY_MS)
    said = why_due(proven, 100 * DAY_MS + age_ms, build)
    assert (said is None) if told is None else (said is not None and told in said)
    assert is_due(proven, 100 * DAY_MS + age_ms, build) is (told is not None)


def test_a_broker_that_was_never_probed_is_due() -> None:
    assert "never" in (why_due(None, 0, 5370) or "")


@pytest.mark.parametrize(("lag_s", "waits_s", "settle_s"), [(0.0, 0.9, 20.0), (0.8, 1.2, 20.0), (6.0, 9.0, 30.0)])
def test_a_broker_that_lists_late_is_waited_for_and_never_less_than_usual(
    lag_s: float, waits_s: float, settle_s: float
) -> None:
    patient = IntentSettings().with_lag(lag_s)
    assert patient.read_back_wait_s * (patient.read_back_tries - 1) == pytest.approx(waits_s)
    assert patient.settle_s == settle_s


def test_a_report_that_found_nothing_leaves_everything_as_it_was_known() -> None:
    before = BrokerWays(comment_on_open=False, lag_ms=300, symbols={EURUSD: SymbolWays(stops_points_min=9)})
    empty = Report(server="s", login=1, symbol=EURUSD, build=1, at_ms=0, findings=())
    assert ways_of(empty, before) == before


def test_an_ordinary_broker_is_treated_as_an_unproven_one(tmp_path: Path) -> None:
    report, _ = probed(tmp_path)
    ways = ways_of(report)
    assert ways == BrokerWays(symbols={EURUSD: SymbolWays(fillings=(Filling.FOK, Filling.IOC))})
