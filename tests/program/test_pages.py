"""The pages in a real browser: trades stand in the document, and nothing is asked of anybody else."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.program.past import PLAYED, demo_day, play_past
from tests.program.running import Site

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
)
ADDRESS = re.compile(r'"url":"([^"]+)"')
CELL = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no browser is installed (chromium or chrome)")
    return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, browser: str) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("pages"), demo_day(), **PLAYED)
    try:
        play_past(site)
        site.start()
        yield site
    finally:
        site.close()


def load(browser: str, site: Site, path: str, folder: Path) -> tuple[str, set[str]]:
    """Load a page, let its scripts run, and return its document and every address that the page asked for.

    The browser asks its maker for things of its own; what a page asks for carries the page's origin as initiator.
    """
    net_log, origin = folder / "net.json", str(site.http.base_url).rstrip("/")
    flags = (*QUIET, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={net_log}", "--dump-dom")
    ended = subprocess.run([browser, *flags, f"{origin}{path}"], capture_output=True, text=True, timeout=60, check=True)
    lines = net_log.read_text(encoding="utf-8", errors="replace").splitlines()
    asked = {url for line in lines if f'"initiator":"{origin}"' in line for url in ADDRESS.findall(line)}
    return ended.stdout, {url.removeprefix(origin) for url in asked}


def rows_of(document: str, body: str) -> list[list[str]]:
    (inner,) = re.findall(rf'<tbody id="{body}">(.*?)</tbody>', document, re.DOTALL)
    return [[html.unescape(cell) for cell in CELL.findall(row)] for row in inner.split("</tr>") if "<td" in row]


def test_the_overview_shows_every_trade_and_what_was_done_and_asks_nobody_else(
    lived: Site, browser: str, tmp_path: Path
) -> None:
    document, asked = load(browser, lived, "/", tmp_path)
    trades = {str(t["ticket"]): t for t in lived.get("/dtms/trades", limit=500)["trades"]}
    shown = {row[0]: row for row in rows_of(document, "trades")}
    assert shown.keys() == trades.keys()
    for ticket, row in shown.items():
        trade = trades[ticket]
        assert row[1:4] == [trade["symbol"], trade["direction"], trade["state"]]
        assert row[4] == f"{trade['current_score']:.2f}"
        assert float(row[8]) == trade["trade_info"]["sl"]
    actions = lived.get("/dtms/actions", limit=20)["action_history"]
    assert [row[2] for row in rows_of(document, "actions")] == [a["summary"] for a in reversed(actions)]
    assert "ready · auto" in document
    assert "It watches" in document
    assert asked == {
        "/assets/overview.js",
        "/assets/style.css",
        "/dtms/status",
        "/dtms/trades?limit=500",
        "/dtms/actions?limit=20",
    }


def test_the_documentation_lists_every_operation_and_asks_nobody_else(
    lived: Site, browser: str, tmp_path: Path
) -> None:
    document, asked = load(browser, lived, "/docs", tmp_path)
    described = json.loads(lived.http.get("/openapi.json").text)
    for path, methods in described["paths"].items():
        assert f"<strong>{path}</strong>" in document
        assert all(f">{method.upper()}</span>" in document for method in methods)
    assert document.count("<form") == sum(len(methods) for methods in described["paths"].values())
    assert "``" not in document
    assert asked == {"/assets/docs.js", "/assets/style.css", "/openapi.json"}


def test_an_overview_without_trades_says_so(calm: Site, browser: str, tmp_path: Path) -> None:
    calm.done("/dtms/halt", {"reason": "<b>quiet</b>"})
    document, _ = load(browser, calm, "/", tmp_path)
    calm.done("/dtms/resume")
    assert "halted · auto" in document
    assert "&lt;b&gt;quiet&lt;/b&gt;" in document, "texts are shown as texts"
