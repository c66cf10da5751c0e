"""The commands: quick help, clear errors, the effective configuration, and tables from a running server."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.world import make_world

from dtms.server.listen import bind
from dtms.server.run import http_server


def dtms(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dtms", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        cwd=folder,
        check=False,
    )


@pytest.fixture(scope="module")
def running_url() -> Iterator[str]:
    """Serve the double with one trade from a thread of its own."""
    world = make_world()
    asyncio.run(world.enable(42))
    bound = bind("127.0.0.1", 0)
    server = http_server(world.app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[bound])))
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def test_help_answers_at_once_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, dtms.cli; print([m for m in ('numpy', 'fastapi', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert loaded.stdout.strip() == "[]"
    started = time.perf_counter()
    shown = dtms("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in ("serve", "terminal", "demo", "status", "trades", "config", "bench"))
    assert time.perf_counter() - started < 3  # generous for a busy machine; 0.3 s on an idle one


def test_the_effective_configuration_shows_sources_and_masks_secrets(tmp_path: Path) -> None:
    shown = dtms("config", "--json", "--set", "mt5.password=hunter2", "--set", "api.port=9001", folder=tmp_path)
    values = json.loads(shown.stdout)
    assert values["api.port"] == {"value": 9001, "source": "command line"}
    assert values["mt5.password"]["value"] == "********"
    assert values["main.port"] == {"value": 8000, "source": "default"}
    table = dtms("config", "--set", "mt5.password=hunter2", folder=tmp_path)
    assert "cadence.fast_s" in table.stdout
    assert "hunter2" not in shown.stdout + table.stdout


def test_the_schema_is_printed() -> None:
    assert json.loads(dtms("config", "schema").stdout)["properties"]["api"]["properties"]["port"]["maximum"] == 65535


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--port", "99999"), "api.port = 99999"),
        (("serve", "--set", "api.prot=1"), "did you mean api.port"),
        (("serve", "--set", "nonsense"), "must be KEY=VALUE"),
        (("demo", "--config", "absent.json"), "no such configuration file"),
        (("status", "--mode", "x"), "No such option"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = dtms(*arguments, folder=tmp_path)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["status", "trades"])
def test_a_server_that_is_down_is_told_with_where_and_what_to_do(command: str) -> None:
    with bind("127.0.0.1", 0) as unused:
        port = unused.getsockname()[1]
    ended = dtms(command, "--url", f"http://127.0.0.1:{port}")
    assert ended.returncode == 1
    assert f"http://127.0.0.1:{port}" in ended.stderr
    assert "dtms serve" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_status_and_trades_are_shown_from_a_running_server(running_url: str) -> None:
    status = dtms("status", "--url", running_url)
    assert (status.returncode, status.stderr) == (0, "")
    assert "DTMS is ready in auto mode" in status.stdout
    trades = json.loads(dtms("trades", "--url", running_url, "--json").stdout)
    assert [t["ticket"] for t in trades] == [42]
    assert "EURUSD" in dtms("trades", "--url", running_url).stdout


def test_a_refusal_of_the_server_is_shown_in_its_words(running_url: str) -> None:
    ended = dtms("trades", "--url", running_url, "--state", "ASLEEP")
    assert ended.returncode == 1
    assert "must be any, or of HEALTHY" in ended.stderr


def test_exported_bars_become_a_recording(tmp_path: Path) -> None:
    export = tmp_path / "EURUSD_M5.csv"
    rows = [f"2025.01.06,{10 + i // 12:02d}:{i % 12 * 5:02d},1.03,1.04,1.02,1.035,{100 + i}" for i in range(24)]
    export.write_text("\n".join(rows), encoding="utf-8")
    ended = dtms("data", "import", str(export), "--symbol", "EURUSD", "--digits", "5", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "24 bars of 5 minutes" in ended.stdout
    assert (tmp_path / "EURUSD_M5.recording.csv.gz").stat().st_size > 0
    export.write_text("nonsense\n", encoding="utf-8")
    refused = dtms("data", "import", str(export), "--symbol", "EURUSD", "--digits", "5", folder=tmp_path)
    assert refused.returncode == 2
    assert "line 1" in refused.stderr
