"""The commands against the programs that they talk to."""

import json
import subprocess
import sys
from pathlib import Path

from tests.program.conftest import MakeSite
from tests.program.running import EURUSD, Site, clean_environ, market, wait_until


def dtms(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dtms", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        cwd=folder,
        env=clean_environ(),
        check=False,
    )


def test_status_and_trades_show_the_running_server_in_words_and_as_json(calm: Site) -> None:
    with calm.trader() as trader:
        ticket = trader.open(EURUSD, "SELL", 0.2)
    calm.done("/dtms/trade/enable", {"ticket": ticket})
    url = ("--url", str(calm.http.base_url))
    status = dtms("status", *url, folder=calm.folder)
    assert (status.returncode, status.stderr) == (0, "")
    assert "DTMS is ready in auto mode" in status.stdout
    system = json.loads(dtms("status", "--json", *url, folder=calm.folder).stdout)["dtms_status"]
    assert system["active_trades"] == len(calm.get("/dtms/trades", limit=500)["trades"])
    trades = dtms("trades", *url, folder=calm.folder)
    (line,) = [line for line in trades.stdout.splitlines() if line.split()[:1] == [str(ticket)]]
    assert line.split()[1:4] == [EURUSD, "SELL", "HEALTHY"]
    listed = {t["ticket"]: t for t in json.loads(dtms("trades", "--json", *url, folder=calm.folder).stdout)}
    assert listed[ticket]["trade_info"]["sl"] == calm.trade(ticket)["trade_info"]["sl"]


def test_a_server_that_is_not_ready_or_not_there_is_told_with_what_to_do(make_site: MakeSite) -> None:
    site = make_site()
    url = ("--url", str(site.http.base_url))
    down = dtms("status", *url, folder=site.folder)
    assert down.returncode == 1
    assert "Start it with: dtms serve" in down.stderr
    site.start_server()
    wait_until(lambda: site.status_of("/health") != 0, "the port answers")
    starting = dtms("trades", *url, folder=site.folder)
    assert starting.returncode == 1
    assert "answered 503" in starting.stderr
    assert "Traceback" not in down.stderr + starting.stderr


def test_imported_bars_become_a_market_in_which_positions_are_protected(make_site: MakeSite) -> None:
    site = make_site()
    export = site.folder / "GBPUSD_M5.csv"
    lines = ["<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"]
    for number in range(12 * 24 * 4):  # from Monday 8 January 2024 on, 24 hours of 4 days, falling a little
        day, minute = divmod(number * 5, 1440)
        price = 1.3 - number * 0.00001
        prices = f"{price:.5f}\t{price + 0.0004:.5f}\t{price - 0.0004:.5f}\t{price - 0.00001:.5f}"
        lines.append(
            f"2024.01.{8 + day:02d}\t{minute // 60:02d}:{minute % 60:02d}:00\t{prices}\t{100 + number % 7}\t0\t9"
        )
    export.write_text("\n".join(lines), encoding="utf-8")
    imported = dtms("data", "import", str(export), "--symbol", "GBPUSD", "--digits", "5", folder=site.folder)
    assert imported.returncode == 0, imported.stderr
    recording = site.folder / "GBPUSD_M5.recording.csv.gz"
    assert str(recording) in imported.stdout.replace("\n", "")
    symbol = {"name": "GBPUSD", "like": "GBPUSD", "recording": str(recording)}
    site.describe(market("2024-01-11T09:00Z") | {"symbols": [symbol]})
    site.start()
    with site.trader() as trader:
        quote = trader.quote("GBPUSD")
        assert 1.28 < quote["bid"] < quote["ask"] < 1.3
        ticket = int(trader.send(action=1, symbol="GBPUSD", volume=0.1, type=0, price=quote["ask"], sl=1.27)["order"])
    assert site.done("/dtms/trade/enable", {"ticket": ticket})["trade_info"]["symbol"] == "GBPUSD"
    wait_until(lambda: site.trade(ticket)["current_score"] is not None, f"a score {site.trade(ticket)}", 15)
