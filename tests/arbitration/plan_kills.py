"""A plan that is due, and the main program killed at each step of its firing: it fires once, by the terminal's ledger.

``python -m tests.arbitration.plan_kills`` goes on until a plan fires without meeting its kill.

The plan is made while everything is halted; then the halt is lifted. Steps are the program's commits and its send.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.arbitration.test_deaths import armed
from tests.program.past import ledger_of
from tests.program.running import BTCUSD, Program, Site, market, wait_until

STEPS_MAX = 40
KNOWN_S = 90.0
OPENINGS = 1


class Firing:
    """One installation on which plan after plan is fired."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder, market("2017-10-02T07:00Z"))
        self.site.start()

    def fire(self, point: str) -> bool:
        """Fire one plan with a kill at a point; answer whether the kill came. Raises when it did not fire once."""
        site = self.site
        site.done("/dtms/halt", {"reason": "until the plan is made"})
        main = site.start_main(armed(point))
        plan = self._made(main)
        if plan is not None:
            site.done("/dtms/resume")
            made = plan
            wait_until(lambda: main.process.poll() is not None or self._is_executed(made), f"{point}: fires", KNOWN_S)
        killed = main.process.poll() is not None
        if killed:
            site.done("/dtms/resume")
            main = site.start_main()
            site.wait_main(main)
            plan = plan or self._only_plan()
        if plan is not None:
            kept = plan
            wait_until(lambda: self._is_executed(kept), f"{point}: it is executed", KNOWN_S)
            self._judge(kept, point)
        code = main.interrupt(20)
        assert code == 0 or not killed, "the kill came a second time"  # else it came after the firing
        return killed

    def _made(self, main: Program) -> str | None:
        """Make a plan that is due at once; None when the program was killed before it was made."""
        try:
            self.site.wait_main(main)
            quote = self.site.main.get(f"/api/v1/price/{BTCUSD}").json()
            entry = quote["ask"]
            body = {
                "symbol": BTCUSD,
                "direction": "buy",
                "entry": entry,
                "stop_loss": round(entry * 0.9, 2),
                "take_profit": round(entry * 1.2, 2),
                "volume": 0.1,
                "conditions": {"name": "price_above", "price": 1.0},
                "tolerance": 200.0,
            }
            answer = self.site.main.post("/auto-execution/plans", json=body)
        except (AssertionError, httpx.TransportError):
            main.process.wait(10)
            return None
        assert answer.is_success, answer.text
        return str(answer.json()["plan"]["id"])

    def _only_plan(self) -> str | None:
        """Return the plan that was kept and not answered, if there is one."""
        rows = self.site.rows("SELECT id FROM plans WHERE status NOT IN ('executed', 'closed')")
        return str(rows[0][0]) if rows else None

    def _is_executed(self, plan: str) -> bool:
        (row,) = self.site.rows("SELECT status FROM plans WHERE id = ?", plan)
        return bool(row[0] in ("executed", "closed"))

    def _judge(self, plan: str, point: str) -> None:
        """See by the ledger that the plan's requests opened one position, and that all numbers have one plan."""
        numbers = {
            int(row[0])
            for row in self.site.rows("SELECT number FROM intents WHERE json_extract(body, '$.plan') = ?", plan)
        }
        deals = [d for d in ledger_of(self.site.journal).deals if d.magic & (2**40 - 1) in numbers and d.magic]
        opened = {d.position_id for d in deals if d.entry == 0}
        assert len(opened) == OPENINGS, f"{point}: plan {plan} opened {opened}"

    def close(self) -> None:
        self.site.close()


def points(steps: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the steps to be killed at: around the send, then within and after each commit."""
    if steps:
        yield from steps
        return
    yield from ("sent:1:before", "sent:1:after")
    for at in range(1, STEPS_MAX + 1):
        yield from (f"unit:{at}:during", f"unit:{at}:after")


def run(folder: Path, steps: Sequence[str] | None = None, say: Any = print) -> int:
    """Fire plans until one meets no kill; return how many kills there were."""
    firing, kills = Firing(folder), 0
    try:
        for point in points(steps):
            killed = firing.fire(point)
            say(f"{point}: {'killed, and fired once' if killed else 'not reached'}")
            kills += killed
            if not killed and not steps:
                break
    finally:
        firing.close()
    return kills


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as given:
        print(f"{run(Path(given), sys.argv[1:])} kills; every plan fired once, by the terminal's ledger")
