"""The demo: what a newcomer sees within minutes, that it stops whole, and that it goes on."""

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from tests.program.past import ledger_of
from tests.program.running import Program, Site, market, wait_until
from tests.replay.judge import DONE

from dtms.adapters.clocks import TerminalClock
from dtms.adapters.links import Answer
from dtms.bootstrap.ground import read_simulated_clock
from dtms.domain.errors import Misconfigured
from dtms.survey import ACTIONS, STATES

DEMO_MINUTES = 2.7
OWN_PREFIX = 6001


def start_demo(site: Site, *more: str) -> Program:
    places = ("--set", f"terminal.port={site.gateway_port}", "--port", str(site.api_port))
    return site.run("demo", *places, "--set", f"data_dir={site.data}", *more)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, market("2017-10-02T07:00Z"))


def test_the_demo_protects_trades_stops_whole_and_goes_on_where_it_was(site: Site) -> None:
    try:
        first = start_demo(site, "--rate", "1500")
        wait_until(lambda: "is now protected" in first.text, "a trade is protected")
        wait_until(lambda: bool(re.search(r"→ (WARNING|HEDGED)", first.text)), "a state changes")
        wait_until(lambda: site.get("/dtms/actions")["total_actions"] > 0, "something is done")
        family = first.family()
        assert len(family) >= 4, "the demo, the gateway with its child, the server"
        started = time.monotonic()
        assert first.interrupt(20) == 0, first.text
        assert time.monotonic() - started < 15
        assert not [process for process in family if lives(process)], "no process is left"
        assert first.lines[-1] == "stopped; everything is kept for the next start"
        assert "Traceback" not in first.text

        demo = site.data / "demo"
        at_ms = last_moment(demo / "terminal.jsonl")
        second = start_demo(site, "--rate", "60", "--minutes", "0.05")
        wait_until(lambda: "dtms is protecting" in second.text, "ready again")
        ledger = ledger_of(demo / "terminal.jsonl")
        held = {p.ticket for p in ledger.positions.values() if p.magic == 0}
        watched = {t["ticket"] for t in site.get("/dtms/trades", limit=500)["trades"]}
        assert held <= watched
        assert second.ended(40) == 0, second.text
        assert at_ms < last_moment(demo / "terminal.jsonl") < at_ms + 3_600_000, "the market went on from there"
        assert "is now protected" not in second.text.split("dtms is protecting")[0]
    finally:
        site.close()


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits for its parent to take note does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def last_moment(journal: Path) -> int:
    last = journal.read_text(encoding="utf-8").splitlines()[-1]
    found = re.search(r'"at_ms":(\d+)', last)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("which", ["api.port", "terminal.port"])
def test_a_demo_never_takes_programs_that_run_already_for_its_own(site: Site, calm: Site, which: str) -> None:
    taken = {"api.port": calm.api_port, "terminal.port": calm.gateway_port}[which]
    before = calm.dump()
    try:
        demo = start_demo(site, "--set", f"{which}={taken}", *(("--port", str(taken)) if which == "api.port" else ()))
        assert demo.ended(20) == 2
        (line,) = demo.lines
        assert f"{which} = {taken}: cannot listen on" in line
    finally:
        site.close()
    assert calm.status_of("/dtms/health") == 200
    assert calm.dump() == before


def test_a_server_for_the_simulation_refuses_a_gateway_that_holds_a_real_terminal() -> None:
    clock = TerminalClock(RealTerminal())
    with pytest.raises(Misconfigured, match="the gateway holds a real terminal"):
        asyncio.run(read_simulated_clock(clock))


class RealTerminal:
    """What a gateway to the vendor's terminal answers when it is asked for its clock."""

    async def call(self, request: Mapping[str, Any]) -> Answer:
        return {"value": {"simulated": False, "utc_ms": 1_700_000_000_000, "rate": 1.0}}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demos_minutes_show_every_state_and_every_action_on_two_instruments(site: Site) -> None:
    try:
        demo = start_demo(site, "--minutes", str(DEMO_MINUTES))
        assert demo.ended(DEMO_MINUTES * 60 + 60) == 0, demo.text[-2000:]
        site.data = site.data / "demo"
        ledger = ledger_of(site.data / "terminal.jsonl")
        done = {n.request.get("magic") for n in ledger.requests if n.retcode in DONE}
        rows = site.rows("SELECT number, json_extract(body, '$.action.kind') FROM intents WHERE state = 'CONFIRMED'")
        kinds = {kind for number, kind in rows if OWN_PREFIX << 40 | number in done}
        assert kinds == {action.value for action in ACTIONS}
        entered = {
            to for (to,) in site.rows("SELECT json_extract(details, '$.to') FROM facts WHERE kind = 'transition'")
        }
        assert entered == {state.value for state in STATES}
        acted = {symbol for (symbol,) in site.rows("SELECT DISTINCT symbol FROM facts WHERE kind = 'action'")}
        assert acted == {"EURUSD.m", "BTCUSD.m"}
    finally:
        site.close()
