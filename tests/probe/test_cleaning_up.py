"""Whatever happens, nothing of a probe stays open: a kill between any two requests, lost answers, others' positions."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.adapters_mt5.bench import BTCUSD, EURUSD, described
from tests.probe.bench import Cut, Site, at_site, probed

from dtms.adapters.store_sql.store import SqlStore
from dtms.decide.capabilities import Learned
from dtms.domain.errors import Misconfigured
from dtms.ports.store import KeptKind
from dtms.probe.findings import key_of

QUICK = ("none",)
"""An experiment that sends nothing: such a run only cleans up."""
SLOW = (pytest.mark.slow, pytest.mark.timeout(900))
UNMARKED = {"magic_kept": False, "comment_mode": "strip"}
CLOSE = 9
"""The request with which the first comment's position is to be closed: something is open."""
LOST = [
    {"kind": "lost_executed", "probability": 0.15, "seed": 1, "times": 0},
    {"kind": "lost_unexecuted", "probability": 0.1, "seed": 2, "times": 0},
    {"kind": "lost_late", "probability": 0.1, "seed": 3, "times": 0},
    {"kind": "requote", "probability": 0.1, "seed": 4, "times": 0},
    {"kind": "placed_late", "probability": 0.05, "seed": 5, "times": 0},
    {"kind": "placed_never", "probability": 0.05, "seed": 6, "times": 0},
]


async def sends_of(site: Site) -> int:
    await site.probe()
    assert site.link is not None
    return site.link.sends


def opened_by_hand(site: Site, symbol: str, comment: str = "", magic: int = 0) -> int:
    """Open a position as somebody else's program does."""
    site.terminal.initialize()
    tick = site.terminal.symbol_info_tick(symbol)
    assert tick is not None
    request = {
        "action": 1,
        "symbol": symbol,
        "volume": 0.01,
        "type": 0,
        "price": tick.ask,
        "deviation": 100,
        "type_filling": 1,
        "comment": comment,
        "magic": magic,
    }
    answer = site.terminal.order_send(request)
    assert answer is not None
    assert answer.retcode == 10009
    return int(answer.order)


@pytest.mark.parametrize(
    ("habits", "is_after", "step"),
    [
        pytest.param({}, True, 9, id="after a send"),
        pytest.param({}, False, 14, id="before a send"),
        pytest.param(UNMARKED, True, 9, id="after a send, no marks kept"),
        pytest.param(UNMARKED, False, 14, id="before a send, no marks kept"),
        pytest.param({}, True, 1, id="after each send", marks=SLOW),
        pytest.param({}, False, 1, id="before each send", marks=SLOW),
        pytest.param(UNMARKED, True, 1, id="after each send, no marks kept", marks=SLOW),
        pytest.param(UNMARKED, False, 1, id="before each send, no marks kept", marks=SLOW),
    ],
)
def test_a_probe_killed_at_any_request_is_cleaned_up_by_the_next(
    habits: dict[str, Any], is_after: bool, step: int, tmp_path: Path
) -> None:
    async def story(site: Site) -> int:
        open_ones = 0
        for at in range(1, await sends_of(site) + 1, step):
            try:
                await site.probe(cut_at=at, is_after=is_after)
            except Cut:
                pass
            else:  # at another time of day another spread needs fewer requests to find the nearest stop
                assert site.link is not None
                assert site.link.sends < at
            open_ones += bool(site.positions)
            report = await site.probe(only=QUICK)
            assert report.is_complete, (at, report.failures, report.left)
            assert not site.positions, f"cut at request {at}"
        return open_ones

    assert at_site(story, tmp_path, described(manners=habits)) >= 2, "no kill left anything open"


def test_answers_that_are_lost_leave_nothing_behind(tmp_path: Path) -> None:
    report, site = probed(tmp_path, described(faults=LOST))
    assert report.left == ()
    assert not site.positions
    assert not site.terminal.simulation.faults.waiting
    assert len(site.terminal.simulation.faults.fired) == len(LOST), "each kind of loss happened"
    assert report.value("magic.kept") is True, report.failures


def test_answers_that_are_lost_leave_nothing_behind_where_no_number_is_kept(tmp_path: Path) -> None:
    habits = {"magic_kept": False, "comment_mode": "refuse"}
    report, site = probed(tmp_path, described(faults=LOST, manners=habits))
    assert report.left == ()
    assert not site.positions


@pytest.mark.parametrize("magic", [0, 4711, (77 << 40) + 5])
def test_a_symbol_on_which_others_have_positions_is_not_touched(magic: int, tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ticket = opened_by_hand(site, EURUSD, magic=magic)
        with pytest.raises(Misconfigured, match=str(ticket)):
            await site.probe()
        assert site.link is not None
        assert site.link.sends == 0
        assert [one.ticket for one in site.positions] == [ticket]

    at_site(story, tmp_path)


def test_positions_of_others_on_other_symbols_stay_as_they_are(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        ticket = opened_by_hand(site, BTCUSD)
        before = site.positions
        report = await site.probe()
        assert report.is_complete, report.failures
        assert site.positions == before
        assert [one.ticket for one in site.positions] == [ticket]

    at_site(story, tmp_path)


def test_a_position_that_others_open_meanwhile_is_not_taken_for_the_probes_own(tmp_path: Path) -> None:
    """Not even where no numbers are kept: a person's position is no program's."""
    habits = {"magic_kept": False, "comment_mode": "strip"}
    acts = [{"at": "2017-10-03T09:00:20Z", "kind": "open", "name": "a", "symbol": EURUSD, "side": "BUY", "lots": 0.01}]

    async def story(site: Site) -> None:
        await site.probe()
        await site.clock.sleep_market(30)
        assert len(site.positions) == 1
        with pytest.raises(Misconfigured, match="others"):
            await site.probe()

    at_site(story, tmp_path, described(manners=habits, actors=acts))


def test_a_real_account_is_refused_without_the_flag_and_then_given_the_smallest_volume(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        with pytest.raises(Misconfigured, match="--real"):
            await site.probe()
        assert site.link is not None
        assert site.link.sends == 0
        report = await site.probe(real=True)
        assert report.is_complete, report.failures
        deals = [deal for deal in site.terminal.simulation.ledger.deals if deal.order]
        assert deals
        assert max(deal.units for deal in deals) <= 2 * 1_000_000, "twice the smallest, where a part is to be closed"

    at_site(story, tmp_path, described(account={"trade_mode": 2}))


def test_a_closed_market_ends_the_run_and_says_so(tmp_path: Path) -> None:
    report, site = probed(tmp_path, described(start="2017-10-07T12:00Z"))
    assert not report.is_complete
    assert "closed" in report.failures[0]
    assert not site.positions


def test_a_server_that_is_at_work_is_not_disturbed(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        store = SqlStore(site.url, site.clock, inline=True)
        await store.open()
        lease = await store.acquire("engine", "server:1:0", 3_600.0)
        assert lease is not None
        with pytest.raises(Misconfigured, match="another DTMS server"):
            await site.probe()
        await store.release(lease)
        report = await site.probe(only=QUICK)
        assert report.is_complete
        kept = await store.kept(KeptKind.PROBE, f"{key_of(report.server, report.login)}:probing")
        assert not kept, "a run that ended well leaves no note"
        await store.close()

    at_site(story, tmp_path)


def test_a_broker_that_stops_all_trading_leaves_a_report_of_what_is_open_and_the_next_run_closes_it(
    tmp_path: Path,
) -> None:
    async def story(site: Site) -> None:
        switches = site.terminal.simulation.switches

        def off() -> None:
            switches.account_trade_allowed = False

        report = await site.probe(at={CLOSE: off})
        assert not report.is_clean
        assert [one.ticket for one in site.positions] == list(report.left)
        assert report.left
        switches.account_trade_allowed = True
        assert (await site.probe(only=QUICK)).is_complete
        assert not site.positions

    at_site(story, tmp_path)


def test_a_cleaning_up_that_nobody_could_watch_is_never_called_clean(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        elsewhere = {"do": "add", "fault": {"kind": "wrong_account"}}
        report = await site.probe(at={CLOSE: lambda: site.terminal.simulation.control(elsewhere)})
        assert not report.is_clean
        assert site.positions
        site.terminal.simulation.control({"do": "clear"})
        assert (await site.probe(only=QUICK)).is_complete
        assert not site.positions

    at_site(story, tmp_path)


def test_a_gateway_that_is_started_anew_meanwhile_is_told_the_token_again(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        def restarted() -> None:
            assert site.gateway is not None
            site.gateway.instance += 1

        report = await site.probe(at={5: restarted, 20: restarted})
        assert report.is_complete, report.failures
        assert not site.positions

    at_site(story, tmp_path)


@pytest.mark.parametrize(("at", "ms_min", "ms_max"), [(1, 3_000, 5_000), (CLOSE - 1, 300, 800)])
def test_an_interruption_is_followed_by_cleaning_up(at: int, ms_min: int, ms_max: int, tmp_path: Path) -> None:
    """Even when it comes before the broker lists what was just opened."""

    async def story(site: Site) -> None:
        def interrupt() -> None:
            running.cancel()

        running = asyncio.ensure_future(site.probe(at={at: interrupt}))
        with pytest.raises(asyncio.CancelledError):
            await running
        assert site.link is not None
        closes = [note.request["position"] for note in site.terminal.simulation.ledger.requests[at:]]
        assert closes
        assert all(closes), "nothing was sent any more but closes"
        assert not site.positions

    slow = {"kind": "lag", "ms_min": ms_min, "ms_max": ms_max}
    at_site(story, tmp_path, described(faults=[slow]))


def test_what_an_account_prohibits_is_known_to_the_engine_from_then_on(tmp_path: Path) -> None:
    async def story(site: Site) -> Learned:
        await site.probe(only=("fillings", "opposite deals"))
        store = SqlStore(site.url, site.clock, inline=True)
        await store.open()
        kept = await store.kept(KeptKind.PROBE, "Simulated-Demo:5000001:learned")
        await store.close()
        return Learned.from_json(kept[-1].body)

    assert at_site(story, tmp_path, described(account={"hedge_allowed": False})) == Learned(no_hedging=True)
