"""The command as a process at a gateway process: it finds out, cleans up after a kill, keeps out of the way."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.program.running import EURUSD, Site, clean_environ, market, wait_until

from dtms.probe.requests import PREFIX

WAIT_S = 150
# Registers the command by itself, so that this does not depend on how the commands are listed.
RUN = "from dtms import cli; from dtms.commands.probe import probe; cli.app.command('probe')(probe); cli.main()"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    habits = {"comment_mode": "truncate_16", "omitted_level": "keeps"}
    made = Site(tmp_path, market("2017-10-03T09:00Z", rate=30, manners=habits))
    yield made
    made.close()


def sets(site: Site) -> list[str]:
    store = f"sqlite:///{(site.data / 'dtms_trades.db').as_posix()}"
    values = {"data_dir": site.data, "terminal.port": site.gateway_port, "store.url": store}
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def probing(site: Site, *more: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", RUN, "probe", EURUSD, "--json", *sets(site), *more]
    return subprocess.Popen(
        arguments,
        cwd=site.folder,
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def own_positions(site: Site) -> list[dict[str, Any]]:
    with site.trader() as trader:
        return [one for one in trader.positions() if one["magic"] >> 40 == PREFIX]


def ready(site: Site) -> None:
    def answers() -> bool:
        try:
            return own_positions(site) == []
        except (OSError, EOFError):
            return False

    wait_until(answers, "the gateway answers")


def test_a_probe_finds_out_and_one_that_is_killed_is_cleaned_up_by_the_next(site: Site) -> None:
    site.start_terminal()
    ready(site)
    with probing(site) as first:
        out, told = first.communicate(timeout=WAIT_S)
    assert first.returncode == 0, told
    report = json.loads(out)
    found = {one["name"]: one["value"] for one in report["findings"]}
    assert found["comment.chars_kept"] == 16
    assert found["omitted.target"] == "kept"
    assert found["clock.offset_min"] == 180
    assert report["build"] > 0
    assert own_positions(site) == []

    with probing(site) as second:
        wait_until(lambda: bool(own_positions(site)), "the probe has a position open", every_s=0.005)
        second.kill()
        second.communicate(timeout=10)
    with probing(site, "--only", "none") as third:
        _, told = third.communicate(timeout=WAIT_S)
    assert third.returncode == 0, told
    assert "was cut off: cleaning up" in told
    assert own_positions(site) == []


def test_a_probe_refuses_to_run_beside_a_server(site: Site) -> None:
    site.start()
    with probing(site) as probe:
        _, told = probe.communicate(timeout=WAIT_S)
    assert probe.returncode == 2
    assert "another DTMS server" in told
    with site.trader() as trader:
        assert trader.positions() == []


def test_what_cannot_be_mended_by_trying_is_one_line(site: Site) -> None:
    with probing(site, "--only", "nonsense") as probe:
        _, told = probe.communicate(timeout=WAIT_S)
    assert probe.returncode == 2
    assert "no experiment is called" in told
    with probing(site) as probe:
        _, told = probe.communicate(timeout=WAIT_S)
    assert probe.returncode == 1
    assert told.startswith("dtms: no gateway on")
    assert len(told.splitlines()) == 1
