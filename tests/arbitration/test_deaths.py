"""A holder that dies, sleeps or is stopped around its send to the broker: judged by the terminal's ledger."""

import os
import signal
import sys
import threading
import time
from typing import Any

import httpx
import pytest
from tests.arbitration.conftest import MakeSite
from tests.program.kill_points import SWITCH
from tests.program.past import ledger_of
from tests.program.running import BTCUSD, Program, Site, wait_until

LEASE_S = 15.0
SETTLED_S = 60.0


def armed(point: str, how: str = "kill") -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(SWITCH), os.environ.get("PYTHONPATH"))))
    return {"KILL_AT": point, "KILL_WITH": how, "PYTHONPATH": path}


class Ask:
    """A client's request that goes on in the background, because nobody may ever answer it."""

    def __init__(self, site: Site, path: str, body: dict[str, Any]) -> None:
        self.answer: httpx.Response | None = None
        self.is_over = threading.Event()
        url = f"{site.main.base_url}{path}"

        def ask() -> None:
            try:
                self.answer = httpx.post(url, json=body, timeout=90.0, trust_env=False)
            except httpx.TransportError:
                self.answer = None
            self.is_over.set()

        threading.Thread(target=ask, daemon=True).start()


def begun(make_site: MakeSite, point: str, how: str = "kill") -> tuple[Site, Program, int, float]:
    """Start all three programs, the main one armed, with a position that DTMS protects."""
    site = make_site()
    site.start()
    main = site.start_main(armed(point, how))
    site.wait_main(main)
    with site.trader() as trader:
        ticket = trader.open(BTCUSD, "BUY", 0.1, away=0.2)
        (position,) = [p for p in trader.positions() if p["ticket"] == ticket]
    wait_until(lambda: site.status_of(f"/dtms/trade/{ticket}") == 200, "DTMS has it", within_s=20)
    return site, main, ticket, float(position["sl"])


def stops(site: Site, ticket: int) -> list[float]:
    """Every stop that the position ever had, by the ledger."""
    return [level.sl_points / 100 for level in ledger_of(site.journal).levels if level.position == ticket]


def intents(site: Site, ticket: int) -> list[str]:
    return [str(row[0]) for row in site.rows("SELECT state FROM intents WHERE ticket = ? ORDER BY number", ticket)]


def change_by_dtms(site: Site, ticket: int) -> float:
    """Let DTMS change something of the trade that it may change under its lease alone; return how long it took."""
    at = time.monotonic()
    site.done("/dtms/mode", {"ticket": ticket, "mode": "observe"})
    return time.monotonic() - at


def moved(stop: float) -> float:
    return round(stop + 50, 2)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_holder_that_is_killed_around_its_send_leaves_nothing_behind(make_site: MakeSite, when: str) -> None:
    site, main, ticket, stop = begun(make_site, f"sent:1:{when}")
    asked = Ask(site, "/mt5/modify_position", {"ticket": ticket, "stop_loss": moved(stop), "override": True})
    wait_until(lambda: main.process.poll() is not None, "it was killed", within_s=20)
    asked.is_over.wait(5)
    assert asked.answer is None
    assert intents(site, ticket) == ["SENDING"]
    assert change_by_dtms(site, ticket) < 2, "the lease of a process that is gone is worth nothing, at once"

    main = site.start_main()
    site.wait_main(main)
    wait_until(lambda: intents(site, ticket) != ["SENDING"], "its fate is known", within_s=SETTLED_S)
    wait_until(lambda: intents(site, ticket)[0] not in ("SENDING", "UNKNOWN"), "its fate is known", within_s=SETTLED_S)
    expected = {"before": ("NOT_EXECUTED", [stop]), "after": ("CONFIRMED", [stop, moved(stop)])}[when]
    assert (intents(site, ticket)[0], stops(site, ticket)) == expected

    again = site.main.post(
        "/mt5/modify_position", json={"ticket": ticket, "stop_loss": moved(moved(stop)), "override": True}
    )
    assert again.status_code == 200, again.text
    assert stops(site, ticket) == [*expected[1], moved(moved(stop))]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing can be suspended by a signal there")
def test_a_holder_that_sleeps_through_its_expiry_cannot_act_when_it_wakes(make_site: MakeSite) -> None:
    site, main, ticket, stop = begun(make_site, "sent:1:before", "stop")
    asked = Ask(site, "/mt5/modify_position", {"ticket": ticket, "stop_loss": moved(stop), "override": True})
    wait_until(lambda: intents(site, ticket) == ["SENDING"], "its intent is committed", within_s=20)
    time.sleep(1.0)
    in_vain = site.post("/dtms/mode", {"ticket": ticket, "mode": "observe"})
    assert in_vain.status_code in (409, 503), "until the lease runs out it is the sleeper's"
    time.sleep(LEASE_S)
    assert change_by_dtms(site, ticket) < 3

    os.kill(main.process.pid, signal.SIGCONT)
    assert asked.is_over.wait(40), "it answers when it wakes"
    assert asked.answer is None or asked.answer.status_code >= 400 or not asked.answer.json()["ok"]
    time.sleep(2.0)
    assert stops(site, ticket) == [stop], "what it had committed was not sent under the old token"
    site.wait_main(main)
    again = site.main.post("/mt5/modify_position", json={"ticket": ticket, "stop_loss": moved(stop), "override": True})
    assert again.status_code == 200, again.text
    assert stops(site, ticket) == [stop, moved(stop)]


def test_a_program_that_is_stopped_gives_everything_back_and_the_other_goes_on(make_site: MakeSite) -> None:
    site, main, ticket, _ = begun(make_site, "sent:999:before")
    at = time.monotonic()
    assert main.interrupt() == 0, main.text
    assert time.monotonic() - at < 10
    assert {row[0] for row in site.rows("SELECT holder FROM leases WHERE key = 'main'")} == {""}
    assert change_by_dtms(site, ticket) < 2
    assert site.status_of("/dtms/health") == 200
