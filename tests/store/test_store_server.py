"""A real server whose disk fails: nothing is acknowledged before its store was reopened and verified (invariant 26)."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.program.conftest import MONDAY
from tests.program.running import EURUSD, Site, market, wait_until

from dtms.adapters.store_sql.verify import verify_file

ENABLE = "/dtms/trade/enable"
READS = ("/dtms/trades", "/dtms/status")


@pytest.fixture
def failing(shim: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "site", market(MONDAY), mode="observe")
    site.server_environ = {"LD_PRELOAD": str(shim), "DISK_FAULT": str(tmp_path / "fault")}
    try:
        yield site
    finally:
        site.close()


def _acknowledged(site: Site, answer: httpx.Response) -> bool:
    """Whether somebody was told that what the store has is so; what is marked stale is told as memory's."""
    return answer.is_success and not answer.json().get("stale")


@pytest.mark.parametrize("kind", ["sync", "full"])
def test_a_server_on_a_failing_disk_acknowledges_nothing_until_its_store_is_verified(
    failing: Site, tmp_path: Path, kind: str
) -> None:
    site, fault = failing, tmp_path / "fault"
    _, server = site.start()
    with site.trader() as trader:
        tickets = [trader.open(EURUSD, lots=0.1) for _ in range(4)]
    site.done(ENABLE, {"ticket": tickets[0]})
    fault.write_text(kind)
    refused = site.post(ENABLE, {"ticket": tickets[1]})
    assert refused.status_code == 503, refused.text
    wait_until(lambda: site.status_of("/dtms/health") == 503, "unready without a store", every_s=0.02)
    for _ in range(10):
        assert site.post(ENABLE, {"ticket": tickets[2]}).status_code == 503
        assert site.status_of("/dtms/health") == 503
        assert not any(_acknowledged(site, site.http.get(path)) for path in READS)
    assert server.process.poll() is None
    fault.unlink()
    wait_until(lambda: site.status_of("/dtms/health") == 200, "ready again by itself")
    site.done(ENABLE, {"ticket": tickets[3]})
    site.done(ENABLE, {"ticket": tickets[1]})
    server.kill()
    kept = {ticket for (ticket,) in site.rows("SELECT ticket FROM trades")}
    assert {tickets[0], tickets[1], tickets[3]} <= kept
    verify_file(site.data / "dtms_trades.db")
