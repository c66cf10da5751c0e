"""``dtms up``: all programs in order, restarted when they die, stopped whole."""

import time

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from tests.program.conftest import MakeSite
from tests.program.running import Program, Site, wait_until
from tests.program.test_demo import lives


def start_up(site: Site, *more: str) -> Program:
    values = {
        "terminal.port": site.gateway_port,
        "terminal.sim_config": site.folder / "terminal.json",
        "api.port": site.api_port,
        "main.port": site.main_port,
        "client.api_url": f"http://127.0.0.1:{site.api_port}",
        "data_dir": site.data,
        "store.url": f"sqlite:///{(site.data / 'dtms_trades.db').as_posix()}",
        "log.format": "json",
    }
    sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return site.run("up", "--mode", "auto", *sets, *more)


def named(program: Program, word: str) -> psutil.Process:
    """Return the child that runs a command."""
    (found,) = [p for p in program.family()[1:] if word in p.cmdline() and "dtms" in p.cmdline()]
    return found


@pytest.mark.parametrize("command", ["serve", "main"])
def test_what_dies_is_started_again_and_ctrl_c_stops_everything(make_site: MakeSite, command: str) -> None:
    site = make_site()
    up = start_up(site)
    wait_until(lambda: "dtms is up" in up.text, "all are ready", within_s=90)
    order = [up.text.index(word) for word in ("terminal gateway ready", '"service": "dtms"', '"service": "main"')]
    assert order == sorted(order), "the gateway first, then the server, then the main API"

    named(up, command).kill()
    wait_until(lambda: "it is started again" in up.text, "its death is told")
    wait_until(lambda: site.status_of("/dtms/health") == 200, "the server is ready", within_s=60)
    wait_until(lambda: is_trading(site), "the main API is ready", within_s=60)

    family = up.family()
    began = time.monotonic()
    assert up.interrupt(40) == 0, up.text
    assert time.monotonic() - began < 30
    assert not [process for process in family if lives(process)]
    assert up.lines[-1] == "stopped"


def is_trading(site: Site) -> bool:
    try:
        return site.main.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_a_program_that_cannot_work_as_configured_ends_them_all_with_its_words(make_site: MakeSite) -> None:
    site = make_site()
    up = start_up(site, "--set", f"main.port={site.api_port}")
    assert up.ended(120) == 2, up.text
    assert "main.port" in up.text
    assert "main ended with code 2" in up.text
